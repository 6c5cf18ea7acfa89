//! The chat template of the GGUF, run as Hugging Face runs it, so that the prompt is exactly the one the model was trained on.
//!
//! The template is a Jinja program from an untrusted file: it gets no loader and a budget of steps.

use std::collections::BTreeMap;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Value;
use minijinja::{Environment, Error, ErrorKind, State};

use super::file::Flaw;
use crate::llm::{Message, Speaker};

/// Steps a rendering may take; a long conversation needs some thousands.
const FUEL: u64 = 5_000_000;
/// Bytes that replacing may make of a text: each step of a template may otherwise square what it holds.
const REPLACED_LIMIT: usize = 16 << 20;
const NAME: &str = "chat";

pub(super) struct ChatTemplate {
    environment: Environment<'static>,
    bos: String,
    eos: String,
}

impl ChatTemplate {
    pub fn new(source: &str, bos: &str, eos: &str) -> Result<Self, Flaw> {
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.map_err(|error| error.to_string())?);
        environment.set_fuel(Some(FUEL));
        environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        environment.set_unknown_method_callback(python_method);
        environment.add_function("raise_exception", |reason: String| -> Result<Value, Error> {
            Err(Error::new(ErrorKind::InvalidOperation, reason))
        });
        environment.add_function("strftime_now", |format: String| today(&format));
        environment
            .add_template_owned(NAME, source.to_owned())
            .map_err(|error| format!("its chat template cannot be read: {error}"))?;
        Ok(Self { environment, bos: bos.into(), eos: eos.into() })
    }

    /// The prompt for a reply to `messages`. Models that can think aloud are asked not to: nobody hears it.
    pub fn render<'a>(&self, messages: impl IntoIterator<Item = &'a Message>) -> Result<String, Flaw> {
        let messages: Vec<Value> = messages
            .into_iter()
            .map(|message| {
                let role = match message.speaker {
                    Speaker::System => "system",
                    Speaker::User => "user",
                    Speaker::Assistant => "assistant",
                };
                Value::from(BTreeMap::from([
                    ("role", Value::from(role)),
                    ("content", Value::from(message.text.as_str())),
                ]))
            })
            .collect();
        let context = BTreeMap::from([
            ("messages", Value::from(messages)),
            ("add_generation_prompt", Value::from(true)),
            ("enable_thinking", Value::from(false)),
            ("bos_token", Value::from(self.bos.as_str())),
            ("eos_token", Value::from(self.eos.as_str())),
        ]);
        self.environment
            .get_template(NAME)
            .and_then(|template| template.render(Value::from(context)))
            .map_err(|error| format!("the chat template refused the conversation: {error}"))
    }
}

/// The methods of Python's `str` and `dict` that chat templates call.
fn python_method(_: &mut State, value: &Value, method: &str, arguments: &[Value]) -> Result<Value, Error> {
    let unknown = || Error::new(ErrorKind::UnknownMethod, format!("no method `{method}`"));
    if let Some(text) = value.as_str() {
        let argument = |index: usize| arguments.get(index).and_then(Value::as_str);
        let is_stripped = |character: char| match argument(0) {
            Some(set) => set.contains(character),
            None => character.is_whitespace(),
        };
        return match (method, argument(0)) {
            ("strip", _) => Ok(text.trim_matches(is_stripped).into()),
            ("lstrip", _) => Ok(text.trim_start_matches(is_stripped).into()),
            ("rstrip", _) => Ok(text.trim_end_matches(is_stripped).into()),
            ("startswith", Some(prefix)) => Ok(text.starts_with(prefix).into()),
            ("endswith", Some(suffix)) => Ok(text.ends_with(suffix).into()),
            ("split", Some(separator)) if !separator.is_empty() => Ok(text.split(separator).map(Value::from).collect()),
            ("split", None) => Ok(text.split_whitespace().map(Value::from).collect()),
            ("replace", Some(from)) => replaced(text, from, argument(1).ok_or_else(unknown)?).map(Value::from),
            ("upper", _) => Ok(text.to_uppercase().into()),
            ("lower", _) => Ok(text.to_lowercase().into()),
            ("capitalize" | "title", _) => Ok(capitalised(text).into()),
            _ => Err(unknown()),
        };
    }
    match (method, arguments) {
        ("get", [key, rest @ ..]) => {
            let found = value.get_item(key)?;
            Ok(if found.is_undefined() { rest.first().cloned().unwrap_or_default() } else { found })
        }
        ("keys", []) => Ok(value.try_iter()?.collect()),
        ("items", []) => {
            let pairs = value.try_iter()?.map(|key| Ok(Value::from(vec![key.clone(), value.get_item(&key)?])));
            pairs.collect::<Result<Vec<_>, Error>>().map(Value::from)
        }
        _ => Err(unknown()),
    }
}

