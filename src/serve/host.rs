//! Names that this server answers to.
//!
//! A page can have its own name point to this address, and is then of the same origin as whatever is
//! served there. What it cannot change is the name that its browser asks for. Such a name is one that
//! anybody can have in the public system of names, so it has a dot; an address and a name without a dot,
//! as machines and containers have among themselves, are nobody's to give away.

use std::net::{IpAddr, Ipv6Addr};

use axum::extract::Request;
use axum::http::uri::Authority;
use axum::http::{Version, header};

use super::problem::Problem;

/// The names, and the addresses that are listened on.
#[derive(Clone, Debug)]
pub struct Hosts {
    addresses: Vec<IpAddr>,
    names: Vec<String>,
}

impl Hosts {
    /// These addresses, and names that were given; `*` for any.
    pub fn new(addresses: impl IntoIterator<Item = IpAddr>, names: &[String]) -> Self {
        let names = names.iter().map(|name| bare(name).to_ascii_lowercase()).collect();
        Self { addresses: addresses.into_iter().map(|one| one.to_canonical()).collect(), names }
    }

    /// Refuses a request for another name, for none or for several.
    pub fn check(&self, request: &Request) -> Result<(), Problem> {
        let mut said = request.headers().get_all(header::HOST).iter();
        let (first, more) = (said.next(), said.next().is_some());
        let first = first.map(|value| value.to_str().unwrap_or_default());
        let asked = match (request.uri().authority(), first) {
            _ if more => return Err(Problem::NoHost),
            // The two that HTTP/2 may carry must be one.
            (Some(authority), Some(host)) if !authority.as_str().eq_ignore_ascii_case(host) => {
                return Err(Problem::NoHost);
            }
            (Some(authority), _) => authority.clone(),
            (None, Some(host)) => host.parse::<Authority>().map_err(|_| Problem::NoHost)?,
            (None, None) => return Err(Problem::NoHost),
        };
        // Whoever names a user names no host that anybody serves.
        if asked.as_str().contains('@') {
            return Err(Problem::NoHost);
        }
        match self.knows(asked.host()) {
            true => Ok(()),
            false if request.version() > Version::HTTP_11 => Err(Problem::Misdirected),
            false => Err(Problem::ForeignHost),
        }
    }

    fn knows(&self, host: &str) -> bool {
        let host = bare(host).to_ascii_lowercase();
        let named = || self.names.iter().any(|name| *name == host || name == "*");
        let inside = || host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let address = match inside() {
            Some(inside) => inside.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
            None => host.parse().ok(),
        };
        match address.map(|address| address.to_canonical()) {
            Some(address) => {
                let reaches = |own: &IpAddr| {
                    let loops = own.is_loopback() && address.is_loopback();
                    own.is_unspecified() || loops || *own == address
                };
                self.addresses.iter().any(reaches) || named()
            }
            None => (!host.is_empty() && !host.contains(['.', '['])) || named(),
        }
    }
}

/// A name as it can be given, or what is wrong with it: one that no request could carry would be refused
/// to everybody, without a word.
pub fn given(name: &str) -> Result<String, String> {
    let help = "give only the name, such as models.example.org, without port, path or pattern";
    let is_name = name == "*"
        || name.parse::<IpAddr>().is_ok()
        || (!bare(name).is_empty()
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)));
    if is_name { Ok(name.to_owned()) } else { Err(format!("`{name}` is not a host name; {help}")) }
}

/// Without the final dot that a whole name may have.
fn bare(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn hosts(address: &str, names: &[&str]) -> Hosts {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        Hosts::new(address.split(' ').map(|address| address.parse().unwrap()), &names)
    }

    #[test]
    fn a_name_that_anybody_can_have_is_known_only_if_it_was_given() {
        for (address, names, host, known) in [
            ("127.0.0.1", &[][..], "localhost", true),
            ("127.0.0.1", &[], "LOCALHOST.", true),
            ("127.0.0.1", &[], "127.0.0.1", true),
            ("127.0.0.1", &[], "[::1]", true),
            ("127.0.0.1", &[], "bayes", true),
            ("127.0.0.1", &[], "[::1%25lo]", false),
            ("127.0.0.1", &[], "evil.example", false),
            ("127.0.0.1", &[], "localhost.evil.example", false),
            ("127.0.0.1", &[], "127.0.0.1.evil.example", false),
            ("127.0.0.1", &[], "192.0.2.1", false),
            ("192.0.2.1", &[], "192.0.2.1", true),
            ("192.0.2.1", &[], "[::ffff:192.0.2.1]", true),
            ("192.0.2.1", &[], "192.0.2.2", false),
            ("127.0.0.1 192.0.2.2", &[], "192.0.2.2", true),
            ("127.0.0.1 0.0.0.0", &[], "192.0.2.3", true),
            ("0.0.0.0", &[], "192.0.2.2", true),
            ("::", &[], "[2001:db8::1]", true),
            ("0.0.0.0", &[], "evil.example", false),
            ("0.0.0.0", &["models.example.org"], "models.example.org.", true),
            ("0.0.0.0", &["Models.example.org"], "MODELS.example.org", true),
            ("0.0.0.0", &["models.example.org"], "example.org", false),
            ("0.0.0.0", &["*"], "evil.example", true),
        ] {
            assert_eq!(hosts(address, names).knows(host), known, "{host} at {address} {names:?}");
        }
    }

    #[test]
    fn a_request_has_one_host() {
        let hosts = hosts("127.0.0.1", &[]);
        let check = |uri: &str, said: &[&str], version| {
            let mut request = axum::http::Request::builder().uri(uri).version(version);
            for host in said {
                request = request.header(header::HOST, *host);
            }
            hosts.check(&request.body(Body::empty()).unwrap())
        };
        let (one, two) = (Version::HTTP_11, Version::HTTP_2);
        assert_eq!(check("/", &["localhost:8000"], one), Ok(()));
        assert_eq!(check("http://localhost/", &[], two), Ok(()));
        assert_eq!(check("http://localhost/", &["LOCALHOST"], two), Ok(()));
        for said in [&[][..], &["localhost", "localhost"], &[""], &["a b"], &["x@localhost"]] {
            assert_eq!(check("/", said, one), Err(Problem::NoHost), "{said:?}");
        }
        assert_eq!(check("http://x@localhost/", &["x@localhost"], one), Err(Problem::NoHost));
        assert_eq!(check("http://x@localhost/", &[], two), Err(Problem::NoHost));
        assert_eq!(check("http://localhost/", &["evil.example"], two), Err(Problem::NoHost));
        assert_eq!(check("/", &["evil.example:80"], one), Err(Problem::ForeignHost));
        assert_eq!(
            check("http://evil.example/", &["evil.example"], one),
            Err(Problem::ForeignHost)
        );
        assert_eq!(check("http://evil.example/", &[], two), Err(Problem::Misdirected));
    }
}
