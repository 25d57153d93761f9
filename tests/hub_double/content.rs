//! Bytes of a file: in memory, on disk, or made on demand.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::Arc;

use sha1::Sha1;
use sha2::{Digest, Sha256};

#[derive(Clone)]
pub enum Content {
    Memory(Arc<Vec<u8>>),
    Disk(PathBuf, u64),
    /// So many bytes, each a function of its place: a big file that needs no room.
    Made(u64),
}

impl From<Vec<u8>> for Content {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Memory(Arc::new(bytes))
    }
}

impl From<&str> for Content {
    fn from(text: &str) -> Self {
        text.as_bytes().to_vec().into()
    }
}

impl Content {
    pub fn len(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::Disk(_, length) | Self::Made(length) => *length,
        }
    }

    pub fn read(&self, start: u64, end: u64) -> Vec<u8> {
        match self {
            Self::Memory(bytes) => bytes[start as usize..end as usize].to_vec(),
            Self::Disk(path, _) => {
                let mut file = File::open(path).unwrap();
                file.seek(SeekFrom::Start(start)).unwrap();
                let mut bytes = vec![0; (end - start) as usize];
                file.read_exact(&mut bytes).unwrap();
                bytes
            }
            Self::Made(_) => {
                (start..end).map(|at| (at ^ (at >> 8) ^ (at >> 16) ^ (at >> 24)) as u8).collect()
            }
        }
    }

    pub fn all(&self) -> Vec<u8> {
        self.read(0, self.len())
    }

    fn feed(&self, mut take: impl FnMut(&[u8])) {
        let mut at = 0;
        while at < self.len() {
            let end = (at + (1 << 20)).min(self.len());
            take(&self.read(at, end));
            at = end;
        }
    }

    pub fn sha256(&self) -> String {
        let mut hasher = Sha256::new();
        self.feed(|bytes| hasher.update(bytes));
        hex(&hasher.finalize())
    }

    /// Git's name of it.
    pub fn blob(&self) -> String {
        let mut hasher = Sha1::new();
        hasher.update(format!("blob {}\0", self.len()));
        self.feed(|bytes| hasher.update(bytes));
        hex(&hasher.finalize())
    }
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A 40-digit name made of a text.
pub fn name_of(text: &str) -> String {
    hex(&Sha1::digest(text))
}
