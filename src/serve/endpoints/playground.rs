//! `/playground`: three files from the binary, and nothing from anywhere else.

use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::http::{HeaderMap, header};
use axum::response::Redirect;
use axum::routing::get;

use super::super::app::App;
use super::pages::Page;

const POLICY: &str = "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; \
                      base-uri 'none'; form-action 'none'";

static HTML: LazyLock<Page> =
    LazyLock::new(|| page("text/html; charset=utf-8", include_str!("../playground/index.html")));
static CSS: LazyLock<Page> =
    LazyLock::new(|| page("text/css", include_str!("../playground/style.css")));
static SCRIPT: LazyLock<Page> =
    LazyLock::new(|| page("text/javascript", include_str!("../playground/script.js")));

fn page(kind: &'static str, content: &'static str) -> Page {
    Page::new(kind, POLICY, content).with(header::REFERRER_POLICY, "no-referrer")
}

pub fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/", get(|| async { Redirect::temporary("/playground") }))
        .route("/playground", get(async |headers: HeaderMap| HTML.answer(&headers)))
        .route("/playground/style.css", get(async |headers: HeaderMap| CSS.answer(&headers)))
        .route("/playground/script.js", get(async |headers: HeaderMap| SCRIPT.answer(&headers)))
}
