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

async fn page(file: String) -> Result<Response, Problem> {
    let config = Arc::new(Config::from("/openapi.json"));
    let found = serve(&file, config).map_err(|error| {
        tracing::error!("the embedded documentation: {error}");
        Problem::Internal
    })?;
    let file = found.ok_or(Problem::NotFound("there is no such page"))?;
    let mut response = file.bytes.into_owned().into_response();
    let headers = response.headers_mut();
    if let Ok(kind) = HeaderValue::from_str(&file.content_type) {
        headers.insert(header::CONTENT_TYPE, kind);
    }
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    Ok(response)
}
