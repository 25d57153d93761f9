//! Small files that an operator names, such as those of keys: whole, and no devices that have no end.

use std::path::{Path, PathBuf};

/// Bytes of one.
const MOST_BYTES: u64 = 1 << 20;

/// Why it cannot be used; each says what the file is, such as `the API key file`.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    #[error("cannot read {what} `{path}`")]
    Read {
        what: &'static str,
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// What is no plain file gives other bytes each time, or none for ever.
    #[error(
        "`{path}` is not a regular file, but {what} must be readable again; name a file that stays"
    )]
    NotRegular { what: &'static str, path: PathBuf },
    #[error("`{path}` is too large for {what}; at most {MOST_BYTES} bytes are read")]
    TooLarge { what: &'static str, path: PathBuf },
}

/// Its content.
pub fn read(what: &'static str, path: &Path) -> Result<Vec<u8>, KeyFileError> {
    let (failed, own) =
        (|source| KeyFileError::Read { what, path: path.to_owned(), source }, || path.to_owned());
    let file = std::fs::metadata(path).map_err(failed)?;
    if !file.is_file() {
        return Err(KeyFileError::NotRegular { what, path: own() });
    }
    if file.len() > MOST_BYTES {
        return Err(KeyFileError::TooLarge { what, path: own() });
    }
    std::fs::read(path).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_end_or_is_too_large_is_refused_with_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        let told = |path: &Path| read("the key file", path).unwrap_err().to_string();
        assert!(told(&path).starts_with("cannot read the key file `"));
        assert!(told(folder.path()).contains("is not a regular file, but the key file"));
        assert!(told(Path::new("/dev/zero")).contains("is not a regular file"));
        std::fs::File::create(&path).unwrap().set_len(MOST_BYTES + 1).unwrap();
        assert!(told(&path).contains("is too large for the key file"));
        std::fs::write(&path, "key").unwrap();
        assert_eq!(read("the key file", &path).unwrap(), b"key");
    }
}
