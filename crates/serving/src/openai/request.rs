//! Requests: `/v1/chat/completions` and `/v1/completions`.

use openledger_protocol::{ModelId, Sampling};
use serde_json::Value;

use super::error::ApiError;
use super::fields::{Fields, empty};
use crate::backend::{CompletionRequest, Prompt};
use crate::chat::{ChatForm, Message, Role};
use crate::error::ServeError;

/// Tokens of an answer when a chat request names no limit.
pub const DEFAULT_MAX_TOKENS: u32 = 128;

/// A request and the names of its members that were ignored.
#[derive(Debug, Clone, PartialEq)]
pub struct Parsed<T> {
    /// What was understood.
    pub request: T,
    /// For `x-openledger-ignored-params`, in order.
    pub ignored: Vec<String>,
}

/// `POST /v1/chat/completions`.
#[derive(Debug, Clone, PartialEq)]
pub struct ChatRequest {
    /// Which model answers.
    pub model: String,
    /// The conversation.
    pub messages: Vec<Message>,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Whether to report how likely tokens were.
    pub logprobs: bool,
    /// How many alternatives to report.
    pub top_logprobs: usize,
    /// Whether to answer as a stream.
    pub stream: bool,
    /// Whether the stream ends with the usage.
    pub include_usage: bool,
    /// Who asks, as the client says.
    pub user: Option<String>,
    /// The `openledger` member, for the node.
    pub extension: Option<Value>,
}

/// `POST /v1/completions`.
#[derive(Debug, Clone, PartialEq)]
pub struct CompletionsRequest {
    /// Which model answers.
    pub model: String,
    /// What it continues.
    pub prompt: Prompt,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// How many alternatives to report; `None` reports nothing.
    pub logprobs: Option<usize>,
    /// Whether the prompt stands before the answer.
    pub echo: bool,
    /// Whether to answer as a stream.
    pub stream: bool,
    /// Whether the stream ends with the usage.
    pub include_usage: bool,
    /// Who asks, as the client says.
    pub user: Option<String>,
    /// The `openledger` member, for the node.
    pub extension: Option<Value>,
}

impl ChatRequest {
    /// Reads a body.
    ///
    /// # Errors
    /// [`ApiError`] with the member that is wrong or not supported.
    pub fn parse(body: &Value) -> Result<Parsed<Self>, ApiError> {
        let mut fields = Fields::new(body)?;
        let model = model(&mut fields)?;
        let messages = match fields.take("messages") {
            Some(Value::Array(items)) => items.iter().enumerate().map(message).collect::<Result<Vec<_>, _>>()?,
            _ => return Err(ApiError::invalid("messages", "`messages` must be an array of messages")),
        };
        fields.refuse_common()?;
        for name in ["tools", "functions"] {
            fields.refuse_unless(name, empty)?;
        }
        for name in ["tool_choice", "function_call"] {
            fields.refuse_unless(name, |value| matches!(value.as_str(), Some("none" | "auto")))?;
        }
        fields.refuse_unless("response_format", |value| value["type"] == "text")?;
        fields.refuse_unless("modalities", |value| *value == serde_json::json!(["text"]))?;
        for name in ["audio", "prediction", "web_search_options", "reasoning_effort", "verbosity"] {
            fields.refuse_unless(name, |_| false)?;
        }
        fields.refuse_unless("store", |value| *value == Value::Bool(false))?;
        // Without tools it says nothing.
        fields.take("parallel_tool_calls");
        fields.take("metadata");
        let old = fields.whole("max_tokens", 1, u32::MAX.into())?;
        let limit = fields.whole("max_completion_tokens", 1, u32::MAX.into())?.or(old);
        let (logprobs, top) = (fields.boolean("logprobs")?, fields.whole("top_logprobs", 0, 20)?.unwrap_or(0));
        if top > 0 && !logprobs {
            return Err(ApiError::invalid("top_logprobs", "`top_logprobs` needs `logprobs`: true"));
        }
        let stream = fields.boolean("stream")?;
        if stream && logprobs {
            return Err(ApiError::unsupported("logprobs", &Value::Bool(true)));
        }
        let request = Self {
            model,
            messages,
            sampling: sampling(&mut fields, limit.unwrap_or(DEFAULT_MAX_TOKENS.into()))?,
            logprobs,
            top_logprobs: top as usize,
            stream,
            include_usage: include_usage(&mut fields)?,
            user: fields.string("user")?,
            extension: fields.take("openledger"),
        };
        Ok(Parsed { request, ignored: fields.left() })
    }

    /// The request for a backend whose base is asked in `form`.
    ///
    /// # Errors
    /// Those of [`ChatForm::prompt`].
    pub fn to_completion(&self, model_id: ModelId, form: ChatForm) -> Result<CompletionRequest, ServeError> {
        Ok(CompletionRequest {
            model_id,
            model: self.model.clone(),
            prompt: Prompt::Text(form.prompt(&self.messages)?),
            sampling: self.sampling.clone(),
            top_logprobs: self.top_logprobs,
        })
    }
}

