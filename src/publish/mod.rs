//! From a model folder to a repository of the Hub: the card, the files, one commit.

mod card;
mod config;
mod evaluation;
mod files;
mod push;
mod pusher;
mod reduce;
mod source;

use std::path::PathBuf;

pub use card::{Card, PLACEHOLDERS, RELIABILITY};
pub use config::{PublishConfig, Push};
pub use evaluation::Evaluation;
pub use files::{Wanted, collect};
pub use push::{FileState, Published, Status, Target, publish};
pub use pusher::{Message, Pusher, whole};
pub use reduce::shown;
pub use source::Source;

/// Why a model was not published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// A file cannot be read.
    #[error("cannot read `{path}`")]
    Read { path: PathBuf, source: std::io::Error },
    /// The evaluation file is damaged.
    #[error("`{path}` is damaged")]
    Damaged {
        path: PathBuf,
        /// What the parser said.
        source: serde_json::Error,
    },
    /// The evaluation file is of another model.
    #[error(
        "`{path}` is not the report on this model (the manifest has different figures, or the hash \
         differs); restore it, or train or fit the model again"
    )]
    OtherEvaluation { path: PathBuf },
    /// The config is damaged.
    #[error("`{path}` is not a config")]
    Config {
        path: PathBuf,
        /// What the parser said.
        source: toml::de::Error,
    },
    /// A folder without our part.
    #[error(
        "`{folder}` was not made by `bayes`; add a posterior and a report first, with `bayes fit \
         --model {folder} --dataset DATA`"
    )]
    Foreign { folder: PathBuf },
    /// The template asks for something that does not exist.
    #[error(
        "the card template contains an unknown placeholder `{{{{{name}}}}}`;{suggestion} available \
         placeholders: {known}"
    )]
    Placeholder {
        /// What it asks for.
        name: String,
        /// ` did you mean …?`, or empty.
        suggestion: String,
        known: String,
    },
    /// A file holds something that is nobody's business.
    #[error("`{name}` contains {what}, so nothing was uploaded; remove it")]
    Private {
        /// The file's name in the repository.
        name: String,
        what: &'static str,
    },
    /// Nobody says who publishes.
    #[error(
        "no Hub token found; you must be logged in to publish: run `hf auth login`, or set \
         `HF_TOKEN` to a token with write access"
    )]
    NoToken,
    /// Someone else was faster.
    #[error(
        "someone else changed {repo} during the upload; nothing of theirs was overwritten, and \
         nothing of yours is lost (large files are already stored); look at the repository, then \
         run the command again"
    )]
    Overtaken {
        /// The repository and branch.
        repo: String,
    },
    /// Files that are there under a tag that shall be made.
    #[error(
        "the tag `{tag}` of `{repo}` already exists, for the commit {commit}, and you are \
         publishing something else; tags are never moved, so choose a different one. Nothing was \
         uploaded"
    )]
    TagTaken { repo: String, tag: String, commit: String },
    #[error(transparent)]
    Hub(#[from] crate::hub::HubError),
    #[error(transparent)]
    Artifact(#[from] crate::artifact::ArtifactError),
    /// The manifest is not what was saved, and its figures go on the card.
    #[error(
        "`{folder}/bayes/manifest.json` has changed since it was saved, so the figures of the card \
         cannot be verified; restore it, or save the model again. If the change is intended, \
         delete its key `sha256`; the card is then made with a warning"
    )]
    EditedManifest { folder: PathBuf },
    /// A file cannot be hashed.
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
}
