//! What the environment says: where the Hub is, whether it may be asked, and who asks.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use ureq::http::Uri;

use super::HubError;

/// The Hub, when `HF_ENDPOINT` names no other.
const HUB: &str = "https://huggingface.co";
/// Lets an endpoint without TLS be used although it is on another machine.
pub const PLAIN_HTTP: &str = "BAYES_ALLOW_PLAIN_HTTP_ENDPOINT";

/// What the environment says about the Hub.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `HF_ENDPOINT` without a slash at its end.
    pub endpoint: String,
    pub token: Option<Token>,
    /// `HF_HUB_OFFLINE`: nothing is asked for.
    pub offline: bool,
    /// `HF_HUB_DOWNLOAD_TIMEOUT`: how long a line may be silent.
    pub patience: Duration,
    /// Whether endpoints and redirects without TLS may lead to other machines.
    pub(super) plain_http: bool,
}

impl Settings {
    /// Reads the environment.
    ///
    /// # Errors
    /// An endpoint that is none or that would send the token in the clear; a damaged token.
    pub fn from_env() -> Result<Self, HubError> {
        let endpoint = variable("HF_ENDPOINT").unwrap_or_else(|| HUB.to_owned());
        let patience = variable("HF_HUB_DOWNLOAD_TIMEOUT").and_then(|text| text.parse().ok());
        let patience = patience.filter(|&seconds| seconds > 0).unwrap_or(10);
        let settings = Self {
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            token: Token::from_env()?,
            offline: is_offline(),
            patience: Duration::from_secs(patience),
            plain_http: is_true(PLAIN_HTTP),
        };
        settings.checked()
    }

    /// Settings that the environment has no part in.
    ///
    /// # Errors
    /// As [`Settings::from_env`].
    pub fn new(endpoint: &str, token: Option<&str>, patience: Duration) -> Result<Self, HubError> {
        let settings = Self {
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            token: token.map(|token| Token::new(token, "the settings")).transpose()?,
            offline: false,
            patience,
            plain_http: false,
        };
        settings.checked()
    }

    fn checked(self) -> Result<Self, HubError> {
        let endpoint = &self.endpoint;
        match Origin::of(endpoint).filter(|_| !endpoint.contains(['@', '?', '#'])) {
            None => Err(HubError::Endpoint { endpoint: without_user(endpoint) }),
            Some(origin) if !origin.is_private() && !self.plain_http => {
                Err(HubError::PlainHttp { address: self.endpoint })
            }
            Some(_) => Ok(self),
        }
    }

    /// Whether the token is in what is to be sent.
    pub fn holds_token(&self, bytes: &[u8]) -> bool {
        self.token.as_ref().is_some_and(|token| {
            let token = token.0.as_bytes();
            !token.is_empty() && bytes.windows(token.len()).any(|window| window == token)
        })
    }

    /// A text from outside, without the token if it should be in it.
    pub(super) fn hide(&self, text: &str) -> String {
        self.token.as_ref().map_or_else(|| text.to_owned(), |token| text.replace(&token.0, "…"))
    }
}

/// Whether `HF_HUB_OFFLINE` is set.
pub fn is_offline() -> bool {
    is_true("HF_HUB_OFFLINE")
}

/// `HF_HOME`, else `huggingface` in the user's cache folder.
fn home() -> PathBuf {
    let own = std::env::var_os("HF_HOME").filter(|folder| !folder.is_empty());
    let cache = || {
        let cache = std::env::var_os("XDG_CACHE_HOME").filter(|folder| !folder.is_empty());
        let in_home = || std::env::home_dir().map(|home| home.join(".cache"));
        cache.map(PathBuf::from).or_else(in_home).unwrap_or_else(std::env::temp_dir)
    };
    own.map_or_else(|| cache().join("huggingface"), PathBuf::from)
}

/// The folder of the cache: `HF_HUB_CACHE`, else `hub` in `HF_HOME`, else in the user's cache.
pub fn cache_folder() -> PathBuf {
    let own = std::env::var_os("HF_HUB_CACHE").filter(|folder| !folder.is_empty());
    own.map_or_else(|| home().join("hub"), PathBuf::from)
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
}

