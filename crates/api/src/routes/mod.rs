//! The table of routes: method, path, types, policy. The document, the router's check and the
//! policy all follow it.
//!
//! **Invariant:** every route has exactly one row and one access; a path without a row is closed.

mod native;
mod other;
mod row;

use std::sync::LazyLock;

pub(crate) use row::EVENTS;
pub use row::{Body, Errors, Method, Outcome, Parameter, Place, Route, Schematic};

static ROUTES: LazyLock<Vec<Route>> = LazyLock::new(|| {
    let mut routes = native::routes();
    routes.extend(other::routes());
    routes
});

/// All routes of a node, by group.
#[must_use]
pub fn routes() -> &'static [Route] {
    &ROUTES
}

/// The row of a method and a path with its parameters in braces.
#[must_use]
pub fn find(method: Method, path: &str) -> Option<&'static Route> {
    routes().iter().find(|route| route.method == method && route.path == path)
}
