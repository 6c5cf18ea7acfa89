//! Mandarin numbers, money, measures, fractions, powers and ranges.

use super::super::quantity::Number;
use super::Found;
use super::numbers::{cardinal, counting, spelled};
use super::units::{CURRENCIES, UNITS};

/// `number` in words, without its sign; `counted` two is 兩.
pub(super) fn number(number: Number<'_>, counted: bool) -> String {
    let digits = number.digits();
    let long = digits.len() > 15 && !number.is_grouped();
    let whole = match digits.as_str() {
        digits if long || number.is_code() => spelled(digits),
        digits if counted && number.fraction.is_empty() => counting(digits),
        digits => cardinal(digits),
    };
    if number.fraction.is_empty() { whole } else { format!("{whole}點{}", spelled(number.fraction)) }
}

/// A number that stands alone.
pub(super) fn plain(found: &Found<'_>) -> Option<String> {
    let digits = found.whole();
    // The police and the fire brigade.
    let called = found.before.ends_with(['打', '撥', '線', '警'])
        || found.after.starts_with("報警")
        || found.after.starts_with("專線");
    if called && matches!(digits, "110" | "119" | "112" | "113" | "165" | "911") {
        return Some(spelled(digits));
    }
    Some(number(Number::of(digits), false))
}

/// A number before what it counts: `2個`, `2.5倍`, `3萬`.
pub(super) fn counted(found: &Found<'_>) -> Option<String> {
    Some(format!("{}{}", number(Number::of(found.group(1)), true), found.group(2)))
}

/// `第2`
pub(super) fn ordinal(found: &Found<'_>) -> Option<String> {
    Some(format!("第{}", number(Number::of(found.group(1)), false)))
}

/// `.5`
pub(super) fn point(found: &Found<'_>) -> Option<String> {
    let alone = found.last_before().is_none_or(|c| !c.is_ascii_alphanumeric() && c != '.');
    alone.then(|| format!("零點{}", spelled(found.group(1))))
}

/// `-` before a number that nothing stands before.
pub(super) fn minus(found: &Found<'_>) -> Option<String> {
    let next = found.next_after().is_some_and(|c| c.is_ascii_digit() || "$€£¥.".contains(c));
    let before = found.last_before();
    let alone = before.is_none_or(|c| !c.is_ascii_alphanumeric() && !")%-".contains(c));
    (next && alone).then(|| "負".into())
}

/// `3-5`, `10~20`, `9:00–17:00`: 到, unless a sum follows.
pub(super) fn range(found: &Found<'_>) -> Option<String> {
    let before = found.before.trim_end().chars().next_back()?;
    let unit = before == '%' || before == '°' || "天年月日元塊點分號樓時度歲週周".contains(before);
    let after = found.next_after().is_some_and(|c| c.is_ascii_digit() || "$€£¥".contains(c));
    if !(before.is_ascii_digit() || unit) || !after {
        return None;
    }
    let hyphen = found.whole().contains('-');
    let rest = found.after.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.').trim_start();
    let sum = hyphen && (found.whole().starts_with(' ') || rest.starts_with('='));
    Some(if sum { "減" } else { "到" }.into())
}

/// Numbers joined by hyphens or slashes: `2-3-1`, and dates that aren't.
pub(super) fn joined(found: &Found<'_>) -> Option<String> {
    let parts: Vec<String> = found.whole().split(['-', '/', ':']).map(|p| number(Number::of(p), false)).collect();
    Some(parts.join("，"))
}

/// `3:2`, and times that aren't.
pub(super) fn ratio(found: &Found<'_>) -> Option<String> {
    let say = |n| number(Number::of(found.group(n)), false);
    Some(format!("{}比{}", say(1), say(2)))
}

/// `NT$1,200`, `US$100`, `$5-10`, `$3萬`.
pub(super) fn money(found: &Found<'_>) -> Option<String> {
    let currency = CURRENCIES.iter().find(|currency| currency.0 == found.group(1).trim_end())?;
    let (first, last, scale) = (found.group(2), found.group(4), found.group(5));
    let mut words = format!("{}{}", currency.1, amount(first));
    if !last.is_empty() {
        words = format!("{words}到{}", amount(last));
    }
    // What the text says itself is not said twice: "美金US$100", "NT$100元".
    let named = ["美金", "歐元", "英鎊", "日圓", "日幣"].iter().any(|name| found.before.trim_end().ends_with(name));
    let unit = match currency.2 {
        _ if found.after.starts_with(['元', '圓', '塊']) => "",
        _ if named => "元",
        unit => unit,
    };
    Some(format!("{words}{scale}{unit}"))
}

