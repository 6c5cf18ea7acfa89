//! Written text as it is said: numbers, money, dates, times, units, abbreviations, addresses and signs become words.
//!
//! [`spoken_form`] is a pure function of the text and of the language of the voice that will say it, since "3/14" is said differently in Boston,
//! London and Taipei. One walk from left to right: at the start of each word, number or mark the language's rules are tried in order
//! (`rules`), and the first that recognises what stands there gives the words; what none knows is kept as it is. What was said is never
//! read again, so words stay as they are and text that is already spoken comes back unchanged.
//!
//! It promises no more than [`EXPANSION_MAX`] bytes for one of the text's, and time in proportion to its length: a rule sees
//! [`rules::WINDOW`] bytes ahead and no more. It refuses nothing: a date or a time that isn't one is said as the numbers that it
//! is made of. Text in a language for which there are no rules comes back as it was.

mod addresses;
mod chinese;
mod english;
mod fold;
mod quantity;
mod rules;
#[cfg(test)]
mod tests;

/// How many bytes of speech a byte of text may become, beyond a few words for the first: "777" is said in 29.
pub const EXPANSION_MAX: usize = 24;

/// `text` as a voice of `language` (BCP 47: `en-US`, `en-GB`, `zh-TW`, …) should say it.
pub fn spoken_form(text: &str, language: &str) -> String {
    let mut tags = language.split(['-', '_']);
    let primary = tags.next().unwrap_or_default().to_ascii_lowercase();
    match primary.as_str() {
        "en" => {
            // Those who say "March fourteenth" and "one hundred five"; the rest of the world's English follows Britain.
            let american = tags.all(|tag| !tag.eq_ignore_ascii_case("GB") && !COMMONWEALTH.contains(&tag));
            english::say(&fold::folded(text), american)
        }
        "zh" | "cmn" => chinese::say(&fold::folded(text)),
        _ => text.to_owned(),
    }
}

/// Regions whose English says the day before the month, and "one hundred and five".
const COMMONWEALTH: [&str; 8] = ["AU", "NZ", "IE", "IN", "ZA", "SG", "HK", "UK"];
