//! Answers on their way out: written where nobody else waits, packed where that is asked for, and
//! counted until they are read.

use std::io::Write;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Serialize;
use tokio::sync::Semaphore;

use super::app::App;
use super::encoding::takes_gzip;
use super::problem::Problem;

/// Answers and bodies up to so many bytes are written and read at once: that takes less time than to
/// hand them over.
pub const SMALL: usize = 32 * 1024;
/// Shorter answers are not packed.
const WORTH_PACKING: usize = 1024;

/// Threads beside those that talk, for work with JSON.
pub struct Aside {
    json: Semaphore,
}

impl Default for Aside {
    fn default() -> Self {
        // One alone would let a slow one stop all others; many would only share the cores.
        Self { json: Semaphore::new(2) }
    }
}

impl Aside {
    /// Work with JSON that takes its time.
    pub async fn json<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let _place = self.json.acquire().await.map_err(|_| Problem::Internal)?;
        tokio::task::spawn_blocking(work).await.unwrap_or(Err(Problem::Internal))
    }
}

/// A JSON answer of about so many bytes.
pub async fn json<T: Serialize + Send + 'static>(
    app: &Arc<App>,
    asked: &HeaderMap,
    about: usize,
    value: T,
) -> Result<Response, Problem> {
    let mut share = app.budget.share(about)?;
    let packs = takes_gzip(asked);
    let write = move || {
        let mut bytes = serde_json::to_vec(&value).map_err(|_| Problem::Internal)?;
        let packed = packs && bytes.len() >= WORTH_PACKING;
        if packed {
            bytes = pack(&bytes);
        }
        share.resize(bytes.len())?;
        Ok((share.hold(bytes), packed))
    };
    let (bytes, packed) = if about > SMALL { app.aside.json(write).await? } else { write()? };
    let mut response = Body::from(bytes).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    label(headers, packed);
    Ok(response)
}

/// Says how an answer is packed, and that this depends on who asks.
pub fn label(headers: &mut HeaderMap, packed: bool) {
    headers.append(header::VARY, HeaderValue::from_static("accept-encoding"));
    if packed {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
}

pub fn pack(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("a vector takes everything")
}
