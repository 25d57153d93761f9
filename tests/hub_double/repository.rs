//! Repositories: commits, branches, tags, and large files.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::content::{Content, name_of};

/// A file of a commit.
#[derive(Clone)]
pub struct Stored {
    pub content: Content,
    /// SHA-256, for large files.
    pub lfs: Option<String>,
    /// Git's name of the file, or of the pointer to it.
    pub oid: String,
}

impl Stored {
    pub fn new(content: Content, large: bool) -> Self {
        if !large {
            return Self { oid: content.blob(), lfs: None, content };
        }
        let sha = content.sha256();
        Self::large(sha, content)
    }

    /// A large file whose hash is known.
    pub fn large(sha: String, content: Content) -> Self {
        let oid = Content::from(pointer(&sha, content.len()).as_str()).blob();
        Self { oid, lfs: Some(sha), content }
    }

    /// What names it: the tag of its content.
    pub fn hash(&self) -> &str {
        self.lfs.as_deref().unwrap_or(&self.oid)
    }

    pub fn entry(&self, path: &str) -> Value {
        let mut entry = json!({
            "type": "file", "path": path, "size": self.content.len(), "oid": self.oid,
        });
        if let Some(sha) = &self.lfs {
            let size = self.content.len();
            let length = pointer(sha, size).len();
            entry["lfs"] = json!({ "oid": sha, "size": size, "pointerSize": length });
        }
        entry
    }
}

/// The text that Git keeps for a large file.
fn pointer(sha: &str, size: u64) -> String {
    format!("version https://git-lfs.github.com/spec/v1\noid sha256:{sha}\nsize {size}\n")
}

#[derive(Clone)]
pub struct Commit {
    pub oid: String,
    pub title: String,
    pub description: String,
    pub files: BTreeMap<String, Stored>,
    pub parent: Option<usize>,
}

pub struct Repository {
    pub private: bool,
    pub gated: bool,
    pub commits: Vec<Commit>,
    /// Branches by name, `refs/convert/parquet` and pull requests too.
    pub branches: BTreeMap<String, usize>,
    /// Tags: commit and message.
    pub tags: BTreeMap<String, (usize, String)>,
}

/// Files that the Hub's own attributes send to large file storage.
pub fn is_large(path: &str, size: u64) -> bool {
    let ends = [".safetensors", ".bin", ".parquet", ".h5", ".onnx", ".zip", ".npz", ".pt"];
    ends.iter().any(|end| path.ends_with(end)) || path.contains("tfevents") || size > 10 << 20
}

impl Repository {
    pub fn new(private: bool) -> Self {
        let mut repository = Self {
            private,
            gated: false,
            commits: Vec::new(),
            branches: BTreeMap::new(),
            tags: BTreeMap::new(),
        };
        let attributes = "*.safetensors filter=lfs diff=lfs merge=lfs -text\n";
        let stored = Stored::new(attributes.into(), false);
        let files = BTreeMap::from([(".gitattributes".to_owned(), stored)]);
        repository.commit("main", "initial commit", "", files);
        repository
    }

    /// The commit that a branch, tag or commit id names.
    pub fn find(&self, revision: &str) -> Option<usize> {
        let tag = || self.tags.get(revision).map(|(commit, _)| *commit);
        let commit = || self.commits.iter().position(|commit| commit.oid == revision);
        self.branches.get(revision).copied().or_else(tag).or_else(commit)
    }

    pub fn at(&self, revision: &str) -> Option<&Commit> {
        self.find(revision).map(|index| &self.commits[index])
    }

    /// A new commit with these files, on a branch that is made where it is missing.
    pub fn commit(
        &mut self,
        branch: &str,
        title: &str,
        description: &str,
        files: BTreeMap<String, Stored>,
    ) -> String {
        let parent = self.branches.get(branch).copied();
        let list: String =
            files.iter().map(|(path, file)| format!("{path} {}\n", file.oid)).collect();
        let oid = name_of(&format!("{branch} {} {title}\n{list}", self.commits.len()));
        let (title, description) = (title.to_owned(), description.to_owned());
        self.commits.push(Commit { oid: oid.clone(), title, description, files, parent });
        self.branches.insert(branch.to_owned(), self.commits.len() - 1);
        oid
    }

    pub fn refs(&self) -> Value {
        let list = |pick: &dyn Fn(&str) -> Option<(String, String)>| -> Vec<Value> {
            let rows = self.branches.iter().filter_map(|(name, &commit)| {
                let (name, long) = pick(name)?;
                let target = &self.commits[commit].oid;
                Some(json!({ "name": name, "ref": long, "targetCommit": target }))
            });
            rows.collect()
        };
        let tags = self.tags.iter().map(|(name, (commit, _))| {
            let target = &self.commits[*commit].oid;
            json!({ "name": name, "ref": format!("refs/tags/{name}"), "targetCommit": target })
        });
        json!({
            "branches": list(&|name| {
                (!name.starts_with("refs/")).then(|| (name.to_owned(), format!("refs/heads/{name}")))
            }),
            "converts": list(&|name| {
                let short = name.strip_prefix("refs/convert/")?;
                Some((short.to_owned(), name.to_owned()))
            }),
            "pullRequests": list(&|name| {
                let short = name.strip_prefix("refs/pr/")?;
                Some((short.to_owned(), name.to_owned()))
            }),
            "tags": tags.collect::<Vec<Value>>(),
        })
    }
}
