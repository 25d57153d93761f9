//! `/openapi.json`, and Swagger UI from the binary itself.
//!
//! The crate with Swagger UI's release archive is built in as it is and unpacked when a page is first
//! asked for: the crate that would serve it unpacks in a build script, with a second copy of half a
//! dozen libraries, and takes the unpacked files into the binary.

use std::collections::HashMap;
use std::io::{Cursor, Read};
use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::{Redirect, Response};
use axum::routing::get;
use utoipa_swagger_ui_vendored::SWAGGER_UI_VENDORED;
use zip::ZipArchive;
use zip::result::ZipError;

use super::super::app::App;
use super::super::problem::Problem;
use super::pages::Page;

/// Swagger UI sets styles from its script; nothing comes from anywhere else.
const POLICY: &str = "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; \
                      frame-ancestors 'none'";

pub fn routes() -> Router<Arc<App>> {
    let to_docs = || async { Redirect::permanent("/docs/") };
    Router::new()
        .route("/openapi.json", get(document))
        .route("/docs", get(to_docs))
        .route("/redoc", get(to_docs))
        .route("/docs/", get(|app, headers| page(app, Path("index.html".to_owned()), headers)))
        .route("/docs/{*file}", get(page))
}

async fn document(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    app.openapi.answer(&headers)
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

/// All pages, by their names.
static PAGES: LazyLock<Result<HashMap<String, Page>, ZipError>> = LazyLock::new(|| {
    let mut archive = ZipArchive::new(Cursor::new(SWAGGER_UI_VENDORED))?;
    let mut pages = HashMap::new();
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index)?;
        // Everything is in one folder, which has the version in its name.
        let name = entry.name()?.split_once("/dist/").map(|(_, file)| file.to_owned());
        // Source maps are for those who change Swagger UI, and larger than all else together.
        let Some(name) = name.filter(|name| entry.is_file() && !name.ends_with(".map")) else {
            continue;
        };
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes)?;
        match name.as_str() {
            "index.html" => bytes = with_viewport(&String::from_utf8_lossy(&bytes)).into_bytes(),
            "swagger-initializer.js" => bytes = INITIALIZER.into(),
            _ => {}
        }
        let page = Page::new(content_type(&name), POLICY, bytes);
        pages.insert(name, page);
    }
    Ok(pages)
});

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

async fn page(
    State(app): State<Arc<App>>,
    Path(file): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    // They are unpacked by whoever asks first.
    let pages = app.aside.json(|| Ok(&*PAGES)).await?.as_ref().map_err(|error| {
        tracing::error!("the embedded documentation: {error}");
        Problem::Internal
    })?;
    let page = pages.get(&file).ok_or(Problem::NotFound("no such page"))?;
    Ok(page.answer(&headers))
}