impl CompletionsRequest {
    /// Reads a body.
    ///
    /// # Errors
    /// [`ApiError`] with the member that is wrong or not supported.
    pub fn parse(body: &Value) -> Result<Parsed<Self>, ApiError> {
        let mut fields = Fields::new(body)?;
        let model = model(&mut fields)?;
        let prompt = prompt(fields.take("prompt"))?;
        fields.refuse_common()?;
        fields.refuse_unless("best_of", |value| value.as_u64() == Some(1))?;
        fields.refuse_unless("suffix", empty)?;
        let (logprobs, echo) = (fields.whole("logprobs", 0, 20)?, fields.boolean("echo")?);
        // Zero is of use with `echo` only: it scores the prompt.
        let limit = fields.whole("max_tokens", u64::from(!echo), u32::MAX.into())?.unwrap_or(16);
        let stream = fields.boolean("stream")?;
        if stream && echo {
            return Err(ApiError::unsupported("echo", &Value::Bool(true)));
        }
        if let (true, Some(logprobs)) = (stream, logprobs) {
            return Err(ApiError::unsupported("logprobs", &logprobs.into()));
        }
        let request = Self {
            model,
            prompt,
            sampling: sampling(&mut fields, limit)?,
            logprobs: logprobs.map(|n| n as usize),
            echo,
            stream,
            include_usage: include_usage(&mut fields)?,
            user: fields.string("user")?,
            extension: fields.take("openledger"),
        };
        Ok(Parsed { request, ignored: fields.left() })
    }

    /// The request for a backend.
    #[must_use]
    pub fn to_completion(&self, model_id: ModelId) -> CompletionRequest {
        CompletionRequest {
            model_id,
            model: self.model.clone(),
            prompt: self.prompt.clone(),
            sampling: self.sampling.clone(),
            top_logprobs: self.logprobs.unwrap_or(0),
        }
    }
}

fn model(fields: &mut Fields) -> Result<String, ApiError> {
    let model = fields.string("model")?.filter(|model| !model.is_empty());
    model.ok_or_else(|| ApiError::invalid("model", "`model` is missing"))
}

fn sampling(fields: &mut Fields, max_tokens: u64) -> Result<Sampling, ApiError> {
    let top_p_milli = fields.milli("top_p", 1.0)?.unwrap_or(1000);
    if top_p_milli == 0 {
        return Err(ApiError::invalid("top_p", "`top_p` must be at least 0.001"));
    }
    let seed = match fields.take("seed") {
        None => 0,
        Some(value) => value
            .as_u64()
            // OpenAI allows negative seeds; each still names its own draws.
            .or_else(|| value.as_i64().map(|seed| seed as u64))
            .ok_or_else(|| ApiError::invalid("seed", format!("`seed` must be a whole number, not {value}")))?,
    };
    Ok(Sampling {
        temperature_milli: fields.milli("temperature", 2.0)?.unwrap_or(0),
        top_p_milli,
        // `whole` held it within 32 bits.
        max_tokens: u32::try_from(max_tokens).unwrap_or(u32::MAX),
        seed,
        stop: fields.stop()?,
    })
}

fn include_usage(fields: &mut Fields) -> Result<bool, ApiError> {
    match fields.take("stream_options") {
        None => Ok(false),
        Some(Value::Object(mut options)) => match options.remove("include_usage") {
            None | Some(Value::Null) => Ok(false),
            Some(Value::Bool(include)) => Ok(include),
            Some(_) => Err(ApiError::invalid("stream_options", "`include_usage` must be true or false")),
        },
        Some(_) => Err(ApiError::invalid("stream_options", "`stream_options` must be an object")),
    }
}

/// One of `messages`: content as a string or as text parts.
fn message((index, value): (usize, &Value)) -> Result<Message, ApiError> {
    let param = format!("messages[{index}]");
    let role = match value["role"].as_str() {
        Some("system" | "developer") => Role::System,
        Some("user") => Role::User,
        Some("assistant") => Role::Assistant,
        _ => {
            let roles = "`role` must be system, developer, user or assistant";
            return Err(ApiError::invalid(&param, format!("{param}: {roles}, not {}", value["role"])));
        }
    };
    for name in ["tool_calls", "function_call", "audio"] {
        if !value[name].is_null() {
            return Err(ApiError::unsupported(&format!("{param}.{name}"), &value[name]));
        }
    }
    let content = match &value["content"] {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            let text = |part: &Value| match (part["type"].as_str(), part["text"].as_str()) {
                (Some("text"), Some(text)) => Ok(text.to_owned()),
                _ => Err(ApiError::unsupported(&format!("{param}.content"), part)),
            };
            parts.iter().map(text).collect::<Result<Vec<_>, _>>()?.join("\n")
        }
        other => {
            return Err(ApiError::invalid(&param, format!("{param}: `content` must be text, not {other}")));
        }
    };
    Ok(Message { role, content })
}

/// `prompt`: a string, an array of one string, an array of ids, or an array of one array of ids.
fn prompt(value: Option<Value>) -> Result<Prompt, ApiError> {
    let bad = |message: &str| ApiError::invalid("prompt", message);
    match value {
        Some(Value::String(text)) => Ok(Prompt::Text(text)),
        Some(Value::Array(items)) => match items.as_slice() {
            [] => Err(bad("`prompt` is empty")),
            [only @ (Value::String(_) | Value::Array(_))] => prompt(Some(only.clone())),
            [Value::Number(_), ..] => {
                let ids = items.iter().map(|id| id.as_u64().and_then(|id| u32::try_from(id).ok()));
                Ok(Prompt::Ids(ids.collect::<Option<_>>().ok_or_else(|| bad("`prompt` must hold token ids"))?))
            }
            _ => Err(bad("only one prompt a request is supported")),
        },
        _ => Err(bad("`prompt` must be a string or an array of token ids")),
    }
}
