//! English words whose full stop may not end a sentence.

/// What a full stop after a word means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// It ends the sentence.
    Ends,
    /// It never does: `Dr.`, `e.g.`
    Never,
    /// It does unless a number follows: `No. 5`, `Jan. 3`.
    UnlessNumber,
    /// It does if a capital follows: `etc.`
    IfCapital,
    /// It does if a word follows that commonly begins a sentence: `in the U.S. He…` but `the U.S. Army`.
    IfStarter,
}

/// Titles: only with a capital, since `rep`, `col` and `gen` also end sentences.
const TITLES: &[&str] = &[
    "Mr", "Mrs", "Ms", "Mx", "Messrs", "Dr", "Prof", "Gen", "Col", "Capt", "Cpt", "Lt", "Sgt", "Maj", "Adm", "Cmdr",
    "Gov", "Sen", "Rep", "Pres", "Rev", "Fr", "Hon", "Mt",
];
const NEVER: &[&str] = &["vs", "cf", "approx", "viz", "al", "e.g", "i.e", "mr", "mrs", "dr"];
const BEFORE_NUMBER: &[&str] = &[
    "No", "Nos", "no", "Fig", "Figs", "fig", "Vol", "vol", "p", "pp", "Ch", "ch", "Sec", "sec", "Art", "Eq", "Jan",
    "Feb", "Mar", "Apr", "Jun", "Jul", "Aug", "Sep", "Sept", "Oct", "Nov", "Dec", "ca",
];
const BEFORE_CAPITAL: &[&str] = &["etc", "et", "esp", "incl", "est", "min", "max", "avg", "dept", "misc"];
const BEFORE_STARTER: &[&str] =
    &["inc", "ltd", "corp", "co", "llc", "bros", "jr", "sr", "st", "ave", "blvd", "rd", "esq", "univ", "phd", "md"];
const STARTERS: &[&str] = &[
    "a",
    "after",
    "all",
    "also",
    "although",
    "an",
    "and",
    "another",
    "any",
    "are",
    "as",
    "at",
    "because",
    "before",
    "both",
    "but",
    "by",
    "can",
    "could",
    "did",
    "do",
    "does",
    "during",
    "each",
    "even",
    "every",
    "finally",
    "first",
    "for",
    "from",
    "had",
    "has",
    "have",
    "he",
    "her",
    "here",
    "his",
    "how",
    "however",
    "i",
    "if",
    "in",
    "instead",
    "is",
    "it",
    "its",
    "just",
    "let",
    "many",
    "maybe",
    "meanwhile",
    "most",
    "my",
    "next",
    "not",
    "now",
    "on",
    "once",
    "one",
    "or",
    "our",
    "perhaps",
    "please",
    "she",
    "should",
    "since",
    "so",
    "some",
    "such",
    "thank",
    "thanks",
    "that",
    "the",
    "their",
    "then",
    "there",
    "therefore",
    "these",
    "they",
    "this",
    "those",
    "though",
    "thus",
    "to",
    "today",
    "unless",
    "until",
    "was",
    "we",
    "well",
    "were",
    "what",
    "when",
    "where",
    "whether",
    "which",
    "while",
    "who",
    "why",
    "will",
    "with",
    "would",
    "yes",
    "yet",
    "you",
    "your",
];

/// What the full stop after `token` (without that stop) means. `alone`: nothing else was said in the sentence yet.
pub(super) fn stop_after(token: &str, alone: bool) -> Stop {
    let lower = token.to_lowercase();
    if alone && is_list_number(token) {
        return Stop::Never;
    }
    if TITLES.contains(&token) || NEVER.contains(&lower.as_str()) {
        return Stop::Never;
    }
    if BEFORE_NUMBER.contains(&token) {
        return Stop::UnlessNumber;
    }
    if BEFORE_CAPITAL.contains(&lower.as_str()) {
        return Stop::IfCapital;
    }
    if BEFORE_STARTER.contains(&lower.as_str()) || is_initials(token) {
        return Stop::IfStarter;
    }
    Stop::Ends
}

/// Whether `word` is one that sentences commonly begin with.
pub(super) fn is_starter(word: &str) -> bool {
    word.chars().next().is_some_and(char::is_uppercase) && STARTERS.contains(&word.to_lowercase().as_str())
}

/// `1`, `12`, `a`, `iv`: the number of a list's item.
fn is_list_number(token: &str) -> bool {
    let digits = !token.is_empty() && token.len() <= 3 && token.bytes().all(|b| b.is_ascii_digit());
    let letter = token.len() == 1 && token.bytes().all(|b| b.is_ascii_alphabetic());
    let roman = token.len() <= 4 && !token.is_empty() && token.bytes().all(|b| b"ivx".contains(&b));
    digits || letter || roman
}

/// `J`, `U.S`, `a.m`, `Ph.D`: letters each with its own stop. Not the pronoun `I`.
fn is_initials(token: &str) -> bool {
    if token == "I" {
        return false;
    }
    let mut parts = token.split('.').peekable();
    let several = token.contains('.');
    let upper = token.chars().all(char::is_uppercase);
    (several || upper)
        && parts.all(|part| {
            let mut letters = part.chars();
            letters.next().is_some_and(|c| c.is_alphabetic() && !super::characters::is_cjk(c))
                && part.chars().count() <= if several { 2 } else { 1 }
        })
}
