//! The files of a model folder before any of them is opened: a folder may come from anybody.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::{ArtifactError, DRIFT, HASHED, SENTENCE_FILES, members, precisions};
use crate::data::TextTokenizer;
use crate::model::{ADAPTER_FILES, WEIGHT_FORMS, weight_files};

/// The most bytes of each kind of file: far above what real ones have.
const MOST_WEIGHTS: u64 = 64 << 30;
const MOST_TEXT: u64 = 16 << 20;

/// What is read besides the files that have their hash in the manifest.
const OTHERS: [&str; 16] = [
    "added_tokens.json",
    DRIFT,
    "bayes/manifest.json",
    "merges.txt",
    "sentencepiece.bpe.model",
    "special_tokens_map.json",
    "spiece.model",
    "spm.model",
    "tokenizer_config.json",
    "vocab.json",
    "vocab.txt",
    SENTENCE_FILES[0],
    SENTENCE_FILES[1],
    SENTENCE_FILES[2],
    SENTENCE_FILES[3],
    SENTENCE_FILES[4],
];

/// A file that has been read.
#[derive(Debug)]
pub struct File {
    pub path: PathBuf,
    pub bytes: Vec<u8>,
}

/// Reads a file that [`check`] has looked at; `None` if it is not there.
pub fn read(folder: &Path, name: &str) -> Result<Option<File>, ArtifactError> {
    let path = folder.join(name);
    match std::fs::read(&path) {
        Ok(bytes) => Ok(Some(File { path, bytes })),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ArtifactError::Read { path, source }),
    }
}

/// Refuses what is no plain file, lies elsewhere, or is larger than any model. A link may lead to a
/// place in the folder, or among the blobs of the hub's cache that the folder is a snapshot of.
pub fn check(folder: &Path) -> Result<(), ArtifactError> {
    let real = folder.canonicalize();
    let root = real.map_err(|source| ArtifactError::Read { path: folder.to_owned(), source })?;
    let snapshots = root.parent().filter(|parent| parent.ends_with("snapshots"));
    let blobs = snapshots.and_then(Path::parent).map(|repository| repository.join("blobs"));
    let blobs = blobs.as_deref();
    for name in HASHED.into_iter().chain(OTHERS).chain(WEIGHT_FORMS).chain(ADAPTER_FILES) {
        check_one(&folder.join(name), &root, blobs)?;
    }
    let others = members::possible().chain(precisions::possible());
    for name in others.chain([members::REFERENCE.to_owned()]) {
        check_one(&folder.join(name), &root, blobs)?;
    }
    // Those that an index names, which was read only now.
    weight_files(folder).iter().try_for_each(|path| check_one(path, &root, blobs))
}

fn check_one(path: &Path, root: &Path, blobs: Option<&Path>) -> Result<(), ArtifactError> {
    let failed = |source| ArtifactError::Read { path: path.to_owned(), source };
    let real = match path.canonicalize() {
        // Whoever needs the file says that it is missing.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        real => real.map_err(failed)?,
    };
    let path = path.to_owned();
    if !real.starts_with(root) && !blobs.is_some_and(|blobs| real.starts_with(blobs)) {
        return Err(ArtifactError::Outside { path, real });
    }
    let found = real.metadata().map_err(failed)?;
    if !found.is_file() {
        return Err(ArtifactError::NoFile { path });
    }
    let most = match path.extension().and_then(|extension| extension.to_str()) {
        _ if path.ends_with("tokenizer.json") => TextTokenizer::MOST_BYTES,
        Some("safetensors" | "bin") => MOST_WEIGHTS,
        _ => MOST_TEXT,
    };
    if found.len() > most {
        return Err(ArtifactError::TooLarge { path, bytes: found.len(), most });
    }
    Ok(())
}
