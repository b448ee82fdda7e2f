//! Requests as typed values: bodies, path parameters, queries. Each refusal names what is wrong.

use std::fmt::Display;
use std::str::FromStr;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use openledger_node::{Blame, NodeError, Viewer};
use serde::de::DeserializeOwned;

use super::problem::ProblemResponse;
use crate::refusal::media;

/// A JSON body.
pub(super) struct Json<T>(pub(super) T);

/// A JSON body that may be left out: an empty one means the default.
pub(super) struct OptionalJson<T>(pub(super) Option<T>);

/// A body of records, one JSON object a line.
pub(super) struct Jsonl(pub(super) Bytes);

/// The media type of JSON.
const JSON: &str = "application/json";

/// The body of a request, within the limit of its route.
pub(super) async fn bytes(request: Request) -> Result<Bytes, ProblemResponse> {
    Bytes::from_request(request, &()).await.map_err(|rejected| {
        let (blame, code) = match rejected.status().as_u16() {
            413 => (Blame::TooLarge, "too-large"),
            _ => (Blame::Request, "bad-request"),
        };
        NodeError::refused(blame, code, rejected.body_text()).into()
    })
}

fn unsupported(given: &str, wanted: &str) -> ProblemResponse {
    let detail = format!("the body is of media type `{given}`, this call takes `{wanted}`");
    NodeError::refused(Blame::Media, "unsupported-media-type", detail).into()
}

fn parsed<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ProblemResponse> {
    serde_json::from_slice(bytes).map_err(|error| {
        NodeError::refused(Blame::Request, "bad-json", format!("the body does not fit: {error}")).into()
    })
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = ProblemResponse;

    async fn from_request(request: Request, _: &S) -> Result<Self, Self::Rejection> {
        let given = media(request.headers());
        if !given.eq_ignore_ascii_case(JSON) {
            return Err(unsupported(given, JSON));
        }
        parsed(&bytes(request).await?).map(Self)
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for OptionalJson<T> {
    type Rejection = ProblemResponse;

    async fn from_request(request: Request, _: &S) -> Result<Self, Self::Rejection> {
        let given = media(request.headers()).to_owned();
        let bytes = bytes(request).await?;
        if bytes.is_empty() {
            return Ok(Self(None));
        }
        if !given.eq_ignore_ascii_case(JSON) {
            return Err(unsupported(&given, JSON));
        }
        parsed(&bytes).map(|value| Self(Some(value)))
    }
}

impl<S: Send + Sync> FromRequest<S> for Jsonl {
    type Rejection = ProblemResponse;

    async fn from_request(request: Request, _: &S) -> Result<Self, Self::Rejection> {
        const MEDIA: [&str; 3] = ["application/jsonl", "application/x-ndjson", "application/octet-stream"];
        let given = media(request.headers());
        if !MEDIA.iter().any(|media| media.eq_ignore_ascii_case(given)) {
            return Err(unsupported(given, MEDIA[0]));
        }
        bytes(request).await.map(Self)
    }
}

/// The parameters of the query; an unknown one is refused.
pub(super) struct Query<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = ProblemResponse;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        match axum::extract::Query::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Query(value)) => Ok(Self(value)),
            Err(rejected) => Err(bad_parameter(rejected.body_text())),
        }
    }
}

/// Who reads; the policy's check put it there.
pub(super) struct Reader(pub(super) Viewer);

impl<S: Send + Sync> FromRequestParts<S> for Reader {
    type Rejection = ProblemResponse;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        parts.extensions.get::<Viewer>().cloned().map(Self).ok_or_else(|| {
            NodeError::refused(Blame::Permission, "forbidden", "this route has no policy and is closed").into()
        })
    }
}

/// Parameters of the path, as texts.
pub(super) struct Path<T>(pub(super) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = ProblemResponse;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        match axum::extract::Path::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(value)) => Ok(Self(value)),
            Err(rejected) => Err(bad_parameter(rejected.body_text())),
        }
    }
}

/// A text of the path as a value.
pub(super) fn parse<T: FromStr>(name: &str, text: &str) -> Result<T, ProblemResponse>
where
    T::Err: Display,
{
    text.parse().map_err(|error| bad_parameter(format!("`{name}` is `{text}`: {error}")))
}

/// A hash of the path: 0x and 64 hexadecimal digits.
pub(super) fn hash(name: &str, text: &str) -> Result<openledger_protocol::B256, ProblemResponse> {
    let digits = text.strip_prefix("0x").filter(|digits| digits.len() == 64);
    digits.and_then(|_| text.parse().ok()).ok_or_else(|| {
        let detail = format!("`{name}` is `{text}`, not 0x and 64 hexadecimal digits");
        NodeError::refused(Blame::Request, "bad-hash", detail).into()
    })
}

fn bad_parameter(detail: String) -> ProblemResponse {
    NodeError::refused(Blame::Request, "bad-parameter", detail).into()
}