fn is_true(name: &str) -> bool {
    let value = variable(name).map(|value| value.to_lowercase());
    value.is_some_and(|value| ["1", "true", "yes", "on"].contains(&value.as_str()))
}

/// An address without what may be a password in it.
fn without_user(endpoint: &str) -> String {
    match endpoint.rsplit_once('@') {
        Some((_, host)) => format!("…@{host}"),
        None => endpoint.to_owned(),
    }
}

/// A secret that is written to nothing but the header of a request.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// From `HF_TOKEN`, else the file of `HF_TOKEN_PATH`, else `token` in `HF_HOME`.
    fn from_env() -> Result<Option<Self>, HubError> {
        if let Some(token) = variable("HF_TOKEN") {
            return Self::new(&token, "HF_TOKEN").map(Some);
        }
        let named = std::env::var_os("HF_TOKEN_PATH").filter(|path| !path.is_empty());
        let path = named.map_or_else(|| home().join("token"), PathBuf::from);
        match std::fs::read_to_string(&path) {
            Ok(text) if text.trim().is_empty() => Ok(None),
            Ok(text) => Self::new(text.trim(), &path.display().to_string()).map(Some),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(HubError::TokenFile { path, source }),
        }
    }

    fn new(text: &str, place: &str) -> Result<Self, HubError> {
        if text.chars().all(|c| c.is_ascii_graphic()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(HubError::Token { place: place.to_owned() })
        }
    }

    /// The header's value. Nothing else may read the secret.
    pub(super) fn header(&self) -> String {
        format!("Bearer {}", self.0)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Scheme, host and port of an address: who would read what is sent there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    scheme: String,
    host: String,
    port: u16,
}

impl Origin {
    /// `None` for what is no http(s) address.
    pub(super) fn of(address: &str) -> Option<Self> {
        let uri: Uri = address.parse().ok()?;
        let scheme = uri.scheme_str()?.to_lowercase();
        let usual = match scheme.as_str() {
            "https" => 443,
            "http" => 80,
            _ => return None,
        };
        let host = uri.host().filter(|host| !host.is_empty())?.to_lowercase();
        Some(Self { scheme, host, port: uri.port_u16().unwrap_or(usual) })
    }

    /// Whether nobody on the way can read along: TLS, or this machine.
    pub(super) fn is_private(&self) -> bool {
        let host = self.host.trim_matches(['[', ']']);
        let address: Option<std::net::IpAddr> = host.parse().ok();
        self.scheme == "https"
            || host == "localhost"
            || address.is_some_and(|address| address.is_loopback())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_never_shown() {
        let token = Token::new("hf_secret", "HF_TOKEN").unwrap();
        assert!(!format!("{token:?}").contains("secret"));
        let message = Token::new("hf_sec\nret", "HF_TOKEN").unwrap_err().to_string();
        assert!(message.contains("HF_TOKEN") && !message.contains("sec"), "{message}");
    }

    #[test]
    fn only_tls_and_this_machine_are_private() {
        let private = |address: &str| Origin::of(address).unwrap().is_private();
        for address in ["https://a.b", "http://127.0.0.1:8", "http://[::1]:8", "http://localhost"] {
            assert!(private(address), "{address}");
        }
        for address in
            ["http://a.b", "http://127.0.0.1.a.b", "http://127.0.0.1@a.b/x", "http://localhost.b"]
        {
            assert!(!private(address), "{address}");
        }
        assert!(Origin::of("ftp://a.b").is_none() && Origin::of("a/b").is_none());
    }

    #[test]
    fn an_origin_has_its_usual_port() {
        assert_eq!(Origin::of("https://A.b/x"), Origin::of("https://a.b:443/y?z"));
        assert_ne!(Origin::of("https://a.b"), Origin::of("https://a.b:8443"));
        assert_ne!(Origin::of("https://a.b"), Origin::of("http://a.b:443"));
    }
}
