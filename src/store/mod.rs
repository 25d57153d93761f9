//! Files and folders that appear whole or not at all, hashes, locks, and JSON without two meanings.

mod json;
mod lock;
mod tensors;
mod unused;

pub use json::from_json;
pub use lock::Lock;
pub use tensors::{TensorFile, Tensors};
pub use unused::{forget_unused, mark_used};

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// Why something could not be stored or read.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing} `{path}`")]
pub struct StoreError {
    pub doing: &'static str,
    /// The file or folder.
    pub path: PathBuf,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

/// What the names of unfinished files and folders begin with.
const TEMPORARY: &str = ".tmp-";
/// What the name of a folder begins with while another takes its place.
const OLD: &str = ".old-";

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError { doing, path, source }
}

/// Writes a file under a temporary name beside it, syncs it, and renames it.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(failed("create", folder))?;
    let mut file = temporary_file(folder, TEMPORARY).map_err(failed("write", path))?;
    file.write_all(bytes).map_err(failed("write", path))?;
    file.as_file().sync_all().map_err(failed("write", path))?;
    file.persist(path).map_err(|error| failed("write", path)(error.error))?;
    sync_folder(folder).map_err(failed("write", path))
}

/// A folder that is filled under a temporary name and appears when it is whole. Dropped before
/// that, it leaves nothing.
#[derive(Debug)]
pub struct NewFolder {
    temporary: tempfile::TempDir,
    target: PathBuf,
}

impl NewFolder {
    /// Begins a folder that will appear as `target`.
    pub fn create(target: &Path) -> Result<Self, StoreError> {
        let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.unwrap_or(Path::new("."));
        fs::create_dir_all(parent).map_err(failed("create", parent))?;
        let temporary =
            builder(TEMPORARY, 0o777).tempdir_in(parent).map_err(failed("create", target))?;
        Ok(Self { temporary, target: target.to_owned() })
    }

    /// Writes and syncs a file; `name` may have folders in it.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let path = self.temporary.path().join(name);
        let folder = path.parent().expect("a file in a folder has a parent");
        fs::create_dir_all(folder).map_err(failed("create", folder))?;
        let shown = self.target.join(name);
        let mut file = File::create(&path).map_err(failed("write", &shown))?;
        file.write_all(bytes).map_err(failed("write", &shown))?;
        file.sync_all().map_err(failed("write", &shown))
    }

    /// Gives a file that exists a second name in this folder: a link on the disk, so that nothing is
    /// written; a copy where the file system has no such links. Files that are replaced by rename
    /// and never changed in place may be kept in this way.
    pub fn link(&self, name: &str, source: &Path) -> Result<(), StoreError> {
        let path = self.temporary.path().join(name);
        let folder = path.parent().expect("a file in a folder has a parent");
        fs::create_dir_all(folder).map_err(failed("create", folder))?;
        if fs::hard_link(source, &path).is_ok() {
            return Ok(());
        }
        let shown = self.target.join(name);
        fs::copy(source, &path).map_err(failed("write", &shown))?;
        File::open(&path).and_then(|file| file.sync_all()).map_err(failed("write", &shown))
    }

    /// Puts the folder in its place. What stood there before stays until then, and is taken away
    /// afterwards; after a kill in between, [`tidy`] sets it right.
    pub fn publish(self) -> Result<(), StoreError> {
        let failed = |source| failed("replace", &self.target)(source);
        let path = self.temporary.path();
        sync_tree(path).map_err(failed)?;
        let parent = path.parent().expect("a temporary folder has a parent");
        let name = self.target.file_name().unwrap_or_default().to_string_lossy();
        let old = parent.join(format!("{OLD}{name}"));
        let replaces = self.target.exists();
        if replaces {
            if old.exists() {
                fs::remove_dir_all(&old).map_err(failed)?;
            }
            fs::rename(&self.target, &old).map_err(failed)?;
        }
        if let Err(error) = fs::rename(path, &self.target) {
            if replaces {
                // The old folder goes back; the first error is the one to report.
                let _ = fs::rename(&old, &self.target);
            }
            return Err(failed(error));
        }
        sync_folder(parent).map_err(failed)?;
        if replaces {
            fs::remove_dir_all(&old).map_err(failed)?;
        }
        Ok(())
    }
}

/// Syncs a finished file and gives it its name in the same file system; what had that name is replaced.
pub fn move_into_place(finished: &Path, target: &Path) -> Result<(), StoreError> {
    let folder = target.parent().unwrap_or(Path::new("."));
    File::open(finished)
        .and_then(|file| file.sync_all())
        .and_then(|()| fs::rename(finished, target))
        .and_then(|()| sync_folder(folder))
        .map_err(failed("write", target))
}

/// A temporary file in a folder, for what is to take a name there.
pub fn temporary_file(folder: &Path, prefix: &str) -> io::Result<tempfile::NamedTempFile> {
    builder(prefix, 0o666).tempfile_in(folder)
}

/// Temporary files and folders are private by default; what they become is as open as the user's mask says.
fn builder(prefix: &str, mode: u32) -> tempfile::Builder<'_, 'static> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(prefix);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(fs::Permissions::from_mode(mode));
    }
    #[cfg(not(unix))]
    let _ = mode;
    builder
}

/// A rename survives a power cut only when its folder is synced.
fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

fn sync_tree(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_tree(&entry.path())?;
        }
    }
    sync_folder(folder)
}

