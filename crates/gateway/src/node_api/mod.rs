//! A node's HTTP faces over its services: native API, OpenAI dialect, chain RPC, health, metrics,
//! Studio.

mod access;
mod guard;
mod health;
mod input;
mod native;
mod openai;
pub(crate) mod problem;
mod repeats;
mod shared;
mod shutdown;
mod studio;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Request};
use axum::middleware::{self, Next};
use axum::routing::any;
use axum::{Extension, Router};
use openledger_node::{Node, NodeError};

use crate::call;
use crate::origin::Origins;
use crate::refusal;
use shared::{BODY_MAX, Shared};
use shutdown::{DRAIN_MAX, ShutdownNotice};

/// How long a request may take until its response begins; answers and settlements wait for the
/// engine and the chain.
const TIMEOUT: Duration = Duration::from_secs(600);

/// Serves `node` over HTTP and lets it work on jobs until `shutdown` is done, then stops it in
/// order. Pages of `origins` may call its OpenAI dialect.
///
/// When `shutdown` is done, streams of job events break off and no request is accepted. Requests
/// that are open may go on for 30 seconds; then the node stops without them.
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
    let (give, notice) = ShutdownNotice::new();
    let given = async move {
        shutdown.await;
        give.send_replace(true);
    };
    let router = router(&node, &origins, notice.clone());
    let serving = std::future::IntoFuture::into_future(axum::serve(listener, router).with_graceful_shutdown(given));
    let served = tokio::select! {
        served = serving => served,
        () = notice.drained() => {
            tracing::warn!(seconds = DRAIN_MAX.as_secs(), "requests are still open; the node stops without them");
            Ok(())
        }
    };
    drop(background);
    node.close().await?;
    served.map_err(failed("HTTP server".into()))
}

/// All routes of a node. The chain's `/rpc` and the Studio's pages have no row in the policy: they
/// check no caller.
fn router(node: &Shared, origins: &Origins, notice: ShutdownNotice) -> Router {
    let rpc = node.chain.embedded().map(openledger_chain::embedded::EmbeddedChain::router).unwrap_or_default();
    // The method fallbacks come before the layer of origins, so that a browser's preflight meets
    // that layer.
    let dialect = policed(node, openai::router(node))
        .merge(openai::unknown())
        .method_not_allowed_fallback(refusal::no_method)
        .layer(origins.layer());
    let tokenizing =
        policed(node, openai::tokenizing(node)).method_not_allowed_fallback(refusal::no_method).layer(origins.layer());
    let native = native::router().route_layer(middleware::from_fn_with_state(Arc::clone(node), repeats::repeatable));
    let own = Router::new()
        .merge(policed(node, health::router()))
        .merge(policed(node, native))
        .merge(dialect)
        .route("/api/{*path}", any(guard::no_route))
        .fallback(studio::page)
        .method_not_allowed_fallback(guard::no_method)
        .layer(Extension(notice))
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .with_state(Arc::clone(node));
    rpc.merge(own)
        .merge(tokenizing)
        .layer(middleware::from_fn(|request: Request, next: Next| guard::guarded(TIMEOUT, request, next)))
        .layer(middleware::from_fn_with_state(Arc::clone(node), guard::counted))
        .layer(middleware::from_fn(call::identified))
}

/// `router` with the policy's check before each of its routes.
fn policed<S: Clone + Send + Sync + 'static>(node: &Shared, router: Router<S>) -> Router<S> {
    router.route_layer(middleware::from_fn_with_state(Arc::clone(node), access::check))
}
