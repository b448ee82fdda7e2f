//! `Idempotency-Key` on the native API's posts: a repeat gets the first answer, another body under
//! the key is refused.
//!
//! **Invariant:** only answers of success are kept. A request that was refused or cut off is done
//! again under the same key. That is safe because every step recognises its own effects; a crash
//! between a step's effect and its kept answer costs only the repeated work.
//!
//! Not here: answers of `/v1`, whose key is charged once and is kept with its receipt. Keys have
//! the same form in both APIs ([`checked_key`]).

use axum::body::{Body, to_bytes};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use openledger_api::policy::Principal;
use openledger_api::{Method, find};
use openledger_node::{Blame, KeptResponse, NodeError, Taken, Viewer};
use openledger_protocol::{PrincipalId, keccak};

use super::input::bytes;
use super::problem::Result;
use super::shared::Shared;

/// The caller's name for a call.
pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Marks an answer that was kept.
pub(crate) const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
/// Longest key, in bytes.
const KEY_MAX: usize = 200;

/// A key that a caller gave.
///
/// # Errors
/// `bad-idempotency-key` unless it has 1 to 200 printable ASCII characters and neither begins nor
/// ends with a space.
pub(crate) fn checked_key(key: &str) -> Result<&str, NodeError> {
    let printable = key.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if printable && (1..=KEY_MAX).contains(&key.len()) && key.trim_matches(' ') == key {
        return Ok(key);
    }
    let detail = format!(
        "an idempotency key has 1 to {KEY_MAX} printable ASCII characters, and neither begins nor ends with a space"
    );
    Err(NodeError::refused(Blame::Request, "bad-idempotency-key", detail))
}

/// The key in the header `Idempotency-Key`, where there is one.
///
/// # Errors
/// As [`checked_key`].
pub(crate) fn header_key(headers: &HeaderMap) -> Result<Option<&str>, NodeError> {
    let mut keys = headers.get_all(IDEMPOTENCY_KEY).iter();
    let (key, second) = (keys.next(), keys.next());
    if second.is_some() {
        let detail = "give one `Idempotency-Key`; the request has several";
        return Err(NodeError::refused(Blame::Request, "bad-idempotency-key", detail));
    }
    // A value beyond ASCII is no key either.
    key.map(|key| checked_key(key.to_str().unwrap_or_default())).transpose()
}

/// The name of a caller, under which its keys are kept; its spelling never changes.
fn keeper(principal: &Principal) -> String {
    match principal {
        Principal::Operator => PrincipalId::Operator.to_string(),
        Principal::Account(account) => PrincipalId::Account(*account).to_string(),
        Principal::Payer { channel, .. } => format!("channel:{channel}"),
        // An agent is known by its account here, not by its title.
        Principal::Agent(account) => format!("agent-{}", PrincipalId::Account(*account)),
        Principal::Anonymous => PrincipalId::Anonymous.to_string(),
    }
}

/// Gives a repeated post its first answer, where the route's row says that it is repeatable.
pub(super) async fn repeatable(State(node): State<Shared>, request: Request, next: Next) -> Response {
    if !request.headers().contains_key(IDEMPOTENCY_KEY) {
        return next.run(request).await;
    }
    let path = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let repeatable = path.and_then(|path| find(Method::Post, path)).is_some_and(|route| route.repeatable);
    if request.method() != axum::http::Method::POST || !repeatable {
        return next.run(request).await;
    }
    once(&node, request, next).await.unwrap_or_else(IntoResponse::into_response)
}

async fn once(node: &Shared, request: Request, next: Next) -> Result<Response> {
    let key = header_key(request.headers())?.unwrap_or_default().to_owned();
    let (parts, body) = request.into_parts();
    let body = bytes(Request::from_parts(parts.clone(), body)).await?;
    let caller = parts.extensions.get::<Viewer>().map(|viewer| keeper(viewer.principal())).unwrap_or_default();
    let principal = format!("{caller} {}", parts.uri.path());
    let hold = match node.requests.take(&caller, &principal, &key, keccak(&body)).await? {
        Taken::Done(kept) => return Ok(replayed(kept)),
        Taken::Fresh(hold) => hold,
    };
    let (mut head, body) = next.run(Request::from_parts(parts, Body::from(body))).await.into_parts();
    let body = to_bytes(body, usize::MAX).await.map_err(|error| {
        NodeError::refused(Blame::Operator, "unreadable-answer", format!("the answer could not be read: {error}"))
    })?;
    if head.status.is_success() {
        hold.finish(KeptResponse { status: head.status.as_u16(), body: body.to_vec() }).await?;
    }
    head.headers.remove(header::CONTENT_LENGTH);
    Ok(Response::from_parts(head, Body::from(body)))
}

fn replayed(kept: KeptResponse) -> Response {
    let status = StatusCode::from_u16(kept.status).unwrap_or(StatusCode::OK);
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (REPLAYED, HeaderValue::from_static("true")),
    ];
    (status, headers, kept.body).into_response()
}

#[cfg(test)]
mod tests {
    use openledger_protocol::{Address, ChannelId};

    use super::*;

    #[test]
    fn a_key_is_short_and_printable_in_every_api() {
        let longest = "k".repeat(KEY_MAX);
        for good in ["k", "a b", "~!", longest.as_str()] {
            assert_eq!(checked_key(good).unwrap(), good);
        }
        let longer = "k".repeat(KEY_MAX + 1);
        for bad in ["", " ", " k", "k ", "a\nb", "Fluß", longer.as_str()] {
            assert_eq!(checked_key(bad).unwrap_err().code(), "bad-idempotency-key", "{bad:?}");
        }
        let mut headers = HeaderMap::new();
        assert_eq!(header_key(&headers).unwrap(), None);
        headers.insert(IDEMPOTENCY_KEY, HeaderValue::from_bytes("Fluß".as_bytes()).unwrap());
        assert_eq!(header_key(&headers).unwrap_err().code(), "bad-idempotency-key");
        headers.insert(IDEMPOTENCY_KEY, HeaderValue::from_static("one"));
        assert_eq!(header_key(&headers).unwrap(), Some("one"));
        headers.append(IDEMPOTENCY_KEY, HeaderValue::from_static("two"));
        assert_eq!(header_key(&headers).unwrap_err().code(), "bad-idempotency-key");
    }

    #[test]
    fn the_names_of_principals_under_kept_keys_do_not_change() {
        let account = Address::repeat_byte(7);
        let hex = "07".repeat(20);
        assert_eq!(keeper(&Principal::Operator), "operator");
        assert_eq!(keeper(&Principal::Account(account)), format!("account:0x{hex}"));
        assert_eq!(keeper(&Principal::Agent(account)), format!("agent-account:0x{hex}"));
        assert_eq!(keeper(&Principal::Anonymous), "anonymous");
        let channel = ChannelId(openledger_protocol::B256::repeat_byte(9));
        let name = format!("channel:0x{}", "09".repeat(32));
        assert_eq!(keeper(&Principal::Payer { account, channel }), name);
    }
}
