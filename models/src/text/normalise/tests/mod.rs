#![allow(clippy::unwrap_used, reason = "tests")]

mod chinese;
mod english;

use proptest::prelude::*;

use self::chinese::TAIWANESE;
use self::english::AMERICAN;
use super::{EXPANSION_MAX, spoken_form};

const LANGUAGES: [&str; 3] = ["en-US", "en-GB", "zh-TW"];

fn holds(language: &str, cases: &[(&str, &str)]) {
    let wrong: Vec<String> = cases
        .iter()
        .map(|(text, expected)| (text, expected, spoken_form(text, language)))
        .filter(|(_, expected, said)| said != *expected)
        .map(|(text, expected, said)| format!("{text:?}\n  expected {expected:?}\n  got      {said:?}"))
        .collect();
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[test]
fn american_voice_is_given_words_for_everything_that_is_written() {
    assert!(AMERICAN.len() >= 200, "only {} cases", AMERICAN.len());
    holds("en-US", AMERICAN);
}

#[test]
fn taiwanese_voice_is_given_words_for_everything_that_is_written() {
    assert!(TAIWANESE.len() >= 170, "only {} cases", TAIWANESE.len());
    holds("zh-TW", TAIWANESE);
}

#[test]
fn british_voice_says_the_day_first_and_an_and_after_the_hundreds() {
    holds(
        "en-GB",
        &[
            ("On 3/4/2026 we met.", "On the third of April, twenty twenty-six we met."),
            ("on 25/12", "on the twenty-fifth of December"),
            ("due 12/25", "due the twenty-fifth of December"),
            ("105 people and 1,005 more", "one hundred and five people and one thousand and five more"),
            ("1,234,567", "one million two hundred and thirty-four thousand five hundred and sixty-seven"),
            ("14 March", "the fourteenth of March"),
            ("£5.01", "five pounds and one penny"),
        ],
    );
    assert_eq!(spoken_form("105", "en-AU"), "one hundred and five");
    assert_eq!(spoken_form("105", "en"), "one hundred five");
}

#[test]
fn what_was_said_once_is_not_said_differently_the_second_time() {
    for (language, cases) in [("en-US", AMERICAN), ("zh-TW", TAIWANESE)] {
        for (text, spoken) in cases {
            assert_eq!(&spoken_form(spoken, language), spoken, "{text}");
        }
    }
}

#[test]
fn prose_without_numbers_is_left_alone() {
    for text in [
        "It was the best of times, it was the worst of times - so they said; I agree (mostly).",
        "\"Well,\" he said, 'I don't know: perhaps?' She wasn't there... was she?!",
        "你好，世界！他說：「走吧。」——然後……就走了。",
        "",
        "   ",
    ] {
        for language in LANGUAGES {
            assert_eq!(spoken_form(text, language), text);
        }
    }
}

#[test]
fn text_of_a_language_without_rules_comes_back_as_it_was() {
    for language in ["de-DE", "ja", "", "x", "-", "english"] {
        assert_eq!(spoken_form("Um 14:30 kostet es 5 €.", language), "Um 14:30 kostet es 5 €.");
    }
    assert_eq!(spoken_form("5", "EN_us"), "five");
    assert_eq!(spoken_form("5", "cmn-Hant-TW"), "五");
}

#[test]
fn number_of_four_hundred_digits_is_said_digit_by_digit() {
    let text = "7".repeat(400);
    assert_eq!(spoken_form(&text, "en"), ["seven"; 400].join(" "));
    assert_eq!(spoken_form(&text, "zh"), "七".repeat(400));
    let grouped = format!("1{}", ",000".repeat(100));
    assert!(no_digit(&spoken_form(&grouped, "en")));
    assert!(no_digit(&spoken_form(&format!("0.{text}"), "en")));
}

#[test]
fn long_text_made_to_be_slow_is_said_to_its_end() {
    for unit in [
        "a", "A", "9", "1.", "1-", "1/", "1:", " ", "-", " -", "(", "é", "APIé", "@", "a.", "$", "1,", "+1 ", "零",
        "1零", "x^", "www.",
    ] {
        let text = unit.repeat(2_000 / unit.len());
        for language in LANGUAGES {
            let said = spoken_form(&text, language);
            assert!(said.len() <= bound(&text), "{unit:?} in {language}");
        }
    }
}

fn bound(text: &str) -> usize {
    text.len() * EXPANSION_MAX + 64
}

fn no_digit(text: &str) -> bool {
    !text.bytes().any(|b| b.is_ascii_digit())
}

fn survives(text: &str) -> Result<(), TestCaseError> {
    for language in LANGUAGES {
        let said = spoken_form(text, language);
        prop_assert!(said.len() <= bound(text), "{} bytes of {}", said.len(), text.len());
        prop_assert!(no_digit(&said), "digits are left for the voice: {}", said);
    }
    Ok(())
}

/// Pieces of everything that has a rule, so that they meet in ways nobody wrote down.
fn written() -> impl Strategy<Value = String> {
    let pieces = [
        "1",
        "2",
        "07",
        "14",
        "30",
        "113",
        "2026",
        "1,234",
        "3.14",
        "0",
        "999999",
        ".",
        ",",
        ":",
        "/",
        "-",
        "–",
        "~",
        " ",
        " ",
        " ",
        "$",
        "NT$",
        "€",
        "¥",
        "元",
        "%",
        "°C",
        "km/h",
        "kg",
        "GB",
        "m²",
        "st",
        "th",
        "s",
        "x",
        "e",
        "^",
        "10^",
        "+",
        "=",
        "<",
        ">",
        "×",
        "÷",
        "±",
        "√",
        "½",
        "²",
        "⁸",
        "AM",
        "p.m.",
        "March",
        "Jan.",
        "on",
        "Dr.",
        "St.",
        "No.",
        "Henry",
        "VIII",
        "II",
        "API",
        "USA",
        "NASA",
        "v2",
        "@",
        "#",
        "&",
        "_",
        "a",
        "Word",
        "example.com",
        "https://",
        "www.",
        "(",
        ")",
        "年",
        "月",
        "日",
        "點",
        "分",
        "第",
        "個",
        "萬",
        "億",
        "民國",
        "５",
        "％",
        "é",
        "\u{301}",
        "😀",
        "\n",
    ];
    prop::collection::vec(prop::sample::select(pieces.to_vec()), 0..24).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_digit_is_left_whatever_meets(text in written()) {
        survives(&text)?;
    }

    #[test]
    fn any_unicode_is_survived(text in any::<String>()) {
        survives(&text)?;
    }

    #[test]
    fn words_and_stops_are_left_alone(text in "[a-zé]{2,9}( [a-z]{2,9}){0,6}[.,!?;:]( [a-z]{3,9}){0,4}") {
        let abbreviated = ["vs", "etc"].iter().any(|short| text.split(|c: char| !c.is_alphabetic()).any(|word| word == *short));
        // "est." and "min." are abbreviations wherever they stand.
        let shortened = ["cf", "est", "min", "max", "avg", "incl", "approx", "dept"].iter().any(|word| text.contains(word));
        prop_assume!(!abbreviated && !shortened);
        prop_assert_eq!(&spoken_form(&text, "en"), &text);
        prop_assert_eq!(&spoken_form(&text, "zh"), &text);
    }
}
