//! The plainest HTTP client: one request a connection, whole bodies or lines as they come.
//!
//! Blocking, as [`crate::Backend`] is, so that no runtime is needed; without TLS, since a peer is
//! in the same machine room or behind a tunnel. **Invariant:** what a peer sends is bounded: heads,
//! lines and whole bodies have limits, reads a timeout.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;

use super::setup::PeerSetup;

/// Largest head, line or whole body of a response.
const BYTES_MAX: u64 = 64 << 20;
/// How long a peer may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(5);

/// Where a peer listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Peer {
    authority: String,
    prefix: String,
    key: Option<String>,
    silence: Duration,
}

/// A response whose body is still to be read.
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) retry_after: Option<u64>,
    body: BodyReader,
}

/// The body of a response, its transfer coding taken off.
struct BodyReader {
    inner: BufReader<std::io::Take<TcpStream>>,
    chunked: bool,
    /// Bytes left of this chunk, or of the body.
    left: u64,
}

impl Peer {
    /// The peer of `setup`.
    ///
    /// # Errors
    /// What is wrong with its address or key, as text.
    pub(super) fn parse(setup: &PeerSetup) -> Result<Self, String> {
        let (url, silence) = (&setup.url, setup.silence);
        let key = setup.key.clone().map(|key| key.0);
        let rest = url.strip_prefix("http://").ok_or_else(|| format!("`{url}` is no http:// address"))?;
        let (authority, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let authority = if authority.contains(':') { authority.to_owned() } else { format!("{authority}:80") };
        let clean = |text: &str| !text.chars().any(|c| c.is_control() || c.is_whitespace());
        if authority.starts_with(':') || !clean(rest) || key.as_deref().is_some_and(|key| !clean(key)) {
            return Err(format!("`{url}` or its key holds what no address or key can"));
        }
        let prefix = prefix.trim_end_matches('/');
        let prefix = if prefix.is_empty() { String::new() } else { format!("/{prefix}") };
        Ok(Self { authority, prefix, key, silence })
    }

    /// Posts `body` to `path`; the response's head. Cutting `line` ends it, also while the peer is
    /// silent.
    ///
    /// # Errors
    /// [`std::io::Error`] when the peer cannot be reached, does not answer in time, or sends no
    /// HTTP.
    pub(super) fn post(&self, path: &str, body: &Value, line: Option<&Line>) -> std::io::Result<Response> {
        self.send("POST", path, &body.to_string(), line)
    }

    /// Asks for `path`.
    ///
    /// # Errors
    /// As [`Peer::post`].
    pub(super) fn get(&self, path: &str) -> std::io::Result<Response> {
        self.send("GET", path, "", None)
    }

    fn send(&self, method: &str, path: &str, body: &str, line: Option<&Line>) -> std::io::Result<Response> {
        let mut stream = self.connect()?;
        if let Some(line) = line {
            line.attach(&stream)?;
        }
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(self.silence))?;
        stream.set_write_timeout(Some(self.silence))?;
        let mut head = format!(
            "{method} {}{path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n",
            self.prefix,
            self.authority,
            body.len()
        );
        if let Some(key) = &self.key {
            head.push_str(&format!("authorization: Bearer {key}\r\n"));
        }
        stream.write_all((head + "\r\n" + body).as_bytes())?;
        Response::read(stream)
    }

    fn connect(&self) -> std::io::Result<TcpStream> {
        let mut refused = std::io::Error::other("the host has no address");
        for address in self.authority.to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, CONNECT) {
                Ok(connected) => return Ok(connected),
                Err(error) => refused = error,
            }
        }
        Err(refused)
    }
}

/// The connection of one request, so that it can be cut from another thread.
#[derive(Default)]
pub(super) struct Line(Mutex<State>);

#[derive(Default)]
struct State {
    cut: bool,
    stream: Option<TcpStream>,
}

