//! Files and folders that appear whole or not at all, and hashes.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// Why something could not be stored or read.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing} `{path}`")]
pub struct StoreError {
    /// What was tried.
    pub doing: &'static str,
    /// The file or folder.
    pub path: PathBuf,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError { doing, path, source }
}

/// Writes a file under a temporary name beside it, syncs it, and renames it.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(failed("create", folder))?;
    let mut file = tempfile::Builder::new()
        .prefix(".tmp-")
        .tempfile_in(folder)
        .map_err(failed("write", path))?;
    file.write_all(bytes).map_err(failed("write", path))?;
    publish_permissions(file.path()).map_err(failed("write", path))?;
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
        let temporary = tempfile::Builder::new()
            .prefix(".tmp-")
            .tempdir_in(parent)
            .map_err(failed("create", target))?;
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

    /// Puts the folder in its place. What stood there before stays until then, and is taken away
    /// afterwards; after a kill in between it lies beside it under a name that begins with `.old-`.
    pub fn publish(self) -> Result<(), StoreError> {
        let failed = |source| failed("replace", &self.target)(source);
        let path = self.temporary.path();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).map_err(failed)?;
        }
        let parent = path.parent().expect("a temporary folder has a parent");
        let old = parent.join(format!(".old-{}", std::process::id()));
        let replaces = self.target.exists();
        if replaces {
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

/// A temporary file is private; what it becomes is as public as any other file.
#[cfg(unix)]
fn publish_permissions(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn publish_permissions(_: &Path) -> io::Result<()> {
    Ok(())
}

/// A rename survives a power cut only when its folder is synced.
fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

/// SHA-256 of bytes, in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
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

    #[test]
    fn a_dropped_folder_leaves_nothing() {
        let home = tempfile::tempdir().unwrap();
        let folder = NewFolder::create(&home.path().join("model")).unwrap();
        folder.write("a.txt", b"x").unwrap();
        drop(folder);
        assert!(names(home.path()).is_empty());
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
