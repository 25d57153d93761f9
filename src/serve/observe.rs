//! What stands around every request: its id, its time, its line in the log, and the form of every
//! refusal.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header};
use axum::middleware::Next;
use axum::response::Response;
use uuid::Uuid;

use super::app::{App, Phase};
use super::guard::Caller;
use super::metrics::HttpLabels;
use super::problem::Problem;

/// Characters of an id that a client may choose.
const MOST_ID: usize = 128;

/// The name of a request, in its answer, its problem and the log.
#[derive(Clone, Debug)]
pub struct RequestId(pub String);

/// Counts an active request until it ends, in whatever way.
struct Active<'a>(&'a App);

impl Drop for Active<'_> {
    fn drop(&mut self) {
        self.0.metrics.active.dec();
    }
}

pub async fn observe(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let began = Instant::now();
    app.metrics.active.inc();
    let _active = Active(&app);
    let id = request_id(request.headers());
    let trace = trace_id(request.headers());
    let method = method(request.method());
    let route = request.extensions().get::<MatchedPath>();
    let route = route.map_or("unmatched".to_owned(), |path| path.as_str().to_owned());
    request.extensions_mut().insert(RequestId(id.clone()));
    // Whoever has the headers alone knows it too.
    let value = HeaderValue::from_str(&id).expect("ids are printable ASCII");
    request.headers_mut().insert("x-request-id", value.clone());

    let path = request.uri().path().to_owned();
    let http2 = request.version() > Version::HTTP_11;
    let mut response = next.run(request).await;
    let key = response.extensions_mut().remove::<Caller>().map(|Caller(name)| name);
    let key = key.unwrap_or_default();
    let problem = response.extensions_mut().remove::<Problem>().or_else(|| unnamed(&response));
    if let Some(problem) = problem {
        if matches!(response.status().as_u16(), 429 | 503) {
            app.metrics.refused(&problem);
        }
        response = problem.render_at(&path, &id, std::mem::take(response.headers_mut()));
    }
    response.headers_mut().insert("x-request-id", value);
    if app.phase() != Phase::Serving && !http2 {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }

    let status = response.status().as_u16();
    let took = began.elapsed();
    let labels = HttpLabels {
        http_request_method: method,
        http_route: route.clone(),
        http_response_status_code: status,
    };
    app.metrics.http.get_or_create(&labels).observe(took.as_secs_f64());
    let milliseconds = (took.as_secs_f64() * 1e4).round() / 10.0;
    let trace = trace.unwrap_or_default();
    if is_probe(&route) {
        tracing::debug!(
            method,
            route,
            status,
            milliseconds,
            key,
            request_id = id,
            trace_id = trace
        );
    } else {
        tracing::info!(method, route, status, milliseconds, key, request_id = id, trace_id = trace);
    }
    response
}

/// Headers that every answer has.
pub async fn harden(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

/// Refusals of the router itself.
fn unnamed(response: &Response) -> Option<Problem> {
    let is_problem = response.headers().contains_key(header::CONTENT_TYPE);
    match response.status() {
        StatusCode::METHOD_NOT_ALLOWED if !is_problem => Some(Problem::MethodNotAllowed),
        StatusCode::NOT_FOUND if !is_problem => Some(Problem::NotFound("there is nothing here")),
        _ => None,
    }
}

/// Routes that say how the server is; they are answered whatever else it does.
pub const PROBES: [&str; 8] = [
    "/livez",
    "/readyz",
    "/health",
    "/health/live",
    "/health/ready",
    "/v2/health/live",
    "/v2/health/ready",
    "/ping",
];

/// Asked by machines, all the time.
pub fn is_probe(route: &str) -> bool {
    PROBES.contains(&route) || route == "/metrics"
}

/// The client's id, if it is one that can be written anywhere; else a new one.
pub fn request_id(headers: &HeaderMap) -> String {
    let given = headers.get("x-request-id").and_then(|value| value.to_str().ok());
    let fits = |id: &&str| {
        (1..=MOST_ID).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
    };
    given.filter(fits).map_or_else(|| Uuid::now_v7().simple().to_string(), str::to_owned)
}

/// The trace of a W3C `traceparent`.
fn trace_id(headers: &HeaderMap) -> Option<String> {
    let name = HeaderName::from_static("traceparent");
    let parts: Vec<&str> = headers.get(name)?.to_str().ok()?.split('-').collect();
    let hexadecimal = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    match parts[..] {
        [_, trace, parent, _] if trace.len() == 32 && parent.len() == 16 && hexadecimal(trace) => {
            Some(trace.to_owned())
        }
        _ => None,
    }
}

/// Methods are what a client writes; only known ones become labels.
fn method(method: &Method) -> &'static str {
    let known = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT"];
    known.into_iter().find(|known| *known == method.as_str()).unwrap_or("_OTHER")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_could_break_a_log_is_replaced() {
        let with = |id: &[u8]| {
            let mut headers = HeaderMap::new();
            headers.insert("x-request-id", HeaderValue::from_bytes(id).unwrap());
            request_id(&headers)
        };
        assert_eq!(with(b"abc-1"), "abc-1");
        for wrong in [b"".as_slice(), b"a b", b"\xff", &[b'x'; 129], b"tab\tbed"] {
            assert_eq!(with(wrong).len(), 32, "{wrong:?}");
        }
    }

    #[test]
    fn a_trace_is_read_from_its_header() {
        let with = |text: &'static str| {
            trace_id(&HeaderMap::from_iter([(
                HeaderName::from_static("traceparent"),
                HeaderValue::from_static(text),
            )]))
        };
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        let found = with("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
        assert_eq!(found.as_deref(), Some(trace));
        assert_eq!(with("00-xyz-00f067aa0ba902b7-01"), None);
    }

    #[test]
    fn unknown_methods_are_one() {
        assert_eq!(method(&Method::GET), "GET");
        assert_eq!(method(&Method::from_bytes(b"BREW").unwrap()), "_OTHER");
    }
}
