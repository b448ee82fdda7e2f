//! Reading members of a request one by one, so that what is left over is known.

use serde_json::{Map, Value};

use super::error::ApiError;

/// The members of a request that nobody took yet.
pub(super) struct Fields(Map<String, Value>);

impl Fields {
    pub(super) fn new(body: &Value) -> Result<Self, ApiError> {
        match body {
            Value::Object(map) => Ok(Self(map.clone())),
            _ => Err(ApiError::invalid("body", "the body must be a JSON object")),
        }
    }

    /// Takes a member; `null` counts as absent.
    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name).filter(|value| !value.is_null())
    }

    pub(super) fn string(&mut self, name: &str) -> Result<Option<String>, ApiError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(ApiError::invalid(name, format!("`{name}` must be a string"))),
        }
    }

    pub(super) fn boolean(&mut self, name: &str) -> Result<bool, ApiError> {
        match self.take(name) {
            None => Ok(false),
            Some(Value::Bool(value)) => Ok(value),
            Some(_) => Err(ApiError::invalid(name, format!("`{name}` must be true or false"))),
        }
    }

    /// A whole number from `min` to `max`.
    pub(super) fn whole(&mut self, name: &str, min: u64, max: u64) -> Result<Option<u64>, ApiError> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let good = value.as_u64().filter(|n| (min..=max).contains(n));
        let message = || format!("`{name}` must be a whole number from {min} to {max}, not {value}");
        good.map(Some).ok_or_else(|| ApiError::invalid(name, message()))
    }

    /// A number from 0 to `max` in thousandths, rounded to the nearest: finer steps have no form in receipts.
    pub(super) fn milli(&mut self, name: &str, max: f64) -> Result<Option<u32>, ApiError> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let good = value.as_f64().filter(|n| (0.0..=max).contains(n));
        let message = || format!("`{name}` must be a number from 0 to {max}, not {value}");
        good.map(|n| Some((n * 1000.0).round() as u32)).ok_or_else(|| ApiError::invalid(name, message()))
    }

    /// `stop`: a text or up to four.
    pub(super) fn stop(&mut self) -> Result<Vec<String>, ApiError> {
        let bad = || ApiError::invalid("stop", "`stop` must be a non-empty string or an array of at most 4 of them");
        let texts = match self.take("stop") {
            None => Vec::new(),
            Some(Value::String(text)) => vec![text],
            Some(Value::Array(items)) => {
                items.iter().map(|i| i.as_str().map(str::to_owned)).collect::<Option<_>>().ok_or_else(bad)?
            }
            Some(_) => return Err(bad()),
        };
        if texts.len() > 4 || texts.iter().any(String::is_empty) { Err(bad()) } else { Ok(texts) }
    }

    /// Refuses a member unless it has a value that changes nothing.
    pub(super) fn refuse_unless(&mut self, name: &str, neutral: impl FnOnce(&Value) -> bool) -> Result<(), ApiError> {
        match self.take(name) {
            Some(value) if !neutral(&value) => Err(ApiError::unsupported(name, &value)),
            _ => Ok(()),
        }
    }

    /// Refuses by name what both kinds of requests may hold and would change the answer.
    pub(super) fn refuse_common(&mut self) -> Result<(), ApiError> {
        let zero = |value: &Value| value.as_f64() == Some(0.0);
        let one = |value: &Value| value.as_f64() == Some(1.0);
        self.refuse_unless("n", one)?;
        self.refuse_unless("logit_bias", empty)?;
        self.refuse_unless("presence_penalty", zero)?;
        self.refuse_unless("frequency_penalty", zero)?;
        // Not OpenAI's, but other servers honour them, so that dropping them would surprise.
        self.refuse_unless("repetition_penalty", one)?;
        self.refuse_unless("min_p", zero)?;
        self.refuse_unless("top_k", |value| matches!(value.as_i64(), Some(0 | -1)))?;
        self.refuse_unless("min_tokens", zero)
    }

    /// The names of what nobody took, in order.
    pub(super) fn left(self) -> Vec<String> {
        // `serde_json`'s map may keep the order of the text: sorted, so that the header has one form.
        let mut names: Vec<String> = self.0.into_iter().filter(|(_, v)| !v.is_null()).map(|(name, _)| name).collect();
        names.sort_unstable();
        names
    }
}

/// Whether a value is an empty object, array or string.
pub(super) fn empty(value: &Value) -> bool {
    match value {
        Value::Object(map) => map.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::String(text) => text.is_empty(),
        _ => false,
    }
}
