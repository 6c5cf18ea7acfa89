//! English numbers, money, measures, fractions, powers and ranges.

use super::super::addresses::letters as spell_letters;
use super::super::quantity::Number;
use super::Found;
use super::calendar::year_like;
use super::numbers::{below_hundred, cardinal, ordinal, part, spelled};
use super::units::{CURRENCIES, Currency, UNITS};

/// `number` in words, without its sign.
pub(super) fn number(number: Number<'_>, american: bool) -> String {
    let whole = number.digits();
    // So many digits without commas are an account or a serial number.
    let long = whole.len() > 15 && !number.is_grouped();
    let whole = match whole.as_str() {
        "" => String::new(),
        digits if long || number.is_code() => spelled(digits),
        digits => cardinal(digits, american),
    };
    if number.fraction.is_empty() { whole } else { format!("{whole} point {}", spelled(number.fraction)) }
}

/// A number that stands alone: four digits may be a year, three a name.
pub(super) fn plain(found: &Found<'_>) -> Option<String> {
    const NUMBERED: [&str; 9] =
        ["room", "flight", "route", "highway", "interstate", "boeing", "bus", "apartment", "suite"];
    let value = Number::of(found.whole());
    let bare = value.fraction.is_empty() && !value.is_grouped() && !value.is_code();
    let before = found.word_before().to_ascii_lowercase();
    match value.whole.len() {
        3 if bare && matches!(before.as_str(), "call" | "dial" | "calling" | "dialing" | "called" | "dialed") => {
            Some(spelled(value.whole))
        }
        3 if bare && NUMBERED.contains(&before.as_str()) && !value.whole.ends_with("00") => {
            Some(hundreds_apart(value.whole))
        }
        4 if bare => year_like(value.whole, found.dialect),
        _ => Some(number(value, found.dialect)),
    }
}

/// `.5`
pub(super) fn point(found: &Found<'_>) -> Option<String> {
    let alone = found.last_before().is_none_or(|c| !c.is_alphanumeric() && c != '.');
    alone.then(|| format!("point {}", spelled(found.group(1))))
}

/// `-` before a number that nothing stands before.
pub(super) fn minus(found: &Found<'_>) -> Option<String> {
    let next = found.next_after().is_some_and(|c| c.is_ascii_digit() || "$€£¥.".contains(c));
    let alone = found.last_before().is_none_or(|c| c.is_whitespace() || "([{=<>*/+^:,\"'~±".contains(c));
    (next && alone).then(|| "minus".into())
}

/// `-`, `–`, `~` between two numbers: a range, unless a sum follows.
pub(super) fn range(found: &Found<'_>) -> Option<String> {
    let before = found.before.trim_end().chars().next_back()?;
    let measured = before == '%' || before == '°' || is_half(found.word_before());
    let after = found.next_after().is_some_and(|c| c.is_ascii_digit() || "$€£¥.".contains(c));
    if !(before.is_ascii_digit() || measured) || !after {
        return None;
    }
    let spaced = found.whole().starts_with(' ');
    let rest = found.after.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.').trim_start();
    let sum = rest.starts_with('=');
    let hyphen = found.whole().contains('-');
    Some(if hyphen && (spaced || sum) { " minus " } else { " to " }.into())
}

fn is_half(word: &str) -> bool {
    let letters = word.trim_start_matches(|c: char| c.is_ascii_digit());
    letters.eq_ignore_ascii_case("am") || letters.eq_ignore_ascii_case("pm")
}

/// Three or more numbers joined by hyphens: `2-3-1`, and dates that aren't.
pub(super) fn joined(found: &Found<'_>) -> Option<String> {
    let parts: Vec<String> = found.whole().split(['-', '/', ':']).map(|p| number(Number::of(p), true)).collect();
    Some(parts.join(if found.whole().contains('/') { " slash " } else { ", " }))
}

/// `3:2`, and times that aren't.
pub(super) fn ratio(found: &Found<'_>) -> Option<String> {
    let say = |n| number(Number::of(found.group(n)), found.dialect);
    Some(format!("{} to {}", say(1), say(2)))
}

/// `$45.50`, `NT$1,200`, `€5-10`, `$1.2 million`, `$3bn`.
pub(super) fn money(found: &Found<'_>) -> Option<String> {
    let currency = CURRENCIES.iter().find(|currency| currency.sign == found.group(1).trim_end_matches(' '))?;
    let american = found.dialect;
    let first = Number::of(found.group(2));
    let last = Number::of(found.group(4));
    let scale = scale(found.group(5).trim());
    if !found.group(4).is_empty() {
        let scaled = scale.map(|scale| format!(" {scale}")).unwrap_or_default();
        return Some(format!("{} to {}{scaled} {}", number(first, american), number(last, american), currency.many));
    }
    // "a five million dollar boat"
    if attributive(found) && first.fraction.len() != 2 {
        let scaled = scale.map(|scale| format!(" {scale}")).unwrap_or_default();
        return Some(format!("{}{scaled} {}", number(first, american), currency.one));
    }
    Some(amount(first, scale, currency, american))
}

