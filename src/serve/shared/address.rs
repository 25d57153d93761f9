//! Where Redis or Valkey is. The address may hold a password, so nothing here shows it.

use std::fmt::{Debug, Formatter};
use std::path::{Path, PathBuf};
use std::time::Duration;

use redis::{Client, Connection, ConnectionAddr, IntoConnectionInfo, RedisResult, TlsCertificates};

/// Bytes of a file with an address or certificates.
const MOST_BYTES: u64 = 1 << 20;

/// Why an address cannot be used. The address itself is never in it.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// It is no address of a server.
    #[error(
        "{0} is not the address of a Redis or Valkey; write redis://USER:PASSWORD@HOST:PORT/DATABASE, where all but \
         HOST may be left out and other characters of the password are percent-encoded, rediss:// for TLS, or \
         unix:///PATH?db=DATABASE&user=USER&pass=PASSWORD"
    )]
    Address(&'static str),
    /// TLS that believes anybody is none.
    #[error("{0} ends with `#insecure`; name the certificate authority with --redis-ca instead")]
    Insecure(&'static str),
    /// A certificate authority without TLS.
    #[error("--redis-ca has no effect without TLS; begin the address with rediss://")]
    NoTls,
    /// The file of the authority holds none.
    #[error(
        "`{path}` holds no certificate that can be used ({said}); write certificates in PEM format"
    )]
    Certificates { path: PathBuf, said: String },
    #[error("cannot read `{path}`")]
    Read {
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

/// What stands before every key: servers with the same prefix share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Prefix {
    /// `bayes:NAME`, by the name of the model.
    OfModel,
    Given(String),
}

/// A server that can be connected to.
#[derive(Clone)]
pub struct Address {
    /// Knows the password.
    pub(super) client: Client,
    /// Host and port, or path.
    pub place: String,
    pub prefix: Prefix,
}

impl Debug for Address {
    fn fmt(&self, to: &mut Formatter<'_>) -> std::fmt::Result {
        write!(to, "Address({:?}, {:?})", self.place, self.prefix)
    }
}

impl Address {
    /// Reads an address; `from` is the flag or variable that it comes from.
    pub fn new(
        from: &'static str,
        address: &str,
        authority: Option<&Path>,
        prefix: Prefix,
    ) -> Result<Self, AddressError> {
        let refused = |_| AddressError::Address(from);
        let target = address.trim().into_connection_info().map_err(refused)?;
        let tls = match target.addr() {
            ConnectionAddr::TcpTls { insecure: true, .. } => {
                return Err(AddressError::Insecure(from));
            }
            ConnectionAddr::TcpTls { .. } => true,
            _ => false,
        };
        let place = target.addr().to_string();
        let client = match authority {
            None => Client::open(target).map_err(refused)?,
            Some(_) if !tls => return Err(AddressError::NoTls),
            Some(path) => {
                let pem = content(path)?;
                let unusable =
                    |said: String| AddressError::Certificates { path: path.to_owned(), said };
                if !pem.windows(BEGIN.len()).any(|part| part == BEGIN) {
                    return Err(unusable("no `BEGIN CERTIFICATE`".to_owned()));
                }
                let only = TlsCertificates { client_tls: None, root_cert: Some(pem) };
                Client::build_with_tls(target, only).map_err(|error| unusable(error.to_string()))?
            }
        };
        Ok(Self { client, place, prefix })
    }

    /// A connection for a command that waits for its answers, each for so long at most.
    pub fn connect(&self, patience: Duration) -> RedisResult<Connection> {
        let connection = self.client.get_connection_with_timeout(patience)?;
        connection.set_read_timeout(Some(patience))?;
        connection.set_write_timeout(Some(patience))?;
        Ok(connection)
    }

    /// Whether a password stands in it.
    pub fn is_secret(&self) -> bool {
        self.client.get_connection_info().redis_settings().password().is_some()
    }
}

const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";

/// The address that a file holds.
pub fn in_file(path: &Path) -> Result<String, AddressError> {
    Ok(String::from_utf8_lossy(&content(path)?).into_owned())
}

fn content(path: &Path) -> Result<Vec<u8>, AddressError> {
    let failed = |source| AddressError::Read { path: path.to_owned(), source };
    let length = std::fs::metadata(path).map_err(failed)?.len();
    if length > MOST_BYTES {
        return Err(failed(std::io::Error::other(format!("it has more than {MOST_BYTES} bytes"))));
    }
    std::fs::read(path).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(address: &str) -> Result<Address, AddressError> {
        Address::new("--redis-url", address, None, Prefix::OfModel)
    }

    #[test]
    fn addresses_of_both_servers_are_read() {
        for (address, place, secret) in [
            ("redis://localhost", "localhost:6379", false),
            ("valkey://10.0.0.1:7000/3", "10.0.0.1:7000", false),
            ("rediss://bayes:p%40ss@example.org:6380/1\n", "example.org:6380", true),
            ("redis://:pw@[::1]:6379", "::1:6379", true),
            ("unix:///run/redis.sock?db=2&pass=pw", "/run/redis.sock", true),
        ] {
            let read = read(address).unwrap();
            assert_eq!((&*read.place, read.is_secret()), (place, secret), "{address}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_without_being_shown() {
        for wrong in [
            "",
            "secret",
            "http://u:secret@h",
            "redis://u:secret@h:99999",
            "redis://u:secret@h/x",
            "redis://",
            "rediss://u:secret@h#insecure",
            "redis://u:secret@0.0.0.0",
            "redis://u:%ff@secret",
            "redis://u:p@h?protocol=secret",
        ] {
            let message = read(wrong).unwrap_err().to_string();
            assert!(message.contains("--redis-url") && !message.contains("secret"), "{message}");
        }
        let shown = format!("{:?}", read("redis://bayes:secret@h").unwrap());
        assert!(shown.contains("h:6379") && !shown.contains("secret"), "{shown}");
    }

    #[test]
    fn an_authority_is_read_for_tls_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        std::fs::write(&path, "nothing").unwrap();
        let with = |address: &str| {
            let read = Address::new("--redis-url", address, Some(&path), Prefix::OfModel);
            read.unwrap_err().to_string()
        };
        assert!(with("redis://h").contains("rediss://"));
        assert!(with("rediss://h").contains("holds no certificate"));
        let pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        std::fs::write(&path, pem).unwrap();
        assert!(with("rediss://h").contains("ca.pem"));
        std::fs::remove_file(&path).unwrap();
        assert!(with("rediss://h").contains("cannot read"));
    }
}
