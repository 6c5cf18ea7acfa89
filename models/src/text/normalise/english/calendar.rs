//! English dates, times of day, years and decades.

use super::super::quantity::{Clock, Day, is_rather_day};
use super::numbers::{below_hundred, cardinal, decade, ordinal, year};
use super::{Found, rules};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
/// Words that a day comes after, so that "3/4" is not three quarters.
const BEFORE_DATE: [&str; 24] = [
    "on",
    "by",
    "since",
    "until",
    "till",
    "before",
    "after",
    "from",
    "due",
    "dated",
    "date",
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
    "sunday",
    "mon",
    "tue",
    "wed",
    "thu",
    "fri",
    "through",
];

/// "March fourteenth", "the fourteenth of March".
fn day(day: Day, american: bool, article: bool) -> String {
    let month = MONTHS.get(day.month - 1).copied().unwrap_or_default();
    let number = ordinal(&day.day.to_string(), true);
    match (american, article) {
        (true, _) => format!("{month} {number}"),
        (false, true) => format!("the {number} of {month}"),
        (false, false) => format!("{number} of {month}"),
    }
}

fn with_year(day: String, digits: &str, american: bool) -> Option<String> {
    Some(format!("{day}, {}", year(digits.parse().ok()?, american)))
}

/// The number of a month by its name or the first three letters of it.
fn month_of(name: &str) -> Option<usize> {
    let name = name.trim_end_matches('.');
    MONTHS.iter().position(|month| month.get(..3) == name.get(..3)).map(|at| at + 1)
}

/// `2026-03-14`, `2026/3/14`, `2026-03-14T10:30:00Z`.
pub(super) fn iso(found: &Found<'_>) -> Option<String> {
    if found.group(2) != found.group(4) {
        return None;
    }
    let date = Day::of(found.group(3), found.group(5))?;
    let mut words = with_year(day(date, found.dialect, true), found.group(1), found.dialect)?;
    if !found.group(6).is_empty() {
        let at = Clock::of(found.group(6), found.group(7), found.group(8))?;
        words = format!("{words} at {}", clock(at, None));
        words.push_str(if found.group(9) == "Z" { " U T C" } else { "" });
    }
    Some(words)
}

/// `3/14/2026`, `14.3.2026`: the month first in America, unless there is no such month.
pub(super) fn day_month_year(found: &Found<'_>) -> Option<String> {
    let (first, second, digits) = (found.group(1), found.group(3), found.group(5));
    if found.group(2) != found.group(4) {
        return None;
    }
    let date = by_custom(first, second, found.dialect && found.group(2) == "/")?;
    let century = match (digits.len(), digits.parse::<usize>().ok()?) {
        (2, short) if short < 70 => 2_000,
        (2, _) => 1_900,
        _ => 0,
    };
    let digits = (digits.parse::<usize>().ok()? + century).to_string();
    with_year(day(date, found.dialect, true), &digits, found.dialect)
}

fn by_custom(first: &str, second: &str, month_first: bool) -> Option<Day> {
    let (month, day) = if month_first { (first, second) } else { (second, first) };
    Day::of(month, day).or_else(|| Day::of(day, month))
}

/// `3/14`, where the words before say that it is a day.
pub(super) fn day_month(found: &Found<'_>) -> Option<String> {
    let word = found.word_before().to_ascii_lowercase();
    let told = BEFORE_DATE.contains(&word.as_str()) || is_rather_day(found.group(1), found.group(2));
    if !told || found.next_after() == Some('/') {
        return None;
    }
    Some(day(by_custom(found.group(1), found.group(2), found.dialect)?, found.dialect, true))
}

/// `March 14`, `Mar. 14th, 2026`, `March 14-16`.
pub(super) fn month_day(found: &Found<'_>) -> Option<String> {
    let month = month_of(found.group(1))?.to_string();
    let date = Day::of(&month, found.group(2))?;
    let name = MONTHS.get(date.month - 1)?;
    let mut words = format!("{name} {}", ordinal(found.group(2), true));
    if !found.group(3).is_empty() {
        let last = Day::of(&month, found.group(3))?;
        words = format!("{words} to {}", ordinal(&last.day.to_string(), true));
    }
    if found.group(4).is_empty() { Some(words) } else { with_year(words, found.group(4), found.dialect) }
}

