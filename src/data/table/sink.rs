//! Where the bytes of a table go: a stream, or a temporary file that takes its name in the end.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::store::temporary_file;

/// A buffered stream or file. A file that is dropped before [`Sink::finish`] is removed.
pub(super) enum Sink {
    File { file: BufWriter<NamedTempFile>, target: PathBuf },
    Stream(BufWriter<Box<dyn Write + Send>>),
}

impl Sink {
    pub(super) fn stream(output: Box<dyn Write + Send>) -> Sink {
        Sink::Stream(BufWriter::new(output))
    }

    /// A temporary file in the folder of `path`, since a rename does not cross file systems.
    pub(super) fn file(path: &Path) -> io::Result<Sink> {
        // Through a link, so that the rename replaces the file and not the link.
        let target = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        // A rename would replace a device or a pipe by a file.
        if target.exists() && !target.is_file() {
            return Err(io::Error::other("it exists but is not a regular file"));
        }
        let file = BufWriter::new(temporary_file(&folder_of(&target), ".table-")?);
        Ok(Sink::File { file, target })
    }

    /// Hands on the rest; a file is put on the disk and takes its name.
    pub(super) fn finish(self) -> io::Result<()> {
        match self {
            Sink::Stream(mut stream) => stream.flush(),
            Sink::File { file, target } => {
                let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
                file.as_file().sync_all()?;
                file.persist(&target).map_err(|error| error.error)?;
                // Only then does the new name outlive a loss of power. Windows cannot open folders.
                if cfg!(unix) {
                    File::open(folder_of(&target))?.sync_all()?;
                }
                Ok(())
            }
        }
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Sink::File { file, .. } => file.write(bytes),
            Sink::Stream(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Sink::File { file, .. } => file.flush(),
            Sink::Stream(stream) => stream.flush(),
        }
    }
}

fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}
