//! Ranges of bytes, of a file on disk or of what an address names.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Mutex;

use bytes::Bytes;

use crate::hub::{Client, Piece, Version};

/// What is read of the end of a file first; the directory of most files fits into it.
const TAIL: u64 = 64 << 10;

/// Where the bytes are.
pub(super) enum Source {
    Disk(Mutex<File>, u64),
    /// With the length and the version of the first answer.
    Http {
        client: Box<Client>,
        url: String,
        length: u64,
        version: Version,
    },
}

/// Whether a place is an address and not a path.
pub fn is_url(place: &str) -> bool {
    place.starts_with("http://") || place.starts_with("https://")
}

impl Source {
    /// The source, and the end of the file.
    pub(super) fn open(place: &str) -> io::Result<(Self, Bytes)> {
        if !is_url(place) {
            let file = File::open(Path::new(place))?;
            let length = file.metadata()?.len();
            let source = Self::Disk(Mutex::new(file), length);
            let size = length.min(TAIL);
            let tail = source.bytes(length - size, size as usize)?;
            return Ok((source, tail));
        }
        let client = Client::of_addresses().map_err(io::Error::other)?;
        let tail = client.range(place, &format!("bytes=-{TAIL}"), TAIL);
        let Piece { bytes, whole: length, version } = tail.map_err(io::Error::other)?;
        let (client, url) = (Box::new(client), place.to_owned());
        Ok((Self::Http { client, url, length, version }, bytes.into()))
    }

    /// The bytes of the whole where they are on disk.
    pub(super) fn on_disk(&self) -> Option<u64> {
        match self {
            Self::Disk(_, length) => Some(*length),
            Self::Http { .. } => None,
        }
    }

    pub(super) fn length(&self) -> u64 {
        match self {
            Self::Disk(_, length) | Self::Http { length, .. } => *length,
        }
    }

    pub(super) fn bytes(&self, start: u64, length: usize) -> io::Result<Bytes> {
        if length == 0 {
            return Ok(Bytes::new());
        }
        match self {
            Self::Disk(file, _) => {
                let mut file = file.lock().expect("nothing panics while it reads");
                file.seek(SeekFrom::Start(start))?;
                let mut bytes = vec![0; length];
                file.read_exact(&mut bytes)?;
                Ok(bytes.into())
            }
            Self::Http { client, url, length: whole, version: first } => {
                let range = format!("bytes={start}-{}", start + length as u64 - 1);
                let found = client.range(url, &range, length as u64);
                let Piece { bytes, whole: found, version } = found.map_err(io::Error::other)?;
                if found != *whole || bytes.len() != length || version.differs(first) {
                    return Err(io::Error::other("the file has changed on the server"));
                }
                Ok(bytes.into())
            }
        }
    }
}
