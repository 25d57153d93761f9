//! `pytorch_model.bin`: weights in a pickle of Python, read without Python and without running anything.
//!
//! Since torch 1.6 it is a zip file of a pickle and one entry for each storage; before, five pickles in a row and
//! the storages behind them. The pickle says which tensors there are, as views of storages. What it may say is
//! little (see [`global`]), and every number in it is held against the bytes that are there before anything is
//! allocated. Candle has a reader for the first form: it copies what a pickle refers to, again and again if it
//! likes, and panics on calls with too few arguments.

mod calls;
mod global;
mod legacy;
mod machine;
mod tensors;
mod values;
mod zip;

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use self::tensors::{StateDict, Stored};
use super::stream::Stream;
use super::{Keep, Take, TensorInfo, pointer};
use crate::model::ModelError;

/// The most bytes of the pickles, and of a directory of entries: those of the largest encoder have a hundredth.
const MOST_WORDS: u64 = 16 << 20;

/// Why a file is not read.
#[derive(Debug)]
pub(super) enum Wrong {
    /// It is not as torch writes it.
    Damaged(String),
    /// It may be, but not for us.
    Unread(String),
    Read(std::io::Error),
}

fn damaged<T>(message: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong::Damaged(message.into()))
}

impl From<std::io::Error> for Wrong {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::UnexpectedEof => Self::Damaged("it ends too early".to_owned()),
            _ => Self::Read(error),
        }
    }
}

impl Wrong {
    fn about(self, path: &Path) -> ModelError {
        let path = path.to_owned();
        match self {
            Self::Damaged(message) => ModelError::Corrupt { path, message },
            Self::Unread(message) => ModelError::Pickle { path, message },
            Self::Read(source) => ModelError::Read { path, source },
        }
    }
}

/// Where everything is in the file.
struct Layout {
    state: StateDict,
    /// Where the storages begin, in their order.
    starts: Vec<u64>,
    /// What was read to know this, by place.
    known: Vec<(u64, Vec<u8>)>,
}

/// A file whose pickle has been read and checked against its length.
#[derive(Debug)]
pub(super) struct PickleFile {
    path: PathBuf,
    length: u64,
    tensors: Vec<Stored>,
    /// Place and bytes of each storage.
    storages: Vec<(u64, u64)>,
    known: Vec<(u64, Vec<u8>)>,
}

/// What stands at a place of the file.
enum Stretch<'a> {
    Known(&'a [u8]),
    Storage(usize, u64),
}

impl PickleFile {
    pub(super) fn open(path: &Path) -> Result<Self, ModelError> {
        Self::read_words(path).map_err(|wrong| wrong.about(path))
    }

    fn read_words(path: &Path) -> Result<Self, Wrong> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        let mut beginning = [0; 15];
        let count = beginning.len().min(length as usize);
        file.read_exact(&mut beginning[..count])?;
        let layout = if beginning.starts_with(b"PK\x03\x04") {
            zip::layout(&mut file, length)?
        } else if beginning == legacy::MAGIC {
            legacy::layout(&mut file, length)?
        } else {
            let message = pointer(&beginning);
            let message = message.unwrap_or_else(|| "it is no file that torch writes".to_owned());
            return Err(Wrong::Damaged(message));
        };
        let bytes = layout.state.storages.iter().map(|one| one.bytes() as u64);
        let storages = layout.starts.into_iter().zip(bytes).collect();
        let (tensors, known) = (layout.state.tensors, layout.known);
        Ok(Self { path: path.to_owned(), length, tensors, storages, known })
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }

    pub(super) fn tensors(&self) -> impl Iterator<Item = (&str, &TensorInfo)> {
        self.tensors.iter().map(|one| (one.name.as_str(), &one.info))
    }

    /// Reads all of it, hands over what is kept, and returns its SHA-256.
    pub(super) fn read(&self, keep: &Keep<'_>, take: &mut Take<'_>) -> Result<String, ModelError> {
        let mut wanted: HashMap<usize, Vec<&Stored>> = HashMap::new();
        for one in self.tensors.iter().filter(|one| keep(&one.name)) {
            wanted.entry(one.storage).or_default().push(one);
        }
        let known = self.known.iter().map(|(at, bytes)| (*at, Stretch::Known(bytes)));
        let storages = self.storages.iter().enumerate();
        let storages = storages.map(|(number, &(at, bytes))| (at, Stretch::Storage(number, bytes)));
        let mut stretches: Vec<(u64, Stretch<'_>)> = known.chain(storages).collect();
        stretches.sort_by_key(|&(at, _)| at);
        let mut stream = Stream::open(&self.path, self.length)?;
        for (at, stretch) in stretches {
            // They do not overlap: both forms were checked for that.
            stream.skip(at.saturating_sub(stream.at()))?;
            match stretch {
                Stretch::Known(bytes) => stream.expect(bytes)?,
                Stretch::Storage(number, bytes) => match wanted.get(&number) {
                    None => stream.skip(bytes)?,
                    Some(tensors) => {
                        let storage = stream.take(bytes)?;
                        for one in tensors {
                            let own = one.of(&storage).map_err(|wrong| wrong.about(&self.path))?;
                            take(&one.name, &one.info, &own)?;
                        }
                    }
                },
            }
        }
        stream.end()
    }
}

/// Reads bytes at a place of the file; never more than [`MOST_WORDS`].
fn read_at(file: &mut File, at: u64, count: u64) -> Result<Vec<u8>, Wrong> {
    if count > MOST_WORDS {
        return Err(Wrong::Damaged(format!("{count} bytes are no weights, which is too much")));
    }
    file.seek(SeekFrom::Start(at))?;
    let mut bytes = vec![0; count as usize];
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}
