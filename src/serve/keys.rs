//! API keys: read strictly, so that a key that could never match is noticed at the start and not by
//! every client.

use std::ffi::OsString;
use std::path::PathBuf;

use axum::http::{HeaderMap, header};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::key_file::{self, KeyFileError};

/// The environment variable of a single key.
const VARIABLE: &str = "BAYES_API_KEY";

/// Where the keys stand. An argument could be read by everybody.
#[derive(Clone)]
pub enum KeySource {
    /// Nobody is asked for one.
    None,
    /// One, as the environment has it.
    Environment(OsString),
    /// A file, one a line; empty lines and those that begin with `#` are none, but `# NAME` right before a key names it.
    File(PathBuf),
}

/// Without the key.
impl std::fmt::Debug for KeySource {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::None => "none",
            Self::Environment(_) => "environment",
            Self::File(_) => "file",
        })
    }
}

/// Why there are no keys where there should be some.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error(transparent)]
    File(#[from] KeyFileError),
    /// A key that no request can carry.
    #[error(
        "{place}: {fault}; an API key must consist of visible ASCII characters without white space"
    )]
    Unusable {
        /// The variable, or file and line.
        place: String,
        fault: &'static str,
    },
    /// A file without keys.
    #[error("`{0}` contains no API key; write one per line")]
    Missing(PathBuf),
}

/// The keys, as hashes: of equal length, and of no use to whoever reads our memory.
#[derive(Clone, Debug, Default)]
pub struct Keys(Vec<([u8; 32], String)>);

impl Keys {
    pub fn read(source: &KeySource) -> Result<Self, KeyError> {
        let path = match source {
            KeySource::None => return Ok(Self::default()),
            KeySource::Environment(key) => {
                let key = hash_of(key.as_encoded_bytes());
                let unusable = |fault| KeyError::Unusable { place: VARIABLE.to_owned(), fault };
                return Ok(Self(vec![(key.map_err(unusable)?, VARIABLE.to_owned())]));
            }
            KeySource::File(path) => path,
        };
        let bytes = key_file::read("the API key file", path)?;
        let (mut keys, mut name) = (Vec::new(), None);
        for (line, number) in bytes.split(|byte| matches!(byte, b'\n')).zip(1..) {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.is_empty() || line.starts_with(b"#") {
                // Not `#key`, which is one that somebody took out.
                let words = line.strip_prefix(b"# ").map(|line| String::from_utf8_lossy(line));
                name = words.map(|words| shown(&words)).filter(|words| !words.is_empty());
                continue;
            }
            let place = || format!("line {number} of `{}`", path.display());
            let unusable = |fault| KeyError::Unusable { place: place(), fault };
            let own = name.take().unwrap_or_else(|| format!("line {number}"));
            keys.push((hash_of(line).map_err(unusable)?, own));
        }
        if keys.is_empty() { Err(KeyError::Missing(path.clone())) } else { Ok(Self(keys)) }
    }

    /// Whether a key is asked for at all.
    pub fn required(&self) -> bool {
        !self.0.is_empty()
    }

    /// The hash of the key that a request carries, if it is one of these, and what it is called in the log: the
    /// comment before it, or its line. All keys are compared, in a time that does not tell how much of one was right.
    pub fn find(&self, headers: &HeaderMap) -> Option<([u8; 32], &str)> {
        let given: [u8; 32] = Sha256::digest(carried(headers)?).into();
        let mut found = None;
        for (key, name) in &self.0 {
            if bool::from(key.ct_eq(&given)) {
                found = Some((given, name.as_str()));
            }
        }
        found
    }
}

/// As much of a comment as a log shows.
fn shown(words: &str) -> String {
    words.trim().chars().filter(|c| !c.is_control()).take(60).collect()
}

/// The key that a request carries, right or wrong.
pub fn carried(headers: &HeaderMap) -> Option<&[u8]> {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| {
        let (scheme, key) = value.to_str().ok()?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| key.trim().as_bytes())
    });
    bearer.or_else(|| headers.get("x-api-key").map(|value| value.as_bytes()))
}

fn hash_of(key: &[u8]) -> Result<[u8; 32], &'static str> {
    match key {
        [] => Err("the key is empty"),
        [0xef, 0xbb, 0xbf, ..] => Err("there is a byte order mark before the key"),
        key if std::str::from_utf8(key).is_err() => Err("the key is not UTF-8"),
        key if key.iter().any(u8::is_ascii_whitespace) => Err("there is white space in the key"),
        key if !key.iter().all(u8::is_ascii_graphic) => Err("the key contains other characters"),
        key => Ok(Sha256::digest(key).into()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    fn of_file(bytes: &[u8]) -> Result<Keys, KeyError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        std::fs::write(&path, bytes).unwrap();
        Keys::read(&KeySource::File(path))
    }

    #[test]
    fn a_key_is_found_in_either_header() {
        let keys = of_file(b"# ours\nalpha\r\n#old\nbeta").unwrap();
        let with = |name: &'static str, value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            keys.find(&headers)
        };
        let hash = |key: &str| hash_of(key.as_bytes()).unwrap();
        assert_eq!(with("authorization", "Bearer beta"), Some((hash("beta"), "line 4")));
        assert_eq!(with("authorization", "bearer  alpha"), Some((hash("alpha"), "ours")));
        assert_eq!(with("x-api-key", "alpha"), Some((hash("alpha"), "ours")));
        for (name, value) in
            [("x-api-key", "alph"), ("authorization", "Basic alpha"), ("cookie", "alpha")]
        {
            assert_eq!(with(name, value), None, "{name}: {value}");
        }
    }

    #[test]
    fn a_key_that_no_request_can_carry_is_refused_with_its_place() {
        let unusable: [&[u8]; 8] = [
            b"\xff\xfesecret",
            b"\xef\xbb\xbfalpha",
            b"al pha",
            b" alpha",
            b"alpha ",
            b"al\tpha",
            "clé".as_bytes(),
            b"al\x00pha",
        ];
        for key in unusable {
            let file = [b"good\n", key, b"\n"].concat();
            let message = of_file(&file).unwrap_err().to_string();
            assert!(message.starts_with("line 2 of `"), "{message}");
            let variable = OsString::from_vec(key.to_vec());
            let message = Keys::read(&KeySource::Environment(variable)).unwrap_err().to_string();
            assert!(message.starts_with("BAYES_API_KEY: "), "{message}");
        }
        for key in ["", "alpha\n", "\r\n"] {
            assert!(Keys::read(&KeySource::Environment(key.into())).is_err(), "{key:?}");
        }
        for empty in [&b""[..], b"\n\n", b"# none\n"] {
            assert!(matches!(of_file(empty), Err(KeyError::Missing(_))), "{empty:?}");
        }
        assert!(matches!(of_file(b"\xef\xbb\xbf\n"), Err(KeyError::Unusable { .. })));
    }
}
