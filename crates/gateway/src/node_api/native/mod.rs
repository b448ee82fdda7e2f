//! The native API at `/api/v1`: thin handlers over services and pipeline. The table of routes is
//! `api::routes()`.

mod data;
mod money;
mod work;

use axum::Router;

use crate::node_api::shared::Shared;

/// The routes.
pub(super) fn router() -> Router<Shared> {
    Router::new().merge(data::router()).merge(work::router()).merge(money::router())
}
