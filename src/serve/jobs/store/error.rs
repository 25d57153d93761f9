//! Why the file of the jobs could not be used.

use std::path::PathBuf;

/// Why the file could not be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It cannot be opened.
    #[error(
        "cannot open the job file `{path}`; if another server is using it, choose a different file \
         with --jobs-path; if it is damaged, move it out of the way"
    )]
    Open {
        path: PathBuf,
        /// What the store said.
        #[source]
        source: Box<redb::Error>,
    },
    /// The system does not let it be used.
    #[error("cannot use the job file `{path}`; give a writable place with --jobs-path")]
    System {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// A file without content, which no server leaves behind.
    #[error(
        "the job file `{0}` is empty because it was truncated, and its jobs are lost; move it \
         away, or give another file with --jobs-path"
    )]
    Empty(PathBuf),
    /// The file is not the one that was opened.
    #[error(
        "the job file `{0}` was truncated or replaced while it was in use; no jobs are accepted \
         until the server is restarted"
    )]
    Changed(PathBuf),
    /// There is no memory for a result now.
    #[error("too many responses are in flight")]
    Memory,
    /// The file is being opened again.
    #[error("the file is closed after a disk error")]
    Closed,
    #[error("a transaction failed: {0}")]
    Transaction(#[source] Box<redb::Error>),
    /// A record is not what was written.
    #[error("the record of a job is damaged: {0}")]
    Damaged(#[from] serde_json::Error),
}

/// `redb` has an error for each step; to us they are one.
macro_rules! steps {
    ($($step:ident),*) => {
        $(impl From<redb::$step> for StoreError {
            fn from(error: redb::$step) -> Self {
                Self::Transaction(Box::new(error.into()))
            }
        })*
    };
}

steps!(TransactionError, TableError, StorageError, CommitError, CompactionError);