/// Clears away what a killed process left in `folder`: unfinished files and folders go, and a folder
/// whose successor did not arrive gets its name back. Only for the holder of the folder's lock.
pub fn tidy(folder: &Path) -> Result<(), StoreError> {
    for entry in fs::read_dir(folder).map_err(failed("read", folder))? {
        let path = entry.map_err(failed("read", folder))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let target = name.strip_prefix(OLD).map(|target| folder.join(target));
        match target {
            Some(target) if !target.exists() => fs::rename(&path, &target),
            None if !name.starts_with(TEMPORARY) => Ok(()),
            _ if path.is_dir() => fs::remove_dir_all(&path),
            _ => fs::remove_file(&path),
        }
        .map_err(failed("clear away", &path))?;
    }
    Ok(())
}

/// Lets the symbolic link `path` point to `target`, relative to its folder; one that exists is
/// replaced by rename. Systems without such links get none.
pub fn replace_link(path: &Path, target: &str) -> Result<(), StoreError> {
    #[cfg(unix)]
    {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let temporary = path.with_file_name(format!("{TEMPORARY}{name}"));
        let _ = fs::remove_file(&temporary);
        std::os::unix::fs::symlink(target, &temporary).map_err(failed("write", path))?;
        fs::rename(&temporary, path).map_err(failed("write", path))?;
    }
    #[cfg(not(unix))]
    let _ = (path, target);
    Ok(())
}

/// Text without the byte order mark that programs of Windows put before it.
pub fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
}

/// SHA-256 of bytes, in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// SHA-256 over parts, each with its length before it, so that no byte can move to its neighbour.
pub fn sha256_of_parts<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// SHA-256 of a file, in hexadecimal.
pub fn sha256_file(path: &Path) -> Result<String, StoreError> {
    let mut hasher = Sha256::new();
    let mut file = File::open(path).map_err(failed("read", path))?;
    let mut block = vec![0; 1 << 16];
    loop {
        let read = file.read(&mut block).map_err(failed("read", path))?;
        if read == 0 {
            break;
        }
        hasher.update(&block[..read]);
    }
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_folder_appears_whole_and_replaces_the_old_one() {
        let home = tempfile::tempdir().unwrap();
        let target = home.path().join("model");
        for content in ["one", "two"] {
            let folder = NewFolder::create(&target).unwrap();
            folder.write("a/b.txt", content.as_bytes()).unwrap();
            folder.publish().unwrap();
            assert_eq!(fs::read_to_string(target.join("a/b.txt")).unwrap(), content);
        }
        assert_eq!(names(home.path()), ["model"]);
    }

    /// Whatever the mask: a cache that two users share is not one user's alone, and a private one stays so.
    #[cfg(unix)]
    #[test]
    fn what_appears_is_as_open_as_any_other_file() {
        use std::os::unix::fs::PermissionsExt;
        let home = tempfile::tempdir().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let plain = home.path().join("plain");
        File::create(&plain).unwrap();
        let plain_folder = home.path().join("plain_folder");
        fs::create_dir(&plain_folder).unwrap();
        let file = home.path().join("file");
        write_atomically(&file, b"x").unwrap();
        let kept = home.path().join("kept");
        temporary_file(home.path(), ".x-").unwrap().persist(&kept).unwrap();
        let folder = home.path().join("folder");
        let new = NewFolder::create(&folder).unwrap();
        new.write("inside", b"x").unwrap();
        new.publish().unwrap();
        for path in [&file, &kept, &folder.join("inside")] {
            assert_eq!(mode(path), mode(&plain), "{}", path.display());
        }
        assert_eq!(mode(&folder), mode(&plain_folder));
    }

    #[test]
    fn a_dropped_folder_leaves_nothing() {
        let home = tempfile::tempdir().unwrap();
        let folder = NewFolder::create(&home.path().join("model")).unwrap();
        folder.write("a.txt", b"x").unwrap();
        drop(folder);
        assert!(names(home.path()).is_empty());
    }

    #[test]
    fn what_a_killed_process_left_is_cleared_away_and_nothing_is_lost() {
        let home = tempfile::tempdir().unwrap();
        for folder in [".tmp-a", ".old-lost", ".old-model", "model"] {
            fs::create_dir(home.path().join(folder)).unwrap();
            fs::write(home.path().join(folder).join("file"), folder).unwrap();
        }
        fs::write(home.path().join(".tmp-b"), "half").unwrap();
        tidy(home.path()).unwrap();
        assert_eq!(names(home.path()), ["lost", "model"]);
        assert_eq!(fs::read_to_string(home.path().join("lost/file")).unwrap(), ".old-lost");
        assert_eq!(fs::read_to_string(home.path().join("model/file")).unwrap(), "model");
    }

    #[cfg(unix)]
    #[test]
    fn a_link_is_replaced_and_a_second_name_outlives_the_first() {
        let home = tempfile::tempdir().unwrap();
        for name in ["a", "b"] {
            let folder = NewFolder::create(&home.path().join(name)).unwrap();
            folder.write("own", name.as_bytes()).unwrap();
            if name == "b" {
                folder.link("other", &home.path().join("a/own")).unwrap();
            }
            folder.publish().unwrap();
            replace_link(&home.path().join("latest"), name).unwrap();
        }
        assert_eq!(fs::read_link(home.path().join("latest")).unwrap(), Path::new("b"));
        fs::remove_dir_all(home.path().join("a")).unwrap();
        assert_eq!(fs::read_to_string(home.path().join("latest/other")).unwrap(), "a");
        assert_eq!(names(home.path()), ["b", "latest"]);
    }

    #[test]
    fn hashes_are_those_of_the_standard() {
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("abc");
        write_atomically(&path, b"abc").unwrap();
        assert_eq!(sha256(b"abc"), expected);
        assert_eq!(sha256_file(&path).unwrap(), expected);
    }
}
