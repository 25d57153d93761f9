//! Where texts go, and how they are asked about there: the end of the path says it.

use std::net::{IpAddr, SocketAddr};

use axum::http::Uri;

/// How the other server is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// As `/predict` of a server like this one.
    Predict,
    /// As `/v1/systemone`, of a model with this name, or with that of the model that abstained.
    SystemOne { model: Option<String> },
}

/// Why texts cannot go there. The address itself is never in it: it may hold a password.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TargetError {
    /// It is no address of a server.
    #[error(
        "--forward-abstained needs the address of a server, such as https://models.example.org/predict"
    )]
    Address,
    /// A key in the address would stand in lists of processes and in logs.
    #[error(
        "--forward-abstained holds a user or a password; put the key into --forward-key-file or BAYES_FORWARD_KEY"
    )]
    Secret,
    /// Nothing that is known here ends so.
    #[error(
        "the path of --forward-abstained must end in `/predict` (another `bayes serve`) or in `/v1/systemone` \
         (System One), and have no query: it says how the server is asked"
    )]
    Path,
    /// The protocol asks for the name of a model.
    #[error("System One asks for the name of a model; set it with --forward-model")]
    NoModel,
    /// One name for several models.
    #[error(
        "--forward-model names one model, and this server has several, each of which asks the other server's model of \
         its own name; leave it out"
    )]
    OneModel,
    /// The protocol has no place for the name of a model.
    #[error("--forward-model is for `/v1/systemone`; `/predict` takes no name of a model")]
    Model,
}

/// Another server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub url: String,
    /// Its name alone, which clients are told.
    pub host: String,
    pub port: u16,
    pub protocol: Protocol,
    pub tls: bool,
}

impl Target {
    pub fn new(url: &str, model: Option<&str>) -> Result<Self, TargetError> {
        let uri: Uri = url.parse().map_err(|_| TargetError::Address)?;
        let (tls, usual) = match uri.scheme_str().map(str::to_ascii_lowercase).as_deref() {
            Some("https") => (true, 443),
            Some("http") => (false, 80),
            _ => return Err(TargetError::Address),
        };
        let host = uri.host().filter(|host| !host.is_empty()).ok_or(TargetError::Address)?;
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        if authority.contains('@') {
            return Err(TargetError::Secret);
        }
        // A port that is none is taken for the usual one otherwise.
        let port = match authority[host.len()..].strip_prefix(':') {
            None => usual,
            Some(port) => port.parse().map_err(|_| TargetError::Address)?,
        };
        if uri.query().is_some() || url.contains('#') {
            return Err(TargetError::Path);
        }
        let system_one = uri.path().ends_with("/v1/systemone");
        let protocol = match (system_one, uri.path().ends_with("/predict"), model) {
            (true, ..) => Protocol::SystemOne { model: model.map(str::to_owned) },
            (_, true, None) => Protocol::Predict,
            (_, true, Some(_)) => return Err(TargetError::Model),
            _ => return Err(TargetError::Path),
        };
        let host = host.trim_matches(['[', ']']).to_ascii_lowercase();
        Ok(Self { url: url.to_owned(), host, port, protocol, tls })
    }

    /// Refuses what does not suit a server of so many models.
    pub fn suits(&self, models: usize) -> Result<(), TargetError> {
        match (&self.protocol, models) {
            (Protocol::SystemOne { model: None }, 1) => Err(TargetError::NoModel),
            (Protocol::SystemOne { model: Some(_) }, 2..) => Err(TargetError::OneModel),
            _ => Ok(()),
        }
    }

    /// Whether it is the server that listens here; its other models, if it has any, are others.
    pub fn is_at(&self, own: SocketAddr) -> bool {
        let path = self.url.splitn(4, '/').nth(3).unwrap_or_default();
        let address: Option<IpAddr> = self.host.parse().ok();
        let here = self.is_here() && (own.ip().is_loopback() || own.ip().is_unspecified());
        self.port == own.port()
            && matches!(path, "predict" | "v1/systemone")
            && (here || address == Some(own.ip()))
    }

    /// Whether it is on this machine.
    pub fn is_here(&self) -> bool {
        let address: Option<IpAddr> = self.host.parse().ok();
        self.host == "localhost" || address.is_some_and(|address| address.is_loopback())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_the_path_is_the_protocol() {
        let read = Target::new("https://Models.example.org/predict", None).unwrap();
        assert_eq!((&*read.host, read.port, read.tls), ("models.example.org", 443, true));
        assert_eq!(read.protocol, Protocol::Predict);
        let read = Target::new("http://[::1]:8001/models/large/predict", None).unwrap();
        assert_eq!((&*read.host, read.port, read.tls), ("::1", 8001, false));
        assert!(read.is_here());
        let read = Target::new("http://large:8000/a/v1/systemone", Some("jev-latest")).unwrap();
        assert_eq!(read.protocol, Protocol::SystemOne { model: Some("jev-latest".to_owned()) });
        assert!(!read.is_here());
    }

    #[test]
    fn a_server_knows_its_own_address() {
        let is = |url: &str, own: &str| Target::new(url, None).unwrap().is_at(own.parse().unwrap());
        assert!(is("http://localhost:8000/predict", "127.0.0.1:8000"));
        assert!(is("http://127.0.0.1:8000/predict", "0.0.0.0:8000"));
        assert!(is("http://192.0.2.1:8000/predict", "192.0.2.1:8000"));
        assert!(!is("http://localhost:8001/predict", "127.0.0.1:8000"));
        assert!(!is("http://192.0.2.1:8000/predict", "127.0.0.1:8000"));
        assert!(!is("http://localhost:8000/models/large/predict", "127.0.0.1:8000"));
    }

    #[test]
    fn what_is_no_target_is_refused_without_being_shown() {
        for (url, model, error) in [
            ("", None, TargetError::Address),
            ("secret", None, TargetError::Address),
            ("/predict", None, TargetError::Address),
            ("ftp://secret/predict", None, TargetError::Address),
            ("http://secret:99999/predict", None, TargetError::Address),
            ("http://secret:/predict", None, TargetError::Address),
            ("http://u:secret@h/predict", None, TargetError::Secret),
            ("http://h/secret", None, TargetError::Path),
            ("http://h/secretpredict", None, TargetError::Path),
            ("http://h/predict/", None, TargetError::Path),
            ("http://h/predict?key=secret", None, TargetError::Path),
            ("http://h/predict#secret", None, TargetError::Path),
            ("http://h/predict", Some("secret"), TargetError::Model),
        ] {
            let refused = Target::new(url, model).unwrap_err();
            assert_eq!(refused, error, "{url}");
            assert!(!refused.to_string().contains("secret"), "{refused}");
        }
    }

    #[test]
    fn one_model_needs_a_name_and_several_have_theirs() {
        let suits = |url: &str, model: Option<&str>, count| {
            Target::new(url, model).unwrap().suits(count).err()
        };
        let (predict, system_one) = ("http://h/predict", "http://h/v1/systemone");
        assert_eq!(suits(predict, None, 1), None);
        assert_eq!(suits(predict, None, 2), None);
        assert_eq!(suits(system_one, Some("m"), 1), None);
        assert_eq!(suits(system_one, None, 1), Some(TargetError::NoModel));
        assert_eq!(suits(system_one, None, 2), None);
        assert_eq!(suits(system_one, Some("m"), 2), Some(TargetError::OneModel));
    }
}
