//! Every way in which a request can fail, as RFC 9457 has it.

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::protocols::open_inference;
use super::scheduler::Refusal;

/// A fault in one part of the request.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Fault {
    /// Where: `["body", "texts", 3]`.
    #[schema(value_type = Vec<serde_json::Value>)]
    pub loc: Vec<serde_json::Value>,
    /// What would be right.
    pub msg: String,
    /// A short name.
    #[serde(rename = "type")]
    pub kind: &'static str,
}

/// Why a request is not answered.
#[derive(Clone, Debug, PartialEq)]
pub enum Problem {
    /// The body is no JSON.
    MalformedJson(Vec<Fault>),
    /// The address has parameters that nothing reads.
    Query(Vec<Fault>),
    /// A key is missing or wrong.
    Unauthorized,
    /// A page of another origin asks.
    Forbidden,
    /// The request names no host, or several.
    NoHost,
    /// The request names a host that is not this server.
    ForeignHost,
    /// The same, on a connection of HTTP/2 that was made for another.
    Misdirected,
    /// No such route or task.
    NotFound(&'static str),
    /// The route has other methods.
    MethodNotAllowed,
    /// The body came too slowly.
    RequestTimeout,
    /// The idempotency key belongs to another body.
    IdempotencyConflict,
    /// The body is too large.
    PayloadTooLarge(usize),
    /// The body is said to be something else than what is read, which this is.
    UnsupportedMediaType(&'static str),
    /// The body is packed in a way that is not known here.
    UnsupportedEncoding(&'static str),
    /// Parts of the request are wrong.
    Validation(Vec<Fault>),
    /// The text has more tokens than the model reads, and may not be truncated.
    TextTooLong(Vec<Fault>),
    /// This client asks too often; seconds until it may again.
    RateLimited(u64),
    /// Something of ours broke.
    Internal,
    /// The model's output is no number.
    ModelOutput,
    /// Too much to do; seconds until there may be less.
    Overloaded(u64),
    /// The server is going away.
    Draining,
    /// The server is not ready yet, or no more.
    NotReady,
    /// No more jobs can be kept.
    JobQueueFull,
    /// What is known of jobs cannot be asked now.
    JobsElsewhere,
    /// The file of the jobs has no room for this one.
    JobsFull,
    /// A job whose result found no room.
    ResultTooLarge,
    /// The prediction has another label already.
    FeedbackConflict,
    /// There is no room for more labels.
    FeedbackFull,
    /// The disk does not take the label.
    FeedbackUnwritable,
    /// A job that took the server with it each time; how often.
    GivenUp(u32),
    /// The answer would have come too late.
    DeadlineExceeded,
    /// The client has gone; nobody reads this.
    Cancelled,
}

/// An error response (RFC 9457).
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct Body {
    /// What kind of problem.
    #[serde(rename = "type")]
    #[schema(examples("urn:bayes:problem:validation"))]
    kind: String,
    /// Short title of the error type.
    title: &'static str,
    /// The status code.
    status: u16,
    /// Description of the error.
    detail: String,
    /// Identifier of this occurrence.
    instance: String,
    /// The request id.
    request_id: String,
    /// The parts of the request that are wrong.
    #[serde(skip_serializing_if = "<[Fault]>::is_empty")]
    errors: Vec<Fault>,
}

impl Problem {
    /// Status, suffix of the type, title.
    fn kind(&self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::MalformedJson(_) => {
                (StatusCode::BAD_REQUEST, "malformed-json", "The request body is not valid JSON")
            }
            Self::Query(_) => {
                (StatusCode::BAD_REQUEST, "unknown-parameter", "Unknown query parameters")
            }
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, "unauthorized", "API key required"),
            Self::Forbidden => (StatusCode::FORBIDDEN, "forbidden", "Origin not allowed"),
            Self::NoHost => {
                (StatusCode::BAD_REQUEST, "bad-host", "Exactly one Host header is required")
            }
            Self::ForeignHost => (StatusCode::FORBIDDEN, "forbidden", "Host not allowed"),
            Self::Misdirected => {
                (StatusCode::MISDIRECTED_REQUEST, "misdirected", "Host not allowed")
            }
            Self::NotFound(_) => (StatusCode::NOT_FOUND, "not-found", "Not found"),
            Self::MethodNotAllowed => {
                (StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "Method not allowed")
            }
            Self::RequestTimeout => (
                StatusCode::REQUEST_TIMEOUT,
                "request-timeout",
                "The request body arrived too slowly",
            ),
            Self::IdempotencyConflict => (
                StatusCode::CONFLICT,
                "idempotency-conflict",
                "The idempotency key is already in use",
            ),
            Self::PayloadTooLarge(_) => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "payload-too-large",
                "The request body is too large",
            ),
            Self::UnsupportedMediaType(_) => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported-media-type",
                "The request body is not declared as JSON",
            ),
            Self::UnsupportedEncoding(_) => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported-media-type",
                "The request body has an unknown encoding",
            ),
            Self::Validation(_) => {
                (StatusCode::UNPROCESSABLE_ENTITY, "validation", "Request validation failed")
            }
            Self::TextTooLong(_) => {
                (StatusCode::UNPROCESSABLE_ENTITY, "text-too-long", "The text is too long")
            }
            Self::RateLimited(_) => {
                (StatusCode::TOO_MANY_REQUESTS, "rate-limited", "Too many requests")
            }
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal", "Internal error"),
            Self::ModelOutput => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "model-output-invalid",
                "The model's output is not a number",
            ),
            Self::Overloaded(_) => {
                (StatusCode::SERVICE_UNAVAILABLE, "overloaded", "The server is overloaded")
            }
            Self::Draining => {
                (StatusCode::SERVICE_UNAVAILABLE, "draining", "The server is stopping")
            }
            Self::NotReady => {
                (StatusCode::SERVICE_UNAVAILABLE, "not-ready", "The server is not ready")
            }
            Self::JobQueueFull => {
                (StatusCode::SERVICE_UNAVAILABLE, "job-queue-full", "No more jobs can be stored")
            }
            Self::JobsElsewhere => (
                StatusCode::SERVICE_UNAVAILABLE,
                "jobs-unavailable",
                "The state of jobs is not known now",
            ),
            Self::JobsFull => {
                (StatusCode::INSUFFICIENT_STORAGE, "jobs-full", "The job file is full")
            }
            Self::ResultTooLarge => (
                StatusCode::INSUFFICIENT_STORAGE,
                "jobs-full",
                "The job file had no room for the result",
            ),
            Self::FeedbackConflict => {
                (StatusCode::CONFLICT, "feedback-conflict", "The prediction has another label")
            }
            Self::FeedbackFull => {
                (StatusCode::INSUFFICIENT_STORAGE, "feedback-full", "The feedback folder is full")
            }
            Self::FeedbackUnwritable => (
                StatusCode::SERVICE_UNAVAILABLE,
                "feedback-unwritable",
                "The feedback folder cannot be written",
            ),
            Self::GivenUp(_) => {
                (StatusCode::INTERNAL_SERVER_ERROR, "given-up", "The job was abandoned")
            }
            Self::DeadlineExceeded => {
                (StatusCode::GATEWAY_TIMEOUT, "deadline-exceeded", "The deadline has passed")
            }
            // The code that nginx gives to a client that has gone.
            Self::Cancelled => (
                StatusCode::from_u16(499).expect("499 is a status code"),
                "cancelled",
                "The client has disconnected",
            ),
        }
    }

    /// The last part of the type: a bounded set, fit for a metric's label.
    pub fn suffix(&self) -> &'static str {
        self.kind().1
    }

    pub fn status(&self) -> StatusCode {
        self.kind().0
    }

    /// Seconds after which to try again.
    pub fn retry_after(&self) -> Option<u64> {
        match self {
            Self::RateLimited(seconds) | Self::Overloaded(seconds) => Some(*seconds),
            Self::Draining | Self::NotReady | Self::JobsElsewhere => Some(5),
            Self::JobQueueFull | Self::FeedbackUnwritable => Some(30),
            Self::JobsFull => Some(300),
            _ => None,
        }
    }

    fn faults(&self) -> &[Fault] {
        match self {
            Self::MalformedJson(faults)
            | Self::Query(faults)
            | Self::Validation(faults)
            | Self::TextTooLong(faults) => faults,
            _ => &[],
        }
    }

    fn detail(&self) -> String {
        let again = |seconds: &u64| format!("try again in {seconds} s");
        match self {
            Self::MalformedJson(faults)
            | Self::Query(faults)
            | Self::Validation(faults)
            | Self::TextTooLong(faults) => {
                let told = |fault: &Fault| format!("{}: {}", place(&fault.loc), fault.msg);
                faults.iter().map(told).collect::<Vec<_>>().join("; ")
            }
            Self::Unauthorized => "send `Authorization: Bearer KEY` or `X-API-Key: KEY`".to_owned(),
            Self::Forbidden => {
                "pages of this origin may not call this server; to allow it, start the server with \
                 `--cors-allow-origin ORIGIN`"
                    .to_owned()
            }
            Self::NoHost => "send exactly one `Host` header".to_owned(),
            Self::ForeignHost | Self::Misdirected => {
                "this server does not accept that host name; to accept it, start the server with \
                 `--allowed-host NAME`"
                    .to_owned()
            }
            Self::NotFound(what) => (*what).to_owned(),
            Self::MethodNotAllowed => "see the `Allow` header for the allowed methods".to_owned(),
            Self::RequestTimeout => "send the whole body faster".to_owned(),
            Self::IdempotencyConflict => {
                "this `Idempotency-Key` was used with another body, or for another model".to_owned()
            }
            Self::PayloadTooLarge(limit) => {
                format!("the request body must be at most {limit} bytes")
            }
            Self::UnsupportedMediaType(kind) => format!("send `Content-Type: {kind}`"),
            Self::UnsupportedEncoding(known) => {
                format!("send the body uncompressed, or with `Content-Encoding` as one of: {known}")
            }
            Self::RateLimited(seconds) | Self::Overloaded(seconds) => again(seconds),
            Self::Internal => "the server's log has the cause under this request id".to_owned(),
            Self::ModelOutput => "the model returned no number for this text".to_owned(),
            Self::Draining => "send the request to another replica".to_owned(),
            Self::NotReady => "see `/readyz?verbose` for the cause".to_owned(),
            Self::JobQueueFull => "this job was not stored; send it again later".to_owned(),
            Self::JobsElsewhere => {
                "Redis is gone, or was a moment ago; jobs that were accepted are not lost, ask again \
                 later"
                    .to_owned()
            }
            Self::JobsFull => "this job was not stored; jobs are deleted after their time, and \
                               `--max-jobs-bytes` limits how much is stored"
                .to_owned(),
            Self::ResultTooLarge => "send fewer texts, or try again when there is room".to_owned(),
            Self::FeedbackConflict => {
                "another label was accepted for this prediction before, and stays".to_owned()
            }
            Self::FeedbackFull => {
                "this label was not stored; raise `--max-feedback-bytes`, or export the labels, stop the server, and \
                 move the folder away"
                    .to_owned()
            }
            Self::FeedbackUnwritable => "this label was not stored; send it again later".to_owned(),
            Self::GivenUp(times) => {
                format!("it was started {times} times, and each time the server ended while it ran")
            }
            Self::DeadlineExceeded => "the response was not ready in time".to_owned(),
            Self::Cancelled => "nobody is waiting for this response".to_owned(),
        }
    }

    /// As it is sent.
    pub fn body(&self, request_id: &str) -> Body {
        let (status, suffix, title) = self.kind();
        Body {
            kind: format!("urn:bayes:problem:{suffix}"),
            title,
            status: status.as_u16(),
            detail: self.detail(),
            instance: format!("urn:bayes:request:{request_id}"),
            request_id: request_id.to_owned(),
            errors: self.faults().to_vec(),
        }
    }

    /// The whole response; headers that are there already are kept.
    pub fn render(&self, request_id: &str, headers: HeaderMap) -> Response {
        let json = serde_json::to_vec(&self.body(request_id)).expect("a problem is plain data");
        self.dressed(self.status(), "application/problem+json", json, headers)
    }

    /// The whole response, in the form of the protocol that a path belongs to.
    pub fn render_at(&self, path: &str, request_id: &str, headers: HeaderMap) -> Response {
        if !open_inference::speaks(path) {
            return self.render(request_id, headers);
        }
        let (status, _, title) = self.kind();
        let error = serde_json::json!({ "error": format!("{title}: {}", self.detail()) });
        let json = error.to_string().into_bytes();
        self.dressed(open_inference::status(status), "application/json", json, headers)
    }

    fn dressed(
        &self,
        status: StatusCode,
        kind: &str,
        json: Vec<u8>,
        mut headers: HeaderMap,
    ) -> Response {
        headers.remove(header::CONTENT_LENGTH);
        let mut put = |name: HeaderName, value: &str| {
            let value = HeaderValue::from_str(value).expect("plain ASCII");
            headers.insert(name, value);
        };
        put(header::CONTENT_TYPE, kind);
        if let Some(seconds) = self.retry_after() {
            put(header::RETRY_AFTER, &seconds.to_string());
        }
        if let Self::UnsupportedEncoding(known) = &self {
            put(header::ACCEPT_ENCODING, known);
        }
        if matches!(self, Self::Unauthorized) {
            put(header::WWW_AUTHENTICATE, "Bearer");
        }
        (status, headers, json).into_response()
    }
}

