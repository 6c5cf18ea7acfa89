//! Mandarin number words as Taiwan says them: 兩百, 兩千, 兩萬, but 二十 and 第二.

const DIGITS: [char; 10] = ['零', '一', '二', '三', '四', '五', '六', '七', '八', '九'];
const PLACES: [&str; 4] = ["", "十", "百", "千"];
/// Each ten thousand times the one before.
const MYRIADS: [&str; 5] = ["", "萬", "億", "兆", "京"];

/// A whole number of decimal digits; beyond the 京 digit by digit.
pub(super) fn cardinal(digits: &str) -> String {
    let digits = digits.trim_start_matches('0');
    if digits.is_empty() {
        return "零".into();
    }
    if digits.len() > MYRIADS.len() * 4 {
        return spelled(digits);
    }
    let groups = digits.len().div_ceil(4);
    let mut words = String::new();
    let mut gap = false;
    for group in 0..groups {
        let place = groups - 1 - group;
        let end = digits.len() - 4 * place;
        let four = digits.get(end.saturating_sub(4)..end).unwrap_or_default();
        let value: usize = four.parse().unwrap_or(0);
        if value == 0 {
            gap = true;
            continue;
        }
        if !words.is_empty() && (gap || value < 1_000) {
            words.push('零');
        }
        gap = false;
        // "兩萬", and "兩億兩千萬", but "二".
        if value == 2 && place > 0 {
            words.push('兩');
        } else {
            below_myriad(value, words.is_empty(), &mut words);
        }
        words.push_str(MYRIADS.get(place).copied().unwrap_or_default());
    }
    words
}

/// `first`: nothing was said before, so that ten is 十 and not 一十.
fn below_myriad(value: usize, first: bool, words: &mut String) {
    let mut gap = false;
    let mut said = false;
    for place in (0..4).rev() {
        let digit = value / 10_usize.pow(place) % 10;
        if digit == 0 {
            gap = said;
            continue;
        }
        if gap {
            words.push('零');
        }
        gap = false;
        match digit {
            1 if place == 1 && first && !said => {}
            2 if place >= 2 => words.push('兩'),
            _ => words.push(DIGITS.get(digit).copied().unwrap_or_default()),
        }
        words.push_str(PLACES.get(place as usize).copied().unwrap_or_default());
        said = true;
    }
}

/// Digit by digit, as years and telephones are said.
pub(super) fn spelled(digits: &str) -> String {
    digits.chars().filter_map(|c| DIGITS.get(c.to_digit(10)? as usize)).collect()
}

/// A number that counts things: two of them are 兩.
pub(super) fn counting(digits: &str) -> String {
    if digits == "2" { "兩".into() } else { cardinal(digits) }
}
