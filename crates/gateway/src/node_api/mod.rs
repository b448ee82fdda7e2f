//! A node's HTTP faces over its services: native API, OpenAI dialect, chain RPC, health, metrics, Studio.

mod access;
mod health;
mod input;
mod native;
mod openai;
pub(crate) mod problem;
mod repeats;
mod shared;
mod studio;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::get;
use openledger_node::{Blame, Node, NodeError};
use tower_http::catch_panic::CatchPanicLayer;

use crate::call;
use crate::origin::Origins;
use problem::ProblemResponse;
use shared::{BODY_MAX, Shared};

/// How long a request may take; answers and settlements wait for the engine and the chain.
const TIMEOUT: Duration = Duration::from_secs(600);

/// Serves `node` over HTTP and lets it work on jobs until `shutdown` is done, then stops it in order. Pages of `origins`
/// may call its OpenAI dialect.
///
/// # Errors
///
/// [`NodeError::File`] when the address cannot be listened on.
pub async fn serve_node(
    node: Node,
    origins: Origins,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> openledger_node::Result<()> {
    let listen = node.config().listen;
    let failed = |path: String| move |source| NodeError::File { path, source };
    let listener = tokio::net::TcpListener::bind(listen).await.map_err(failed(format!("listening on {listen}")))?;
    let address = listener.local_addr().map_err(failed("listener".into()))?;
    node.note_address(address)?;
    tracing::info!(%address, "node is ready");
    let node = Arc::new(node);
    let background = node.start();
    let served = axum::serve(listener, router(&node, &origins)).with_graceful_shutdown(shutdown).await;
    drop(background);
    node.close().await?;
    served.map_err(failed("HTTP server".into()))
}

/// All routes of a node.
fn router(node: &Shared, origins: &Origins) -> Router {
    let rpc = node.chain.embedded().map(openledger_chain::embedded::EmbeddedChain::router).unwrap_or_default();
    let policed =
        |router: Router<Shared>| router.route_layer(middleware::from_fn_with_state(Arc::clone(node), access::check));
    let own = Router::new()
        .merge(policed(health::router()))
        .merge(policed(
            native::router().route_layer(middleware::from_fn_with_state(Arc::clone(node), repeats::repeatable)),
        ))
        // The method fallback comes first, so that a browser's preflight meets the layer of origins.
        .merge(policed(openai::router()).method_not_allowed_fallback(no_method).layer(origins.layer()))
        .route("/api/{*path}", get(no_route).post(no_route))
        .route("/v1/{*path}", get(no_route).post(no_route))
        .fallback(studio::page)
        .method_not_allowed_fallback(no_method)
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .with_state(Arc::clone(node));
    rpc.merge(own)
        .merge(openai::tokenizing(node).layer(origins.layer()))
        .layer(middleware::from_fn_with_state(Arc::clone(node), counted))
        .layer(tower_http::timeout::TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, TIMEOUT))
        .layer(CatchPanicLayer::new())
        .layer(middleware::from_fn(call::identified))
}

/// Counts requests and answers with an error status.
async fn counted(State(node): State<Shared>, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    node.count_request(response.status().as_u16());
    response
}

/// A path that no API of this node has: the Studio's first page is not the answer to it.
async fn no_route(uri: axum::http::Uri) -> ProblemResponse {
    let detail = format!("`{}` is no path of this API; /openapi.json lists them", uri.path());
    NodeError::refused(Blame::Missing, "no-route", detail).into()
}

/// A path of the API with another method.
async fn no_method(method: axum::http::Method, uri: axum::http::Uri) -> ProblemResponse {
    let detail = format!("`{}` does not take {method}; /openapi.json lists its methods", uri.path());
    NodeError::refused(Blame::Method, "method-not-allowed", detail).into()
}
