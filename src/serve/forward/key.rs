//! What the other server is told who asks. Nothing here shows it.

use std::path::PathBuf;

use axum::http::HeaderValue;

use super::super::key_file::{self, KeyFileError};
use super::super::keys::KeySource;

/// The environment variable of the key.
const VARIABLE: &str = "BAYES_FORWARD_KEY";

/// Why there is no key where there should be one.
#[derive(Debug, thiserror::Error)]
pub enum ForwardKeyError {
    #[error(transparent)]
    File(#[from] KeyFileError),
    #[error("`{path}` contains {found} keys; the forward key file needs exactly one")]
    Count { path: PathBuf, found: usize },
    #[error("{0}: a forward key must consist of visible ASCII characters without white space")]
    Unusable(String),
}

/// The header that carries it, if there is one. The file is read as a list of API keys is: empty lines and those
/// that begin with `#` are none.
pub fn read(source: &KeySource) -> Result<Option<HeaderValue>, ForwardKeyError> {
    match source {
        KeySource::None => Ok(None),
        KeySource::Environment(key) => header(key.as_encoded_bytes(), VARIABLE.to_owned()),
        KeySource::File(path) => {
            let content = key_file::read("the forward key file", path)?;
            let lines = content.split(|byte| *byte == b'\n').zip(1..);
            let lines =
                lines.map(|(line, number)| (line.strip_suffix(b"\r").unwrap_or(line), number));
            let keys: Vec<(&[u8], usize)> =
                lines.filter(|(line, _)| !line.is_empty() && !line.starts_with(b"#")).collect();
            match keys[..] {
                [(key, number)] => header(key, format!("line {number} of `{}`", path.display())),
                _ => Err(ForwardKeyError::Count { path: path.clone(), found: keys.len() }),
            }
        }
    }
}

fn header(key: &[u8], place: String) -> Result<Option<HeaderValue>, ForwardKeyError> {
    let fits = !key.is_empty() && key.iter().all(u8::is_ascii_graphic);
    let value = HeaderValue::from_bytes(&[b"Bearer ", key].concat()).ok().filter(|_| fits);
    let mut value = value.ok_or(ForwardKeyError::Unusable(place))?;
    value.set_sensitive(true);
    Ok(Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_and_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let of = |text: &str| {
            std::fs::write(&path, text).unwrap();
            read(&KeySource::File(path.clone()))
        };
        let key = of("# theirs\r\nsecret\r\n\n").unwrap().unwrap();
        assert_eq!(key.as_bytes(), b"Bearer secret");
        assert!(!format!("{key:?}").contains("secret"));
        for (text, said) in [
            ("", "0 keys"),
            ("# secret\n", "0 keys"),
            ("secret\nsecret\n", "2 keys"),
            ("# a\nse cret\n", "line 2 of `"),
            (" secret\n", "line 1 of `"),
            ("secr\u{e9}t\n", "line 1 of `"),
        ] {
            let message = of(text).unwrap_err().to_string();
            assert!(message.contains(said) && !message.contains("ret\n"), "{message}");
        }
        let variable = |text: &str| read(&KeySource::Environment(text.into()));
        assert!(variable("secret").unwrap().is_some());
        for text in ["", "secret\n", "se cret"] {
            let message = variable(text).unwrap_err().to_string();
            assert!(message.starts_with(VARIABLE) && !message.contains("cret"), "{message}");
        }
        assert!(read(&KeySource::None).unwrap().is_none());
        let missing = read(&KeySource::File(folder.path().join("none")));
        assert!(matches!(missing, Err(ForwardKeyError::File(_))));
        let folder = read(&KeySource::File(folder.path().to_owned()));
        assert!(matches!(folder, Err(ForwardKeyError::File(_))));
    }
}
