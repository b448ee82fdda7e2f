//! Reading members of a request one by one, so that what is left over is known.

use openledger_serving::Decoding;
use serde_json::{Map, Value};

use super::error::ApiError;

/// Most answers to one request, as OpenAI has it.
const CHOICES_MAX: u64 = 128;

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
        Ok(self.flag(name)?.unwrap_or(false))
    }

    /// True, false or left out.
    pub(super) fn flag(&mut self, name: &str) -> Result<Option<bool>, ApiError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(value)),
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

    /// A number from 0 to `max` in thousandths, rounded to the nearest: finer steps have no form in
    /// receipts.
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

    /// A number from `min` to `max`.
    pub(super) fn number(&mut self, name: &str, min: f64, max: f64) -> Result<Option<f32>, ApiError> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let good = value.as_f64().filter(|n| (min..=max).contains(n));
        let message = || format!("`{name}` must be a number from {min} to {max}, not {value}");
        good.map(|n| Some(n as f32)).ok_or_else(|| ApiError::invalid(name, message()))
    }

    /// An array of token ids.
    pub(super) fn ids(&mut self, name: &str) -> Result<Vec<u32>, ApiError> {
        let Some(value) = self.take(name) else { return Ok(Vec::new()) };
        ids(&value).ok_or_else(|| ApiError::invalid(name, format!("`{name}` must be an array of token ids")))
    }

    /// How tokens are chosen beyond temperature and nucleus: OpenAI's penalties and bias, vLLM's
    /// extensions.
    pub(super) fn decoding(&mut self) -> Result<Decoding, ApiError> {
        let top_k = match self.take("top_k") {
            None => 0,
            Some(value) => {
                let good = value.as_i64().filter(|k| (-1..=1 << 24).contains(k));
                let message = || format!("`top_k` must be a whole number, -1 or 0 for all, not {value}");
                // -1 is vLLM's way to say all.
                good.map_or_else(|| Err(ApiError::invalid("top_k", message())), |k| Ok(k.max(0) as u32))?
            }
        };
        // Texts hold no special tokens here, so that leaving them out is all that can be done.
        self.refuse_unless("skip_special_tokens", |value| *value == Value::Bool(true))?;
        self.refuse_unless("spaces_between_special_tokens", Value::is_boolean)?;
        for name in ["structured_outputs", "guided_json", "guided_regex", "guided_choice", "guided_grammar"] {
            self.refuse_unless(name, |_| false)?;
        }
        let refused = [
            "use_beam_search",
            "allowed_token_ids",
            "bad_words",
            "logits_processors",
            "prompt_logprobs",
            "return_tokens_as_token_ids",
        ];
        for name in refused {
            self.refuse_unless(name, |value| *value == Value::Bool(false) || empty(value))?;
        }
        let neutral = Decoding::default();
        Ok(Decoding {
            top_k,
            min_p: self.number("min_p", 0.0, 1.0)?.unwrap_or(neutral.min_p),
            repetition_penalty: self.number("repetition_penalty", 0.01, 100.0)?.unwrap_or(neutral.repetition_penalty),
            presence_penalty: self.number("presence_penalty", -2.0, 2.0)?.unwrap_or(neutral.presence_penalty),
            frequency_penalty: self.number("frequency_penalty", -2.0, 2.0)?.unwrap_or(neutral.frequency_penalty),
            logit_bias: self.logit_bias()?,
            min_tokens: self.whole("min_tokens", 0, u32::MAX.into())?.unwrap_or(0) as u32,
            ignore_eos: self.boolean("ignore_eos")?,
            stop_ids: self.ids("stop_token_ids")?,
            include_stop: self.boolean("include_stop_str_in_output")?,
        })
    }

    /// `logit_bias`: an object of token ids, spelled as strings, and numbers.
    fn logit_bias(&mut self) -> Result<Vec<(u32, f32)>, ApiError> {
        let bad = || {
            let message =
                "`logit_bias` must be an object from token ids to numbers from -100 to 100, at most 1024 of them";
            ApiError::invalid("logit_bias", message)
        };
        let members = match self.take("logit_bias") {
            None => return Ok(Vec::new()),
            Some(Value::Object(members)) if members.len() <= 1024 => members,
            Some(_) => return Err(bad()),
        };
        let one = |(id, bias): (&String, &Value)| {
            let bias = bias.as_f64().filter(|bias| (-100.0..=100.0).contains(bias))?;
            Some((id.parse::<u32>().ok()?, bias as f32))
        };
        let mut biases: Vec<(u32, f32)> = members.iter().map(one).collect::<Option<_>>().ok_or_else(bad)?;
        // The order of the text says nothing.
        biases.sort_by_key(|(id, _)| *id);
        Ok(biases)
    }

    /// `truncate_prompt_tokens`: how many tokens of a prompt are kept, its last ones; -1, all that
    /// the model reads.
    pub(super) fn truncate(&mut self) -> Result<Option<usize>, ApiError> {
        let Some(value) = self.take("truncate_prompt_tokens") else { return Ok(None) };
        match value.as_i64() {
            Some(-1) => Ok(Some(usize::MAX)),
            Some(kept @ 1..=0xffff_ffff) => Ok(Some(usize::try_from(kept).unwrap_or(usize::MAX))),
            _ => {
                let message = format!("`truncate_prompt_tokens` must be a whole number from 1 on, or -1, not {value}");
                Err(ApiError::invalid("truncate_prompt_tokens", message))
            }
        }
    }

    /// `n`: how many answers.
    pub(super) fn count(&mut self) -> Result<u32, ApiError> {
        Ok(self.whole("n", 1, CHOICES_MAX)?.unwrap_or(1) as u32)
    }

    /// The names of what nobody took, in order.
    pub(super) fn left(self) -> Vec<String> {
        // `serde_json`'s map may keep the order of the text: sorted, so that the header has one
        // form.
        let mut names: Vec<String> = self.0.into_iter().filter(|(_, v)| !v.is_null()).map(|(name, _)| name).collect();
        names.sort_unstable();
        names
    }
}

/// Token ids.
pub(super) fn ids(value: &Value) -> Option<Vec<u32>> {
    value.as_array()?.iter().map(|id| id.as_u64().and_then(|id| u32::try_from(id).ok())).collect()
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