fn replaced(text: &str, from: &str, to: &str) -> Result<String, Error> {
    let grown = text.matches(from).count().checked_mul(to.len()).and_then(|more| more.checked_add(text.len()));
    match grown {
        Some(length) if length <= REPLACED_LIMIT => Ok(text.replace(from, to)),
        _ => Err(Error::new(ErrorKind::InvalidOperation, "replacing makes the text too long")),
    }
}

fn capitalised(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}

/// Today's date, UTC, in the few forms that templates ask for.
fn today(format: &str) -> String {
    let days =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |age| age.as_secs() / 86_400);
    date(days, format)
}

/// `days` since 1970-01-01 in the Gregorian calendar (Hinnant, `civil_from_days`).
fn date(days: u64, format: &str) -> String {
    const MONTHS: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let name = MONTHS.get(month as usize - 1).copied().unwrap_or_default();
    [
        ("%Y", year.to_string()),
        ("%m", format!("{month:02}")),
        ("%d", format!("{day:02}")),
        ("%B", name.to_owned()),
        ("%b", name.chars().take(3).collect()),
    ]
    .iter()
    .fold(format.to_owned(), |text, (field, value)| text.replace(field, value))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn talk() -> Vec<Message> {
        let message = |speaker, text: &str| Message { speaker, text: text.into() };
        vec![
            message(Speaker::System, "Be brief."),
            message(Speaker::User, " hi "),
            message(Speaker::Assistant, "<think>\nhm\n</think>\n\nHello."),
            message(Speaker::User, "<b>"),
        ]
    }

    fn render(source: &str) -> Result<String, Flaw> {
        ChatTemplate::new(source, "<s>", "</s>").and_then(|template| template.render(&talk()))
    }

    #[test]
    fn blocks_leave_no_blank_lines_as_in_hugging_faces_setting() {
        let source = "{{ bos_token }}{% for message in messages %}\n    {% if message.role == 'user' %}\n[{{ message['content'] | trim }}]\n    {% endif %}\n{% endfor %}\n{% if add_generation_prompt %}\n>\n{% endif %}\n";
        assert_eq!(render(source).unwrap(), "<s>[hi]\n[<b>]\n>\n");
    }

    #[test]
    fn the_python_that_qwens_template_speaks_is_understood() {
        let source = "{%- set ns = namespace(last=0) %}{%- for message in messages[::-1] %}{%- if message.role == 'user' and not message.content.startswith('<tool') and ns.last == 0 %}{%- set ns.last = loop.index %}{%- endif %}{%- endfor %}{%- for message in messages %}{%- if message.role == 'assistant' %}{{- message.content.split('</think>')[-1].lstrip('\n') }}|{{- message.content.split('</think>')[0].rstrip('\n').split('<think>')[-1].strip('\n') }}{%- endif %}{%- endfor %}|{{ ns.last }}|{{ messages[0].get('tools', 'none') }}{% if enable_thinking is defined and enable_thinking is false %}|off{% endif %}";
        assert_eq!(render(source).unwrap(), "Hello.|hm|1|none|off");
    }

    #[test]
    fn a_template_that_refuses_or_never_ends_is_an_error() {
        assert!(
            render("{{ raise_exception('roles must alternate') }}")
                .is_err_and(|words| words.contains("roles must alternate"))
        );
        let endless = "{% for a in range(9999) %}{% for b in range(9999) %}{% for c in range(9999) %}x{% endfor %}{% endfor %}{% endfor %}";
        assert!(render(endless).is_err());
        assert!(render("{% for message in messages %}").is_err());
    }

    #[test]
    fn a_template_that_squares_its_text_takes_no_memory() {
        let squared = "{% set a = 'a' * 1000000 %}{{ a.replace('a', a) | length }}";
        assert!(render(squared).is_err_and(|words| words.contains("too long")));
        let between = "{{ ('a' * 1000000).replace('', 'b' * 1000000) | length }}";
        assert!(render(between).is_err_and(|words| words.contains("too long")));
        let doubled = "{% set n = namespace(x='aaaa') %}{% for i in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}";
        assert!(render(doubled).is_err());
        assert_eq!(render("{{ 'abab'.replace('b', 'xyz') }}").unwrap(), "axyzaxyz");
    }

    #[test]
    fn dates_are_the_calendars() {
        assert_eq!(date(0, "%d %b %Y"), "01 Jan 1970");
        assert_eq!(date(19_782, "%B %d, %Y"), "February 29, 2024");
        assert_eq!(date(20_818, "%Y-%m-%d"), "2026-12-31");
    }
}