/// `["body", "texts", 3]` as `texts.3`.
fn place(loc: &[serde_json::Value]) -> String {
    let parts = loc.iter().skip(usize::from(loc.len() > 1)).map(|part| match part {
        serde_json::Value::String(name) => name.clone(),
        other => other.to_string(),
    });
    parts.collect::<Vec<_>>().join(".")
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let (Refusal::Full(wait) | Refusal::TooLate(wait)) = refusal;
        Self::Overloaded((wait.as_secs_f64().ceil() as u64).clamp(1, 3600))
    }
}

/// A mark for the outermost layer, which knows the request's id and renders it.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_says_where_what_and_under_which_id() {
        let fault = Fault {
            loc: vec!["body".into(), "texts".into(), 3.into()],
            msg: "must not be blank".to_owned(),
            kind: "blank",
        };
        let json = serde_json::to_value(Problem::Validation(vec![fault]).body("r1")).unwrap();
        let expected = serde_json::json!({
            "type": "urn:bayes:problem:validation",
            "title": "Request validation failed",
            "status": 422,
            "detail": "texts.3: must not be blank",
            "instance": "urn:bayes:request:r1",
            "request_id": "r1",
            "errors": [
                { "loc": ["body", "texts", 3], "msg": "must not be blank", "type": "blank" }
            ],
        });
        assert_eq!(json, expected);
    }

    #[test]
    fn the_wait_becomes_whole_seconds() {
        let wait = std::time::Duration::from_millis(2100);
        let problem = Problem::from(Refusal::TooLate(wait));
        assert_eq!(problem, Problem::Overloaded(3));
        let response = problem.render("r1", HeaderMap::new());
        assert_eq!(response.status().as_u16(), 503);
        assert_eq!(response.headers()["retry-after"], "3");
    }
}
