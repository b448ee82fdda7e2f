//! The Studio's built pages, from a folder.

use std::path::{Component, Path, PathBuf};

use axum::extract::State;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};

use super::shared::Shared;

/// Serves a file of the Studio, or its first page for a path without a file (pages route
/// themselves).
pub(crate) async fn page(State(node): State<Shared>, uri: Uri) -> Response {
    let Some(root) = node.config().studio.clone() else {
        return (StatusCode::NOT_FOUND, "this node serves no Studio; start it with --studio DIR\n").into_response();
    };
    let asked = PathBuf::from(uri.path().trim_start_matches('/'));
    if asked.components().any(|part| !matches!(part, Component::Normal(_))) {
        return StatusCode::NOT_FOUND.into_response();
    }
    let named = root.join(&asked);
    let file = if named.is_file() {
        named
    } else if asked.extension().is_some() {
        return StatusCode::NOT_FOUND.into_response();
    } else {
        root.join("index.html")
    };
    match tokio::fs::read(&file).await {
        Ok(bytes) => {
            let headers = [
                (header::CONTENT_TYPE, content_type(&file)),
                (
                    header::CONTENT_SECURITY_POLICY,
                    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:",
                ),
                (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            ];
            (headers, bytes).into_response()
        }
        Err(_) => (StatusCode::NOT_FOUND, "the Studio is not built; run `cargo xtask studio`\n").into_response(),
    }
}

fn content_type(file: &Path) -> &'static str {
    match file.extension().and_then(|extension| extension.to_str()) {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("json") => "application/json",
        Some("woff2") => "font/woff2",
        _ => "application/octet-stream",
    }
}
