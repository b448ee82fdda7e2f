//! Health, metrics, the OpenAPI document and the pages of problems.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router, extract::State};
use openledger_api::{ChainHealth, ComponentHealth, Health, Liveness, NamedHealth, ProblemKind};
use openledger_node::NodeError;

use super::input::Path;
use super::problem::Result;
use super::shared::Shared;

pub(super) fn router() -> Router<Shared> {
    Router::new()
        .route("/health/live", get(live))
        .route("/health/ready", get(ready))
        .route("/metrics", get(metrics))
        .route("/openapi.json", get(document))
        .route("/problems/{code}", get(problem))
}

async fn live() -> Json<Liveness> {
    Json(Liveness { ok: true })
}

async fn ready(State(node): State<Shared>) -> Response {
    let head = node.chain_ready().await.ok();
    let database = node.database_ready().await.is_ok();
    let ok = head.is_some() && database;
    let health = Health {
        ok,
        chain: ChainHealth { ok: head.is_some(), head },
        database: ComponentHealth { ok: database },
        base: NamedHealth { ok: true, name: node.answering.base().name().to_owned() },
    };
    let status = if ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(health)).into_response()
}

async fn metrics(State(node): State<Shared>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], node.metrics_text()).into_response()
}

async fn document() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], openledger_api::openapi::text()).into_response()
}

async fn problem(Path(code): Path<String>) -> Result<Json<ProblemKind>> {
    Ok(Json(ProblemKind::of(&code).ok_or_else(|| NodeError::missing("kind of problem", code))?))
}
