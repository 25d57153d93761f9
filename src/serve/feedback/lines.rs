//! A file of lines that can be read while it is written, and tells what of it is whole.
//!
//! Each line is 16 hexadecimal digits of the SHA-256 of what follows, a space, and JSON. Lines are only ever added. A
//! crash leaves lines that are whole, and behind them at most a torn end, which the next writer cuts off; a bad line
//! before a good one is damage, and is refused by its number.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::store::sha256;

/// Digits of the hash.
const DIGITS: usize = 16;
/// Bytes of a line, far more than a text may have.
const MOST: u64 = 256 << 20;

/// Why feedback could not be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("cannot use the feedback file `{path}`")]
    System {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error(
        "line {line} of the feedback file `{path}` is damaged; restore the file, or move it out of the way"
    )]
    Damaged { path: PathBuf, line: u64 },
    #[error(
        "the feedback file `{0}` was truncated or replaced while it was in use; nothing is added to it until the server \
         is restarted"
    )]
    Changed(PathBuf),
    #[error(
        "the feedback folder `{0}` is used by another server; choose a different folder with --feedback-path"
    )]
    InUse(PathBuf),
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
}

pub fn failed(path: &Path) -> impl Fn(std::io::Error) -> LogError {
    let path = path.to_owned();
    move |source| LogError::System { path: path.clone(), source }
}

/// A line of the file.
pub fn line(value: &impl Serialize) -> Vec<u8> {
    let json = serde_json::to_vec(value).expect("plain data is JSON");
    let mut line = sha256(&json).into_bytes();
    line.truncate(DIGITS);
    line.push(b' ');
    line.extend(json);
    line.push(b'\n');
    line
}

/// The JSON of a line, without its end, if it is whole.
fn content(line: &[u8]) -> Option<&[u8]> {
    let (hash, json) = line.split_at_checked(DIGITS)?;
    let json = json.strip_prefix(b" ")?;
    sha256(json).as_bytes().starts_with(hash).then_some(json)
}

/// Reads all lines that are whole; gives the bytes that they take. A file that is not there has none.
pub fn read(path: &Path, each: &mut dyn FnMut(&[u8])) -> Result<u64, LogError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
        Err(source) => return Err(failed(path)(source)),
    };
    let mut reader = BufReader::with_capacity(1 << 16, file);
    let (mut good, mut torn) = (0, None);
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let read = reader.by_ref().take(MOST).read_until(b'\n', &mut line).map_err(failed(path))?;
        if read == 0 {
            break;
        }
        match line.strip_suffix(b"\n").and_then(content) {
            Some(json) => {
                if let Some(line) = torn {
                    return Err(LogError::Damaged { path: path.to_owned(), line });
                }
                each(json);
                good += read as u64;
            }
            None => torn = torn.or(Some(number)),
        }
    }
    Ok(good)
}

/// A file that lines are added to.
#[derive(Debug)]
pub struct Lines {
    path: PathBuf,
    file: File,
    /// Bytes of whole lines.
    length: u64,
    /// Device and number, which tell that it is still the file of that name.
    mark: (u64, u64),
}

impl Lines {
    /// Opens a file, or makes it. The file is read once, and a torn end is cut off.
    pub fn open(path: &Path, each: &mut dyn FnMut(&[u8])) -> Result<Self, LogError> {
        let length = read(path, each)?;
        let failed = failed(path);
        let is_new = !path.exists();
        let mut options = OpenOptions::new();
        let file = options.create(true).append(true).open(path).map_err(&failed)?;
        let found = file.metadata().map_err(&failed)?;
        if found.len() > length {
            tracing::warn!(
                "the last {} bytes of `{}` are of a line that was not written whole, and are cut off",
                found.len() - length,
                path.display()
            );
            file.set_len(length).and_then(|()| file.sync_all()).map_err(&failed)?;
        }
        if is_new {
            let folder = path.parent().unwrap_or(Path::new("."));
            File::open(folder).and_then(|folder| folder.sync_all()).map_err(&failed)?;
        }
        Ok(Self { path: path.to_owned(), file, length, mark: (found.dev(), found.ino()) })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn length(&self) -> u64 {
        self.length
    }

    /// Adds whole lines; either all of them are there afterwards or none is.
    pub fn add(&mut self, lines: &[u8]) -> Result<(), LogError> {
        let failed = failed(&self.path);
        // Nobody else writes to it: what is longer than its lines is what we could not take back.
        let found = std::fs::metadata(&self.path);
        let same = |found: &std::fs::Metadata| {
            (found.dev(), found.ino()) == self.mark && found.len() >= self.length
        };
        let found = found.ok().filter(same);
        let Some(found) = found else { return Err(LogError::Changed(self.path.clone())) };
        if found.len() > self.length {
            self.file.set_len(self.length).map_err(&failed)?;
        }
        if let Err(error) = self.file.write_all(lines) {
            // If that fails too, the next one tries it again.
            let _ = self.file.set_len(self.length);
            return Err(failed(error));
        }
        self.length += lines.len() as u64;
        Ok(())
    }

    /// Takes back the last bytes, which could not be made durable.
    pub fn take_back(&mut self, bytes: u64) {
        self.length = self.length.saturating_sub(bytes);
        let _ = self.file.set_len(self.length);
    }

    /// On disk when it returns.
    pub fn sync(&self) -> Result<(), LogError> {
        self.file.sync_data().map_err(failed(&self.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(path: &Path) -> Result<Vec<String>, LogError> {
        let mut found = Vec::new();
        read(path, &mut |json| found.push(String::from_utf8(json.to_vec()).unwrap()))?;
        Ok(found)
    }

    #[test]
    fn a_torn_end_is_cut_off_and_damage_before_it_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        let mut lines = Lines::open(&path, &mut |_| ()).unwrap();
        lines.add(&[line(&1), line(&"two\n")].concat()).unwrap();
        assert_eq!(all(&path).unwrap(), ["1", "\"two\\n\""]);
        let whole = std::fs::read(&path).unwrap();
        let third = line(&3);
        for cut in 0..third.len() {
            std::fs::write(&path, [&whole, &third[..cut]].concat()).unwrap();
            assert_eq!(all(&path).unwrap().len(), 2, "{cut}");
            let mut lines = Lines::open(&path, &mut |_| ()).unwrap();
            lines.add(&line(&4)).unwrap();
            lines.sync().unwrap();
            assert_eq!(all(&path).unwrap()[2..], ["4"]);
        }
        for place in 0..line(&1).len() - 1 {
            let mut damaged = whole.clone();
            damaged[place] ^= 0x10;
            std::fs::write(&path, &damaged).unwrap();
            let refused = Lines::open(&path, &mut |_| ()).unwrap_err();
            assert!(matches!(refused, LogError::Damaged { line: 1, .. }), "{place}: {refused}");
        }
    }

    #[test]
    fn a_file_that_was_cut_or_replaced_is_not_written_to_any_more() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        type Change = fn(&Path);
        let changes: [Change; 3] = [
            |path| std::fs::write(path, b"").unwrap(),
            |path| std::fs::remove_file(path).unwrap(),
            |path| {
                std::fs::copy(path, path.with_extension("copy")).unwrap();
                std::fs::rename(path.with_extension("copy"), path).unwrap();
            },
        ];
        for change in changes {
            let mut lines = Lines::open(&path, &mut |_| ()).unwrap();
            lines.add(&line(&1)).unwrap();
            change(&path);
            let before = std::fs::read(&path).ok();
            assert!(matches!(lines.add(&line(&2)), Err(LogError::Changed(_))));
            assert_eq!(std::fs::read(&path).ok(), before);
        }
    }
}
