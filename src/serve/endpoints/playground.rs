//! `/playground`: three files from the binary, and nothing from anywhere else.

use std::sync::Arc;

use axum::Router;
use axum::http::header;
use axum::response::{IntoResponse, Redirect};
use axum::routing::get;

use super::super::app::App;

const POLICY: &str = "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; \
                      base-uri 'none'; form-action 'none'";

/// Its routes.
pub fn routes() -> Router<Arc<App>> {
    let html = include_str!("../playground/index.html");
    let css = include_str!("../playground/style.css");
    let script = include_str!("../playground/script.js");
    Router::new()
        .route("/", get(|| async { Redirect::temporary("/playground") }))
        .route("/playground", get(move || async move { file("text/html; charset=utf-8", html) }))
        .route("/playground/style.css", get(move || async move { file("text/css", css) }))
        .route("/playground/script.js", get(move || async move { file("text/javascript", script) }))
}

fn file(kind: &'static str, content: &'static str) -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    (headers, content)
}
