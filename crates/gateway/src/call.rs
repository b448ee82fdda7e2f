//! One name for every call: the request id, which client, response and log share, and the span that
//! log lines belong to.
//!
//! **Invariant:** an id that came in is taken only if it is short and plain, so that no client can
//! break a log line.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument;

tokio::task_local! {
    /// The id of the call that the task answers.
    static CURRENT: String;
}

/// The id of the call that is being answered, where there is one.
pub(crate) fn current_id() -> Option<String> {
    CURRENT.try_with(Clone::clone).ok()
}

/// Starts a task of its own for the call that is being answered; it goes on when the client hangs
/// up. Its log lines and errors have the call's id.
#[cfg(feature = "node")]
pub(crate) fn spawn<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> tokio::task::JoinHandle<T> {
    let work = work.in_current_span();
    match current_id() {
        Some(id) => tokio::spawn(CURRENT.scope(id, work)),
        None => tokio::spawn(work),
    }
}

/// Names a call, in requests and responses.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Milliseconds until a response began.
pub(crate) const PROCESSING: HeaderName = HeaderName::from_static("openai-processing-ms");
/// Names the adapter that answered.
pub(crate) const ADAPTER: HeaderName = HeaderName::from_static("x-openledger-adapter");
/// Names the members of a request that were ignored.
pub(crate) const IGNORED: HeaderName = HeaderName::from_static("x-openledger-ignored-params");
/// Longest id that is taken from a client, in bytes.
const ID_MAX: usize = 128;

/// The client's id, if it gave a plain one; else a new one.
fn request_id(headers: &HeaderMap) -> String {
    static START: LazyLock<u64> = LazyLock::new(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
    });
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let plain = |id: &&str| {
        let character = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
        (1..=ID_MAX).contains(&id.len()) && id.bytes().all(character)
    };
    let given = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok()).filter(plain);
    given.map_or_else(|| format!("{:x}.{:x}", *START, NUMBER.fetch_add(1, Ordering::Relaxed)), str::to_owned)
}

/// Gives a call its id and its span, and its response the id and the time until it began.
pub(crate) async fn identified(request: Request, next: Next) -> Response {
    let (began, id) = (Instant::now(), request_id(request.headers()));
    let span = tracing::info_span!("call", id, method = %request.method(), path = request.uri().path());
    let answered = async {
        let response = next.run(request).await;
        tracing::debug!(status = response.status().as_u16(), micros = began.elapsed().as_micros() as u64, "answered");
        response
    };
    let mut response = CURRENT.scope(id.clone(), answered.instrument(span)).await;
    set(&mut response, REQUEST_ID, &id);
    let began = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    response.headers_mut().insert(PROCESSING, began.into());
    response
}

/// Sets a header of a response, unless the value is empty or none that a header can have.
pub(crate) fn set(response: &mut Response, name: HeaderName, value: &str) {
    if let (false, Ok(value)) = (value.is_empty(), HeaderValue::from_str(value)) {
        response.headers_mut().insert(name, value);
    }
}

/// Names the adapter behind an answer, and the members of its request that were ignored.
pub(crate) fn describe(response: &mut Response, adapter: &str, ignored: &[String]) {
    set(response, ADAPTER, adapter);
    set(response, IGNORED, &ignored.join(","));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clients_id_is_taken_only_if_it_is_short_and_plain() {
        let id = |value: &[u8]| {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, HeaderValue::from_bytes(value).unwrap());
            request_id(&headers)
        };
        assert_eq!(id(b"a-1_b.c:d"), "a-1_b.c:d");
        for bad in [&b""[..], b"two words", b"a\"b", "Fluß".as_bytes(), &[b'a'; ID_MAX + 1]] {
            let made = id(bad);
            assert!(made.as_bytes() != bad && made.contains('.') && made != id(bad), "{made}");
        }
    }

    #[cfg(feature = "node")]
    #[tokio::test]
    async fn a_task_of_a_call_has_its_id() {
        let id = async || spawn(async { current_id() }).await.unwrap();
        assert_eq!(CURRENT.scope("of-the-call".to_owned(), id()).await.as_deref(), Some("of-the-call"));
        assert_eq!(id().await, None);
    }
}
