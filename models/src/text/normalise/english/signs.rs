//! English signs: of sums, of networks, and those that stand within words.

use super::super::addresses::letters;
use super::numbers::{cardinal, spelled};
use super::{Found, NAMES};

/// `&` between words.
pub(super) fn and(_: &Found<'_>) -> Option<String> {
    Some(" and ".into())
}

/// Signs of sums, between what they join.
pub(super) fn sign(found: &Found<'_>) -> Option<String> {
    let sign = found.group(1);
    let before = found.before.trim_end().chars().next_back();
    let after = found.next_after();
    let joins = before.is_some_and(|c| c.is_alphanumeric() || ")]²³%".contains(c))
        && after.is_some_and(|c| c.is_alphanumeric() || "(-+$€£√.∞".contains(c));
    // "+886" after a space is no sum.
    let spaced = found.whole().starts_with(' ') || found.last_before().is_some_and(char::is_whitespace);
    let lopsided = spaced != found.whole().ends_with(' ');
    if lopsided && matches!(sign, "+" | "-" | "<" | ">" | "<=" | ">=") {
        return None;
    }
    let number_before = before.is_some_and(|c| c.is_ascii_digit());
    let words = match sign {
        "+" if joins => "plus",
        "=" | "==" if joins => "equals",
        "!=" | "≠" if joins => "is not equal to",
        "<=" | "≤" if joins => "is at most",
        ">=" | "≥" if joins => "is at least",
        "<" if joins => "is less than",
        ">" if joins => "is greater than",
        "*" | "×" | "·" if joins && (number_before || sign == "×") => "times",
        "÷" if joins => "divided by",
        // Whole numbers were fractions: these are marks, as "4.5/5".
        "/" if joins && number_before && after.is_some_and(|c| c.is_ascii_digit()) => "out of",
        "≈" if joins => "is about",
        "±" if joins => "plus or minus",
        _ => return None,
    };
    Some(format!(" {words} "))
}

/// `C++`, `50+`, `A+`: said after what it stands at.
pub(super) fn pluses(found: &Found<'_>) -> Option<String> {
    let at = found.last_before().is_some_and(char::is_alphanumeric);
    at.then(|| found.whole().chars().map(|_| " plus").collect())
}

/// Signs that have a name wherever they stand.
pub(super) fn named(found: &Found<'_>) -> Option<String> {
    let number = found.next_after().is_some_and(|c| c.is_ascii_digit());
    Some(match found.whole() {
        "€" => "euros".into(),
        "£" => "pounds".into(),
        "¥" => "yen".into(),
        "%" => "percent".into(),
        "°" => "degrees".into(),
        "²" if found.last_before().is_some_and(char::is_alphanumeric) => "squared".into(),
        "³" if found.last_before().is_some_and(char::is_alphanumeric) => "cubed".into(),
        "±" | "≈" if number => if found.whole() == "±" { "plus or minus" } else { "about" }.into(),
        "√" => "the square root of".into(),
        "∞" => "infinity".into(),
        "π" => "pi".into(),
        "§" => "section".into(),
        "©" => "copyright".into(),
        "~" if number && matches!(found.word_before(), "about" | "around" | "roughly" | "approximately") => {
            String::new()
        }
        "~" if number => "about".into(),
        "<" if number => "less than".into(),
        ">" if number => "more than".into(),
        "≤" | "<=" if number => "at most".into(),
        "≥" | ">=" if number => "at least".into(),
        "@" if number || found.next_after() == Some(' ') => "at".into(),
        _ => return None,
    })
}

/// `#1` and `#RustLang`
pub(super) fn hash(found: &Found<'_>) -> Option<String> {
    if found.last_before().is_some_and(char::is_alphanumeric) {
        return None;
    }
    let name = found.group(1);
    if name.bytes().all(|b| b.is_ascii_digit()) {
        let digits = if name.len() > 4 { spelled(name) } else { cardinal(name, found.dialect) };
        return Some(format!("number {digits}"));
    }
    if name.ends_with(|c: char| c == '_') && name.trim_matches('_').is_empty() {
        return None;
    }
    Some(format!(
        "hashtag {}",
        in_words(name)
            .split(' ')
            .filter(|word| !word.is_empty())
            .map(|word| NAMES.spelled(word))
            .collect::<Vec<_>>()
            .join(" ")
    ))
}

/// `$5/month`, `TCP/IP`, `and/or`.
pub(super) fn slash(found: &Found<'_>) -> Option<String> {
    let (before, after) = (found.last_before()?, found.next_after()?);
    if !after.is_alphabetic() || !before.is_alphanumeric() {
        return None;
    }
    Some(
        match (found.word_before(), found.word_after()) {
            ("and", "or") => "",
            (word, _) if word.ends_with(|c: char| c.is_ascii_digit()) => "per",
            _ => "slash",
        }
        .into(),
    )
    .map(|word: String| format!(" {word} ").replace("  ", " "))
}

/// `my_function`
pub(super) fn underscore(found: &Found<'_>) -> Option<String> {
    let within =
        found.last_before().is_some_and(char::is_alphanumeric) && found.next_after().is_some_and(char::is_alphanumeric);
    within.then(|| " ".into())
}

/// `main.rs`: a point within a word.
pub(super) fn file_ending(found: &Found<'_>) -> Option<String> {
    let within = found.last_before().is_some_and(char::is_alphanumeric);
    within.then(|| format!(" dot {}", NAMES.spelled(found.group(1))))
}

/// `C#`
pub(super) fn sharp(found: &Found<'_>) -> Option<String> {
    let note = matches!(found.last_before(), Some('A'..='G')) && found.word_before().len() == 1;
    note.then(|| " sharp".into())
}

/// `AT&T`, `R&D`
pub(super) fn joined_letters(found: &Found<'_>) -> Option<String> {
    let alone = found.last_before().is_none_or(|c| !c.is_alphanumeric());
    alone.then(|| format!("{} and {}", letters(found.group(1)), letters(found.group(2))))
}

/// `@john_doe`
pub(super) fn handle(found: &Found<'_>) -> Option<String> {
    if found.last_before().is_some_and(char::is_alphanumeric) {
        return None;
    }
    Some(format!("at {}", NAMES.spelled(found.group(1))))
}

/// `RustLang` in two words.
fn in_words(name: &str) -> String {
    let mut words = String::with_capacity(name.len() * 2);
    let mut lower = false;
    for c in name.chars() {
        if lower && c.is_uppercase() {
            words.push(' ');
        }
        lower = c.is_lowercase();
        words.push(if c == '_' { ' ' } else { c });
    }
    words
}
