//! `messages` of a chat request: roles and contents, tools' included.

use openledger_serving::{Message, Role};
use serde_json::Value;

use super::error::ApiError;

/// The messages, and the same as chat templates read them: contents as text, everything else as it
/// came.
pub(super) fn conversation(value: Option<Value>) -> Result<(Vec<Message>, Vec<Value>), ApiError> {
    match value {
        Some(Value::Array(items)) => items.into_iter().enumerate().map(|(at, item)| message(at, item)).collect(),
        _ => Err(ApiError::invalid("messages", "`messages` must be an array of messages")),
    }
}

fn message(index: usize, mut value: Value) -> Result<(Message, Value), ApiError> {
    let param = format!("messages[{index}]");
    let role = match value["role"].as_str() {
        Some("system" | "developer") => Role::System,
        Some("user") => Role::User,
        Some("assistant") => Role::Assistant,
        Some("tool") => Role::Tool,
        _ => {
            let roles = "`role` must be system, developer, user, assistant or tool";
            return Err(ApiError::invalid(&param, format!("{param}: {roles}, not {}", value["role"])));
        }
    };
    for name in ["function_call", "audio"] {
        if !value[name].is_null() {
            return Err(ApiError::unsupported(&format!("{param}.{name}"), &value[name]));
        }
    }
    let calls = value["tool_calls"].as_array().is_some_and(|calls| !calls.is_empty());
    if !calls && !value["tool_calls"].is_null() {
        return Err(ApiError::invalid(&param, format!("{param}: `tool_calls` must be an array of calls")));
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
        // A message that only calls tools says nothing.
        Value::Null if role == Role::Assistant && calls => String::new(),
        other => {
            return Err(ApiError::invalid(&param, format!("{param}: `content` must be text, not {other}")));
        }
    };
    value["content"] = content.clone().into();
    // Templates index into arguments; on the wire they are text.
    for call in value.get_mut("tool_calls").and_then(Value::as_array_mut).into_iter().flatten() {
        let arguments = call.get_mut("function").and_then(|function| function.get_mut("arguments"));
        if let Some(arguments) = arguments
            && let Some(parsed) = arguments.as_str().and_then(|text| serde_json::from_str(text).ok())
        {
            *arguments = parsed;
        }
    }
    Ok((Message { role, content }, value))
}
