//! Mandarin dates, years and times of day.

use super::super::quantity::{Clock, Day, is_rather_day};
use super::Found;
use super::numbers::{cardinal, counting, spelled};

/// Words that a day comes after, so that "3/4" is not three quarters.
const BEFORE_DATE: &str = "在於自從到至的是今週周天為約訂起前後，。：（(、)）一二三四五六日";

fn day(day: Day) -> String {
    format!("{}月{}日", cardinal(&day.month.to_string()), cardinal(&day.day.to_string()))
}

/// A year of four digits digit by digit; one of three is a year of the Republic, and counted.
fn year(digits: &str) -> String {
    let said = if digits.len() == 4 { spelled(digits) } else { cardinal(digits) };
    format!("{said}年")
}

/// `2026-03-14`, `2026/3/14`, `113/3/14`, `2026-03-14T10:30:00`.
pub(super) fn date(found: &Found<'_>) -> Option<String> {
    if found.group(2) != found.group(4) {
        return None;
    }
    let date = Day::of(found.group(3), found.group(5))?;
    let mut words = format!("{}{}", year(found.group(1)), day(date));
    if !found.group(6).is_empty() {
        words.push_str(&clock(Clock::of(found.group(6), found.group(7), found.group(8))?));
    }
    Some(words)
}

/// `3/14/2026`: as America writes it.
pub(super) fn american_date(found: &Found<'_>) -> Option<String> {
    let (first, second) = (found.group(1), found.group(2));
    let date = Day::of(first, second).or_else(|| Day::of(second, first))?;
    Some(format!("{}{}", year(found.group(3)), day(date)))
}

/// `3/14`, where what stands beside it says that it is a day: a word before, or a day of the week in brackets after.
pub(super) fn day_month(found: &Found<'_>) -> Option<String> {
    let before = found.before.trim_end().chars().next_back().is_some_and(|c| BEFORE_DATE.contains(c));
    let weekday = ["(", "（", "星期", "週", "周", "早", "晚", "上午", "下午", "中午"]
        .iter()
        .any(|mark| found.after.trim_start().starts_with(mark));
    let date = Day::of(found.group(1), found.group(2))?;
    (before || weekday || is_rather_day(found.group(1), found.group(2))).then(|| day(date))
}

/// `2026年`, `113年`, `24年`: with its four digits it is named, with fewer counted.
pub(super) fn named_year(found: &Found<'_>) -> Option<String> {
    let digits = found.group(1);
    let told = found.before.ends_with("西元") || found.before.ends_with("公元");
    let named = told || (digits.len() == 4 && digits.starts_with(['1', '2']));
    let reign = ["民國", "昭和", "平成", "令和", "大正"].iter().any(|name| found.before.trim_end().ends_with(name));
    let said = match digits {
        "1" if reign => "元".into(),
        _ if named => spelled(digits),
        _ if reign => cardinal(digits),
        _ => counting(digits),
    };
    Some(format!("{said}年"))
}

/// `3月`, `14日`, `5號`, `2樓`: named, not counted.
pub(super) fn named(found: &Found<'_>) -> Option<String> {
    Some(format!("{}{}", cardinal(found.group(1)), found.group(2)))
}

/// `101大樓`, `307公車`: a number that is a name is said digit by digit.
pub(super) fn number_as_name(found: &Found<'_>) -> Option<String> {
    Some(format!("{}{}", spelled(found.group(1)), found.group(2)))
}

/// `14:30`, `2:30 PM`, `10:05:30`.
pub(super) fn time(found: &Found<'_>) -> Option<String> {
    let at = Clock::of(found.group(1), found.group(2), found.group(3))?;
    if found.next_after() == Some(':') {
        return None;
    }
    Some(format!("{}{}", half(found.group(4), at.hour), clock(at)))
}

/// `5pm`
pub(super) fn hour(found: &Found<'_>) -> Option<String> {
    let at = Clock::of(found.group(1), "", "")?;
    (1..=12).contains(&at.hour).then(|| format!("{}{}", half(found.group(2), at.hour), clock(at)))
}

fn half(letter: &str, hour: u32) -> &'static str {
    match letter {
        _ if hour > 12 => "",
        "a" | "A" => "上午",
        "p" | "P" => "下午",
        _ => "",
    }
}

fn clock(at: Clock) -> String {
    let count = |value: u32| counting(&value.to_string());
    let small = |value: u32| {
        if value < 10 { format!("零{}", cardinal(&value.to_string())) } else { cardinal(&value.to_string()) }
    };
    let hour = count(at.hour);
    let mut words = format!("{hour}點");
    if at.minute > 0 || at.second.is_some() {
        words = format!("{words}{}分", small(at.minute));
    }
    if let Some(second) = at.second {
        words = format!("{words}{}秒", small(second));
    }
    words
}

/// `2點30分`, `2點`, `2時`: two o'clock is counted, its minutes named.
pub(super) fn o_clock(found: &Found<'_>) -> Option<String> {
    let hour = if found.group(2) == "點" { counting(found.group(1)) } else { cardinal(found.group(1)) };
    let minute = found.group(3);
    let words = format!("{hour}{}", found.group(2));
    Some(match minute {
        "" => words,
        minute if minute.starts_with('0') => format!("{words}零{}分", cardinal(minute)),
        minute => format!("{words}{}分", cardinal(minute)),
    })
}