/// "a 16 GB stick": what is counted stands in the singular before a noun.
fn attributive(found: &Found<'_>) -> bool {
    let article = matches!(found.word_before(), "a" | "A" | "an" | "An");
    article && found.next_after() == Some(' ') && found.word_after().starts_with(char::is_alphabetic)
}

/// `5 €`, `100 USD`, `500 元`.
pub(super) fn money_after(found: &Found<'_>) -> Option<String> {
    let currency = CURRENCIES.iter().find(|currency| currency.sign == found.group(2))?;
    Some(amount(Number::of(found.group(1)), None, currency, found.dialect))
}

fn amount(value: Number<'_>, scale: Option<&str>, currency: &Currency, american: bool) -> String {
    let Currency { one, many, cent, cents, .. } = currency;
    let unit = if value.is_one() && scale.is_none() { one } else { many };
    if let Some(scale) = scale {
        return format!("{} {scale} {unit}", number(value, american));
    }
    let parts: usize = value.fraction.parse().unwrap_or(0);
    if value.fraction.len() != 2 || cents.is_empty() {
        return format!("{} {unit}", number(value, american));
    }
    let small = format!("{} {}", below_hundred(parts), if parts == 1 { cent } else { cents });
    let whole = Number { fraction: "", ..value };
    let unit = if whole.is_one() { one } else { many };
    match (whole.digits().as_str(), parts) {
        (digits, 0) if !digits.is_empty() => format!("{} {unit}", number(whole, american)),
        ("" | "0", _) => small,
        _ => format!("{} {unit} and {small}", number(whole, american)),
    }
}

fn scale(letters: &str) -> Option<&'static str> {
    Some(match letters {
        "thousand" | "k" | "K" => "thousand",
        "million" | "m" | "M" | "mn" | "mm" => "million",
        "billion" | "b" | "B" | "bn" => "billion",
        "trillion" | "t" | "T" | "tn" => "trillion",
        _ => return None,
    })
}

/// `5 kg`, `1.5 GB`, `100 km/h`, `20°C`, `50%`.
pub(super) fn measure(found: &Found<'_>) -> Option<String> {
    let value = Number::of(found.group(1));
    let sign = found.group(2);
    let unit = UNITS.iter().find(|unit| unit.0 == sign)?;
    let ends = sign.ends_with(|c: char| !c.is_ascii_alphanumeric());
    if !ends && found.next_after().is_some_and(|c| c.is_ascii_alphanumeric()) {
        return None;
    }
    // "5 in", "3 m" with a space may go on as words: only signs that are no words come so.
    let spaced = found.whole().contains(' ');
    let wordlike = ["in", "a", "A", "h", "s", "m", "g", "K", "C", "F", "N", "l"].contains(&sign);
    let trailed = matches!(found.word_after(), "the" | "a" | "an");
    if (sign == "in" && (!spaced || trailed || found.next_after() == Some(' '))) || (wordlike && spaced && trailed) {
        return None;
    }
    let words = number(value, found.dialect);
    let stop = if sign.ends_with('.') && found.after.trim().is_empty() { "." } else { "" };
    Some(format!("{words} {}{stop}", if value.is_one() || attributive(found) { unit.1 } else { unit.2 }))
}

/// `1/2`, `3/4`, `24/7`, `1/0`.
pub(super) fn fraction(found: &Found<'_>) -> Option<String> {
    let (above, below) = (found.group(1), found.group(2));
    if (above, below) == ("24", "7") {
        return Some("twenty-four seven".into());
    }
    if matches!(found.word_before(), "rated" | "score" | "scored" | "scores" | "rating" | "rate") {
        let say = |digits| number(Number::of(digits), found.dialect);
        return Some(format!("{} out of {}", say(above), say(below)));
    }
    Some(quotient(above, below, found.dialect))
}

fn quotient(above: &str, below: &str, american: bool) -> String {
    match (above.parse::<usize>(), below.parse::<usize>()) {
        (Ok(count), Ok(denominator @ 2..=100)) if count <= 999 && !above.starts_with('0') => {
            format!("{} {}", cardinal(above, american), part(denominator, count != 1))
        }
        _ => format!("{} over {}", number(Number::of(above), american), number(Number::of(below), american)),
    }
}

