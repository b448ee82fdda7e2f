//! `POST /tokenize` and `POST /detokenize`, in vLLM's form.

use openledger_api::openai::{DetokenizeRequest, TokenizeRequest};
use serde_json::Value;

use super::error::ApiError;
use super::fields::Fields;
use super::request::Parsed;

/// Reads a body of `/tokenize`. Its `messages` are left to [`super::ChatRequest::parse`], which
/// also reads tools and further members that are ignored here; without them there is a `prompt`.
///
/// # Errors
/// [`ApiError`] with the member that is wrong.
pub(crate) fn tokenize_request(body: &Value) -> Result<Parsed<TokenizeRequest>, ApiError> {
    let mut fields = Fields::new(body)?;
    let conversation = fields.take("messages").is_some();
    let request = TokenizeRequest {
        model: fields.string("model")?,
        prompt: fields.string("prompt")?,
        messages: None,
        add_special_tokens: fields.flag("add_special_tokens")?,
        return_token_strs: fields.flag("return_token_strs")?,
    };
    if request.prompt.is_none() && !conversation {
        return Err(ApiError::invalid("prompt", "`prompt` must be a text, or give `messages`"));
    }
    Ok(Parsed { request, ignored: fields.left() })
}

/// Reads a body of `/detokenize`.
///
/// # Errors
/// [`ApiError`] about `tokens`.
pub(crate) fn detokenize_request(body: &Value) -> Result<Parsed<DetokenizeRequest>, ApiError> {
    let mut fields = Fields::new(body)?;
    let tokens = fields.ids("tokens")?;
    if body["tokens"].is_null() {
        return Err(ApiError::invalid("tokens", "`tokens` must be an array of token ids"));
    }
    // All models share the base's tokenizer.
    fields.take("model");
    Ok(Parsed { request: DetokenizeRequest { tokens }, ignored: fields.left() })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_wrong_with_a_body_is_named() {
        for (body, param) in [
            (json!({}), "prompt"),
            (json!({ "prompt": 1 }), "prompt"),
            (json!({ "prompt": "a", "add_special_tokens": "no" }), "add_special_tokens"),
            (json!({ "messages": [], "return_token_strs": 1 }), "return_token_strs"),
            (json!([]), "body"),
        ] {
            assert_eq!(tokenize_request(&body).unwrap_err().param.as_deref(), Some(param), "{body}");
        }
        for body in [json!({}), json!({ "tokens": "a" }), json!({ "tokens": [-1] })] {
            assert_eq!(detokenize_request(&body).unwrap_err().param.as_deref(), Some("tokens"), "{body}");
        }
        assert_eq!(detokenize_request(&json!({ "tokens": [] })).unwrap().request.tokens, Vec::<u32>::new());
    }

    #[test]
    fn members_that_are_not_known_are_named() {
        let read =
            tokenize_request(&json!({ "prompt": "a", "zebra": 1, "owl": 2, "model": "m", "gone": null })).unwrap();
        assert_eq!(read.ignored, ["owl", "zebra"]);
        let read = detokenize_request(&json!({ "tokens": [1], "zebra": 1, "model": "m" })).unwrap();
        assert_eq!(read.ignored, ["zebra"]);
    }
}
