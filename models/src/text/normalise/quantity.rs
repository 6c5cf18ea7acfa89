//! Numbers and dates as they are written, taken apart; the languages say them.

/// An unsigned number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Number<'t> {
    /// Digits, perhaps with thousands' commas.
    pub whole: &'t str,
    /// Digits after the point; empty without a point.
    pub fraction: &'t str,
}

impl<'t> Number<'t> {
    /// `text` is digits, commas and at most one point.
    pub fn of(text: &'t str) -> Self {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        Self { whole, fraction }
    }

    /// The digits before the point.
    pub fn digits(&self) -> String {
        self.whole.chars().filter(char::is_ascii_digit).collect()
    }

    pub fn is_grouped(&self) -> bool {
        self.whole.contains(',')
    }

    pub fn is_one(&self) -> bool {
        self.whole == "1" && self.fraction.is_empty()
    }

    /// A number that counts for a code, as "007": said digit by digit.
    pub fn is_code(&self) -> bool {
        self.fraction.is_empty() && self.whole.len() > 1 && self.whole.starts_with('0')
    }
}

/// A day of the calendar that exists, or at least could in some year.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Day {
    pub month: usize,
    pub day: usize,
}

impl Day {
    /// `None` if there is no such day: month 13, 31 April, 30 February.
    pub fn of(month: &str, day: &str) -> Option<Self> {
        let (month, day) = (month.parse().ok()?, day.parse().ok()?);
        const LENGTHS: [usize; 12] = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        let length = *LENGTHS.get(usize::checked_sub(month, 1)?)?;
        (1..=length).contains(&day).then_some(Self { month, day })
    }
}

/// Whether `first/second` is rather a day than a fraction, whatever stands around it: nobody counts in fourteenths, nor
/// thirty-one twelfths.
pub(super) fn is_rather_day(first: &str, second: &str) -> bool {
    match (first.parse::<u32>(), second.parse::<u32>()) {
        (Ok(24), Ok(7)) => false,
        (Ok(above), Ok(below)) => {
            (below > 10 && ![12, 16, 32, 64, 100].contains(&below)) || (above > 12 && above > below)
        }
        _ => false,
    }
}

/// A time of day on a clock of 24 hours, or of 12 where `half` is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Clock {
    pub hour: u32,
    pub minute: u32,
    pub second: Option<u32>,
}

impl Clock {
    /// `None` for what no clock shows: "99:99", "24:30".
    pub fn of(hour: &str, minute: &str, second: &str) -> Option<Self> {
        let (hour, minute) = (hour.parse().ok()?, if minute.is_empty() { 0 } else { minute.parse().ok()? });
        let second: Option<u32> = if second.is_empty() { None } else { Some(second.parse().ok()?) };
        let within = minute < 60 && second.is_none_or(|second| second < 60);
        let is_one = within && (hour < 24 || (hour == 24 && minute == 0));
        // Nobody says the seconds of a whole minute.
        is_one.then_some(Self { hour, minute, second: second.filter(|second| *second > 0) })
    }
}

/// The value of a Roman numeral that is written as it should be, up to 3,999.
pub(super) fn roman(numeral: &str) -> Option<u32> {
    let value = |c: u8| match c {
        b'I' => Some(1),
        b'V' => Some(5),
        b'X' => Some(10),
        b'L' => Some(50),
        b'C' => Some(100),
        b'D' => Some(500),
        b'M' => Some(1_000),
        _ => None,
    };
    if numeral.len() > 15 {
        return None;
    }
    let values: Vec<u32> = numeral.bytes().map(value).collect::<Option<_>>()?;
    let sum: u32 = values.iter().enumerate().fold(0_u32, |sum, (at, this)| {
        let subtracts = values.get(at + 1).is_some_and(|next| next > this);
        if subtracts { sum.wrapping_sub(*this) } else { sum.wrapping_add(*this) }
    });
    // Written back it is the same, or it was no numeral: "IIII", "VX".
    (sum < 4_000 && as_roman(sum) == numeral).then_some(sum)
}

fn as_roman(mut value: u32) -> String {
    const PARTS: [(u32, &str); 13] = [
        (1_000, "M"),
        (900, "CM"),
        (500, "D"),
        (400, "CD"),
        (100, "C"),
        (90, "XC"),
        (50, "L"),
        (40, "XL"),
        (10, "X"),
        (9, "IX"),
        (5, "V"),
        (4, "IV"),
        (1, "I"),
    ];
    let mut numeral = String::new();
    for (part, letters) in PARTS {
        while value >= part {
            numeral.push_str(letters);
            value -= part;
        }
    }
    numeral
}
