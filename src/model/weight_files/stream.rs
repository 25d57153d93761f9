//! A file from its beginning to its end, every byte once, into a hash.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::model::ModelError;

/// Bytes of what is only hashed that are held at once.
const PIECE: usize = 1 << 16;

/// A file that is being read.
pub(super) struct Stream {
    path: PathBuf,
    file: File,
    hasher: Sha256,
    at: u64,
    length: u64,
}

impl Stream {
    /// Opens a file that had this length when its header was read.
    pub(super) fn open(path: &Path, length: u64) -> Result<Self, ModelError> {
        let file = File::open(path)
            .map_err(|source| ModelError::Read { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), file, hasher: Sha256::new(), at: 0, length })
    }

    /// Where it is.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    fn changed(&self) -> ModelError {
        let message = "it changed while it was read".to_owned();
        ModelError::Corrupt { path: self.path.clone(), message }
    }

    fn read(&mut self, bytes: &mut [u8]) -> Result<(), ModelError> {
        self.file.read_exact(bytes).map_err(|source| match source.kind() {
            io::ErrorKind::UnexpectedEof => self.changed(),
            _ => ModelError::Read { path: self.path.clone(), source },
        })?;
        self.at += bytes.len() as u64;
        self.hasher.update(bytes);
        Ok(())
    }

    /// The next bytes, no more than are left by the length.
    pub(super) fn take(&mut self, count: u64) -> Result<Vec<u8>, ModelError> {
        if count > self.length.saturating_sub(self.at) {
            return Err(self.changed());
        }
        let mut bytes = vec![0; count as usize];
        self.read(&mut bytes)?;
        Ok(bytes)
    }

    /// Goes over the next bytes.
    pub(super) fn skip(&mut self, count: u64) -> Result<(), ModelError> {
        let mut left = count;
        let mut piece = [0; PIECE];
        while left > 0 {
            let own = left.min(PIECE as u64) as usize;
            self.read(&mut piece[..own])?;
            left -= own as u64;
        }
        Ok(())
    }

    /// The next bytes are those that were read before.
    pub(super) fn expect(&mut self, before: &[u8]) -> Result<(), ModelError> {
        if self.take(before.len() as u64)? != before {
            return Err(self.changed());
        }
        Ok(())
    }

    /// Goes over the rest. Returns the SHA-256 of the file.
    pub(super) fn end(mut self) -> Result<String, ModelError> {
        self.skip(self.length.saturating_sub(self.at))?;
        let more = self.file.read(&mut [0]);
        match more.map_err(|source| ModelError::Read { path: self.path.clone(), source })? {
            0 => Ok(self.hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()),
            _ => Err(self.changed()),
        }
    }
}
