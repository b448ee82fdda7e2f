//! Texts as tokens and as numbers: `/tokenize`, `/detokenize`, `/v1/embeddings`.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::response::{IntoResponse, Response};
use openledger_serving::{Prompt, ServeError};
use serde_json::{Value, json};

use super::server::Server;
use crate::call::{IGNORED, set};
use crate::openai::{ApiError, ChatRequest, EmbeddingsRequest, EmbeddingsResponse};
use crate::refusal::{Refusal, blocking, json as read_json};

type Body = Result<Bytes, BytesRejection>;

impl Server {
    /// The ids of `prompt`.
    fn ids(&self, prompt: &Prompt) -> Vec<u32> {
        match prompt {
            Prompt::Text(text) => self.setup.tokenizer.encode(text, true),
            Prompt::Ids(ids) => ids.clone(),
        }
    }
}

pub(super) async fn tokenize(State(server): State<Arc<Server>>, body: Body) -> Result<Json<Value>, Refusal> {
    let body = read_json(body)?;
    blocking(move || {
        let tokenizer = &server.setup.tokenizer;
        let ids = if body["messages"].is_null() {
            let Some(text) = body["prompt"].as_str() else {
                return Ok(Err(ApiError::invalid("prompt", "`prompt` must be a text, or give `messages`")));
            };
            tokenizer.encode(text, body["add_special_tokens"] != Value::Bool(false))
        } else {
            let mut chat = body.clone();
            if chat["model"].is_null() {
                chat["model"] = server.backend().capabilities().base_name.into();
            }
            match ChatRequest::parse(&chat) {
                Ok(parsed) => {
                    let asked = parsed.request.ask(&server.setup.form, tokenizer, (server.setup.now)())?;
                    server.ids(&asked.prompt)
                }
                Err(error) => return Ok(Err(error)),
            }
        };
        let texts = (body["return_token_strs"] == Value::Bool(true)).then(|| {
            ids.iter().map(|id| String::from_utf8_lossy(tokenizer.piece(*id)).into_owned()).collect::<Vec<_>>()
        });
        let limit = server.backend().capabilities().max_tokens;
        Ok(Ok(json!({ "count": ids.len(), "max_model_len": limit, "tokens": ids, "token_strs": texts })))
    })
    .await?
    .map(Json)
    .map_err(Refusal::from)
}

pub(super) async fn detokenize(State(server): State<Arc<Server>>, body: Body) -> Result<Json<Value>, Refusal> {
    let body = read_json(body)?;
    let id = |id: &Value| id.as_u64().and_then(|id| u32::try_from(id).ok());
    let ids: Option<Vec<u32>> = body["tokens"].as_array().and_then(|ids| ids.iter().map(id).collect());
    let ids = ids.ok_or_else(|| ApiError::invalid("tokens", "`tokens` must be an array of token ids"))?;
    Ok(Json(json!({ "prompt": server.setup.tokenizer.decode(&ids) })))
}

pub(super) async fn embeddings(State(server): State<Arc<Server>>, body: Body) -> Result<Response, Refusal> {
    let parsed = EmbeddingsRequest::parse(&read_json(body)?)?;
    let asked = parsed.request;
    let response = blocking(move || {
        let mut vectors = Vec::with_capacity(asked.inputs.len());
        let mut tokens = 0;
        for input in &asked.inputs {
            let ids = server.ids(&server.truncated(input.clone(), asked.truncate));
            tokens += ids.len();
            vectors.push(server.backend().embed(&asked.model, &ids)?);
        }
        let width = vectors.first().map_or(0, Vec::len);
        if let Some(wanted) = asked.dimensions.filter(|wanted| *wanted != width) {
            let reason = format!("must be {width}, the width of this base, not {wanted}");
            return Err(ServeError::BadRequest { param: "dimensions", reason });
        }
        let tokens = u32::try_from(tokens).unwrap_or(u32::MAX);
        Ok(EmbeddingsResponse::new(&asked.model, vectors, tokens, asked.encoding))
    })
    .await?;
    let mut response = Json(response).into_response();
    set(&mut response, IGNORED, &parsed.ignored.join(","));
    Ok(response)
}
