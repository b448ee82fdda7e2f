//! Chat templates that bases bring along: Hugging Face's dialect of Jinja, within limits.
//!
//! # Invariants
//!
//! - **Bounded.** A template's size, its steps, its nesting and what it writes are limited; one
//!   that goes beyond is an error of the request, never a stuck server. It reads nothing but what
//!   it is given: no files, no clock, no other templates.
//! - **Refused, not guessed at.** A template that does not compile is named when the base is
//!   loaded; what a template itself refuses (`raise_exception`) reaches the caller in its own
//!   words.
//!
//! Not here: how the prompt is tokenised. What a template writes already holds the base's start
//! token where it wants one.

use std::io;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, Error, ErrorKind, State, UndefinedBehavior, Value, context};
use openledger_engine::{Special, TokenizerSettings};
use serde_json::Value as Json;

use super::calendar::strftime;
use super::pyjson;

/// Largest template, in bytes.
const SOURCE_MAX: usize = 1 << 20;
/// Largest prompt that a template writes, in bytes.
const OUTPUT_MAX: usize = 4 << 20;
/// Instructions that one rendering may take, and what each byte of the conversation adds.
const FUEL: u64 = 200_000;
/// Deepest nesting of macros and loops.
const DEPTH: usize = 100;
/// The name under which the time of the request is handed to `strftime_now`;
/// [`ChatTemplate::render`] spells it out.
const NOW: &str = "__now";

/// What a template is rendered with.
#[derive(Debug, Clone, Default)]
pub struct Conversation<'a> {
    /// The messages as they came, contents as text.
    pub messages: &'a [Json],
    /// The tools that the model may call, as they came.
    pub tools: Option<&'a Json>,
    /// Further variables, such as `enable_thinking`.
    pub extra: Option<&'a serde_json::Map<String, Json>>,
    /// Whether the prompt ends with the start of the model's turn.
    pub generation: bool,
    /// Seconds since 1970, for templates that write the date.
    pub now: u64,
}

/// The special tokens of a base, spelled out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SpecialTokens {
    /// Starts a text.
    pub bos: String,
    /// Ends one.
    pub eos: String,
    /// The token for unknown text.
    pub unk: String,
    /// Fills up.
    pub pad: String,
}

impl SpecialTokens {
    /// From the files beside a tokenizer; one that they do not name is empty.
    #[must_use]
    pub fn of_settings(settings: &TokenizerSettings) -> Self {
        let spelled = |special: &Special| special.name().unwrap_or_default().to_owned();
        Self {
            bos: spelled(&settings.bos),
            eos: spelled(&settings.eos),
            unk: spelled(&settings.unk),
            pad: spelled(&settings.pad),
        }
    }
}

/// A chat template, compiled.
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    tokens: SpecialTokens,
    tools: bool,
    developer: bool,
}

impl ChatTemplate {
    /// Compiles `source`.
    ///
    /// # Errors
    /// What is wrong with it, as text: it is too large, or no template of this dialect.
    pub fn compile(source: &str, tokens: SpecialTokens) -> Result<Self, String> {
        if source.len() > SOURCE_MAX {
            return Err(format!("the template has {} bytes, at most {SOURCE_MAX} are read", source.len()));
        }
        let mut environment = Environment::new();
        // As transformers sets Jinja up.
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.map_err(|error| message(&error))?);
        environment.set_undefined_behavior(UndefinedBehavior::Lenient);
        environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        environment.set_recursion_limit(DEPTH);
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_filter("tojson", pyjson::filter);
        environment.add_function("raise_exception", raise_exception);
        environment.add_function("strftime_now", strftime_now);
        environment.add_template_owned("chat", source.to_owned()).map_err(|error| message(&error))?;
        let (tools, developer) = (source.contains("tools"), source.contains("developer"));
        Ok(Self { environment, tokens, tools, developer })
    }

    /// Whether the template does anything with tools.
    #[must_use]
    pub fn takes_tools(&self) -> bool {
        self.tools
    }

    /// A message as the template reads it: role `developer` becomes `system`, unless the template
    /// knows it.
    pub(crate) fn spoken(&self, message: &Json) -> Json {
        let mut message = message.clone();
        if !self.developer && message["role"] == "developer" {
            message["role"] = "system".into();
        }
        message
    }

    /// The prompt for `conversation`.
    ///
    /// # Errors
    /// What went wrong, as text: what the template raised, or which limit it met.
    pub fn render(&self, conversation: &Conversation<'_>) -> Result<String, String> {
        let mut environment = self.environment.clone();
        let size: usize = conversation.messages.iter().map(|message| message.to_string().len()).sum();
        environment.set_fuel(Some(FUEL.saturating_add(size as u64)));
        let template = environment.get_template("chat").map_err(|error| message(&error))?;
        let given = context! {
            messages => Value::from(Serde(conversation.messages)),
            tools => Value::from(Serde(conversation.tools)),
            add_generation_prompt => conversation.generation,
            __now => conversation.now,
            bos_token => self.tokens.bos.as_str(),
            eos_token => self.tokens.eos.as_str(),
            unk_token => self.tokens.unk.as_str(),
            pad_token => self.tokens.pad.as_str(),
        };
        let extra = conversation.extra.map(|extra| Value::from(Serde(extra))).unwrap_or_else(|| context! {});
        let mut prompt = Bounded { bytes: Vec::new() };
        // The first that has a name gives it, so that nothing extra replaces the conversation.
        let rendered = template.render_captured_to(context! { ..given, ..extra }, &mut prompt);
        rendered.map_err(|error| message(&error))?;
        String::from_utf8(prompt.bytes).map_err(|_| "the template broke a character".to_owned())
    }
}