/// `100 USD`, `5€`.
pub(super) fn money_after(found: &Found<'_>) -> Option<String> {
    let currency = CURRENCIES.iter().find(|currency| currency.0 == found.group(2))?;
    Some(format!("{}{}{}", currency.1, amount(found.group(1)), currency.2))
}

/// Without the zeros after the point that only prices have.
fn amount(text: &str) -> String {
    let value = Number::of(text);
    number(Number { fraction: value.fraction.trim_end_matches('0'), ..value }, true)
}

/// `50%`, `3~5%`.
pub(super) fn percent(found: &Found<'_>) -> Option<String> {
    let mut words = format!("百分之{}", number(Number::of(found.group(1)), false));
    if !found.group(2).is_empty() {
        words = format!("{words}到{}", number(Number::of(found.group(2)), false));
    }
    Some(words)
}

/// `-5°C`, `20°C`, `68°F`.
pub(super) fn temperature(found: &Found<'_>) -> Option<String> {
    let below = found.group(1) == "-";
    if below && found.last_before().is_some_and(|c| c.is_ascii_alphanumeric()) {
        return None;
    }
    let scale = if found.group(3).ends_with('F') { "華氏" } else { "攝氏" };
    let scale = if found.before.ends_with(scale) { "" } else { scale };
    let sign = match (below, found.group(3)) {
        (true, "°C") => "零下",
        (true, _) => "負",
        _ => "",
    };
    Some(format!("{scale}{sign}{}度", number(Number::of(found.group(2)), true)))
}

/// `100 km/h`
pub(super) fn speed(found: &Found<'_>) -> Option<String> {
    let name = if found.group(2) == "mph" { "英里" } else { "公里" };
    let told = if found.before.ends_with("時速") { "" } else { "時速" };
    Some(format!("{told}{}{name}", number(Number::of(found.group(1)), true)))
}

/// `5 kg`, `1.5GB`.
pub(super) fn measure(found: &Found<'_>) -> Option<String> {
    let unit = UNITS.iter().find(|unit| unit.0 == found.group(2))?;
    if found.group(2).ends_with(|c: char| c.is_ascii_alphanumeric())
        && found.next_after().is_some_and(|c| c.is_ascii_alphanumeric())
    {
        return None;
    }
    let letters = unit.1.is_ascii();
    Some(format!("{}{}{}", number(Number::of(found.group(1)), true), if letters { " " } else { "" }, unit.1))
}

/// `1/2`; a whole before it and the part are joined by 又.
pub(super) fn fraction(found: &Found<'_>) -> Option<String> {
    let (above, below) = (found.group(1), found.group(2));
    if (above, below) == ("24", "7") {
        return Some("二十四小時全年無休".into());
    }
    Some(quotient(above, below))
}

fn quotient(above: &str, below: &str) -> String {
    format!("{}分之{}", number(Number::of(below), false), number(Number::of(above), false))
}

/// `1 1/2`
pub(super) fn mixed(found: &Found<'_>) -> Option<String> {
    Some(format!("{}又{}", cardinal(found.group(1)), quotient(found.group(2), found.group(3))))
}

/// `1.5e10`, `6.02×10^23`, `10^-3`.
pub(super) fn power_of_ten(found: &Found<'_>) -> Option<String> {
    let power = to_the_power(found.group(2));
    Some(match found.group(1) {
        "" => format!("十{power}"),
        mantissa => format!("{}乘以十{power}", number(Number::of(mantissa), false)),
    })
}

/// `^2` after a letter, a number or a bracket.
pub(super) fn power(found: &Found<'_>) -> Option<String> {
    let base = found.last_before().is_some_and(|c| c.is_alphanumeric() || c == ')');
    base.then(|| match found.group(1) {
        "2" => "的平方".into(),
        "3" => "的立方".into(),
        exponent => to_the_power(exponent),
    })
}

fn to_the_power(exponent: &str) -> String {
    let digits = exponent.trim_start_matches(['-', '+']);
    let words = if digits.bytes().all(|b| b.is_ascii_digit()) { cardinal(digits) } else { digits.to_uppercase() };
    format!("的{}{words}次方", if exponent.starts_with('-') { "負" } else { "" })
}

/// `1920x1080`
pub(super) fn dimensions(found: &Found<'_>) -> Option<String> {
    let sides = found.whole().split(['x', '×', 'X']).map(|side| number(Number::of(side.trim()), false));
    Some(sides.collect::<Vec<_>>().join("乘"))
}

/// `2x`, `10k`, `5M`.
pub(super) fn suffixed(found: &Found<'_>) -> Option<String> {
    let value = Number::of(found.group(1));
    Some(match found.group(2) {
        "x" | "X" | "×" => format!("{}倍", number(value, true)),
        "k" if value.fraction.is_empty() => cardinal(&format!("{}000", value.digits())),
        _ => return None,
    })
}
