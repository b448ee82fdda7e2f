//! `/tokenize` and `/detokenize`, in vLLM's form; free.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Message;

/// Asks for the token ids of a text or of a conversation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TokenizeRequest {
    /// The model's name; the base without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The text; needed without `messages`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// The conversation, rendered by the base's chat template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub messages: Option<Vec<Message>>,
    /// Whether special tokens are added to `prompt`; without it, true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub add_special_tokens: Option<bool>,
    /// Whether the response has the tokens' texts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub return_token_strs: Option<bool>,
}

/// A text as tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tokenized {
    /// How many tokens.
    pub count: u64,
    /// Most tokens of prompt and answer.
    pub max_model_len: u64,
    /// The ids.
    pub tokens: Vec<u32>,
    /// The tokens' texts, where the request wants them.
    pub token_strs: Option<Vec<String>>,
}

/// Asks for the text of token ids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DetokenizeRequest {
    /// The ids.
    pub tokens: Vec<u32>,
}

/// Tokens as a text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Detokenized {
    /// The text.
    pub prompt: String,
}