/// `14 March 2026`, `14th of March`.
pub(super) fn day_of_month(found: &Found<'_>) -> Option<String> {
    let date = Day::of(&month_of(found.group(2))?.to_string(), found.group(1))?;
    let article = !found.word_before().eq_ignore_ascii_case("the");
    let words = day(date, false, article);
    if found.group(3).is_empty() { Some(words) } else { with_year(words, found.group(3), found.dialect) }
}

/// `March 2026`, and `Jan.` or `Sept.` without a day.
pub(super) fn month_year(found: &Found<'_>) -> Option<String> {
    let name = MONTHS.get(month_of(found.group(1))? - 1)?;
    Some(format!("{name} {}", year(found.group(2).parse().ok()?, found.dialect)))
}

/// `2:30 PM`, `14:30`, `10:00`, `1:30:45`.
pub(super) fn time(found: &Found<'_>) -> Option<String> {
    let at = Clock::of(found.group(1), found.group(2), found.group(3))?;
    // "2.30 pm" and "2:30:45.5" aside, a point makes it something else.
    if found.next_after() == Some(':') {
        return None;
    }
    let half = half(found.group(4));
    if half.is_some() && at.hour > 12 {
        return Some(with_stop(clock(at, None), found));
    }
    Some(with_stop(clock(at, half), found))
}

/// `5pm`, `5 p.m.`
pub(super) fn hour(found: &Found<'_>) -> Option<String> {
    let at = Clock::of(found.group(1), "", "")?;
    let half = half(found.group(2)).filter(|_| (1..=12).contains(&at.hour))?;
    Some(with_stop(format!("{} {half}", below_hundred(at.hour as usize)), found))
}

/// "p.m." at the end of a text ends its sentence too.
fn with_stop(words: String, found: &Found<'_>) -> String {
    let ends = found.whole().ends_with('.') && rules::head(found.after, 8).trim_start().is_empty();
    if ends { format!("{words}.") } else { words }
}

fn half(letter: &str) -> Option<&'static str> {
    match letter {
        "a" | "A" => Some("A M"),
        "p" | "P" => Some("P M"),
        _ => None,
    }
}

fn clock(at: Clock, half: Option<&str>) -> String {
    let hour = below_hundred(at.hour as usize);
    let minute = match (at.minute, half, at.second) {
        (0, None, None) if at.hour == 0 || at.hour == 24 => return "midnight".into(),
        (0, None, None) if at.hour <= 12 => format!("{hour} o'clock"),
        (0, None, _) => format!("{hour} hundred"),
        (0, Some(_), _) => hour,
        (minute @ 1..10, _, _) => format!("{hour} oh {}", below_hundred(minute as usize)),
        (minute, _, _) => format!("{hour} {}", below_hundred(minute as usize)),
    };
    let mut words = minute;
    if let Some(second) = at.second {
        words = format!("{words} and {} second{}", below_hundred(second as usize), if second == 1 { "" } else { "s" });
    }
    match half {
        Some(half) => format!("{words} {half}"),
        None => words,
    }
}

/// `1990s`, `90s`, `'90s`.
pub(super) fn years(found: &Found<'_>) -> Option<String> {
    let value: usize = found.group(1).parse().ok()?;
    let plausible = value.is_multiple_of(10) && if value < 100 { value >= 20 } else { (1_100..2_100).contains(&value) };
    // "60s" may be a minute: a decade is one that something was in, or of.
    let told = value >= 100
        || found.whole().starts_with(['\'', '’'])
        || ["the", "early", "late", "mid"].contains(&found.word_before().to_ascii_lowercase().as_str());
    (plausible && told).then(|| decade(value))
}

/// Four digits without a comma: a year, or said like one.
pub(super) fn year_like(digits: &str, american: bool) -> Option<String> {
    let value: usize = digits.parse().ok()?;
    let like = digits.len() == 4 && ((1_100..2_000).contains(&value) || (2_001..2_100).contains(&value));
    Some(if like { year(value, american) } else { cardinal(digits, american) })
}
