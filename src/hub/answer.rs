//! What an answer of the Hub means.

use std::time::{Duration, SystemTime};

use ureq::http::{HeaderMap, Response};
use ureq::{Body, Error};

use super::client::Call;
use super::{HubError, Settings, is_id};

/// Why a try failed, and whether another may do better.
pub(super) struct Failure {
    pub(super) error: HubError,
    pub(super) wait: Wait,
}

/// What to do before the next try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// There is no use in one.
    Never,
    /// A little longer each time.
    Growing,
    /// As long as the Hub said.
    Asked(Duration),
}

impl Failure {
    pub(super) fn fatal(error: HubError) -> Self {
        Self { error, wait: Wait::Never }
    }
}

/// An answer that cannot be followed.
pub(super) fn lost(call: &Call<'_>, reason: &str) -> Failure {
    let (what, reason) = (call.what.clone(), reason.to_owned());
    Failure::fatal(HubError::Answer { what, reason })
}

/// A line that broke. A name that is not found, a certificate that is not good or a connection that is
/// refused is not made better by trying at once again.
pub(super) fn broken(call: &Call<'_>, error: &Error) -> Failure {
    use std::io::ErrorKind as Kind;
    let breaks = |kind| {
        matches!(
            kind,
            Kind::ConnectionReset
                | Kind::ConnectionAborted
                | Kind::BrokenPipe
                | Kind::UnexpectedEof
                | Kind::TimedOut
                | Kind::WouldBlock
                | Kind::Interrupted
        )
    };
    let wait = match error {
        Error::Io(error) if !breaks(error.kind()) => Wait::Never,
        Error::Io(_) | Error::Timeout(_) | Error::Protocol(_) => Wait::Growing,
        _ => Wait::Never,
    };
    let (what, reason) = (call.what.clone(), error.to_string());
    Failure { error: HubError::Unreachable { what, reason }, wait }
}

/// The value of a header, if it is text.
pub(super) fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim).filter(|value| !value.is_empty())
}

/// Whether a web page came.
pub(super) fn is_page(headers: &HeaderMap) -> bool {
    header(headers, "content-type").is_some_and(|kind| kind.starts_with("text/html"))
}

/// Where a redirect leads.
pub(super) fn location(response: &Response<Body>) -> Option<&str> {
    header(response.headers(), "location")
}

/// An address without its query, in which signatures stand.
pub(super) fn without_query(address: &str) -> &str {
    address.split(['?', '#']).next().unwrap_or_default()
}

/// The address that a redirect at `base` names.
pub(super) fn resolve(base: &str, location: &str) -> Option<String> {
    let lower = location.to_lowercase();
    if lower.starts_with("https://") || lower.starts_with("http://") {
        return Some(location.to_owned());
    }
    let (scheme, rest) = base.split_once("://")?;
    if let Some(elsewhere) = location.strip_prefix("//") {
        return Some(format!("{scheme}://{elsewhere}"));
    }
    let host = rest.split(['/', '?', '#']).next()?;
    if location.starts_with('/') {
        return Some(format!("{scheme}://{host}{location}"));
    }
    let folder = without_query(base).rsplit_once('/')?.0;
    Some(format!("{folder}/{location}"))
}

/// The parts of an address's path, and at which of them the id of the repository stands.
fn parts(address: &str) -> (Vec<&str>, usize) {
    let parts: Vec<&str> = without_query(address).split('/').skip(3).collect();
    let start = match (parts.first(), parts.get(1)) {
        (Some(&"api"), Some(&("models" | "datasets"))) => 2,
        (Some(&"datasets"), _) => 1,
        _ => 0,
    };
    (parts, start)
}

fn id(parts: &[&str], start: usize) -> Option<String> {
    parts.get(start..start + 2).map(|id| id.join("/")).filter(|id| is_id(id))
}

/// The new id of a repository, where two addresses differ in nothing else.
pub(super) fn renamed(from: &str, to: &str) -> Option<String> {
    let ((from, start), (to, other)) = (parts(from), parts(to));
    let (old, new) = (id(&from, start)?, id(&to, other)?);
    let same = from.len() == to.len()
        && from[..start] == to[..start]
        && from[start + 2..] == to[start + 2..];
    (same && old != new).then_some(new)
}