/// `1 1/2`
pub(super) fn mixed(found: &Found<'_>) -> Option<String> {
    let (above, below) = (found.group(2).parse::<usize>().ok()?, found.group(3).parse::<usize>().ok()?);
    if above >= below {
        return None;
    }
    let quotient = quotient(found.group(2), found.group(3), found.dialect);
    let quotient = match quotient.strip_prefix("one ") {
        Some(part) => format!("a{} {part}", if part.starts_with("eigh") { "n" } else { "" }),
        None => quotient,
    };
    Some(format!("{} and {quotient}", cardinal(found.group(1), found.dialect)))
}

/// `1.5e10`, `6.02×10^23`, `10^-3`.
pub(super) fn power_of_ten(found: &Found<'_>) -> Option<String> {
    let power = to_the_power(found.group(2), found.dialect);
    Some(match found.group(1) {
        "" => format!("ten {power}"),
        mantissa => format!("{} times ten {power}", number(Number::of(mantissa), found.dialect)),
    })
}

/// `^2` after a letter, a number or a bracket.
pub(super) fn power(found: &Found<'_>) -> Option<String> {
    let base = found.last_before().is_some_and(|c| c.is_alphanumeric() || c == ')');
    base.then(|| match found.group(1) {
        "2" => " squared".into(),
        "3" => " cubed".into(),
        exponent => format!(" {}", to_the_power(exponent, found.dialect)),
    })
}

fn to_the_power(exponent: &str, american: bool) -> String {
    let digits = exponent.trim_start_matches(['-', '+']);
    let words = match digits.bytes().all(|b| b.is_ascii_digit()) {
        true => cardinal(digits, american),
        false => digits.into(),
    };
    format!("to the power of {}{words}", if exponent.starts_with('-') { "minus " } else { "" })
}

/// `1920x1080`, `3 x 4 x 5`.
pub(super) fn dimensions(found: &Found<'_>) -> Option<String> {
    // "3×4" is a sum, "1920×1080" a screen.
    let small = found.whole().split('×').any(|side| side.trim().len() < 3);
    if found.whole().contains('×') && (small || found.whole().contains(' ')) {
        return None;
    }
    let sides = found.whole().split(['x', '×']).map(str::trim);
    let sides = sides.map(|side| pairs(side).unwrap_or_else(|| number(Number::of(side), found.dialect)));
    Some(sides.collect::<Vec<_>>().join(" by "))
}

/// `1st`, `22nd`.
pub(super) fn ordinals(found: &Found<'_>) -> Option<String> {
    let digits: String = found.group(1).chars().filter(char::is_ascii_digit).collect();
    Some(ordinal(&digits, found.dialect))
}

/// `2x`, `10k`, `5M`, `50+`.
pub(super) fn suffixed(found: &Found<'_>) -> Option<String> {
    let words = number(Number::of(found.group(1)), found.dialect);
    Some(match found.group(2) {
        "x" | "X" | "×" => format!("{words} times"),
        "k" => format!("{words} thousand"),
        "M" => format!("{words} million"),
        "bn" => format!("{words} billion"),
        _ => return None,
    })
}

/// A number with letters at its end: `5G`, `3D`, `1080p`, `4th-floor` aside.
pub(super) fn lettered(found: &Found<'_>) -> Option<String> {
    let digits = found.group(1);
    let said = match digits.len() {
        _ if digits.starts_with('0') => spelled(digits),
        3 if !digits.ends_with("00") => hundreds_apart(digits),
        _ => pairs(digits).unwrap_or_else(|| cardinal(digits, found.dialect)),
    };
    let letters = found.group(2);
    let letters = if letters.len() <= 3 { spell_letters(letters) } else { letters.into() };
    Some(format!("{said} {letters}"))
}

/// "ten eighty" for 1080; `None` for what is no such number.
pub(super) fn pairs(digits: &str) -> Option<String> {
    let value: usize = digits.parse().ok()?;
    let paired = digits.len() == 4 && !digits.starts_with('0') && value % 1_000 >= 10;
    let (first, rest) = (below_hundred(value / 100), value % 100);
    paired.then(|| match rest {
        0 => format!("{first} hundred"),
        1..10 => format!("{first} oh {}", below_hundred(rest)),
        _ => format!("{first} {}", below_hundred(rest)),
    })
}

/// "seven twenty" for 720, "seven oh seven" for 707.
pub(super) fn hundreds_apart(digits: &str) -> String {
    let (first, rest) = digits.split_at(1);
    match rest.parse::<usize>() {
        Ok(low @ 1..10) => format!("{} oh {}", spelled(first), below_hundred(low)),
        Ok(rest) => format!("{} {}", spelled(first), below_hundred(rest)),
        Err(_) => spelled(digits),
    }
}
