//! Chinese characters without regard to the script they are written in, for comparing texts.
//!
//! Simplified characters stand for both: most traditional ones have exactly one, while one that is simplified may stand for several
//! (“发” for “發”, to send, and “髮”, hair). The table is OpenCC's (`t2s`), by `ferrous-opencc`. Words that differ from place to place are not
//! made alike: software is “軟體” here and “软件” there.

use std::ops::RangeInclusive;
use std::sync::OnceLock;

use ferrous_opencc::OpenCC;
use ferrous_opencc::config::BuiltinConfig;

/// What is looked up: the unified characters of everyday texts. Rarer ones are as they are.
const TABLE: RangeInclusive<u32> = 0x3400..=0x9FFF;

/// The simplified character of a traditional one; every other is itself.
pub fn simplified(character: char) -> char {
    if !TABLE.contains(&u32::from(character)) {
        return character;
    }
    static SIMPLIFIED: OnceLock<Vec<char>> = OnceLock::new();
    entry(SIMPLIFIED.get_or_init(table), character)
}

fn entry(table: &[char], character: char) -> char {
    let at = u32::from(character).checked_sub(*TABLE.start());
    at.and_then(|at| table.get(at as usize)).copied().unwrap_or(character)
}

/// Made once, in some milliseconds: the dictionaries are in the program. Empty, so that nothing is changed, if they cannot be read.
fn table() -> Vec<char> {
    let converter = match OpenCC::from_config(BuiltinConfig::T2s) {
        Ok(converter) => converter,
        Err(error) => {
            tracing::warn!(%error, "Chinese is compared as it is written");
            return Vec::new();
        }
    };
    // One on a line, so that none makes a phrase with its neighbours.
    let all: String = TABLE.filter_map(char::from_u32).flat_map(|character| [character, '\n']).collect();
    let converted = converter.convert(&all);
    let pairs = all.lines().zip(converted.lines());
    let table: Vec<char> = pairs
        .filter_map(|(from, to)| {
            let mut characters = to.chars();
            // One for one, or none at all: the index and the query must agree on where words begin.
            let single = characters.next().filter(|_| characters.next().is_none());
            single.or_else(|| from.chars().next())
        })
        .collect();
    // What is simplified of one may be another's traditional one: “薴”, “苧”, “苎”. All three are to be one.
    table.iter().map(|once| entry(&table, *once)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn simple(text: &str) -> String {
        text.chars().map(simplified).collect()
    }

    #[test]
    fn both_scripts_become_one_letter_for_letter() {
        for (traditional, expected) in [
            ("電話", "电话"),
            ("今天天氣怎麼樣？", "今天天气怎么样？"),
            ("頭髮發現後面", "头发发现后面"),
            ("皇后里程乾杯", "皇后里程干杯"),
            ("臺灣台北", "台湾台北"),
            ("龜鬱籲", "龟郁吁"),
        ] {
            assert_eq!(simple(traditional), expected);
            assert_eq!(simple(expected), expected);
        }
    }

    #[test]
    fn whatever_is_no_chinese_character_stays_as_it_is() {
        for text in ["Plain text, 12 %", "ひらがなカタカナ", "안녕", "ㄅㄆㄇ", "😀𠮷"] {
            assert_eq!(simple(text), text);
        }
    }

    #[test]
    fn what_has_been_made_alike_is_not_changed_again() {
        for character in TABLE.filter_map(char::from_u32) {
            let once = simplified(character);
            assert_eq!(simplified(once), once, "{character}");
        }
    }
}
