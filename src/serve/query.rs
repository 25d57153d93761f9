//! Parameters of the address, behind `?`.

use axum::extract::{MatchedPath, Request};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::observe::PROBES;
use super::problem::{Fault, Problem};

/// The most parameters that one answer names.
const MOST_NAMED: usize = 8;

/// Refuses parameters: what a request asks for stands in its body, and an option that stands elsewhere would
/// be left out without a word. Probes take any, since load balancers add some of their own; `/readyz` reads
/// `verbose`.
pub async fn refuse(request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let Some(route) = route.filter(|route| !PROBES.contains(route)) else {
        return next.run(request).await;
    };
    let faults = faults(route, request.method(), request.uri().query().unwrap_or_default());
    if faults.is_empty() { next.run(request).await } else { Problem::Query(faults).into_response() }
}

fn faults(route: &str, method: &Method, query: &str) -> Vec<Fault> {
    let msg = match *method == Method::POST {
        true => format!("`{route}` has no query parameters; put its options into the JSON body"),
        false => format!("`{route}` has no query parameters; remove this one"),
    };
    let names = query.split('&').map(|part| part.split_once('=').map_or(part, |(name, _)| name));
    let fault = |name: &str| Fault {
        loc: vec!["query".into(), name.into()],
        msg: msg.clone(),
        kind: "unknown_parameter",
    };
    names.filter(|name| !name.is_empty()).take(MOST_NAMED).map(fault).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_named_without_their_values_and_not_without_end() {
        let named = |query: &str| {
            let faults = faults("/info", &Method::GET, query);
            faults.iter().map(|fault| fault.loc[1].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(named("coverage=0.9&x&&key=s%20ecret"), ["coverage", "x", "key"]);
        assert!(named("").is_empty() && named("&").is_empty());
        assert_eq!(named(&"x&".repeat(1000)).len(), MOST_NAMED);
    }
}
