//! `/openapi.json`, and Swagger UI from the binary itself.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::Value;
use utoipa_swagger_ui::{Config, serve};

use super::super::app::App;
use super::super::openapi;
use super::super::problem::Problem;

/// Swagger UI sets styles from its script; nothing comes from anywhere else.
const POLICY: &str = "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; \
                      frame-ancestors 'none'";

/// Its routes.
pub fn routes() -> Router<Arc<App>> {
    let to_docs = || async { Redirect::permanent("/docs/") };
    Router::new()
        .route("/openapi.json", get(document))
        .route("/docs", get(to_docs))
        .route("/redoc", get(to_docs))
        .route("/docs/", get(|| page("index.html".to_owned())))
        .route("/docs/{*file}", get(|Path(file)| page(file)))
}

async fn document(State(app): State<Arc<App>>) -> Json<Value> {
    Json(openapi::document(&app.settings))
}

/// Swagger UI's page leaves it out, and a phone then draws it 980 pixels wide.
fn with_viewport(page: &str) -> String {
    let viewport = "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">";
    page.replacen("<head>", &format!("<head>\n    {viewport}"), 1)
}

async fn page(file: String) -> Result<Response, Problem> {
    let config = Arc::new(Config::from("/openapi.json"));
    let found = serve(&file, config).map_err(|error| {
        tracing::error!("the embedded documentation: {error}");
        Problem::Internal
    })?;
    let found = found.ok_or(Problem::NotFound("there is no such page"))?;
    let mut bytes = found.bytes.into_owned();
    if file == "index.html" {
        bytes = with_viewport(&String::from_utf8_lossy(&bytes)).into_bytes();
    }
    let mut response = bytes.into_response();
    let headers = response.headers_mut();
    if let Ok(kind) = HeaderValue::from_str(&found.content_type) {
        headers.insert(header::CONTENT_TYPE, kind);
    }
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    Ok(response)
}
