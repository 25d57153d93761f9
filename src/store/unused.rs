//! Files of a cache that nobody has used for long: without an end of theirs it would grow with every run.

use std::ffi::OsStr;
use std::fs::File;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// After so long a file is forgotten: 90 days.
const FORGOTTEN: Duration = Duration::from_secs(90 * 86_400);

/// Writes down that a file of a cache was used now. Where that fails, it is forgotten the sooner.
pub fn mark_used(path: &Path) {
    let _ = File::open(path).and_then(|file| file.set_modified(SystemTime::now()));
}

/// Removes the files of a cache that were not used for long. What cannot be removed stays: a cache only saves time.
pub fn forget_unused(folder: &Path) {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    for path in entries.map(|entry| entry.path()).filter(|path| is_of_cache(path)) {
        let age = || std::fs::metadata(&path).ok()?.modified().ok()?.elapsed().ok();
        if age().is_some_and(|age| age > FORGOTTEN) && std::fs::remove_file(&path).is_ok() {
            tracing::debug!("removed `{}`, which no run has used for long", path.display());
        }
    }
}

/// Whether a file is named by a hash, as those of our caches are.
fn is_of_cache(path: &Path) -> bool {
    let stem = path.file_stem().and_then(OsStr::to_str).unwrap_or_default();
    let named = stem.len() == 64 && stem.bytes().all(|byte| byte.is_ascii_hexdigit());
    named && path.extension().is_some_and(|extension| extension == "safetensors")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_of_a_cache_that_were_not_used_for_long_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, age: Duration| {
            let path = folder.path().join(name);
            let file = File::create(&path).unwrap();
            file.set_modified(SystemTime::now() - age).unwrap();
            path
        };
        let hash = |digit: char| format!("{}.safetensors", digit.to_string().repeat(64));
        let long = FORGOTTEN + Duration::from_secs(60);
        let old = file(&hash('0'), long);
        let used = file(&hash('1'), long);
        let young = file(&hash('2'), FORGOTTEN / 2);
        let other = file("model.safetensors", long);
        mark_used(&used);
        mark_used(&folder.path().join("absent"));
        forget_unused(folder.path());
        assert!(!old.exists() && used.exists() && young.exists() && other.exists());
        forget_unused(&folder.path().join("absent"));
    }
}
