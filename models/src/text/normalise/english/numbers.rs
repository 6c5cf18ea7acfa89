//! English number words.

const ONES: [&str; 20] = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
];
const TENS: [&str; 10] = ["", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"];
const SCALES: [&str; 12] = [
    "",
    " thousand",
    " million",
    " billion",
    " trillion",
    " quadrillion",
    " quintillion",
    " sextillion",
    " septillion",
    " octillion",
    " nonillion",
    " decillion",
];
const ORDINALS: [(&str, &str); 8] = [
    ("one", "first"),
    ("two", "second"),
    ("three", "third"),
    ("five", "fifth"),
    ("eight", "eighth"),
    ("nine", "ninth"),
    ("twelve", "twelfth"),
    ("zero", "zeroth"),
];

/// A whole number of decimal digits; beyond the decillions digit by digit. Britain puts an "and" after the hundreds.
pub(super) fn cardinal(digits: &str, american: bool) -> String {
    let digits = digits.trim_start_matches('0');
    if digits.is_empty() {
        return "zero".into();
    }
    if digits.len() > SCALES.len() * 3 {
        return spelled(digits);
    }
    let groups = digits.len().div_ceil(3);
    let mut words = String::new();
    for group in 0..groups {
        let place = groups - 1 - group;
        let end = digits.len() - 3 * place;
        let value: usize = digits.get(end.saturating_sub(3)..end).and_then(|three| three.parse().ok()).unwrap_or(0);
        if value == 0 {
            continue;
        }
        if !words.is_empty() {
            words.push_str(if place == 0 && value < 100 && !american { " and " } else { " " });
        }
        words.push_str(&below_thousand(value, american));
        words.push_str(SCALES.get(place).copied().unwrap_or_default());
    }
    words
}

fn below_thousand(value: usize, american: bool) -> String {
    let (hundreds, rest) = (value / 100, value % 100);
    match (hundreds, rest) {
        (0, rest) => below_hundred(rest),
        (hundreds, 0) => format!("{} hundred", below_hundred(hundreds)),
        _ => {
            let and = if american { "" } else { "and " };
            format!("{} hundred {and}{}", below_hundred(hundreds), below_hundred(rest))
        }
    }
}

pub(super) fn below_hundred(value: usize) -> String {
    if let Some(word) = ONES.get(value) {
        return (*word).into();
    }
    let tens = TENS.get(value / 10).copied().unwrap_or_default();
    match ONES.get(value % 10).filter(|_| value % 10 > 0) {
        Some(one) => format!("{tens}-{one}"),
        None => tens.into(),
    }
}

/// "first" for "one", "twenty-second" for "twenty-two".
pub(super) fn ordinal_of(cardinal: &str) -> String {
    let start = cardinal.rfind([' ', '-']).map_or(0, |at| at + 1);
    let (head, last) = cardinal.split_at(start);
    if let Some((_, ordinal)) = ORDINALS.iter().find(|(word, _)| *word == last) {
        return format!("{head}{ordinal}");
    }
    match last.strip_suffix('y') {
        Some(stem) => format!("{head}{stem}ieth"),
        None => format!("{cardinal}th"),
    }
}

pub(super) fn ordinal(digits: &str, american: bool) -> String {
    ordinal_of(&cardinal(digits, american))
}

/// Digit by digit.
pub(super) fn spelled(digits: &str) -> String {
    let words: Vec<&str> = digits.bytes().filter(u8::is_ascii_digit).map(digit).collect();
    words.join(" ")
}

fn digit(byte: u8) -> &'static str {
    ONES.get(usize::from(byte.wrapping_sub(b'0'))).copied().unwrap_or_default()
}

/// A year as people say it: "nineteen oh six", "two thousand five", "twenty twenty-six".
pub(super) fn year(year: usize, american: bool) -> String {
    let (century, rest) = (year / 100, year % 100);
    if !(1_100..10_000).contains(&year) || year % 1_000 < 10 {
        return cardinal(&year.to_string(), american);
    }
    let century = below_hundred(century);
    match rest {
        0 => format!("{century} hundred"),
        1..10 => format!("{century} oh {}", below_hundred(rest)),
        _ => format!("{century} {}", below_hundred(rest)),
    }
}

/// "nineteen nineties", "two thousands", "nineties".
pub(super) fn decade(year: usize) -> String {
    let tens = |rest: usize| match rest {
        0 => "hundreds".to_owned(),
        10 => "tens".to_owned(),
        _ => format!("{}ies", below_hundred(rest).trim_end_matches('y')),
    };
    match year {
        0..100 => tens(year),
        2_000 => "two thousands".into(),
        _ => format!("{} {}", below_hundred(year / 100), tens(year % 100)),
    }
}

/// The plural of what a fraction is counted in: "quarters" of 4, "twenty-fourths" of 24.
pub(super) fn part(denominator: usize, plural: bool) -> String {
    let one = match denominator {
        2 => return if plural { "halves".into() } else { "half".into() },
        4 => "quarter".into(),
        _ => ordinal(&denominator.to_string(), true),
    };
    if plural { format!("{one}s") } else { one }
}
