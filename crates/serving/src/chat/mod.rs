//! Messages as a prompt.
//!
//! **Invariant:** a base without a template of its own is asked exactly as training writes dialogs
//! (`docs/formats.md`, canonical text), up to `Answer:` without the space, since the tokens of an
//! answer begin with it. A base that brings a chat template is asked through that
//! ([`ChatTemplate`]); one whose template cannot be applied is refused by name.

mod calendar;
mod pyjson;
mod template;

use std::path::Path;
use std::sync::Arc;

use openledger_engine::{FolderTemplate, Tokenizer, TokenizerSettings};
use openledger_protocol::canonicalise;
use serde_json::{Value, json};

pub use template::{ChatTemplate, Conversation, SpecialTokens};

use crate::error::ServeError;
use crate::request::Prompt;

/// The chat template of our bases, in Hugging Face's Jinja form; recognised by its bytes.
pub const CHAT_TEMPLATE: &str = include_str!("../../../../models/base/chat_template.jinja");

/// The role of a message's author.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Instructions or material: becomes a context line.
    System,
    /// The user.
    User,
    /// The model.
    Assistant,
    /// What a tool gave back.
    Tool,
}

/// One message of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its author's role.
    pub role: Role,
    /// Its text.
    pub content: String,
}

/// How a base wants to be asked.
#[derive(Debug, Clone)]
pub enum ChatForm {
    /// `Context: …`, `Question: …`, `Answer: …`, one after the other.
    Dialog,
    /// By the base's own template.
    Template(Arc<ChatTemplate>),
    /// By a template that cannot be applied here.
    Unknown,
}

impl ChatForm {
    /// The form of the base in `dir`: ours when it has no template or ours, else its own.
    ///
    /// Looks at `chat_template.jinja` and at `chat_template` in `tokenizer_config.json`, as Hugging
    /// Face does; a broken file, or several templates without a default, gives a form that cannot
    /// be applied.
    #[must_use]
    pub fn of_base(dir: &Path) -> Self {
        let Ok(settings) = TokenizerSettings::load(dir) else { return Self::Unknown };
        match &settings.template {
            FolderTemplate::None => Self::Dialog,
            FolderTemplate::Text(source) => Self::of_source(source, SpecialTokens::of_settings(&settings)),
            FolderTemplate::NoDefault => Self::Unknown,
        }
    }

    /// The form of a base with this template.
    #[must_use]
    pub fn of_source(source: &str, tokens: SpecialTokens) -> Self {
        if source.trim() == CHAT_TEMPLATE.trim() {
            return Self::Dialog;
        }
        ChatTemplate::compile(source, tokens).map_or(Self::Unknown, |template| Self::Template(Arc::new(template)))
    }

    /// Whether a conversation may come with tools.
    #[must_use]
    pub fn takes_tools(&self) -> bool {
        matches!(self, Self::Template(template) if template.takes_tools())
    }

    /// The text that asks for the next answer.
    ///
    /// # Errors
    /// [`ServeError::UnknownChatTemplate`]; [`ServeError::BadRequest`] when there is no message,
    /// the last one is not the user's, or the template refuses the conversation.
    pub fn prompt(&self, messages: &[Message]) -> Result<String, ServeError> {
        match self {
            Self::Dialog => dialog(messages),
            Self::Template(template) => {
                let messages: Vec<Value> =
                    messages.iter().map(|m| json!({ "role": m.role.name(), "content": m.content })).collect();
                render(template, &Conversation { messages: &messages, generation: true, ..Conversation::default() })
            }
            Self::Unknown => Err(ServeError::UnknownChatTemplate),
        }
    }

    /// The prompt that asks for the next answer to `conversation`, of which `messages` is the plain
    /// part.
    ///
    /// A template writes the start token itself, so that its prompt is given as ids.
    ///
    /// # Errors
    /// Those of [`ChatForm::prompt`].
    pub fn ask(
        &self,
        messages: &[Message],
        conversation: &Conversation<'_>,
        tokenizer: &Tokenizer,
    ) -> Result<Prompt, ServeError> {
        self.ask_within(messages, conversation, tokenizer, usize::MAX)
    }

    /// As [`ChatForm::ask`]; a text of more than `most` bytes is refused before it is tokenized.
    ///
    /// # Errors
    /// Those of [`ChatForm::prompt`], and [`ServeError::TextTooLong`].
    pub fn ask_within(
        &self,
        messages: &[Message],
        conversation: &Conversation<'_>,
        tokenizer: &Tokenizer,
        most: usize,
    ) -> Result<Prompt, ServeError> {
        let within = |text: String| {
            if text.len() > most { Err(ServeError::TextTooLong { bytes: text.len(), limit: most }) } else { Ok(text) }
        };
        match self {
            Self::Dialog => dialog(messages).and_then(within).map(Prompt::Text),
            Self::Template(template) => {
                render(template, conversation).and_then(within).map(|text| Prompt::Ids(tokenizer.encode(&text, false)))
            }
            Self::Unknown => Err(ServeError::UnknownChatTemplate),
        }
    }
}

