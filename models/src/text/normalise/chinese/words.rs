//! Signs, and Latin letters in Mandarin text.

use super::super::addresses::letters;
use super::super::quantity::Number;
use super::amounts::number;
use super::{Found, NAMES};

/// Capitals that are read as a word.
const ACRONYM_WORDS: &[&str] = &[
    "NASA", "NATO", "UNESCO", "UNICEF", "FIFA", "COVID", "RAM", "ROM", "SIM", "PIN", "GIF", "SARS", "LINE", "ZOOM",
    "OK", "YES", "NO",
];

/// Capitals letter by letter; words stay as they are.
pub(super) fn acronym(found: &Found<'_>) -> Option<String> {
    let stem = found.group(1);
    let inside = found.last_before().is_some_and(|c| c.is_ascii_alphanumeric() || c == '\'' || c == '’');
    let short = stem.len() <= 3 || !stem.bytes().any(|b| b"AEIOUY".contains(&b));
    (!inside && short && !ACRONYM_WORDS.contains(&stem)).then(|| letters(stem))
}

/// Letters and digits in one word: `MP3`, `A4`, `GPT-4`, `COVID-19`.
pub(super) fn coded(found: &Found<'_>) -> Option<String> {
    if found.last_before().is_some_and(|c| c.is_ascii_alphanumeric() || c == '_') {
        return None;
    }
    let mut words: Vec<String> = Vec::new();
    let mut rest = found.whole();
    while let Some(first) = rest.chars().next() {
        let same = |c: char| c != '-' && c.is_ascii_digit() == first.is_ascii_digit();
        let (piece, after) = rest.split_at(rest.find(|c| !same(c)).unwrap_or(rest.len()).max(1));
        rest = after;
        let word = ACRONYM_WORDS.contains(&piece) || piece.chars().any(char::is_lowercase);
        words.push(match first {
            '-' => continue,
            '0'..='9' if piece.len() > 2 => super::numbers::spelled(piece),
            '0'..='9' => number(Number::of(piece), false),
            _ if word => piece.to_owned(),
            _ => letters(piece),
        });
    }
    Some(words.join(" "))
}

/// `5G`, `3D`, `4K`, `2B`.
pub(super) fn lettered(found: &Found<'_>) -> Option<String> {
    Some(format!("{} {}", number(Number::of(found.group(1)), false), letters(found.group(2))))
}

/// Signs of sums, between what they join.
pub(super) fn sign(found: &Found<'_>) -> Option<String> {
    let sign = found.group(1);
    let before = found.before.trim_end().chars().next_back();
    let after = found.next_after();
    let joins = before.is_some_and(|c| c.is_alphanumeric() || ")]²³%".contains(c))
        && after.is_some_and(|c| c.is_alphanumeric() || "(-+$€£√∞".contains(c));
    let spaced = found.whole().starts_with(' ') || found.last_before().is_some_and(char::is_whitespace);
    let lopsided = spaced != found.whole().ends_with(' ');
    let numbers = before.is_some_and(|c| c.is_ascii_digit()) && after.is_some_and(|c| c.is_ascii_digit());
    if !joins || (lopsided && matches!(sign, "+" | "-" | "<" | ">" | "<=" | ">=")) {
        return None;
    }
    let words = match sign {
        "+" => "加",
        "=" | "==" => "等於",
        "!=" | "≠" => "不等於",
        "<=" | "≤" => "小於等於",
        ">=" | "≥" => "大於等於",
        "<" => "小於",
        ">" => "大於",
        "×" => "乘以",
        "*" | "·" if numbers => "乘以",
        "÷" => "除以",
        "/" if numbers => "除以",
        "≈" => "約等於",
        "±" => "正負",
        "&" => "和",
        _ => return None,
    };
    Some(words.into())
}

/// Signs that have a name wherever they stand.
pub(super) fn named(found: &Found<'_>) -> Option<String> {
    let number = found.next_after().is_some_and(|c| c.is_ascii_digit());
    let about = ["約", "大約", "大概", "差不多"].iter().any(|word| found.before.trim_end().ends_with(word));
    Some(match found.whole() {
        "%" => "百分比".into(),
        "€" => "歐元".into(),
        "£" => "英鎊".into(),
        "¥" => "日圓".into(),
        "°" => "度".into(),
        "²" => "平方".into(),
        "³" => "立方".into(),
        "√" => "根號".into(),
        "∞" => "無限大".into(),
        "π" => "圓周率".into(),
        "±" => "正負".into(),
        "~" | "≈" if number && about => String::new(),
        "~" | "≈" if number => "約".into(),
        "<" if number => "小於".into(),
        ">" if number => "大於".into(),
        "≤" | "<=" if number => "小於等於".into(),
        "≥" | ">=" if number => "大於等於".into(),
        "&" => "和".into(),
        _ => return None,
    })
}

/// `abc_123`
pub(super) fn underscore(found: &Found<'_>) -> Option<String> {
    let latin = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    (latin(found.last_before()) && latin(found.next_after())).then(|| NAMES.underscore.into())
}

/// `AT&T`
pub(super) fn joined_letters(found: &Found<'_>) -> Option<String> {
    let alone = found.last_before().is_none_or(|c| !c.is_ascii_alphanumeric());
    alone.then(|| format!("{} 和 {}", letters(found.group(1)), letters(found.group(2))))
}

/// `+` after what it stands at: `C++`, `50+`.
pub(super) fn pluses(found: &Found<'_>) -> Option<String> {
    let at = found.last_before().is_some_and(|c| c.is_ascii_alphanumeric());
    let number = found.last_before().is_some_and(|c| c.is_ascii_digit());
    let ends = found.next_after().is_none_or(|c| !c.is_ascii_alphanumeric() && !"(+=-".contains(c));
    (at && ends).then(|| if number { "以上".into() } else { found.whole().chars().map(|_| "加").collect() })
}

/// `#1`, `#台灣`
pub(super) fn hash(found: &Found<'_>) -> Option<String> {
    if found.last_before().is_some_and(|c| c.is_ascii_alphanumeric()) {
        return None;
    }
    let name = found.group(1);
    match name.bytes().all(|b| b.is_ascii_digit()) {
        true => Some(format!("{}號", number(Number::of(name), false))),
        false => Some(format!(
            "主題標籤{}",
            if name.is_ascii() { format!(" {}", NAMES.spelled(name)) } else { super::say(name) }
        )),
    }
}

/// `@john_doe`
pub(super) fn handle(found: &Found<'_>) -> Option<String> {
    let inside = found.last_before().is_some_and(|c| c.is_ascii_alphanumeric());
    (!inside).then(|| format!("{} {}", NAMES.at, NAMES.spelled(found.group(1))))
}
