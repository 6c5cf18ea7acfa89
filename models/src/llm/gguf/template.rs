//! The chat template of the GGUF, run as Hugging Face runs it, so that the prompt is exactly the one the model was trained on.
//!
//! The template is a Jinja program from an untrusted file: it gets no loader and a budget of steps. What it refuses is tried again in
//! an order that every template takes.

use std::collections::BTreeMap;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Value;
use minijinja::{Environment, Error, ErrorKind};

use super::arrangement::{alternating, one_system_prompt};
use super::file::Flaw;
use super::outlet::{THOUGHT, THOUGHT_END};
use super::python;
use crate::llm::{Message, Speaker};

/// Steps a rendering may take; a long conversation needs some thousands.
const FUEL: u64 = 5_000_000;
const NAME: &str = "chat";

pub(super) struct ChatTemplate {
    environment: Environment<'static>,
    bos: String,
    eos: String,
    /// It shows the model what the system says.
    has_system: bool,
}

impl ChatTemplate {
    pub fn new(source: &str, bos: &str, eos: &str) -> Result<Self, Flaw> {
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.map_err(|error| error.to_string())?);
        environment.set_fuel(Some(FUEL));
        environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        environment.set_unknown_method_callback(python::method);
        environment.add_filter("tojson", python::to_json);
        environment.add_function("raise_exception", |reason: String| -> Result<Value, Error> {
            Err(Error::new(ErrorKind::InvalidOperation, reason))
        });
        environment.add_function("strftime_now", |format: String| python::today(&format));
        environment
            .add_template_owned(NAME, without_training_marks(source))
            .map_err(|error| format!("its chat template cannot be read: {error}"))?;
        let mut template = Self { environment, bos: bos.into(), eos: eos.into(), has_system: true };
        let probe = "the system says so";
        let probes = [(Speaker::System, probe), (Speaker::User, "a")]
            .map(|(speaker, text)| Message { speaker, text: text.into() });
        template.has_system = template.render_as_it_is(&probes, false).is_ok_and(|prompt| prompt.contains(probe));
        Ok(template)
    }

    /// The prompt for a reply to `messages`. A model that can think aloud is asked not to, unless it is to be `thinking`.
    pub fn render(&self, messages: &[Message], thinking: bool) -> Result<String, Flaw> {
        let rendered = if self.has_system {
            let arranged = one_system_prompt(messages);
            self.render_as_it_is(&arranged, thinking)
                .or_else(|flaw| self.render_as_it_is(&alternating(messages), thinking).map_err(|_| flaw))
        } else {
            self.render_as_it_is(&alternating(messages), thinking)
        };
        let mut prompt = rendered?;
        // Some templates begin the reply with a thought whatever they are told: it ends at once.
        if !thinking && prompt.trim_end().ends_with(THOUGHT) {
            prompt.truncate(prompt.trim_end().len());
            prompt.push_str("\n\n");
            prompt.push_str(THOUGHT_END);
            prompt.push_str("\n\n");
        }
        Ok(prompt)
    }

    fn render_as_it_is(&self, messages: &[Message], thinking: bool) -> Result<String, Flaw> {
        let messages: Vec<Value> = messages
            .iter()
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
            ("enable_thinking", Value::from(thinking)),
            ("bos_token", Value::from(self.bos.as_str())),
            ("eos_token", Value::from(self.eos.as_str())),
        ]);
        self.environment
            .get_template(NAME)
            .and_then(|template| template.render(Value::from(context)))
            .map_err(|error| format!("the chat template refused the conversation: {error}"))
    }
}

