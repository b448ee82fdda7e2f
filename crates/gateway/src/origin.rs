//! Which web pages may call: cross-origin resource sharing (CORS) for the OpenAI dialect.
//!
//! **Invariant:** a page of an origin that is not allowed gets no `access-control-allow-origin`, so
//! its browser keeps the answer from it. Not here: who may call at all; programs other than
//! browsers send no origin.

use std::net::Ipv4Addr;
use std::time::Duration;

use axum::http::{HeaderName, HeaderValue, Method, header};
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

use crate::call::{ADAPTER, IGNORED, PROCESSING, REQUEST_ID};

/// How long a browser may keep the answer to a preflight request.
const PREFLIGHT: Duration = Duration::from_secs(600);

/// Pages of which origins may call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Origins {
    /// Those of this machine: `localhost`, `127.0.0.0/8` and `[::1]`, on any port.
    #[default]
    Loopback,
    /// All.
    Any,
    /// These, spelled as browsers send them: `https://studio.example`, `http://10.0.0.7:5173`.
    Listed(Vec<String>),
}

impl Origins {
    /// From a list as the command line has it: none is [`Origins::Loopback`], a `*` among them is
    /// [`Origins::Any`].
    ///
    /// # Errors
    /// The text that is no origin.
    pub fn parse(listed: &[String]) -> Result<Self, String> {
        if listed.is_empty() {
            return Ok(Self::Loopback);
        }
        if listed.iter().any(|origin| origin == "*") {
            return Ok(Self::Any);
        }
        let spelled = |origin: &String| {
            let (scheme, host) = origin.split_once("://").ok_or_else(|| origin.clone())?;
            let plain =
                |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/');
            let host = host.strip_suffix('/').unwrap_or(host);
            if plain(scheme) && plain(host) {
                Ok(format!("{scheme}://{host}").to_lowercase())
            } else {
                Err(origin.clone())
            }
        };
        listed.iter().map(spelled).collect::<Result<_, _>>().map(Self::Listed)
    }

    fn allows(&self, origin: &HeaderValue) -> bool {
        let Ok(origin) = origin.to_str() else { return false };
        match self {
            Self::Loopback => is_loopback(origin),
            Self::Any => true,
            Self::Listed(listed) => listed.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin)),
        }
    }

    /// Answers preflight requests, and names the origin in the responses to allowed pages.
    pub(crate) fn layer(&self) -> CorsLayer {
        let own = self.clone();
        let shown = [REQUEST_ID, PROCESSING, ADAPTER, IGNORED, header::RETRY_AFTER];
        let shown = shown.into_iter().chain([HeaderName::from_static("idempotent-replayed")]);
        CorsLayer::new()
            .allow_origin(AllowOrigin::predicate(move |origin, _| own.allows(origin)))
            .allow_methods([Method::GET, Method::POST])
            .allow_headers(AllowHeaders::mirror_request())
            .expose_headers(shown.collect::<Vec<_>>())
            .max_age(PREFLIGHT)
    }
}

/// Whether an origin is one of this machine.
fn is_loopback(origin: &str) -> bool {
    let Some((scheme, host)) = origin.split_once("://") else { return false };
    if !["http", "https"].contains(&scheme) {
        return false;
    }
    let (host, port) = match host.strip_prefix("[::1]") {
        Some(port) => ("localhost", port),
        None => host.find(':').map_or((host, ""), |at| host.split_at(at)),
    };
    let port = port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok());
    port && (host == "localhost" || host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_of_this_machine_are_told_from_those_that_only_look_like_it() {
        for own in [
            "http://localhost:5173",
            "https://localhost",
            "http://127.0.0.1:3000",
            "http://127.1.2.3",
            "http://[::1]:80",
        ] {
            assert!(is_loopback(own), "{own}");
        }
        for other in [
            "http://localhost.example",
            "http://127.0.0.1.example:80",
            "http://example:80",
            "null",
            "file://localhost",
            "http://localhost:x",
            "http://[::1].example",
            "http://10.0.0.1",
            "http://localhost@example",
            "",
        ] {
            assert!(!is_loopback(other), "{other}");
        }
    }

    #[test]
    fn a_list_takes_the_place_of_the_machines_own_origins() {
        let parse = |list: &[&str]| Origins::parse(&list.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>());
        assert_eq!(parse(&[]), Ok(Origins::Loopback));
        assert_eq!(parse(&["http://a.example", "*"]), Ok(Origins::Any));
        let listed = parse(&["https://A.example/"]).unwrap();
        let allows = |origin: &str| listed.allows(&HeaderValue::from_str(origin).unwrap());
        assert!(allows("https://a.example") && !allows("http://a.example") && !allows("http://localhost:5173"));
        for bad in ["a.example", "http://", "http://a.example/page"] {
            assert_eq!(parse(&[bad]), Err(bad.to_owned()));
        }
    }
}
