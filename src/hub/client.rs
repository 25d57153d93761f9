//! Requests to the Hub: the token, redirects, and trying again.

use std::io::Read;
use std::time::Duration;

use serde::de::DeserializeOwned;
use ureq::http::{HeaderMap, Method, Request, Response, StatusCode};
use ureq::{Agent, Body, SendBody};

use super::answer::{self, Failure, Wait};
use super::piece::{Piece, Version};
use super::settings::Origin;
use super::{HubError, Repository, Settings};

/// How often something is tried when the line breaks or the server fails.
pub(super) const ATTEMPTS: u32 = 5;
/// The longest wait that the Hub may ask for before we give up.
const LONGEST_WAIT: Duration = Duration::from_secs(120);
/// The longest answer that is not a file.
const LONGEST_ANSWER: u64 = 64 << 20;
/// Redirects on one way.
const REDIRECTS: usize = 5;

/// A client of one Hub.
#[derive(Clone, Debug)]
pub struct Client {
    agent: Agent,
    settings: Settings,
    origin: Origin,
    /// How often anything is tried at most.
    attempts: u32,
}

/// What is sent.
#[derive(Clone, Copy)]
pub enum Payload<'a> {
    Empty,
    /// Bytes of a media type.
    Bytes(&'a str, &'a [u8]),
    /// So many bytes of a reader, which is opened anew for every attempt.
    Stream(u64, &'a dyn Fn() -> std::io::Result<Box<dyn Read>>),
}

/// A request, tried until it is answered.
#[derive(Clone)]
pub struct Call<'a> {
    /// What it is about, for messages: "`owner/name`".
    pub what: String,
    pub method: Method,
    /// A path of the endpoint, or a whole address.
    pub address: String,
    pub headers: Vec<(String, String)>,
    pub payload: Payload<'a>,
    /// How often it may be tried.
    pub attempts: u32,
    /// Whether redirects to other hosts are followed; those on the Hub itself always are.
    pub leave: bool,
}

impl<'a> Call<'a> {
    /// A request without headers or payload.
    pub fn new(method: Method, what: impl Into<String>, address: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            method,
            address: address.into(),
            headers: Vec::new(),
            payload: Payload::Empty,
            attempts: ATTEMPTS,
            leave: true,
        }
    }

    /// With a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With something to send.
    #[must_use]
    pub fn payload(mut self, payload: Payload<'a>) -> Self {
        self.payload = payload;
        self
    }

    /// Never repeated: what it does, it must not do twice.
    #[must_use]
    pub fn once(mut self) -> Self {
        self.attempts = 1;
        self
    }
}

impl Client {
    /// A client for what the environment names.
    ///
    /// # Errors
    /// The environment names no usable endpoint, or a damaged token.
    pub fn from_env() -> Result<Self, HubError> {
        Self::new(Settings::from_env()?)
    }

