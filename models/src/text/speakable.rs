//! What may be spoken of a text: words without markup.

use super::markup::{Markup, Unit, Voicing};

/// `text` as a voice should get it: no Markdown or HTML marks, no thinking, code blocks, tables or emoji; links by their text, bare URLs
/// by their host; white space single. Empty if nothing is left that can be said.
pub fn speakable(text: &str) -> String {
    let mut markup = Markup::default();
    let mut units = Vec::new();
    for c in text.chars() {
        markup.push(c, &mut units);
    }
    markup.finish(&mut units);
    spoken(&units)
}

/// The spoken side of `units`; empty unless it has a letter or a digit.
pub(super) fn spoken(units: &[Unit]) -> String {
    let mut text = String::new();
    let mut after_silence = false;
    for unit in units {
        let c = match unit.voicing {
            Voicing::Silent => {
                after_silence = true;
                continue;
            }
            Voicing::Said(c) | Voicing::Verbatim(c) => c,
        };
        if c.is_whitespace() {
            if !text.is_empty() && !text.ends_with(' ') {
                text.push(' ');
            }
            continue;
        }
        // "Great 😀!" must not become "Great !".
        if after_silence && text.ends_with(' ') && ",.!?;:".contains(c) {
            text.pop();
        }
        after_silence = false;
        text.push(c);
    }
    if text.ends_with(' ') {
        text.pop();
    }
    if text.chars().any(char::is_alphanumeric) { text } else { String::new() }
}
