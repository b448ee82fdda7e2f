//! Messages as a prompt.
//!
//! **Invariant:** a conversation is written exactly as training writes dialogs (`docs/formats.md`, canonical text), up to
//! `Answer:` without the space, since the tokens of an answer begin with it. A base that brings a chat template other than
//! ours is refused by name rather than guessed at.

use std::path::Path;

use openledger_protocol::canonicalise;
use serde_json::Value;

use crate::error::ServeError;

/// The chat template of our bases, in Hugging Face's Jinja form; recognised by its bytes.
pub const CHAT_TEMPLATE: &str = include_str!("../../../models/base/chat_template.jinja");

/// Who says a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Instructions or material: becomes a context line.
    System,
    /// The one who asks.
    User,
    /// The model.
    Assistant,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChatForm {
    /// `Context: …`, `Question: …`, `Answer: …`, one after the other.
    Dialog,
    /// A template that is not ours.
    Unknown,
}

impl ChatForm {
    /// The form of the base in `dir`: ours when it has no template or ours, else unknown.
    ///
    /// Looks at `chat_template.jinja` and at `chat_template` in `tokenizer_config.json`, as Hugging Face does.
    #[must_use]
    pub fn of_base(dir: &Path) -> Self {
        let file = std::fs::read_to_string(dir.join("chat_template.jinja")).ok();
        let template = file.or_else(|| {
            let text = std::fs::read_to_string(dir.join("tokenizer_config.json")).ok()?;
            let config: Value = serde_json::from_str(&text).ok()?;
            match config.get("chat_template") {
                None | Some(Value::Null) => None,
                Some(Value::String(template)) => Some(template.clone()),
                // A list of named templates: none of them is ours.
                Some(other) => Some(other.to_string()),
            }
        });
        match template {
            Some(template) if template.trim() != CHAT_TEMPLATE.trim() => Self::Unknown,
            _ => Self::Dialog,
        }
    }

    /// The prompt that asks for the next answer.
    ///
    /// # Errors
    /// [`ServeError::UnknownChatTemplate`]; [`ServeError::BadRequest`] when nobody says anything or the last message is
    /// not the user's.
    pub fn prompt(self, messages: &[Message]) -> Result<String, ServeError> {
        if self == Self::Unknown {
            return Err(ServeError::UnknownChatTemplate);
        }
        match messages.last() {
            Some(Message { role: Role::User, .. }) => {}
            Some(_) => {
                let reason = "must end with a message of role `user`".to_owned();
                return Err(ServeError::BadRequest { param: "messages", reason });
            }
            None => return Err(ServeError::BadRequest { param: "messages", reason: "is empty".to_owned() }),
        }
        let mut prompt = String::new();
        for message in messages {
            let label = match message.role {
                Role::System => "Context",
                Role::User => "Question",
                Role::Assistant => "Answer",
            };
            prompt.push_str(&format!("{label}: {}\n", canonicalise(&message.content)));
        }
        Ok(prompt + "Answer:")
    }
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
    fn only_our_own_template_is_known() {
        let tmp = tempfile::tempdir().unwrap();
        assert_eq!(ChatForm::of_base(tmp.path()), ChatForm::Dialog);
        let config = |template: &str| {
            let json = serde_json::json!({ "chat_template": template }).to_string();
            std::fs::write(tmp.path().join("tokenizer_config.json"), json).unwrap();
        };
        config(CHAT_TEMPLATE);
        assert_eq!(ChatForm::of_base(tmp.path()), ChatForm::Dialog);
        config("{{ messages[0].content }}");
        assert_eq!(ChatForm::of_base(tmp.path()), ChatForm::Unknown);
        let error = ChatForm::Unknown.prompt(&[message(Role::User, "a")]).unwrap_err();
        assert!(matches!(error, ServeError::UnknownChatTemplate), "{error}");
    }
}
