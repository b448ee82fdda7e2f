//! Messages as a prompt.
//!
//! **Invariant:** a base without a template of its own is asked exactly as training writes dialogs (`docs/formats.md`,
//! canonical text), up to `Answer:` without the space, since the tokens of an answer begin with it. A base that brings a
//! chat template is asked through that ([`ChatTemplate`]); one whose template cannot be applied is refused by name.

mod calendar;
mod pyjson;
mod template;

use std::path::Path;
use std::sync::Arc;

use openledger_engine::Tokenizer;
use openledger_protocol::canonicalise;
use serde_json::{Value, json};

pub use template::{ChatTemplate, Conversation, SpecialTokens};

use crate::backend::Prompt;
use crate::error::ServeError;

/// The chat template of our bases, in Hugging Face's Jinja form; recognised by its bytes.
pub const CHAT_TEMPLATE: &str = include_str!("../../../../models/base/chat_template.jinja");

/// Who says a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Instructions or material: becomes a context line.
    System,
    /// The one who asks.
    User,
    /// The model.
    Assistant,
    /// What a tool gave back.
    Tool,
}

/// One message of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Who says it.
    pub role: Role,
    /// What.
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
    /// Looks at `chat_template.jinja` and at `chat_template` in `tokenizer_config.json`, as Hugging Face does.
    #[must_use]
    pub fn of_base(dir: &Path) -> Self {
        let config = std::fs::read_to_string(dir.join("tokenizer_config.json")).unwrap_or_default();
        let config: Value = serde_json::from_str(&config).unwrap_or_default();
        let source = match std::fs::read_to_string(dir.join("chat_template.jinja")) {
            Ok(source) => source,
            Err(_) => match &config["chat_template"] {
                Value::Null => return Self::Dialog,
                Value::String(source) => source.clone(),
                // A list of named templates, the first of which is for plain conversations.
                named => {
                    let default = named.as_array().into_iter().flatten().find(|t| t["name"] == "default");
                    match default.and_then(|t| t["template"].as_str()) {
                        Some(source) => source.to_owned(),
                        None => return Self::Unknown,
                    }
                }
            },
        };
        Self::of_source(&source, SpecialTokens::of_config(&config))
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
    /// [`ServeError::UnknownChatTemplate`]; [`ServeError::BadRequest`] when nobody says anything, the last message is not
    /// the user's, or the template refuses the conversation.
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

    /// The prompt that asks for the next answer to `conversation`, of which `messages` is the plain part.
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
        match self {
            Self::Dialog => dialog(messages).map(Prompt::Text),
            Self::Template(template) => {
                render(template, conversation).map(|text| Prompt::Ids(tokenizer.encode(&text, false)))
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

fn render(template: &ChatTemplate, conversation: &Conversation<'_>) -> Result<String, ServeError> {
    if conversation.messages.is_empty() {
        return Err(refused("is empty"));
    }
    template
        .render(conversation)
        .map_err(|reason| refused(&format!("are refused by the base's chat template: {reason}")))
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

    #[test]
    fn our_own_template_writes_what_the_form_writes() {
        let template = ChatTemplate::compile(CHAT_TEMPLATE, SpecialTokens::default()).unwrap();
        let form = ChatForm::Template(Arc::new(template));
        let messages = [message(Role::System, " c "), message(Role::User, "a"), message(Role::Assistant, "b")];
        let messages = [&messages[..], &[message(Role::User, "d?")]].concat();
        assert_eq!(form.prompt(&messages).unwrap(), ChatForm::Dialog.prompt(&messages).unwrap());
    }
}
