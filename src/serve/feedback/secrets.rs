//! What predictions are signed with: shared by replicas that are to take each other's labels, else made at the start.

use std::ffi::OsString;
use std::io::Read;
use std::path::PathBuf;

use super::mac::Secret;
use crate::serve::key_file::{self, KeyFileError};

/// The environment variable of a single key.
const VARIABLE: &str = "BAYES_FEEDBACK_KEY";
/// A shorter key could be found by trying.
const SHORTEST: usize = 16;

/// Where the keys stand. An argument could be read by everybody.
#[derive(Clone)]
pub enum SecretSource {
    /// One of 32 random bytes, which is gone with the process.
    Random,
    /// One, as the environment has it.
    Environment(OsString),
    /// A file, one a line: the first signs, all are known again. Empty lines and those that begin with `#` are none.
    File(PathBuf),
}

/// Without the key.
impl std::fmt::Debug for SecretSource {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Random => "random",
            Self::Environment(_) => "environment",
            Self::File(_) => "file",
        })
    }
}

/// Why predictions cannot be signed.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error(transparent)]
    File(#[from] KeyFileError),
    #[error(
        "`{0}` contains no feedback key; write one per line, such as `openssl rand -hex 32` prints"
    )]
    Missing(PathBuf),
    #[error(
        "{0}: a feedback key needs at least {SHORTEST} bytes; `openssl rand -hex 32` prints one"
    )]
    Short(String),
    #[error("the system gave no random bytes for a feedback key")]
    NoRandom(#[source] std::io::Error),
}

/// The keys: the first signs.
pub fn read(source: &SecretSource) -> Result<Vec<Secret>, SecretError> {
    let key = |bytes: &[u8], place: String| match bytes.len() < SHORTEST {
        true => Err(SecretError::Short(place)),
        false => Ok(Secret::new(bytes)),
    };
    match source {
        SecretSource::Random => {
            let mut bytes = [0; 32];
            let random = std::fs::File::open("/dev/urandom");
            let filled = random.and_then(|mut random| random.read_exact(&mut bytes));
            filled.map_err(SecretError::NoRandom)?;
            Ok(vec![Secret::new(&bytes)])
        }
        SecretSource::Environment(bytes) => {
            Ok(vec![key(bytes.as_encoded_bytes().trim_ascii(), VARIABLE.to_owned())?])
        }
        SecretSource::File(path) => {
            let content = key_file::read("the feedback key file", path)?;
            let lines = content.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).zip(1..);
            let lines = lines.filter(|(line, _)| !line.is_empty() && !line.starts_with(b"#"));
            let keys: Vec<Secret> = lines
                .map(|(line, number)| key(line, format!("line {number} of `{}`", path.display())))
                .collect::<Result<_, _>>()?;
            if keys.is_empty() { Err(SecretError::Missing(path.clone())) } else { Ok(keys) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_key_of_a_file_signs_and_a_short_one_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        let of = |text: &str| {
            std::fs::write(&path, text).unwrap();
            read(&SecretSource::File(path.clone()))
        };
        let keys = of("# new\n0123456789abcdef\r\n\nfedcba9876543210\n").unwrap();
        let first = Secret::new(b"0123456789abcdef");
        assert_eq!(keys.len(), 2);
        assert!(keys[0].is_tag(&[b"x"], &first.tag::<16>(&[b"x"])));
        let short = of("0123456789abcdef\nshort\n").unwrap_err().to_string();
        assert!(short.starts_with("line 2 of `"), "{short}");
        assert!(matches!(of("# none\n"), Err(SecretError::Missing(_))));
        let folder = read(&SecretSource::File(folder.path().to_owned()));
        assert!(matches!(folder, Err(SecretError::File(_))));
        let variable = |text: &str| read(&SecretSource::Environment(text.into()));
        assert_eq!(variable("0123456789abcdef\n").unwrap().len(), 1);
        assert!(variable("0123456789abcde").unwrap_err().to_string().starts_with(VARIABLE));
        let random = || read(&SecretSource::Random).unwrap()[0].tag::<16>(&[]);
        assert_ne!(random(), random());
    }
}