    /// A client with these settings.
    ///
    /// # Errors
    /// The endpoint is no address.
    pub fn new(settings: Settings) -> Result<Self, HubError> {
        let origin = Origin::of(&settings.endpoint)
            .ok_or_else(|| HubError::Endpoint { endpoint: settings.endpoint.clone() })?;
        let agent = Agent::config_builder()
            .max_redirects(0)
            .http_status_as_error(false)
            .user_agent(concat!("bayes/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(Duration::from_secs(10)))
            .timeout_recv_response(Some(settings.patience.max(Duration::from_secs(30))))
            .timeout_per_read(Some(settings.patience))
            .timeout_per_write(Some(settings.patience))
            .build()
            .into();
        Ok(Self { agent, settings, origin, attempts: ATTEMPTS })
    }

    /// A client for addresses of any host that a person names. Those without TLS are possible, since only the
    /// Hub gets the token; that the Hub is not to be asked says nothing of others.
    ///
    /// # Errors
    /// As [`Client::from_env`].
    pub fn of_addresses() -> Result<Self, HubError> {
        Self::new(Settings { plain_http: true, offline: false, ..Settings::from_env()? })
    }

    /// One that tries everything once: for what can be done without.
    #[must_use]
    pub fn impatient(self) -> Self {
        Self { attempts: 1, ..self }
    }

    /// What it was made with.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The whole address of a path of the endpoint.
    pub fn address(&self, path: &str) -> String {
        format!("{}{path}", self.settings.endpoint)
    }

    /// Sends a request and reads the answer as JSON.
    ///
    /// # Errors
    /// Refused, not reached, or not JSON of this form.
    pub fn json<T: DeserializeOwned>(&self, call: &Call<'_>) -> Result<T, HubError> {
        Ok(self.json_with_headers(call)?.0)
    }

    /// The same with the answer's headers.
    ///
    /// # Errors
    /// As [`Client::json`].
    pub fn json_with_headers<T: DeserializeOwned>(
        &self,
        call: &Call<'_>,
    ) -> Result<(T, HeaderMap), HubError> {
        let (bytes, headers) = self.bytes(call)?;
        let value = serde_json::from_slice(&bytes).map_err(|error| {
            if answer::is_page(&headers) {
                return HubError::Page { what: call.what.clone() };
            }
            HubError::Answer { what: call.what.clone(), reason: error.to_string() }
        })?;
        Ok((value, headers))
    }

    /// Sends a request and reads the answer, whatever is in it.
    ///
    /// # Errors
    /// Refused or not reached.
    pub fn bytes(&self, call: &Call<'_>) -> Result<(Vec<u8>, HeaderMap), HubError> {
        self.persist(call, |response| {
            let (head, mut body) = response.into_parts();
            let read = body.with_config().limit(LONGEST_ANSWER).read_to_vec();
            Ok((read.map_err(|error| answer::broken(call, &error))?, head.headers))
        })
    }

    /// A range of what an address names, of at most so many bytes.
    ///
    /// # Errors
    /// Refused, not reached, or a server that knows no ranges.
    pub fn range(&self, address: &str, range: &str, most: u64) -> Result<Piece, HubError> {
        let what = answer::without_query(address);
        let call = Call::new(Method::GET, what, address);
        let call = call.header("Range", range).header("Accept-Encoding", "identity");
        self.persist(&call, |response| {
            let (head, mut body) = response.into_parts();
            let whole = answer::header(&head.headers, "content-range")
                .and_then(|range| range.rsplit_once('/')?.1.parse().ok())
                .filter(|_| head.status == StatusCode::PARTIAL_CONTENT)
                .ok_or_else(|| {
                    let (what, status) = (call.what.clone(), head.status.as_u16());
                    Failure::fatal(HubError::NoRanges { what, status })
                })?;
            let read = body.with_config().limit(most).read_to_vec();
            let bytes = read.map_err(|error| answer::broken(&call, &error))?;
            Ok(Piece { bytes, whole, version: Version::of(&head.headers) })
        })
    }

    /// Sends a request whose answer's headers are wanted.
    ///
    /// # Errors
    /// Refused or not reached.
    pub fn headers(&self, call: &Call<'_>) -> Result<HeaderMap, HubError> {
        self.persist(call, |response| Ok(response.into_parts().0.headers))
    }

    /// Tries until there is an answer that `read` can read, with growing pauses.
    fn persist<T>(
        &self,
        call: &Call<'_>,
        mut read: impl FnMut(Response<Body>) -> Result<T, Failure>,
    ) -> Result<T, HubError> {
        let mut attempt = 1;
        loop {
            let Failure { error, wait } = match self.once(call).and_then(&mut read) {
                Ok(value) => return Ok(value),
                Err(failure) => failure,
            };
            if attempt >= call.attempts.min(self.attempts) || !pause(wait, attempt) {
                return Err(error);
            }
            tracing::info!("{error}; trying again");
            attempt += 1;
        }
    }

    /// Sends a request once and follows where it leads. An answer that is no success is a failure.
    pub(super) fn once(&self, call: &Call<'_>) -> Result<Response<Body>, Failure> {
        if self.settings.offline {
            return Err(Failure::fatal(HubError::Offline { what: call.what.clone() }));
        }
        let mut address = match call.address.strip_prefix('/') {
            Some(path) => self.address(&format!("/{path}")),
            None => call.address.clone(),
        };
        for _ in 0..=REDIRECTS {
            let response = self.exchange(call, &address)?;
            if !response.status().is_redirection() {
                return answer::success(call, &self.settings, response);
            }
            let next = answer::location(&response)
                .and_then(|location| answer::resolve(&address, location))
                .ok_or_else(|| answer::lost(call, "a redirect without a target"))?;
            let stays = Origin::of(&next) == Origin::of(&address);
            if let Some(to) = answer::renamed(&address, &next).filter(|_| stays) {
                return Err(Failure::fatal(HubError::Moved { what: call.what.clone(), to }));
            }
            if !stays && !call.leave {
                return Ok(response);
            }
            let safe = matches!(call.method, Method::GET | Method::HEAD);
            if !safe && !matches!(response.status().as_u16(), 307 | 308) {
                return Err(answer::lost(call, "a redirect that does not say what to send"));
            }
            address = next;
        }
        Err(answer::lost(call, "too many redirects"))
    }

    /// One request and its answer. Only the endpoint itself gets the token.
    fn exchange(&self, call: &Call<'_>, address: &str) -> Result<Response<Body>, Failure> {
        let origin = Origin::of(address).ok_or_else(|| answer::lost(call, "not an address"))?;
        if !origin.is_private() && !self.settings.plain_http {
            let address = answer::without_query(address).to_owned();
            return Err(Failure::fatal(HubError::PlainHttp { address }));
        }
        let mut request = Request::builder().method(call.method.clone()).uri(address);
        for (name, value) in &call.headers {
            request = request.header(name, value);
        }
        if let Some(token) = self.settings.token.as_ref().filter(|_| origin == self.origin) {
            request = request.header("Authorization", token.header());
        }
        let invalid = |_| answer::lost(call, "a header or address that cannot be sent");
        let response = match call.payload {
            Payload::Empty if matches!(call.method, Method::POST | Method::PUT) => {
                self.agent.run(request.body(&[][..]).map_err(invalid)?)
            }
            Payload::Empty => self.agent.run(request.body(()).map_err(invalid)?),
            Payload::Bytes(kind, bytes) => {
                self.agent.run(request.header("Content-Type", kind).body(bytes).map_err(invalid)?)
            }
            Payload::Stream(length, open) => {
                let source = open().map_err(|error| answer::lost(call, &error.to_string()))?;
                let mut limited = source.take(length);
                let request = request.header("Content-Length", length.to_string());
                self.agent.run(request.body(SendBody::from_reader(&mut limited)).map_err(invalid)?)
            }
        };
        let response = response.map_err(|error| answer::broken(call, &error))?;
        let shown = answer::without_query(address);
        tracing::debug!("{} {shown}: {}", call.method, response.status());
        Ok(response)
    }

    /// A `POST` of JSON that answers with JSON.
    ///
    /// # Errors
    /// As [`Client::json`].
    pub fn post<T: DeserializeOwned>(
        &self,
        repository: &Repository,
        address: &str,
        value: &serde_json::Value,
    ) -> Result<T, HubError> {
        let bytes = value.to_string().into_bytes();
        let call = Call::new(Method::POST, repository.to_string(), address);
        self.json(&call.payload(Payload::Bytes("application/json", &bytes)))
    }
}

/// Waits before the next attempt; false where waiting is of no use.
pub(super) fn pause(wait: Wait, attempt: u32) -> bool {
    let pause = match wait {
        Wait::Never => return false,
        Wait::Growing => Duration::from_millis(500) * 2u32.pow(attempt.min(5) - 1),
        Wait::Asked(pause) if pause > LONGEST_WAIT => return false,
        Wait::Asked(pause) => pause,
    };
    if pause > Duration::from_secs(5) {
        tracing::warn!("the Hub asks to wait {} s", pause.as_secs());
    }
    std::thread::sleep(pause);
    true
}