/// Hugging Face's tags around what a model is trained on mean nothing in a prompt, and are no Jinja.
fn without_training_marks(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    for (index, part) in source.split("{%").enumerate() {
        if index > 0 {
            out.push_str("{%");
        }
        let tag = part.split_once("%}").map(|(tag, _)| tag.trim_matches(|c: char| c == '-' || c.is_whitespace()));
        match tag {
            Some("generation") => out.push_str(&part.replacen("generation", "if true", 1)),
            Some("endgeneration") => out.push_str(&part.replacen("endgeneration", "endif", 1)),
            _ => out.push_str(part),
        }
    }
    out
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
        ChatTemplate::new(source, "<s>", "</s>").and_then(|template| template.render(&talk(), false))
    }

    #[test]
    fn blocks_leave_no_blank_lines_as_in_hugging_faces_setting() {
        let source = "{{ bos_token }}{% for message in messages %}\n    {% if message.role == 'user' %}\n[{{ message['content'] | trim }}]\n    {% endif %}\n{% endfor %}\n{% if add_generation_prompt %}\n>\n{% endif %}\n";
        assert_eq!(render(source).unwrap(), "<s>[Be brief.\n\n hi]\n[<b>]\n>\n");
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

    /// The conversations of the tests below.
    fn said(turns: &[(Speaker, &str)]) -> Vec<Message> {
        turns.iter().map(|(speaker, text)| Message { speaker: *speaker, text: (*text).into() }).collect()
    }

    fn prompt(source: &str, turns: &[(Speaker, &str)], thinking: bool) -> String {
        ChatTemplate::new(source, "<s>", "</s>").unwrap().render(&said(turns), thinking).unwrap()
    }

    use Speaker::{Assistant, System, User};

    /// As Llama 3.1 and 3.2 do it: a date, macros' worth of conditions, slicing off the system message.
    const DATED: &str = "{{- bos_token }}{%- if not date_string is defined %}{%- set date_string = strftime_now('%Y') %}{%- endif %}{%- if messages[0]['role'] == 'system' %}{%- set system_message = messages[0]['content']|trim %}{%- set messages = messages[1:] %}{%- else %}{%- set system_message = '' %}{%- endif %}{{- '<|start|>system\n\nYear: ' + date_string + '\n' + system_message + '<|eot|>' }}{%- if tools is not none and tools is defined %}{{- tools | tojson(indent=4) }}{%- endif %}{%- for message in messages %}{%- if not (message.role == 'ipython' or 'tool_calls' in message) %}{{- '<|start|>' + message['role'] + '\n\n' + message['content'] | trim + '<|eot|>' }}{%- endif %}{%- endfor %}{%- if add_generation_prompt %}{{- '<|start|>assistant\n\n' }}{%- endif %}";

    #[test]
    fn a_template_with_the_date_and_a_sliced_list() {
        let text = prompt(DATED, &[(System, " Be brief. "), (User, "hi")], false);
        let (head, tail) = text.split_once("Year: ").unwrap();
        assert_eq!(head, "<s><|start|>system\n\n");
        assert!(tail.get(..2).is_some_and(|century| century == "20"));
        assert_eq!(tail.get(4..), Some("\nBe brief.<|eot|><|start|>user\n\nhi<|eot|><|start|>assistant\n\n"));
    }

    /// As Gemma and Mistral do it: speakers must alternate, the system has no place, the assistant has another name.
    const STRICT: &str = "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Conversation roles must alternate') }}{% endif %}{% if message['role'] == 'assistant' %}{% set role = 'model' %}{% else %}{% set role = message['role'] %}{% endif %}{{ '<start>' + role + '\n' + message['content'] | trim + '<end>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<start>model\n' }}{% endif %}";

    #[test]
    fn a_template_without_a_system_prompt_reads_it_with_the_first_question() {
        let turns = [(System, "Be brief."), (User, "hi"), (Assistant, "yes?"), (User, "well"), (User, "then")];
        let expected = "<s><start>user\nBe brief.\n\nhi<end>\n<start>model\nyes?<end>\n<start>user\nwell\n\nthen<end>\n<start>model\n";
        assert_eq!(prompt(STRICT, &turns, false), expected);
        let greeted = [(Assistant, "hello"), (User, "hi")];
        assert_eq!(
            prompt(STRICT, &greeted, false),
            "<s><start>user\n<end>\n<start>model\nhello<end>\n<start>user\nhi<end>\n<start>model\n"
        );
    }

    #[test]
    fn a_template_that_drops_the_system_prompt_in_silence_reads_it_with_the_first_question() {
        let source = "{% for message in messages if message.role != 'system' %}[{{ message.content }}]{% endfor %}";
        assert_eq!(prompt(source, &[(System, "Be brief."), (User, "hi")], false), "[Be brief.\n\nhi]");
    }

    /// As Qwen3 and SmolLM3 do it: a default, a loop that is left, thoughts switched off by an empty one, training marks.
    const THOUGHTFUL: &str = "{%- if enable_thinking is not defined -%}{%- set enable_thinking = true -%}{%- endif -%}{%- set ns = namespace(system='') -%}{%- for message in messages -%}{%- if message.role == 'system' -%}{%- set ns.system = message.content.replace('/no_think', '').rstrip() -%}{%- break -%}{%- endif -%}{%- endfor -%}{{ ns.system }}{%- for message in messages -%}{%- if message.role == 'system' -%}{%- continue -%}{%- endif -%}{%- generation -%}<{{ message.role[:1] | upper }}>{{ message.content if message.content is string else '' }}{%- endgeneration -%}{%- endfor -%}{%- if add_generation_prompt -%}{{ '<A>' }}{%- if enable_thinking is false -%}{{ '<think>\n\n</think>\n\n' }}{%- endif -%}{%- endif -%}";

    #[test]
    fn thoughts_are_switched_off_by_the_template_unless_they_are_wanted() {
        let turns = [(System, "Be brief. /no_think"), (User, "hi")];
        assert_eq!(prompt(THOUGHTFUL, &turns, false), "Be brief.<U>hi<A><think>\n\n</think>\n\n");
        assert_eq!(prompt(THOUGHTFUL, &turns, true), "Be brief.<U>hi<A>");
    }

    #[test]
    fn a_template_that_begins_a_thought_has_it_ended() {
        let source = "{% for message in messages %}{{ message.content }}{% endfor %}<A><think>\n";
        assert_eq!(prompt(source, &[(User, "hi")], false), "hi<A><think>\n\n</think>\n\n");
        assert_eq!(prompt(source, &[(User, "hi")], true), "hi<A><think>");
    }

    /// As SmolLM2 and Qwen2.5 do it: a system prompt of their own if none was given.
    #[test]
    fn a_template_with_a_default_system_prompt() {
        let source = "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ 'You are helpful|' }}{% endif %}{{ message['role'] ~ ':' ~ message['content'] ~ '|' }}{% endfor %}";
        assert_eq!(prompt(source, &[(User, "hi")], false), "You are helpful|user:hi|");
        assert_eq!(prompt(source, &[(System, "a"), (System, "b"), (User, "hi")], false), "system:a\n\nb|user:hi|");
    }
}
