//! `/openapi.json`, and Swagger UI from the binary itself.
//!
//! The crate with Swagger UI's release archive is built in as it is and a file is unpacked when it is
//! asked for: the crate that would serve it unpacks in a build script, with a second copy of half a
//! dozen libraries, and takes the unpacked files into the binary.

use std::io::{Cursor, Read};
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::Value;
use utoipa_swagger_ui_vendored::SWAGGER_UI_VENDORED;
use zip::ZipArchive;
use zip::result::ZipError;

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

/// Takes the place of the release's own, which shows an example from another host.
const INITIALIZER: &str = r##"window.onload = function() {
  window.ui = SwaggerUIBundle({
    url: "/openapi.json",
    dom_id: "#swagger-ui",
    deepLinking: true,
    layout: "StandaloneLayout",
    presets: [SwaggerUIBundle.presets.apis, SwaggerUIStandalonePreset],
    plugins: [SwaggerUIBundle.plugins.DownloadUrl]
  });
};
"##;

/// A file of the folder that Swagger UI is served from; `None` when there is no such file.
fn unpacked(file: &str) -> Result<Option<Vec<u8>>, ZipError> {
    let mut archive = ZipArchive::new(Cursor::new(SWAGGER_UI_VENDORED))?;
    // Everything is in one folder, which has the version in its name.
    let first = archive.by_index(0)?.name()?.into_owned();
    let top = first.split('/').next().unwrap_or_default();
    let name = format!("{top}/dist/{file}");
    let Some(index) = archive.index_for_name(&name) else { return Ok(None) };
    let mut entry = archive.by_index(index)?;
    if !entry.is_file() {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    entry.read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

/// By the ending of the name; the archive holds no other kinds.
fn content_type(file: &str) -> &'static str {
    match file.rsplit('.').next() {
        Some("html") => "text/html",
        Some("css") => "text/css",
        Some("js") => "text/javascript",
        Some("png") => "image/png",
        _ => "application/octet-stream",
    }
}

async fn page(file: String) -> Result<Response, Problem> {
    let found = unpacked(&file).map_err(|error| {
        tracing::error!("the embedded documentation: {error}");
        Problem::Internal
    })?;
    let mut bytes = found.ok_or(Problem::NotFound("there is no such page"))?;
    match file.as_str() {
        "index.html" => bytes = with_viewport(&String::from_utf8_lossy(&bytes)).into_bytes(),
        "swagger-initializer.js" => bytes = INITIALIZER.into(),
        _ => {}
    }
    let mut response = bytes.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type(&file)));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    Ok(response)
}