impl Line {
    /// Ends what runs over it, now and later.
    pub(super) fn cut(&self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.cut = true;
        if let Some(stream) = state.stream.take() {
            // A connection that is closed already needs no closing.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn attach(&self, stream: &TcpStream) -> std::io::Result<()> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.cut {
            return Err(std::io::ErrorKind::ConnectionAborted.into());
        }
        state.stream = Some(stream.try_clone()?);
        Ok(())
    }
}

fn malformed(what: &str) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidData, what.to_owned())
}

impl Response {
    fn read(stream: TcpStream) -> std::io::Result<Self> {
        let mut inner = BufReader::new(stream.take(BYTES_MAX));
        let line = line(&mut inner)?.ok_or_else(|| malformed("the peer closed without a word"))?;
        let status = line.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1)?.parse().ok());
        let status = status.ok_or_else(|| malformed("the peer speaks no HTTP/1"))?;
        let (mut chunked, mut left, mut retry_after) = (false, u64::MAX, None);
        loop {
            let header = self::line(&mut inner)?.ok_or_else(|| malformed("the peer closed within its head"))?;
            let Some((name, value)) = header.split_once(':') else { break };
            let value = value.trim();
            match name.to_ascii_lowercase().as_str() {
                "transfer-encoding" => chunked = value.eq_ignore_ascii_case("chunked"),
                "content-length" => left = value.parse().map_err(|_| malformed("the length is no number"))?,
                "retry-after" => retry_after = value.parse().ok(),
                _ => {}
            }
        }
        let left = if chunked { 0 } else { left };
        Ok(Self { status, retry_after, body: BodyReader { inner, chunked, left } })
    }

    /// The whole body.
    ///
    /// # Errors
    /// [`std::io::Error`] when it breaks off or is no UTF-8.
    pub(super) fn text(mut self) -> std::io::Result<String> {
        let mut bytes = Vec::new();
        self.body.read_to_end(&mut bytes)?;
        String::from_utf8(bytes).map_err(|_| malformed("the body is no UTF-8"))
    }

    /// The body of a success, as JSON.
    ///
    /// # Errors
    /// [`std::io::Error`] for another status, and as [`Response::text`].
    pub(super) fn json(self) -> std::io::Result<Value> {
        if self.status != 200 {
            return Err(malformed(&format!("the peer answered {}", self.status)));
        }
        serde_json::from_str(&self.text()?)
            .map_err(|error| malformed(&format!("the peer's answer is no JSON: {error}")))
    }

    /// Hands each event's data to `on_event` until that says to stop or the stream ends; events'
    /// names are passed over.
    ///
    /// # Errors
    /// [`std::io::Error`] when the stream breaks off.
    pub(super) fn events(self, mut on_event: impl FnMut(&str) -> std::ops::ControlFlow<()>) -> std::io::Result<()> {
        let mut reader = BufReader::new(self.body);
        while let Some(line) = line(&mut reader)? {
            if let Some(data) = line.strip_prefix("data:")
                && on_event(data.trim_start()).is_break()
            {
                break;
            }
        }
        Ok(())
    }
}

/// The next line without its end; `None` at the end.
fn line(reader: &mut impl BufRead) -> std::io::Result<Option<String>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    Ok(Some(line.trim_end_matches(['\r', '\n']).to_owned()))
}

impl Read for BodyReader {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.chunked && self.left == 0 {
            let mut size = line(&mut self.inner)?;
            if size.as_deref() == Some("") {
                // The end of the chunk before.
                size = line(&mut self.inner)?;
            }
            let size = size.ok_or_else(|| malformed("the body broke off"))?;
            let digits = size.split(';').next().unwrap_or_default().trim();
            self.left = u64::from_str_radix(digits, 16).map_err(|_| malformed("a chunk has no size"))?;
            if self.left == 0 {
                self.chunked = false;
            }
        }
        let most = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if most == 0 {
            return Ok(0);
        }
        let read = self.inner.read(&mut buffer[..most])?;
        if read == 0 && self.left != u64::MAX {
            return Err(malformed("the body broke off"));
        }
        if self.left != u64::MAX {
            self.left -= read as u64;
        }
        Ok(read)
    }
}
