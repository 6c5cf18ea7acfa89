//! What the words of a pause say about it: whether the speaker seems to have finished.

/// How a transcript reads at a pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reads {
    /// It ends in a question mark.
    Question,
    /// It ends in a full stop or an exclamation mark.
    Statement,
    /// It ends in a comma or no mark at all. Recognisers write a comma after one finished sentence in five.
    Open,
    /// There must be more: it ends in a word that leads on, in dots, or in an if-clause with nothing after it; or there is no text.
    LeadingOn,
}

impl Reads {
    pub fn of(text: &str) -> Self {
        let text = text.trim_end();
        let bare = |word: &str| word.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
        let last_word = bare(text.split_whitespace().next_back().unwrap_or_default());
        let dots = text.ends_with("...") || text.ends_with('…');
        if last_word.is_empty() || dots || LEADING_ON.contains(&last_word.as_str()) {
            return Self::LeadingOn;
        }
        if text.ends_with(['?', '？']) {
            return Self::Question;
        }
        if text.ends_with(['.', '!', '。', '！']) {
            return Self::Statement;
        }
        let clause = text.trim_end_matches(',').rsplit([',', '.', '?', '!', ';']).next().unwrap_or_default();
        let first_word = bare(clause.split_whitespace().next().unwrap_or_default());
        if OPENING_CLAUSES.contains(&first_word.as_str()) { Self::LeadingOn } else { Self::Open }
    }
}

/// Words after which an English speaker has more to say.
const LEADING_ON: &[&str] = &[
    "a", "an", "and", "as", "at", "because", "but", "for", "from", "if", "in", "into", "is", "my", "of", "on", "or",
    "our", "so", "than", "that", "the", "their", "then", "this", "to", "uh", "um", "was", "when", "where", "which",
    "while", "who", "with", "your",
];

/// Words that open a clause which another has to follow, where no full stop ended it.
const OPENING_CLAUSES: &[&str] =
    &["although", "because", "if", "once", "since", "unless", "until", "when", "whenever", "whether", "while"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_reads_finished_only_when_it_does_not_lead_on() {
        for (text, reads) in [
            ("What's the weather like?", Reads::Question),
            ("Turn off the lights.", Reads::Statement),
            ("今天天氣怎麼樣？", Reads::Question),
            ("And so my fellow Americans,", Reads::Open),
            ("And so my fellow Americans", Reads::Open),
            ("I went home. The conference is now muted,", Reads::Open),
            ("I would like to.", Reads::LeadingOn),
            ("I went there and.", Reads::LeadingOn),
            ("Because...", Reads::LeadingOn),
            ("The number I have is,", Reads::LeadingOn),
            ("I am not sure. If it rains tomorrow,", Reads::LeadingOn),
            ("", Reads::LeadingOn),
        ] {
            assert_eq!(Reads::of(text), reads, "{text}");
        }
    }
}
