//! Whether a file changed while it was read.

use std::fs::File;
use std::time::SystemTime;

/// A file that is being read. One that another takes the place of is still whole.
pub(super) struct Watched {
    file: File,
    name: String,
    before: Option<(u64, SystemTime)>,
}

impl Watched {
    /// `None` where the system gives no second handle.
    pub(super) fn new(file: &File, name: &str) -> Option<Self> {
        let file = file.try_clone().ok()?;
        let before = stamp(&file);
        Some(Self { file, name: name.to_owned(), before })
    }

    /// What a person should know, if it did.
    pub(super) fn changed(&self) -> Option<String> {
        let name = &self.name;
        (stamp(&self.file) != self.before).then(|| {
            format!(
                "`{name}` changed while it was read: rows may be missing, new, or cut; run this again when nobody \
                 writes to it"
            )
        })
    }
}

/// Bytes, and when they were written.
fn stamp(file: &File) -> Option<(u64, SystemTime)> {
    let found = file.metadata().ok()?;
    Some((found.len(), found.modified().ok()?))
}