/// The page of the repository that an address belongs to.
fn page(settings: &Settings, address: &str) -> String {
    let address = resolve(&format!("{}/", settings.endpoint), address).unwrap_or_default();
    let (parts, start) = parts(&address);
    let kind = if parts[..start].contains(&"datasets") { "/datasets" } else { "" };
    format!("{}{kind}/{}", settings.endpoint, id(&parts, start).unwrap_or_default())
}

/// The answer, if it is a success.
pub(super) fn success(
    call: &Call<'_>,
    settings: &Settings,
    response: Response<Body>,
) -> Result<Response<Body>, Failure> {
    if response.status().is_success() {
        return Ok(response);
    }
    let (head, mut body) = response.into_parts();
    // What cannot be read of a refusal is not worth an error of its own.
    let body = body.with_config().limit(1 << 16).read_to_string().unwrap_or_default();
    Err(refusal(call, settings, head.status.as_u16(), &head.headers, &body))
}

fn refusal(
    call: &Call<'_>,
    settings: &Settings,
    status: u16,
    headers: &HeaderMap,
    body: &str,
) -> Failure {
    let what = call.what.clone();
    let code = header(headers, "x-error-code").unwrap_or_default();
    let message = settings.hide(&message(headers, body));
    let token = settings.token.is_some();
    let error = match (status, code) {
        (401 | 403, "GatedRepo") => {
            let page = page(settings, &call.address);
            HubError::Gated { what, page, token }
        }
        (401, _) => HubError::Unauthorised { what, token },
        (403, _) => HubError::Forbidden { what, message, token },
        (404, _) => HubError::Missing { what, message },
        (409, _) => HubError::Conflict { what, message },
        (412, _) => HubError::ParentMoved { what, message },
        (429, _) => {
            let wait = retry_after(headers);
            let seconds = wait.map(|wait| wait.as_secs());
            let error = HubError::RateLimited { what, seconds };
            return Failure { error, wait: wait.map_or(Wait::Growing, Wait::Asked) };
        }
        _ => HubError::Refused { what, status, message },
    };
    let wait = match status {
        408 | 500..=599 => retry_after(headers).map_or(Wait::Growing, Wait::Asked),
        _ => Wait::Never,
    };
    Failure { error, wait }
}

/// What the Hub said of a refusal, on one line.
fn message(headers: &HeaderMap, body: &str) -> String {
    let parsed: Option<serde_json::Value> = serde_json::from_str(body).ok();
    let in_body = parsed.as_ref().and_then(|value| {
        let first = &value["errors"][0]["message"];
        [&value["error"], &value["message"], first].into_iter().find_map(|text| text.as_str())
    });
    let message = header(headers, "x-error-message").or(in_body).unwrap_or_default();
    let words: Vec<&str> = message.split_whitespace().collect();
    words.join(" ").chars().filter(|c| !c.is_control()).take(300).collect()
}

/// Seconds or a date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = header(headers, "retry-after")?;
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(SystemTime::now()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_is_read_relative_to_where_it_came_from() {
        let base = "https://a.b:1/x/y?q=/z";
        for (location, address) in [
            ("https://c.d/e", "https://c.d/e"),
            ("//c.d/e", "https://c.d/e"),
            ("/e?f", "https://a.b:1/e?f"),
            ("e", "https://a.b:1/x/e"),
        ] {
            assert_eq!(resolve(base, location).unwrap(), address);
        }
    }

    #[test]
    fn a_rename_is_told_from_other_redirects() {
        let renamed =
            |from: &str, to: &str| renamed(&format!("https://h{from}"), &format!("https://h{to}"));
        let new = Some("c/d".to_owned());
        assert_eq!(renamed("/api/models/a/b", "/api/models/c/d"), new);
        assert_eq!(renamed("/datasets/a/b/resolve/m/f", "/datasets/c/d/resolve/m/f?x"), new);
        assert_eq!(renamed("/a/b/resolve/main/f", "/c/d/resolve/main/f"), new);
        assert_eq!(renamed("/a/b/resolve/main/f", "/api/resolve-cache/models/a/b/1/f"), None);
        assert_eq!(renamed("/a/b/resolve/main/f", "/a/b/resolve/1/f"), None);
    }

    #[test]
    fn the_wait_is_in_seconds_or_until_a_date() {
        let wait = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("retry-after", value.parse().unwrap());
            retry_after(&headers)
        };
        assert_eq!(wait("7"), Some(Duration::from_secs(7)));
        assert_eq!(wait("Thu, 01 Jan 1970 00:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(wait("soon"), None);
    }
}
