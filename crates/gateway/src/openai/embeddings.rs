//! `POST /v1/embeddings`: texts as mean hidden states.

use openledger_serving::Prompt;
use serde::Serialize;
use serde_json::Value;

use super::error::ApiError;
use super::fields::Fields;
use super::request::{Parsed, prompts};

/// How numbers are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// As an array of numbers.
    Float,
    /// As the little-endian bytes of 32-bit floats in base64.
    Base64,
}

/// `POST /v1/embeddings`.
#[derive(Debug, Clone, PartialEq)]
pub struct EmbeddingsRequest {
    /// Whose hidden states.
    pub model: String,
    /// What is embedded, each for itself.
    pub inputs: Vec<Prompt>,
    /// How numbers are written.
    pub encoding: Encoding,
    /// How many numbers the caller expects; another width than the model's is refused.
    pub dimensions: Option<usize>,
    /// How many tokens of a prompt are kept, its last ones.
    pub truncate: Option<usize>,
    /// Who asks, as the client says.
    pub user: Option<String>,
}

impl EmbeddingsRequest {
    /// Reads a body.
    ///
    /// # Errors
    /// [`ApiError`] with the member that is wrong or not supported.
    pub fn parse(body: &Value) -> Result<Parsed<Self>, ApiError> {
        let mut fields = Fields::new(body)?;
        let model = fields.string("model")?.filter(|model| !model.is_empty());
        let model = model.ok_or_else(|| ApiError::invalid("model", "`model` is missing"))?;
        let inputs = prompts(fields.take("input"))
            .map_err(|error| ApiError::invalid("input", format!("`input`: {}", error.message)))?;
        let encoding = match fields.string("encoding_format")?.as_deref() {
            None | Some("float") => Encoding::Float,
            Some("base64") => Encoding::Base64,
            Some(other) => {
                let message = format!("`encoding_format` must be float or base64, not `{other}`");
                return Err(ApiError::invalid("encoding_format", message));
            }
        };
        let dimensions = fields.whole("dimensions", 1, 1 << 24)?.map(|n| n as usize);
        let truncate = fields.truncate()?;
        let request = Self { model, inputs, encoding, dimensions, truncate, user: fields.string("user")? };
        Ok(Parsed { request, ignored: fields.left() })
    }
}

/// One text's numbers, in the form that was asked for.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Numbers {
    /// As numbers.
    Float(Vec<f32>),
    /// As base64.
    Base64(String),
}

/// One text's embedding.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Embedding {
    /// `embedding`.
    pub object: &'static str,
    /// Which input, from 0.
    pub index: usize,
    /// The numbers.
    pub embedding: Numbers,
}

/// Tokens read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct EmbeddingsUsage {
    /// Tokens of all inputs.
    pub prompt_tokens: u32,
    /// The same.
    pub total_tokens: u32,
}

/// The response of `/v1/embeddings`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EmbeddingsResponse {
    /// `list`.
    pub object: &'static str,
    /// One embedding an input.
    pub data: Vec<Embedding>,
    /// The model as it was asked for.
    pub model: String,
    /// Tokens read.
    pub usage: EmbeddingsUsage,
}

impl EmbeddingsResponse {
    /// The response for `vectors`, of inputs that together have `tokens` tokens.
    #[must_use]
    pub fn new(model: &str, vectors: Vec<Vec<f32>>, tokens: u32, encoding: Encoding) -> Self {
        let numbers = |vector: Vec<f32>| match encoding {
            Encoding::Float => Numbers::Float(vector),
            Encoding::Base64 => {
                Numbers::Base64(base64(&vector.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>()))
            }
        };
        let data = vectors.into_iter().enumerate();
        let data = data.map(|(index, vector)| Embedding { object: "embedding", index, embedding: numbers(vector) });
        let usage = EmbeddingsUsage { prompt_tokens: tokens, total_tokens: tokens };
        Self { object: "list", data: data.collect(), model: model.to_owned(), usage }
    }
}

/// Base64 with the standard alphabet and padding (RFC 4648, section 4).
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().enumerate().fold(0u32, |word, (at, byte)| word | u32::from(*byte) << (16 - 8 * at));
        for digit in 0..4 {
            let six = (word >> (18 - 6 * digit)) & 63;
            out.push(if digit <= chunk.len() { char::from(ALPHABET[six as usize]) } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_standard() {
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        assert_eq!(base64(&[0xfb, 0xff]), "+/8=");
    }
}