impl Role {
    /// Its name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::Tool => "tool",
        }
    }
}

fn refused(reason: &str) -> ServeError {
    ServeError::BadRequest { param: "messages", reason: reason.to_owned() }
}

/// The text that `template` writes for `conversation`, with every message in it.
fn render(template: &ChatTemplate, conversation: &Conversation<'_>) -> Result<String, ServeError> {
    if conversation.messages.is_empty() {
        return Err(refused("is empty"));
    }
    let messages: Vec<Value> = conversation.messages.iter().map(|message| template.spoken(message)).collect();
    let conversation = Conversation { messages: &messages, ..conversation.clone() };
    let text = template
        .render(&conversation)
        .map_err(|reason| refused(&format!("are refused by the base's chat template: {reason}")))?;
    match left_out(template, &conversation, &text) {
        None => Ok(text),
        Some(at) => {
            let role = &messages[at]["role"];
            let reason = format!("hold one, messages[{at}] of role {role}, that the base's chat template leaves out");
            Err(refused(&reason))
        }
    }
}

/// The place of the first message that has no part in the `text` that `template` wrote for
/// `conversation`.
///
/// A message has a part in it if another content gives another text. Messages without content, and
/// those that call tools, need none.
fn left_out(template: &ChatTemplate, conversation: &Conversation<'_>, text: &str) -> Option<usize> {
    let says = |message: &Value| {
        let calls = message["tool_calls"].as_array().is_some_and(|calls| !calls.is_empty());
        !calls && message["content"].as_str().is_some_and(|content| !content.trim().is_empty())
    };
    let mark = |at: usize| format!("mark-{at}-end");
    let marked = |chosen: &dyn Fn(usize) -> bool| {
        let mut messages = conversation.messages.to_vec();
        for (at, message) in messages.iter_mut().enumerate() {
            if chosen(at) && says(message) {
                message["content"] = mark(at).into();
            }
        }
        template.render(&Conversation { messages: &messages, ..conversation.clone() }).ok()
    };
    // All at once first, so that a long conversation is written twice and not once a message.
    let all = marked(&|_| true).unwrap_or_default();
    let missing = |at: &usize| {
        says(&conversation.messages[*at])
            && !all.contains(&mark(*at))
            && marked(&|other| other == *at).is_some_and(|other| other == text)
    };
    (0..conversation.messages.len()).find(missing)
}

fn dialog(messages: &[Message]) -> Result<String, ServeError> {
    match messages.last() {
        Some(Message { role: Role::User, .. }) => {}
        Some(_) => return Err(refused("must end with a message of role `user`")),
        None => return Err(refused("is empty")),
    }
    let mut prompt = String::new();
    for message in messages {
        let label = match message.role {
            Role::System => "Context",
            Role::User => "Question",
            Role::Assistant => "Answer",
            Role::Tool => return Err(refused("hold a message of role `tool`, which this base cannot read")),
        };
        prompt.push_str(&format!("{label}: {}\n", canonicalise(&message.content)));
    }
    Ok(prompt + "Answer:")
}

#[cfg(test)]
mod tests {
    use openledger_protocol::Body;

    use super::*;

    fn message(role: Role, content: &str) -> Message {
        Message { role, content: content.into() }
    }

    #[test]
    fn a_question_is_asked_as_training_writes_it() {
        let body = Body::Dialog {
            prompt: "How many owls? ".into(),
            response: "Seven.".into(),
            context: Some("Owls live here.".into()),
        };
        let messages = [message(Role::System, "Owls live here."), message(Role::User, " How many owls?")];
        let prompt = ChatForm::Dialog.prompt(&messages).unwrap();
        assert_eq!(format!("{prompt} Seven."), body.canonical_text());
    }

    #[test]
    fn earlier_turns_stand_before_the_question() {
        let messages = [message(Role::User, "a"), message(Role::Assistant, "b"), message(Role::User, "c")];
        assert_eq!(ChatForm::Dialog.prompt(&messages).unwrap(), "Question: a\nAnswer: b\nQuestion: c\nAnswer:");
    }

    #[test]
    fn a_conversation_without_a_question_at_its_end_is_refused() {
        for messages in [&[][..], &[message(Role::Assistant, "b")]] {
            let error = ChatForm::Dialog.prompt(messages).unwrap_err();
            assert!(matches!(error, ServeError::BadRequest { param: "messages", .. }), "{error}");
        }
    }

