//! Serves a base model and one adapter over the OpenAI API, without a node.
//!
//! ```sh
//! cargo run -p openledger-gateway --example serve_an_adapter -- models/base ADAPTER_FOLDER
//! curl -s http://127.0.0.1:8080/v1/chat/completions -H 'content-type: application/json' \
//!     -d '{"model": "adapter", "messages": [{"role": "user", "content": "Hello"}]}'
//! ```
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use openledger_gateway::Origins;
use openledger_gateway::serve::{Server, Setup, router};
use openledger_serving::{Backend, Embedded, LoadAdapter};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folders: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [base, adapter] = folders.as_slice() else { return Err("usage: BASE_FOLDER ADAPTER_FOLDER".into()) };
    // Idle adapters may hold 256 MiB; the scheduler's other limits have their defaults.
    let backend = Embedded::load(base, "base", 256 << 20)?;
    let adapter = LoadAdapter { name: Some("adapter".into()), path: adapter.clone(), expected: None };
    println!("adapter {}", backend.load_adapter(&adapter)?);
    let setup = Setup {
        tokenizer: backend.tokenizer().clone(),
        form: backend.chat_form().clone(),
        eos: backend.model().config().eos.clone(),
        adapters: None,
        metrics: None,
        now: || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs()),
        backend: Arc::new(backend),
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
    println!("listening on http://{}", listener.local_addr()?);
    Ok(axum::serve(listener, router(Arc::new(Server::new(setup)), &Origins::Loopback)).await?)
}
