//! Models and adapters: OpenAI's list, vLLM's loading and unloading.
//!
//! **Invariant:** an adapter is read only from below the folder that the operator named; a path
//! that leads out of it is refused, also through links.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path as UrlPath, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use openledger_api::openai::{LoraAdapter, ModelEntry, ModelList, ObjectList};
use openledger_protocol::AdapterHash;
use openledger_serving::{LoadAdapter, ServeError, Served};
use serde::Serialize;

use super::server::Server;
use crate::call::describe;
use crate::openai::{ApiError, Parsed, load_request, unload_request};
use crate::refusal::{Refusal, blocking, json as read_json, refusal};

type Body = Result<Bytes, BytesRejection>;

pub(super) async fn models(State(server): State<Arc<Server>>) -> Json<ModelList<Serving>> {
    let served = server.backend().served();
    Json(ModelList::new(served.into_iter().map(|served| entry(&server, served)).collect()))
}

pub(super) async fn model(
    State(server): State<Arc<Server>>,
    UrlPath(model): UrlPath<String>,
) -> Result<Json<ModelEntry<Serving>>, Refusal> {
    server
        .backend()
        .find(&model)
        .map(|served| Json(entry(&server, served)))
        .ok_or_else(|| ServeError::NotFound { model }.into())
}

/// How a model is served: the member `openledger` of its entry.
#[derive(Serialize)]
pub(super) struct Serving {
    /// How often the name was given to another adapter.
    generation: u64,
    /// Whether it is in memory now.
    resident: bool,
    /// Most tokens of prompt and answer.
    max_model_len: usize,
}

/// A model as OpenAI and vLLM list it: `root` is the hash behind the name.
fn entry(server: &Server, served: Served) -> ModelEntry<Serving> {
    let own = server.backend().capabilities();
    let (root, parent) = match served.adapter {
        None => (own.base.to_string(), None),
        Some(adapter) => (adapter.to_string(), Some(own.base_name)),
    };
    ModelEntry {
        id: served.name,
        object: "model".into(),
        created: server.started,
        owned_by: "openledger".into(),
        root,
        parent,
        openledger: Some(Serving {
            generation: served.generation,
            resident: served.resident,
            max_model_len: own.max_tokens,
        }),
    }
}

pub(super) async fn list(State(server): State<Arc<Server>>) -> Json<ObjectList<LoraAdapter>> {
    let base = server.backend().capabilities().base_name;
    let adapters = server.backend().served().into_iter().filter_map(|served| {
        Some(LoraAdapter {
            adapter: served.adapter?,
            id: served.name,
            object: "lora_adapter".into(),
            generation: served.generation,
            resident: served.resident,
            parent: base.clone(),
        })
    });
    Json(ObjectList::new(adapters.collect()))
}

pub(super) async fn load(State(server): State<Arc<Server>>, body: Body) -> Result<Response, Refusal> {
    let Parsed { request: asked, ignored } = load_request(&read_json(body)?)?;
    let (name, path) = (asked.lora_name, asked.lora_path);
    let hash = |text: String| {
        let bad = |_| ApiError::invalid("adapter_hash", "`adapter_hash` must be `0x` or `sha256:` and 64 digits");
        text.trim_start_matches("sha256:").parse::<AdapterHash>().map_err(bad)
    };
    let expected = asked.adapter_hash.map(hash).transpose()?;
    if server.backend().find(&name).is_some() && asked.load_inplace != Some(true) {
        let message = format!(
            "The lora adapter '{name}' has already been loaded. If you want to load the adapter in place, set \
             'load_inplace' to True."
        );
        return Err(refusal(400, "invalid_request_error", Some("lora_name"), "adapter_exists", message));
    }
    let own = Arc::clone(&server);
    let (wanted, given) = (name.clone(), path.clone());
    let loaded = blocking(move || {
        let Some(path) = within(own.setup.adapters.as_deref(), &given) else { return Ok(None) };
        own.backend().load_adapter(&LoadAdapter { name: Some(wanted), path, expected }).map(Some)
    })
    .await;
    match loaded {
        Ok(Some(adapter)) => Ok(done(adapter, &ignored, format!("Success: LoRA adapter '{name}' added successfully."))),
        Ok(None) => {
            let message = format!("no adapter lies at `{path}` below the folder that this server loads adapters from");
            Err(refusal(404, "invalid_request_error", Some("lora_path"), "adapter_not_found", message))
        }
        Err(refused) => Err(refused.or_unreadable("lora_path")),
    }
}

/// `path` if it leads to a folder below `root`.
fn within(root: Option<&Path>, path: &str) -> Option<PathBuf> {
    let root = root?.canonicalize().ok()?;
    // Joining an absolute path gives that path.
    let path = root.join(path).canonicalize().ok()?;
    (path.starts_with(&root) && path.is_dir()).then_some(path)
}

pub(super) async fn unload(State(server): State<Arc<Server>>, body: Body) -> Result<Response, Refusal> {
    let Parsed { request, ignored } = unload_request(&read_json(body)?)?;
    let name = request.lora_name;
    let (own, unloaded) = (Arc::clone(&server), name.clone());
    let adapter = blocking(move || own.backend().unload_adapter(&unloaded)).await?;
    Ok(done(adapter, &ignored, format!("Success: LoRA adapter '{name}' removed successfully.")))
}

fn done(adapter: AdapterHash, ignored: &[String], message: String) -> Response {
    let mut response = message.into_response();
    describe(&mut response, &adapter.to_string(), ignored);
    response
}

pub(super) async fn metrics(State(server): State<Arc<Server>>) -> Response {
    let asked = server.asked.load(std::sync::atomic::Ordering::Relaxed);
    let mut text =
        format!("# TYPE openledger_serving_requests_total counter\nopenledger_serving_requests_total {asked}\n");
    if let Some(more) = &server.setup.metrics {
        text.push_str(&more());
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}
