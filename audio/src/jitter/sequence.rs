//! Where a 16-bit sequence number stands in a stream that wraps, reorders, repeats and restarts.

/// Further ahead than this is another sender, not loss (RFC 3550, A.1: `MAX_DROPOUT`).
const FURTHEST_AHEAD: i64 = 3_000;
/// Further behind than this is another sender, not reordering (`MAX_MISORDER`).
const FURTHEST_BEHIND: i64 = 100;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Not seen yet and still wanted; its number counts on over wraps and restarts.
    New(u64),
    /// Was given up before it came.
    Late,
    Duplicate,
    /// Nowhere near.
    Elsewhere,
}

#[derive(Debug, Default)]
pub(super) struct Sequence {
    started: bool,
    /// Number of the next packet to release.
    next: u64,
    /// Highest number that arrived, and the sequence number it had.
    highest: u64,
    highest_sequence: u16,
    /// Bit `i`: number `highest - i` has arrived.
    arrived: u128,
}

impl Sequence {
    /// The first packet's number: high enough that those which it overtook have numbers too.
    const ORIGIN: u64 = 1 << 32;

    pub(super) fn place(&mut self, sequence: u16) -> Place {
        if !self.started {
            *self = Self {
                started: true,
                next: Self::ORIGIN,
                highest: Self::ORIGIN,
                highest_sequence: sequence,
                arrived: 0,
            };
            return Place::New(Self::ORIGIN);
        }
        let ahead = i64::from(sequence.wrapping_sub(self.highest_sequence).cast_signed());
        let Some(number) = self.highest.checked_add_signed(ahead) else { return Place::Elsewhere };
        match ahead {
            1..=FURTHEST_AHEAD => Place::New(number),
            ..=0 if ahead >= -FURTHEST_BEHIND => {
                if self.arrived >> ahead.unsigned_abs() & 1 == 1 {
                    Place::Duplicate
                } else if number < self.next {
                    Place::Late
                } else {
                    Place::New(number)
                }
            }
            _ => Place::Elsewhere,
        }
    }

    /// A packet has been kept.
    pub(super) fn arrived(&mut self, number: u64) {
        if number > self.highest {
            let ahead = number - self.highest;
            self.arrived = u32::try_from(ahead).ok().and_then(|ahead| self.arrived.checked_shl(ahead)).unwrap_or(0);
            self.highest_sequence = self.highest_sequence.wrapping_add(ahead as u16);
            self.highest = number;
        }
        let behind = u32::try_from(self.highest - number).unwrap_or(u32::MAX);
        self.arrived |= 1u128.checked_shl(behind).unwrap_or(0);
    }

    /// A new sender's numbers go on where the old one's end.
    pub(super) fn restart(&mut self, sequence: u16) -> u64 {
        self.highest += 1;
        self.highest_sequence = sequence;
        self.arrived = 0;
        self.highest
    }

    pub(super) fn is_next(&self, number: u64) -> bool {
        number == self.next
    }

    /// Gives up all before `number`; answers how many those were.
    pub(super) fn advance_to(&mut self, number: u64) -> u64 {
        let skipped = number.saturating_sub(self.next);
        self.next = self.next.max(number);
        skipped
    }

    /// The packet that was next has been released.
    pub(super) fn released(&mut self) {
        self.next += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn started(at: u16) -> Sequence {
        let mut sequence = Sequence::default();
        let Place::New(number) = sequence.place(at) else { panic!("the first packet is new") };
        sequence.arrived(number);
        sequence
    }

    #[test]
    fn numbers_go_on_over_the_wrap() {
        let mut sequence = started(u16::MAX);
        let Place::New(number) = sequence.place(0) else { panic!("0 follows 65535") };
        assert_eq!(number, Sequence::ORIGIN + 1);
        sequence.arrived(number);
        assert_eq!(sequence.place(u16::MAX), Place::Duplicate);
        assert_eq!(sequence.place(2), Place::New(Sequence::ORIGIN + 3));
    }

    #[test]
    fn a_number_below_the_first_is_late_not_negative() {
        let mut sequence = started(5);
        assert_eq!(sequence.place(4), Place::Late);
        assert_eq!(sequence.place(5), Place::Duplicate);
        assert_eq!(sequence.place(5u16.wrapping_sub(101)), Place::Elsewhere);
        assert_eq!(sequence.place(3_006), Place::Elsewhere);
        assert_eq!(sequence.place(3_005), Place::New(Sequence::ORIGIN + 3_000));
    }

    #[test]
    fn a_restart_keeps_counting() {
        let mut sequence = started(100);
        sequence.released();
        let number = sequence.restart(40_000);
        sequence.arrived(number);
        assert!(sequence.is_next(number));
        assert_eq!(sequence.place(40_001), Place::New(number + 1));
        assert_eq!(sequence.place(40_000), Place::Duplicate);
    }
}
