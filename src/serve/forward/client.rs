//! One exchange with the other server. It blocks, and is over in time whatever the other side does.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Error};

use super::super::key_file::{self, KeyFileError};
use super::outcome::Failure;
use super::target::Target;
use super::{HEADER, PLACES};

/// Bytes of an answer.
const MOST_ANSWER: u64 = 1 << 20;
/// How long a connection is kept for the next text: shorter than servers keep theirs.
const IDLE: Duration = Duration::from_secs(5);
/// The most that a server like this one may be given.
const MOST_MILLISECONDS: u128 = 60_000;

/// Why the certificates of an authority cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    #[error("--forward-ca has no effect without TLS; begin the address with https://")]
    NoTls,
    #[error("`{0}` holds no certificate that can be used; write certificates in PEM format")]
    Unusable(PathBuf),
    #[error(transparent)]
    File(#[from] KeyFileError),
}

/// Why there is no answer.
#[derive(Debug)]
pub struct Fault {
    pub failure: Failure,
    /// In the words of the log.
    pub said: String,
    /// Whether it is the text's own, and says nothing of the server.
    pub of_text: bool,
}

impl Fault {
    pub fn new(failure: Failure, said: impl Into<String>) -> Self {
        Self { failure, said: said.into(), of_text: false }
    }
}

/// Asks one server. Redirects are not followed: texts go where an operator sends them, and nowhere else.
pub struct Client {
    agent: Agent,
    url: String,
}

impl Client {
    /// Certificates are checked against the authorities that browsers know, or against this one alone.
    pub fn new(target: &Target, authority: Option<&Path>) -> Result<Self, AuthorityError> {
        let roots = match authority {
            None => RootCerts::WebPki,
            Some(_) if !target.tls => return Err(AuthorityError::NoTls),
            Some(path) => RootCerts::new_with_certs(&certificates(path)?),
        };
        let config = Agent::config_builder()
            .max_redirects(0)
            .http_status_as_error(false)
            .tls_config(TlsConfig::builder().root_certs(roots).build())
            .user_agent(concat!("bayes/", env!("CARGO_PKG_VERSION")))
            .max_idle_connections(PLACES)
            .max_idle_connections_per_host(PLACES)
            .max_idle_age(IDLE);
        // A proxy of the environment is the way out of a network, and not into this machine.
        let config = if target.is_here() { config.proxy(None) } else { config };
        Ok(Self { agent: config.build().into(), url: target.url.clone() })
    }

    /// The body of the answer to a body of JSON. `fresh` asks for an answer that was not kept.
    pub fn exchange(
        &self,
        body: &[u8],
        key: Option<&HeaderValue>,
        limit: Duration,
        fresh: bool,
    ) -> Result<Vec<u8>, Fault> {
        let milliseconds = limit.as_millis().clamp(1, MOST_MILLISECONDS).to_string();
        let mut request = self
            .agent
            .post(&self.url)
            .config()
            .timeout_global(Some(limit))
            .build()
            .header(header::CONTENT_TYPE, "application/json")
            .header(HEADER, "1")
            .header("x-request-timeout-ms", milliseconds);
        if let Some(key) = key {
            request = request.header(header::AUTHORIZATION, key);
        }
        if fresh {
            request = request.header(header::CACHE_CONTROL, "no-cache");
        }
        let mut response = request.send(body).map_err(|error| broken(&error))?;
        let status = response.status();
        if status != StatusCode::OK {
            let of_text = matches!(status.as_u16(), 400 | 413 | 422);
            let said = format!("it answered with {status}");
            return Err(Fault { of_text, ..Fault::new(Failure::Refused, said) });
        }
        let read = response.body_mut().with_config().limit(MOST_ANSWER).read_to_vec();
        read.map_err(|error| broken(&error))
    }
}

fn broken(error: &Error) -> Fault {
    let failure = match error {
        Error::Timeout(_) => Failure::Timeout,
        Error::Io(error) if error.kind() == ErrorKind::TimedOut => Failure::Timeout,
        Error::Protocol(_) | Error::BodyExceedsLimit(_) | Error::LargeResponseHeader(..) => {
            Failure::Invalid
        }
        _ => Failure::Unreachable,
    };
    Fault::new(failure, error.to_string())
}

fn certificates(path: &Path) -> Result<Vec<Certificate<'static>>, AuthorityError> {
    let pem = key_file::read("the file of --forward-ca", path)?;
    let items: Result<Vec<_>, _> = parse_pem(&pem).collect();
    let of_item = |item| match item {
        PemItem::Certificate(certificate) => Some(certificate),
        _ => None,
    };
    let found: Vec<_> = items.unwrap_or_default().into_iter().filter_map(of_item).collect();
    if found.is_empty() { Err(AuthorityError::Unusable(path.to_owned())) } else { Ok(found) }
}
