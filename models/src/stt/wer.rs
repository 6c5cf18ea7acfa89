//! Word error rate: how far a transcript is from what was said.
//!
//! Words are compared in lower case and without punctuation; numbers stay as they are written, so "2" is not "two". Each
//! Chinese character is a word of its own, as is usual for Chinese (character error rate).

/// The share of the reference's words that were substituted, deleted or inserted (Levenshtein over words): 0.0 is exact, and
/// it passes 1.0 when more was made up than was said. An empty reference gives the number of words that were made up.
pub fn word_error_rate(reference: &str, heard: &str) -> f32 {
    let (reference, heard) = (words(reference), words(heard));
    edits(&reference, &heard) as f32 / reference.len().max(1) as f32
}

/// The words of `text`, normalised for comparison.
pub fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    for character in text.chars().flat_map(char::to_lowercase) {
        if is_han(character) {
            words.extend((!word.is_empty()).then(|| std::mem::take(&mut word)));
            words.push(character.to_string());
        } else if character.is_alphanumeric() {
            word.push(character);
        } else if !matches!(character, '\'' | '’') {
            // An apostrophe joins ("don't"), everything else parts.
            words.extend((!word.is_empty()).then(|| std::mem::take(&mut word)));
        }
    }
    words.extend((!word.is_empty()).then_some(word));
    words
}

/// A Chinese character (the unified ideographs, their extensions and the compatibility forms): a word by itself.
pub fn is_han(character: char) -> bool {
    matches!(character, '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{323af}')
}

fn edits(from: &[String], to: &[String]) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (index, wanted) in from.iter().enumerate() {
        let mut diagonal = index;
        let mut left = index + 1;
        for (cell, found) in row.iter_mut().skip(1).zip(to) {
            let substituted = diagonal + usize::from(wanted != found);
            diagonal = *cell;
            left = substituted.min(*cell + 1).min(left + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = index + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_and_punctuation_are_not_errors() {
        assert_eq!(word_error_rate("ever tried ever failed", "Ever tried? Ever failed."), 0.0);
        assert_eq!(word_error_rate("don't", "don’t"), 0.0);
        assert_eq!(word_error_rate("twenty-one", "twenty one"), 0.0);
    }

    #[test]
    fn each_kind_of_error_counts_once() {
        assert_eq!(word_error_rate("a b c d", "a x c d"), 0.25);
        assert_eq!(word_error_rate("a b c d", "a c d"), 0.25);
        assert_eq!(word_error_rate("a b c d", "a b b c d"), 0.25);
        assert_eq!(word_error_rate("a b c d", "d c b a"), 1.0);
        assert_eq!(word_error_rate("a b", ""), 1.0);
    }

    #[test]
    fn made_up_words_are_errors_even_when_nothing_was_said() {
        assert_eq!(word_error_rate("", "you"), 1.0);
        assert_eq!(word_error_rate("", ""), 0.0);
        assert_eq!(word_error_rate("yes", "yes yes yes"), 2.0);
    }

    #[test]
    fn chinese_is_counted_by_character() {
        assert_eq!(words("你好，World！"), ["你", "好", "world"]);
        assert_eq!(word_error_rate("今天天氣好", "今天天气好"), 0.2);
    }
}
