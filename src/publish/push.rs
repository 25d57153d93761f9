//! One commit, and a tag.

use serde::Serialize;

use super::PublishError;
use super::reduce::guard;
use crate::hub::{
    Client, Content, Hashed, HubError, Memory, NewFile, Observer, Push, Refs, Repository,
};

/// Where to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// `OWNER/NAME`.
    pub repo: String,
    /// Whether a repository that has to be made is private.
    pub private: bool,
    /// The branch, which is made where it is missing.
    pub branch: String,
    /// A tag for the commit.
    pub tag: Option<String>,
    /// The message of the commit and the tag.
    pub message: String,
}

/// Whether a file had to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It is new or another one.
    Sent,
    /// The repository had it.
    Unchanged,
}

/// A file of the repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileState {
    pub name: String,
    pub size: u64,
    /// Whether it had to be sent.
    pub status: Status,
}

/// What became of it.
#[derive(Clone, Debug, Serialize)]
pub struct Published {
    pub repo: String,
    pub branch: String,
    /// Its newest commit: a new one, unless nothing was to be changed.
    pub commit: String,
    /// The page of the repository.
    pub url: String,
    pub tag: Option<String>,
    /// Whether the repository is new.
    pub created: bool,
    pub files: Vec<FileState>,
    /// What the Hub would rather see otherwise in the card.
    pub warnings: Vec<String>,
}

/// Publishes files in one commit, made on the commit that was seen first. Files that are there
/// already are not sent.
///
/// # Errors
/// Anything goes wrong; then the branch is as it was.
pub fn publish(
    client: &Client,
    target: &Target,
    files: &[NewFile],
    memory: &Memory,
    observer: &Observer,
) -> Result<Published, PublishError> {
    if client.settings().token.is_none() {
        return Err(PublishError::NoToken);
    }
    for file in files {
        check(client, file)?;
    }
    let repository = Repository::model(&target.repo);
    let card = files.iter().find(|file| file.path == "README.md");
    let warnings = match card.map(|card| &card.content) {
        Some(Content::Bytes(card)) => {
            client.validate_card(&repository, &String::from_utf8_lossy(card))?
        }
        _ => Vec::new(),
    };
    let created = client.create(&repository, target.private)?;
    let refs = client.refs(&repository)?;
    let parent = parent(&repository, &refs, target)?;
    let hashed: Vec<Hashed<'_>> =
        files.iter().map(NewFile::hashed).collect::<Result<_, HubError>>()?;
    let tree = client.tree(&repository, &parent)?;
    let there =
        |file: &Hashed<'_>| tree.iter().any(|entry| entry.path == file.file.path && file.is(entry));
    let state = |file: &Hashed<'_>| FileState {
        name: file.file.path.clone(),
        size: file.file.size,
        status: if there(file) { Status::Unchanged } else { Status::Sent },
    };
    let states: Vec<FileState> = hashed.iter().map(state).collect();
    let new: Vec<Hashed<'_>> = hashed.into_iter().filter(|file| !there(file)).collect();
    let tagged = target.tag.as_deref().and_then(|tag| refs.tag(tag));
    if let (Some(tag), Some(commit)) = (&target.tag, tagged)
        && (!new.is_empty() || commit != parent)
    {
        let (repo, tag, commit) = (target.repo.clone(), tag.clone(), commit.to_owned());
        return Err(PublishError::TagTaken { repo, tag, commit });
    }
    if refs.branch(&target.branch).is_none() {
        match client.create_branch(&repository, &target.branch, &parent) {
            // An earlier try was answered, and the answer lost; the commit's parent guards the rest.
            Ok(()) | Err(HubError::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let push = Push {
        repository: &repository,
        branch: &target.branch,
        parent: &parent,
        summary: &target.message,
        files: &new,
        memory,
        observer,
    };
    let commit = match new.is_empty() {
        true => parent,
        false => match client.push(&push) {
            Err(HubError::ParentMoved { .. } | HubError::Conflict { .. }) => {
                let repo = format!("`{}` (branch `{}`)", target.repo, target.branch);
                return Err(PublishError::Overtaken { repo });
            }
            result => result?.commit,
        },
    };
    if let (Some(tag), None) = (&target.tag, tagged) {
        client.create_tag(&repository, &commit, tag, &target.message)?;
    }
    Ok(Published {
        repo: target.repo.clone(),
        branch: target.branch.clone(),
        commit,
        url: client.address(&repository.page()),
        tag: target.tag.clone(),
        created,
        files: states,
        warnings,
    })
}

/// The commit to build on: the branch's, or that of `main` for a branch that has to be made.
fn parent(repository: &Repository, refs: &Refs, target: &Target) -> Result<String, PublishError> {
    let found = refs.branch(&target.branch).or_else(|| refs.branch("main"));
    found.map(str::to_owned).ok_or_else(|| {
        let what = format!("{repository} at `{}`", target.branch);
        let reason = "it has no branch `main`".to_owned();
        HubError::Answer { what, reason }.into()
    })
}

/// The last look at what is made of text.
fn check(client: &Client, file: &NewFile) -> Result<(), PublishError> {
    let secret = |bytes: &[u8]| client.settings().holds_token(bytes);
    match &file.content {
        Content::Bytes(bytes) => guard(&file.path, bytes, &secret),
        Content::Disk(path) if file.path.ends_with(".json") => {
            let bytes = std::fs::read(path)
                .map_err(|source| PublishError::Read { path: path.clone(), source })?;
            guard(&file.path, &bytes, &secret)
        }
        Content::Disk(_) => Ok(()),
    }
}