/// Takes bytes up to the limit.
struct Bounded {
    bytes: Vec<u8>,
}

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > OUTPUT_MAX {
            return Err(io::Error::other(format!("the prompt is longer than {OUTPUT_MAX} bytes")));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What went wrong, without the template's text around it.
fn message(error: &Error) -> String {
    let detail = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    match error.line() {
        Some(line) if error.kind() != ErrorKind::InvalidOperation => format!("{detail} (line {line} of the template)"),
        _ => detail,
    }
}

fn raise_exception(message: String) -> Result<Value, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, message))
}

fn strftime_now(state: &mut State, format: String) -> Result<String, Error> {
    let now = state.lookup(NOW).and_then(|now| u64::try_from(now).ok()).unwrap_or_default();
    Ok(strftime(now, &format))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn rendered(source: &str, messages: &[Json]) -> Result<String, String> {
        let tokens = SpecialTokens { bos: "<s>".into(), eos: "</s>".into(), ..SpecialTokens::default() };
        let template = ChatTemplate::compile(source, tokens)?;
        template.render(&Conversation { messages, generation: true, ..Conversation::default() })
    }

    fn user(content: &str) -> Json {
        json!({ "role": "user", "content": content })
    }

    /// The template of SmolLM2 and Qwen2.5, shortened to what they share.
    const CHATML: &str = "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}\
        {{ '<|im_start|>system\nBe brief.<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\n' + \
        message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}\
        {{ '<|im_start|>assistant\n' }}{% endif %}";

    #[test]
    fn a_template_as_bases_bring_it_writes_what_transformers_writes() {
        assert_eq!(
            rendered(CHATML, &[user("Why <b>?")]).unwrap(),
            "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nWhy <b>?<|im_end|>\n<|im_start|>assistant\n"
        );
    }

    #[test]
    fn python_methods_namespaces_loop_controls_and_trimmed_blocks_work() {
        let source = "{%- set ns = namespace(last='') %}
{%- for m in messages %}
    {%- if m.content.startswith('skip') %}{% continue %}{% endif %}
    {%- set ns.last = m.content.strip().split(' ')[-1] %}
    {%- if loop.index0 == 2 %}{% break %}{% endif %}
{%- endfor %}
{{- bos_token }}{{ ns.last | upper }}{{ messages | length }}{{ undefined_thing }}{{ eos_token }}";
        let messages = [user("a one "), user("skip this"), user("a three"), user("a four")];
        assert_eq!(rendered(source, &messages).unwrap(), "<s>THREE4</s>");
    }

    #[test]
    fn values_are_written_as_json_the_way_python_does() {
        let source = "{{ messages[0] | tojson }}|{{ [1, 2.5, none, true] | tojson }}|{{ {'a': 1} | tojson(indent=2) }}";
        assert_eq!(
            rendered(source, &[user("é<'>\n")]).unwrap(),
            "{\"role\": \"user\", \"content\": \"é<'>\\n\"}|[1, 2.5, null, true]|{\n  \"a\": 1\n}"
        );
    }

    #[test]
    fn what_a_template_refuses_reaches_the_caller_in_its_own_words() {
        let source = "{% if messages | length > 1 %}{{ raise_exception('one at a time') }}{% endif %}";
        assert_eq!(rendered(source, &[user("a")]).unwrap(), "");
        assert_eq!(rendered(source, &[user("a"), user("b")]).unwrap_err(), "one at a time");
    }

    #[test]
    fn endless_work_nesting_and_output_meet_a_limit() {
        for source in [
            "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
            "{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}",
            "{% for a in range(60000) %}{{ messages[0].content }}{% endfor %}",
        ] {
            assert!(rendered(source, &[user(&"x".repeat(1000))]).is_err(), "{source}");
        }
    }

    #[test]
    fn a_template_sees_no_files_and_no_other_template() {
        for source in ["{% include 'chat' %}", "{% include '/etc/hostname' %}", "{% extends 'base' %}"] {
            assert!(rendered(source, &[user("a")]).is_err(), "{source}");
        }
    }

    #[test]
    fn the_date_is_the_one_of_the_request() {
        let template = ChatTemplate::compile("{{ strftime_now('%d %b %Y') }}", SpecialTokens::default()).unwrap();
        let conversation = Conversation { now: 951_782_400, ..Conversation::default() };
        assert_eq!(template.render(&conversation).unwrap(), "29 Feb 2000");
    }

    #[test]
    fn extra_variables_are_seen_but_never_replace_the_conversation() {
        let template = ChatTemplate::compile("{{ mood }}{{ messages | length }}", SpecialTokens::default()).unwrap();
        let extra = json!({ "mood": "calm", "messages": [1, 2, 3] });
        let conversation = Conversation { extra: extra.as_object(), ..Conversation::default() };
        assert_eq!(template.render(&conversation).unwrap(), "calm0");
    }

    #[test]
    fn what_is_no_template_is_refused_with_its_line() {
        let error = ChatTemplate::compile("a\n{% for %}", SpecialTokens::default()).unwrap_err();
        assert!(error.contains("line 2"), "{error}");
    }
}
