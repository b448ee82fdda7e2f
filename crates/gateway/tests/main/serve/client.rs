//! A server on a free port and the plainest of clients, so that tests see the bytes on the wire.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;

use openledger_gateway::Origins;
use openledger_gateway::serve::{Server, Setup, router};
use openledger_serving::{Backend, ChatForm, Embedded};
use serde_json::Value;

/// A server that runs as long as this is held.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    runtime: tokio::runtime::Runtime,
}

/// A response as it came.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Response {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{}: {error}", self.body))
    }

    /// A header's value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let line = self.head.lines().find(|line| line.to_lowercase().starts_with(&format!("{name}:")))?;
        line.split_once(':').map(|(_, value)| value.trim())
    }

    /// The data of each event; `[DONE]` as a string.
    pub(crate) fn events(&self) -> Vec<Value> {
        let data = self.body.split("\n\n").filter(|event| !event.is_empty());
        data.map(|event| {
            let data = event.strip_prefix("data: ").unwrap_or_else(|| panic!("{event:?}"));
            if data == "[DONE]" { data.into() } else { serde_json::from_str(data).unwrap() }
        })
        .collect()
    }
}

/// Serves `backend` with what `embedded` knows of its base; adapters come from `root`.
pub(crate) fn serve(backend: Arc<dyn Backend>, embedded: &Embedded, form: ChatForm, root: Option<PathBuf>) -> Running {
    let server = Server::new(Setup {
        backend,
        tokenizer: Arc::clone(embedded.tokenizer()),
        form,
        eos: embedded.model().config().eos.clone(),
        adapters: root,
        metrics: None,
        now: || 1_700_000_000,
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    runtime.spawn(async move { axum::serve(listener, router(Arc::new(server), &Origins::default())).await });
    Running { address, runtime }
}

/// Serves `embedded` itself.
pub(crate) fn serve_embedded(embedded: &Embedded, root: Option<PathBuf>) -> Running {
    serve(Arc::new(embedded.clone()), embedded, embedded.chat_form().clone(), root)
}

impl Running {
    /// Sends a request and gives the connection.
    pub(crate) fn send(&self, method: &str, path: &str, headers: &str, body: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).unwrap();
        let length = body.len();
        let head = format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n");
        stream.write_all(format!("{head}{headers}\r\n{body}").as_bytes()).unwrap();
        stream
    }

    /// Sends a request and reads the whole response.
    pub(crate) fn call(&self, method: &str, path: &str, body: &str) -> Response {
        self.call_with(method, path, "content-type: application/json\r\n", body)
    }

    /// As [`Running::call`], with `headers`, each with its line end.
    pub(crate) fn call_with(&self, method: &str, path: &str, headers: &str, body: &str) -> Response {
        let mut bytes = Vec::new();
        self.send(method, path, headers, body).read_to_end(&mut bytes).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let chunked = head.to_lowercase().contains("transfer-encoding: chunked");
        let body = if chunked { unchunk(body) } else { body.to_owned() };
        Response { status, head: head.to_owned(), body }
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Response {
        self.call("POST", path, &body.to_string())
    }

    pub(crate) fn get(&self, path: &str) -> Response {
        self.call("GET", path, "")
    }

    /// Waits for the server's tasks to be gone.
    pub(crate) fn stop(self) {
        self.runtime.shutdown_background();
    }
}

/// The data of a chunked body.
fn unchunk(mut body: &str) -> String {
    let mut data = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            break;
        }
        data.push_str(&rest[..size]);
        body = rest[size..].strip_prefix("\r\n").unwrap();
    }
    data
}
