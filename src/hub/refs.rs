//! Repositories are made, and their branches and tags.

use serde::Deserialize;
use serde_json::{Value, json};
use ureq::http::Method;

use super::client::{Call, Client};
use super::repository::encoded;
use super::{HubError, Kind, Repository};

/// Branches and tags of a repository.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Refs {
    /// Branches, `main` among them.
    #[serde(default)]
    pub branches: Vec<Reference>,
    /// Tags.
    #[serde(default)]
    pub tags: Vec<Reference>,
}

/// A name for a commit.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Reference {
    /// The name.
    pub name: String,
    /// The commit.
    #[serde(rename = "targetCommit")]
    pub commit: String,
}

impl Refs {
    /// The commit of a branch.
    pub fn branch(&self, name: &str) -> Option<&str> {
        find(&self.branches, name)
    }

    /// The commit of a tag.
    pub fn tag(&self, name: &str) -> Option<&str> {
        find(&self.tags, name)
    }
}

fn find<'a>(list: &'a [Reference], name: &str) -> Option<&'a str> {
    list.iter().find(|one| one.name == name).map(|one| one.commit.as_str())
}

impl Client {
    /// Makes a repository; says whether it is new.
    ///
    /// # Errors
    /// It cannot be made under this owner.
    pub fn create(&self, repository: &Repository, private: bool) -> Result<bool, HubError> {
        let (owner, name) = repository.id.split_once('/').unwrap_or(("", &repository.id));
        let mut value = json!({ "name": name, "organization": owner, "private": private });
        if repository.kind == Kind::Dataset {
            value["type"] = json!("dataset");
        }
        match self.post::<Value>(repository, "/api/repos/create", &value) {
            Ok(_) => Ok(true),
            // It exists.
            Err(HubError::Conflict { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Branches and tags.
    ///
    /// # Errors
    /// There is no such repository, or it is not for us.
    pub fn refs(&self, repository: &Repository) -> Result<Refs, HubError> {
        let address = format!("{}/refs", repository.api());
        self.json(&Call::new(Method::GET, repository.to_string(), address))
    }

    /// A new branch that begins at a commit; one that exists is left as it is.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn create_branch(
        &self,
        repository: &Repository,
        name: &str,
        commit: &str,
    ) -> Result<(), HubError> {
        let address = format!("{}/branch/{}", repository.api(), encoded(name));
        self.send(repository, address, &json!({ "startingPoint": commit }))
    }

    /// A new tag for a commit. One that exists is never moved: it is an error if it names another
    /// commit.
    ///
    /// # Errors
    /// It exists elsewhere, or cannot be made.
    pub fn create_tag(
        &self,
        repository: &Repository,
        commit: &str,
        name: &str,
        message: &str,
    ) -> Result<(), HubError> {
        let address = format!("{}/tag/{}", repository.api(), encoded(commit));
        let value = json!({ "tag": name, "message": message });
        let (what, error) = match self.send(repository, address, &value) {
            Err(HubError::Conflict { what, message }) => {
                (what.clone(), HubError::Conflict { what, message })
            }
            result => return result,
        };
        match self.refs(repository)?.tag(name) {
            // An earlier try was answered, and the answer lost.
            Some(found) if found == commit => Ok(()),
            Some(found) => {
                Err(HubError::TagTaken { what, tag: name.to_owned(), commit: found.to_owned() })
            }
            None => Err(error),
        }
    }

    fn send(
        &self,
        repository: &Repository,
        address: String,
        value: &Value,
    ) -> Result<(), HubError> {
        let bytes = value.to_string().into_bytes();
        let call = Call::new(Method::POST, repository.to_string(), address);
        self.bytes(&call.payload(super::Payload::Bytes("application/json", &bytes))).map(drop)
    }

    /// Lets the Hub look at a card before it is sent. Gives what it would rather see otherwise; a Hub
    /// that does not look has nothing to say.
    ///
    /// # Errors
    /// The front matter is wrong, or the Hub is not reached.
    pub fn validate_card(
        &self,
        repository: &Repository,
        card: &str,
    ) -> Result<Vec<String>, HubError> {
        let kind = if repository.kind == Kind::Dataset { "dataset" } else { "model" };
        let value = json!({ "content": card, "repoType": kind });
        let answer = match self.post::<Value>(repository, "/api/validate-yaml", &value) {
            Ok(answer) => answer,
            Err(HubError::Missing { .. } | HubError::Refused { status: 405 | 501, .. }) => {
                return Ok(Vec::new());
            }
            Err(HubError::Refused { status: 400, message, .. }) => {
                return Err(HubError::Card { message });
            }
            Err(error) => return Err(error),
        };
        let messages = |key: &str| -> Vec<String> {
            let list = answer[key].as_array().into_iter().flatten();
            list.filter_map(|one| Some(one["message"].as_str()?.to_owned())).collect()
        };
        let errors = messages("errors");
        if errors.is_empty() {
            Ok(messages("warnings"))
        } else {
            Err(HubError::Card { message: errors.join("; ") })
        }
    }
}
