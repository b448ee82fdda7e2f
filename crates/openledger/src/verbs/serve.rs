//! `openledger serve`: adapters over OpenAI's API, on plain folders: no node, no chain, no receipts.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use clap::Args;
use openledger_protocol::ModelId;
use openledger_serving::openai::{
    ApiError, ChatRequest, ChatResponse, ChatStream, CompletionsRequest, CompletionsResponse, DONE, ModelEntry,
    ModelList,
};
use openledger_serving::{Backend, CompletionRequest, Embedded, ServeError};
use serde_json::Value;
use tokio::sync::mpsc;

use crate::error::{CliError, Exit, Result};

/// Chunks of a stream that wait for a slow reader.
const STREAM_CHUNKS: usize = 64;

/// Arguments of `openledger serve`.
#[derive(Args, Debug)]
pub(crate) struct ServeArgs {
    /// The base model's folder; asked for by its name.
    #[arg(long, value_name = "DIR")]
    base: PathBuf,
    /// Folder of adapter folders; each is asked for by its folder's name.
    #[arg(long, value_name = "DIR")]
    adapters: Option<PathBuf>,
    /// The port; 0 takes a free one. The address is printed.
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// About how many bytes of adapters stay in memory.
    #[arg(long, value_name = "N", default_value_t = 256 << 20)]
    cache_bytes: usize,
}

/// What answers.
struct Server {
    backend: Embedded,
    base: String,
    answered: AtomicU64,
}

/// Serves until Ctrl-C.
pub(crate) async fn run(args: ServeArgs) -> Result<()> {
    let base = name(&args.base);
    let backend = Embedded::load(&args.base, &base, args.cache_bytes)?;
    for folder in adapter_folders(args.adapters.as_deref())? {
        let hash = backend.adapters().register(&folder)?;
        backend.adapters().set_alias(&name(&folder), hash, None)?;
        println!("{}  {hash}", name(&folder));
    }
    let address = SocketAddr::from(([127, 0, 0, 1], args.port));
    let busy = |error: std::io::Error| CliError::refused(Exit::Unavailable, format!("{address}: {error}"));
    let listener = tokio::net::TcpListener::bind(address).await.map_err(busy)?;
    println!("listening on http://{}", listener.local_addr().map_err(busy)?);
    let server = Arc::new(Server { backend, base, answered: AtomicU64::new(0) });
    let router = Router::new()
        .route("/v1/models", get(models))
        .route("/v1/chat/completions", post(chat))
        .route("/v1/completions", post(completions))
        .route("/health/live", get(|| async { "ok\n" }))
        .with_state(server);
    let until = async {
        let _ = tokio::signal::ctrl_c().await;
    };
    axum::serve(listener, router).with_graceful_shutdown(until).await.map_err(busy)
}

fn name(folder: &Path) -> String {
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    folder.file_name().map_or_else(|| "base".to_owned(), |name| name.to_string_lossy().into_owned())
}

/// The folders below `root` that hold an adapter, by name.
fn adapter_folders(root: Option<&Path>) -> Result<Vec<PathBuf>> {
    let Some(root) = root else { return Ok(Vec::new()) };
    let entries = std::fs::read_dir(root).map_err(CliError::file(root))?;
    let mut folders: Vec<PathBuf> =
        entries.flatten().map(|entry| entry.path()).filter(|path| path.join("adapter_config.json").is_file()).collect();
    folders.sort();
    Ok(folders)
}

fn refused(error: &ApiError) -> Response {
    let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, Json(error.body())).into_response()
}

fn failed(error: &ServeError) -> Response {
    let error_for_client = ApiError::from(error);
    if error_for_client.status >= 500 {
        tracing::error!(error = %crate::error::with_causes(error), "request failed");
    }
    refused(&error_for_client)
}

impl Server {
    /// An answer's number and the time of day.
    fn stamp(&self) -> (String, u64) {
        let number = self.answered.fetch_add(1, Ordering::Relaxed);
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        (format!("{:x}-{number}", since.as_nanos()), since.as_secs())
    }
}

async fn models(State(server): State<Arc<Server>>) -> Json<ModelList> {
    let entry = |id: String, root: String, parent: Option<String>| ModelEntry {
        id,
        object: "model".into(),
        created: 0,
        owned_by: "openledger".into(),
        root,
        parent,
        openledger: None,
    };
    let base = entry(server.base.clone(), server.backend.capabilities().base.to_string(), None);
    let aliases = server.backend.adapters().aliases();
    let adapters =
        aliases.into_iter().map(|alias| entry(alias.name, alias.adapter.to_string(), Some(server.base.clone())));
    Json(ModelList::new(std::iter::once(base).chain(adapters).collect()))
}

