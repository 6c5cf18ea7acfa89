//! Where the turns of a conversation stand on its time line. Pure.
//!
//! Zero is where the conversation's first sound begins. Within a talk the line is real time, so that what was said over one another
//! is over one another; a pause in which nobody speaks, as between two calls, counts for ten seconds at most.

use std::time::Duration;

use crate::call::utterance::PRE_ROLL;

/// Longer pauses count for this, milliseconds.
pub const LONGEST_PAUSE: i64 = 10_000;
/// No turn begins further back in another than this, milliseconds; one that seems to was clocked by a clock that was set back.
const LONGEST_OVERLAP: i64 = 120_000;
/// A caller's audio begins so much before the turn is noticed: the pre-roll, and the time that noticing takes.
const NOTICED_AFTER: Duration = PRE_ROLL.saturating_add(Duration::from_millis(100));

/// The time line so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Line {
    pub length_ms: i64,
    /// What the clock showed at its end, milliseconds since 1970; `None` of an empty one.
    pub until: Option<i64>,
}

/// What is known of a turn's times, milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Spoken {
    /// When the caller was noticed to speak, or sent a text; since 1970.
    pub started: i64,
    /// Length of the caller's audio; `None` where there is none.
    pub user_ms: Option<i64>,
    /// Length of the reply's audio, as far as it was sent.
    pub reply_ms: Option<i64>,
    /// From the end of the caller's voice to the end of the caller's audio.
    pub commit_ms: Option<f64>,
    /// From the end of the caller's voice to the first sound of the reply.
    pub first_packet_ms: Option<f64>,
}

/// Where both sides of a turn begin on the time line, milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Places {
    pub user: i64,
    pub reply: i64,
}

impl Line {
    /// Puts a turn at the end of the line; gives its place and the line with it.
    pub fn add(self, turn: Spoken) -> (Places, Self) {
        let noticed_after = if turn.user_ms.is_some() { NOTICED_AFTER.as_millis() as i64 } else { 0 };
        let begin = turn.started.saturating_sub(noticed_after);
        let gap = self.until.map_or(0, |until| begin.saturating_sub(until));
        let gap = if gap < -LONGEST_OVERLAP { 0 } else { gap.min(LONGEST_PAUSE) };
        let user = (self.length_ms + gap).max(0);
        let user_ms = turn.user_ms.unwrap_or(0).max(0);
        let wait = turn.first_packet_ms.map_or(0.0, |first| first - turn.commit_ms.unwrap_or(0.0));
        // What is no number becomes zero.
        let reply = user + user_ms + (wait.round() as i64).clamp(0, LONGEST_PAUSE);
        let end = (user + user_ms).max(turn.reply_ms.map_or(0, |reply_ms| reply + reply_ms.max(0)));
        let length_ms = self.length_ms.max(end);
        let until = Some(begin.saturating_add(length_ms - user));
        (Places { user, reply }, Self { length_ms, until })
    }

    /// The line when its last sound has turned out to end at `length_ms`.
    pub fn ending_at(self, length_ms: i64) -> Self {
        let until = self.until.map(|until| until.saturating_sub(self.length_ms - length_ms));
        Self { length_ms, until }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Noticed at `started`, two seconds of audio, answered half a second after it with three.
    fn turn(started: i64) -> Spoken {
        let (commit_ms, first_packet_ms) = (Some(300.0), Some(800.0));
        Spoken { started, user_ms: Some(2_000), reply_ms: Some(3_000), commit_ms, first_packet_ms }
    }

    #[test]
    fn a_reply_begins_where_it_was_heard_and_the_next_turn_in_real_time() {
        let (places, line) = Line::default().add(turn(1_000_000));
        assert_eq!(places, Places { user: 0, reply: 2_500 });
        assert_eq!(line.length_ms, 5_500);
        // A second after the reply's end.
        let (places, line) = line.add(turn(1_000_000 + 6_500));
        assert_eq!(places, Places { user: 6_500, reply: 9_000 });
        assert_eq!(line.length_ms, 12_000);
    }

    #[test]
    fn a_caller_who_speaks_over_the_reply_stands_over_it() {
        let (_, line) = Line::default().add(turn(1_000_000));
        let (places, _) = line.add(turn(1_000_000 + 4_000));
        assert_eq!(places.user, 4_000);
    }

    #[test]
    fn a_reply_that_was_cut_ends_where_it_was_cut() {
        let (places, line) = Line::default().add(turn(1_000_000));
        let line = line.ending_at(places.reply + 1_000);
        assert_eq!(line.length_ms, 3_500);
        let (places, _) = line.add(turn(1_000_000 + 4_000));
        assert_eq!(places.user, 4_000, "the clock went on all the same");
    }

    #[test]
    fn a_night_between_two_calls_is_ten_seconds() {
        let (_, line) = Line::default().add(turn(1_000_000));
        let (places, _) = line.add(turn(1_000_000 + 8 * 3_600_000));
        assert_eq!(places.user, 5_500 + LONGEST_PAUSE);
    }

    #[test]
    fn a_clock_that_is_set_back_or_mad_moves_nothing_before_the_beginning() {
        let (_, line) = Line::default().add(turn(1_000_000_000));
        assert_eq!(line.add(turn(0)).0.user, 5_500);
        let mad = Spoken { first_packet_ms: Some(f64::NAN), commit_ms: Some(-1e300), ..turn(i64::MIN) };
        assert_eq!(line.add(mad).0, Places { user: 5_500, reply: 7_500 });
        let mad = Spoken { first_packet_ms: Some(1e300), ..turn(i64::MAX) };
        assert_eq!(line.add(mad).0.reply, 5_500 + LONGEST_PAUSE + 2_000 + LONGEST_PAUSE);
    }

    #[test]
    fn a_typed_message_and_a_reply_without_sound_take_no_time() {
        let typed = Spoken { started: 5_000, ..Spoken::default() };
        let (places, line) = Line::default().add(typed);
        assert_eq!((places, line.length_ms), (Places { user: 0, reply: 0 }, 0));
        assert_eq!(line.until, Some(5_000));
    }
}
