//! Why the file of the jobs could not be used.

use std::path::PathBuf;

/// Why the file could not be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It cannot be opened.
    #[error(
        "cannot open the file of the jobs `{path}`: another server may use it (then give \
         --jobs-path), or it is damaged (then move it away)"
    )]
    Open {
        /// The file.
        path: PathBuf,
        /// What the store said.
        #[source]
        source: Box<redb::Error>,
    },
    /// The system does not let it be used.
    #[error("cannot use the file of the jobs `{path}`: give a place to write to with --jobs-path")]
    System {
        /// The file.
        path: PathBuf,
        /// What it said.
        #[source]
        source: std::io::Error,
    },
    /// A file without content, which no server leaves behind.
    #[error(
        "the file of the jobs `{0}` is empty: it was cut, and its jobs are lost; move it away, or give \
         another with --jobs-path"
    )]
    Empty(PathBuf),
    /// The file is not the one that was opened.
    #[error(
        "the file of the jobs `{0}` was cut or replaced while it was in use: no job is taken before the \
         server is started again"
    )]
    Changed(PathBuf),
    /// There is no memory for a result now.
    #[error("too many answers are on their way")]
    Memory,
    /// The file is being opened again.
    #[error("the file is closed after an error of the disk")]
    Closed,
    /// A transaction failed.
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