/// A JSON body.
fn json(bytes: &[u8]) -> std::result::Result<Value, ApiError> {
    serde_json::from_slice(bytes).map_err(|error| ApiError::invalid("body", format!("the body is not JSON: {error}")))
}

async fn chat(State(server): State<Arc<Server>>, bytes: axum::body::Bytes) -> Response {
    let parsed = json(&bytes).and_then(|body| ChatRequest::parse(&body));
    let parsed = match parsed {
        Ok(parsed) => parsed,
        Err(error) => return refused(&error),
    };
    let request = match parsed.request.to_completion(ModelId(0), server.backend.chat_form()) {
        Ok(request) => request,
        Err(error) => return failed(&error),
    };
    let response = if parsed.request.stream {
        stream(server, parsed.request, request).await
    } else {
        let (id, created) = server.stamp();
        match blocking(move || server.backend.complete(&request, &mut |_| ControlFlow::Continue(()))).await {
            Ok(answer) => {
                Json(ChatResponse::new(&id, created, &parsed.request.model, &answer, parsed.request.logprobs))
                    .into_response()
            }
            Err(response) => response,
        }
    };
    with_ignored(response, &parsed.ignored)
}

async fn completions(State(server): State<Arc<Server>>, bytes: axum::body::Bytes) -> Response {
    let parsed = match json(&bytes).and_then(|body| CompletionsRequest::parse(&body)) {
        Ok(parsed) => parsed,
        Err(error) => return refused(&error),
    };
    let asked = parsed.request;
    for (set, param) in [(asked.stream, "stream"), (asked.echo, "echo")] {
        if set {
            return refused(&ApiError::unsupported(param, &Value::Bool(true)));
        }
    }
    let request = asked.to_completion(ModelId(0));
    let (id, created) = server.stamp();
    let answer = blocking(move || server.backend.complete(&request, &mut |_| ControlFlow::Continue(()))).await;
    match answer {
        Ok(answer) => {
            let body = CompletionsResponse::new(&id, created, &asked.model, &answer, asked.logprobs.is_some(), None);
            with_ignored(Json(body).into_response(), &parsed.ignored)
        }
        Err(response) => response,
    }
}

/// Runs the model off the threads that serve I/O.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::result::Result<T, ServeError> + Send + 'static,
) -> std::result::Result<T, Response> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(|error| failed(&error)),
        Err(error) => {
            tracing::error!(%error, "an answer broke off");
            Err(StatusCode::INTERNAL_SERVER_ERROR.into_response())
        }
    }
}

/// Answers as server-sent events. A reader that goes away ends the answer.
async fn stream(server: Arc<Server>, asked: ChatRequest, request: CompletionRequest) -> Response {
    // Found out before the stream begins, so that the status still tells it.
    if let Err(error) = server.backend.resolve(&request.model) {
        return failed(&error);
    }
    let (id, created) = server.stamp();
    let system_fingerprint = server.backend.capabilities().base.short();
    let chunks = ChatStream { id, created, model: asked.model, system_fingerprint, include_usage: asked.include_usage };
    let (send, receive) = mpsc::channel::<String>(STREAM_CHUNKS);
    tokio::task::spawn_blocking(move || {
        // A send fails when the reader has gone; then nothing more is worth saying.
        let mut alive = send.blocking_send(chunks.first()).is_ok();
        let mut told = 0;
        let answer = server.backend.complete(&request, &mut |event| {
            if !event.text.is_empty() {
                told += event.text.len();
                alive &= send.blocking_send(chunks.delta(event.text)).is_ok();
            }
            if alive { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        let end = match answer {
            Ok(answer) => {
                let held_back = answer.completion.text.get(told..).filter(|rest| !rest.is_empty());
                let rest = held_back.map(|rest| chunks.delta(rest)).unwrap_or_default();
                let last = chunks.last(answer.completion.finish_reason);
                format!("{rest}{last}{}{DONE}", chunks.usage(answer.completion.usage.into()))
            }
            Err(error) => format!("{}{DONE}", chunks.error(&ApiError::from(&error))),
        };
        let _ = send.blocking_send(end);
    });
    let body = futures::stream::unfold(receive, |mut receive| async move {
        let chunk = receive.recv().await?;
        Some((Ok::<_, Infallible>(chunk), receive))
    });
    ([(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-cache")], Body::from_stream(body))
        .into_response()
}

/// Names the members of the request that were ignored.
fn with_ignored(mut response: Response, ignored: &[String]) -> Response {
    if let (false, Ok(value)) = (ignored.is_empty(), header::HeaderValue::from_str(&ignored.join(","))) {
        response.headers_mut().insert("x-openledger-ignored-params", value);
    }
    response
}