    #[test]
    fn a_base_is_asked_by_its_own_template_where_it_has_one() {
        let tmp = tempfile::tempdir().unwrap();
        assert!(matches!(ChatForm::of_base(tmp.path()), ChatForm::Dialog));
        let config = |template: Value| {
            let json = json!({ "chat_template": template, "bos_token": { "content": "<s>" } }).to_string();
            std::fs::write(tmp.path().join("tokenizer_config.json"), json).unwrap();
            ChatForm::of_base(tmp.path())
        };
        assert!(matches!(config(CHAT_TEMPLATE.into()), ChatForm::Dialog));
        let own = "{{ bos_token }}{{ messages[0].content }}";
        let named = json!([{ "name": "rag", "template": "x" }, { "name": "default", "template": own }]);
        for form in [config(own.into()), config(named)] {
            assert_eq!(form.prompt(&[message(Role::User, "a")]).unwrap(), "<s>a");
        }
        let broken = config("{{ messages[0".into());
        let error = broken.prompt(&[message(Role::User, "a")]).unwrap_err();
        assert!(matches!(error, ServeError::UnknownChatTemplate), "{error}");
    }

    #[test]
    fn what_a_template_raises_is_told_about_the_messages() {
        let form = ChatForm::of_source("{{ raise_exception('no system message') }}", SpecialTokens::default());
        let error = form.prompt(&[message(Role::User, "a")]).unwrap_err();
        assert!(error.to_string().contains("no system message"), "{error}");
        assert!(matches!(error, ServeError::BadRequest { param: "messages", .. }));
    }

    /// A template that knows these roles and passes over others.
    fn of_roles(roles: &str) -> ChatForm {
        let source = "{% for m in messages %}{% if m.role in ROLES %}<{{ m.role }}>{{ m.content | trim }}{% endif %}{% endfor %}";
        ChatForm::of_source(&source.replace("ROLES", roles), SpecialTokens::default())
    }

    fn asked(form: &ChatForm, messages: &Value) -> Result<String, ServeError> {
        let ChatForm::Template(template) = form else { panic!("no template") };
        let messages = messages.as_array().unwrap();
        render(template, &Conversation { messages, generation: true, ..Conversation::default() })
    }

    #[test]
    fn a_developer_speaks_as_the_system_unless_the_template_knows_him() {
        let said = json!([{ "role": "developer", "content": "In French." }, { "role": "user", "content": "Hi" }]);
        let system = of_roles("['system', 'user', 'assistant', 'tool']");
        assert_eq!(asked(&system, &said).unwrap(), "<system>In French.<user>Hi");
        let developer = of_roles("['system', 'developer', 'user']");
        assert_eq!(asked(&developer, &said).unwrap(), "<developer>In French.<user>Hi");
    }

    #[test]
    fn a_message_that_the_template_leaves_out_is_refused_by_its_place() {
        let form = of_roles("['user', 'assistant']");
        let say = |role: &str, content: &str| json!({ "role": role, "content": content });
        let user = say("user", "Hi");
        for (role, content) in [("system", "Hi"), ("developer", "Hi"), ("tool", "12 degrees")] {
            let error = asked(&form, &json!([user, say(role, content), user])).unwrap_err();
            assert!(matches!(error, ServeError::BadRequest { param: "messages", .. }), "{error}");
            assert!(error.to_string().contains("messages[1]"), "{error}");
        }
        // What says nothing can be left out, and what the template rewrites is not left out.
        assert!(asked(&form, &json!([say("system", " "), user])).is_ok());
        let source = "{% for m in messages %}{{ m.content.split('</think>')[-1] | upper }}{% endfor %}";
        let rewriting = ChatForm::of_source(source, SpecialTokens::default());
        let thought = say("assistant", "<think>hm</think>yes");
        assert_eq!(asked(&rewriting, &json!([user, thought, user])).unwrap(), "HIYESHI");
        // A template that reads only the last message leaves out the others.
        let last = ChatForm::of_source("{{ messages[-1].content }}", SpecialTokens::default());
        assert!(asked(&last, &json!([user])).is_ok() && asked(&last, &json!([user, user])).is_err());
    }

    #[test]
    fn our_own_template_writes_what_the_form_writes() {
        let template = ChatTemplate::compile(CHAT_TEMPLATE, SpecialTokens::default()).unwrap();
        let form = ChatForm::Template(Arc::new(template));
        let messages = [message(Role::System, " c "), message(Role::User, "a"), message(Role::Assistant, "b")];
        let messages = [&messages[..], &[message(Role::User, "d?")]].concat();
        assert_eq!(form.prompt(&messages).unwrap(), ChatForm::Dialog.prompt(&messages).unwrap());
    }
}
