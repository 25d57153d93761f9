//! Pages that never change: kept once, plain and packed, and sent without a copy.

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use super::super::encoding::takes_gzip;
use super::super::reply::{label, pack};

/// A page.
#[derive(Debug)]
pub struct Page {
    headers: Vec<(HeaderName, &'static str)>,
    plain: Bytes,
    packed: Bytes,
}

impl Page {
    /// A document for machines.
    pub fn json(document: &Value) -> Self {
        let plain = Bytes::from(document.to_string());
        let headers = vec![(header::CONTENT_TYPE, "application/json")];
        Self { headers, packed: pack(&plain).into(), plain }
    }

    /// Of this kind, under this content security policy.
    pub fn new(kind: &'static str, policy: &'static str, plain: impl Into<Bytes>) -> Self {
        let headers = vec![(header::CONTENT_TYPE, kind), (header::CONTENT_SECURITY_POLICY, policy)];
        let plain = plain.into();
        Self { headers, packed: pack(&plain).into(), plain }
    }

    /// With one more header.
    pub fn with(mut self, name: HeaderName, value: &'static str) -> Self {
        self.headers.push((name, value));
        self
    }

    pub fn answer(&self, asked: &HeaderMap) -> Response {
        let packed = takes_gzip(asked);
        let bytes = if packed { &self.packed } else { &self.plain };
        let mut response = Body::from(bytes.clone()).into_response();
        let headers = response.headers_mut();
        for (name, value) in &self.headers {
            headers.insert(name, HeaderValue::from_static(value));
        }
        label(headers, packed);
        response
    }
}
