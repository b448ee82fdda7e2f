//! Texts as tokens and as numbers: `/tokenize`, `/detokenize`, `/v1/embeddings`.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::response::{IntoResponse, Response};
use openledger_api::openai::{Detokenized, Tokenized};
use openledger_serving::{Prompt, ServeError};
use serde::Serialize;

use super::server::Server;
use crate::call::{IGNORED, set};
use crate::openai::{ChatRequest, EmbeddingsRequest, EmbeddingsResponse, Parsed, detokenize_request, tokenize_request};
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

pub(super) async fn tokenize(State(server): State<Arc<Server>>, body: Body) -> Result<Response, Refusal> {
    let body = read_json(body)?;
    let (tokenized, ignored) = blocking(move || {
        let tokenizer = &server.setup.tokenizer;
        let Parsed { request: asked, mut ignored } = tokenize_request(&body)?;
        let ids = match asked.prompt {
            Some(text) if body["messages"].is_null() => {
                tokenizer.encode(&text, asked.add_special_tokens.unwrap_or(true))
            }
            _ => {
                let mut chat = body;
                if chat["model"].is_null() {
                    chat["model"] = server.backend().capabilities().base_name.into();
                }
                let chat = ChatRequest::parse(&chat)?;
                ignored.retain(|name| chat.ignored.contains(name));
                server.ids(&chat.request.ask(&server.setup.form, tokenizer, (server.setup.now)())?.prompt)
            }
        };
        let texts = ids.iter().map(|id| String::from_utf8_lossy(tokenizer.piece(*id)).into_owned());
        let token_strs = (asked.return_token_strs == Some(true)).then(|| texts.collect());
        let max_model_len = server.backend().capabilities().max_tokens as u64;
        let tokenized = Tokenized { count: ids.len() as u64, max_model_len, tokens: ids, token_strs };
        Ok::<_, Refusal>((tokenized, ignored))
    })
    .await?;
    Ok(answer(tokenized, &ignored))
}

pub(super) async fn detokenize(State(server): State<Arc<Server>>, body: Body) -> Result<Response, Refusal> {
    let Parsed { request: asked, ignored } = detokenize_request(&read_json(body)?)?;
    Ok(answer(Detokenized { prompt: server.setup.tokenizer.decode(&asked.tokens) }, &ignored))
}

/// A response that names the members of its request that were ignored.
fn answer(body: impl Serialize, ignored: &[String]) -> Response {
    let mut response = Json(body).into_response();
    set(&mut response, IGNORED, &ignored.join(","));
    response
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
    Ok(answer(response, &parsed.ignored))
}
