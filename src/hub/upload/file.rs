//! A file on its way to a repository.

use std::fs::File;
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::path::PathBuf;

use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::hub::{Entry, HubError};

/// Where a file's bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Made for the repository.
    Bytes(Vec<u8>),
    /// On the disk, as it is.
    Disk(PathBuf),
}

/// A file that a repository shall have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewFile {
    /// Its name there, with slashes.
    pub path: String,
    pub content: Content,
    pub size: u64,
}

/// A file with both of the hashes that may name it.
#[derive(Clone, Debug)]
pub struct Hashed<'a> {
    pub file: &'a NewFile,
    /// SHA-256, by which large files go.
    pub sha256: String,
    /// Git's hash, by which others go.
    pub blob: String,
}

impl NewFile {
    pub fn of_bytes(path: &str, bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self { path: path.to_owned(), size: bytes.len() as u64, content: Content::Bytes(bytes) }
    }

    /// Of a file on the disk.
    ///
    /// # Errors
    /// There is none.
    pub fn on_disk(path: &str, file: PathBuf) -> io::Result<Self> {
        let size = std::fs::metadata(&file)?.len();
        Ok(Self { path: path.to_owned(), content: Content::Disk(file), size })
    }

    /// The bytes from a place on.
    pub(super) fn open(&self, from: u64) -> io::Result<Box<dyn Read>> {
        Ok(match &self.content {
            Content::Bytes(bytes) => {
                let from = usize::try_from(from).unwrap_or(bytes.len()).min(bytes.len());
                Box::new(Cursor::new(bytes[from..].to_vec()))
            }
            Content::Disk(path) => {
                let mut file = File::open(path)?;
                file.seek(SeekFrom::Start(from))?;
                Box::new(file)
            }
        })
    }

    /// The first bytes, at most so many.
    pub(super) fn head(&self, most: u64) -> Result<Vec<u8>, HubError> {
        let mut bytes = Vec::new();
        let read = self.open(0).and_then(|source| source.take(most).read_to_end(&mut bytes));
        read.map_err(|source| self.failed(source))?;
        Ok(bytes)
    }

    pub(super) fn failed(&self, source: io::Error) -> HubError {
        let path = match &self.content {
            Content::Bytes(_) => PathBuf::from(&self.path),
            Content::Disk(path) => path.clone(),
        };
        HubError::File { doing: "read", path, source }
    }

    /// Reads it once.
    ///
    /// # Errors
    /// It cannot be read, or was changed since its size was looked at.
    pub fn hashed(&self) -> Result<Hashed<'_>, HubError> {
        let (mut sha256, mut blob) = (Sha256::new(), Sha1::new());
        blob.update(format!("blob {}\0", self.size));
        let mut source = self.open(0).map_err(|error| self.failed(error))?;
        let (mut block, mut length) = (vec![0; 1 << 16], 0);
        loop {
            let read = source.read(&mut block).map_err(|error| self.failed(error))?;
            if read == 0 {
                break;
            }
            length += read as u64;
            sha256.update(&block[..read]);
            blob.update(&block[..read]);
        }
        if length != self.size {
            return Err(self.failed(io::Error::other("it changed while it was being read")));
        }
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Hashed { file: self, sha256: hex(&sha256.finalize()), blob: hex(&blob.finalize()) })
    }
}

impl Hashed<'_> {
    /// Whether a file of the repository is the same.
    pub fn is(&self, entry: &Entry) -> bool {
        match &entry.lfs {
            Some(large) => large.oid == self.sha256,
            None => entry.oid == self.blob,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_hashes_are_those_of_git_and_of_the_standard() {
        let file = NewFile::of_bytes("a.txt", "hello\n");
        let hashed = file.hashed().unwrap();
        // `printf 'hello\n' | git hash-object --stdin`, and sha256sum of the same.
        assert_eq!(hashed.blob, "ce013625030ba8dba906f756967f9e9ca394464a");
        assert!(hashed.sha256.starts_with("5891b5b522d5df086d0ff0b110fbd9d21bb4fc71"));
        let mut bytes = Vec::new();
        file.open(4).unwrap().read_to_end(&mut bytes).unwrap();
        assert_eq!(
            (bytes.as_slice(), file.head(3).unwrap().as_slice()),
            (&b"o\n"[..], &b"hel"[..])
        );
    }
}
