//! What changes a repository of the double.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::http::{Answer, Request};
use super::read::{Key, no_revision, token, with};
use super::repository::{Repository, Stored, is_large};
use super::{Content, Shared, TOKEN};

/// Files of one preupload at most.
const FILES: usize = 256;

pub fn create(shared: &Shared, request: &mut Request) -> Answer {
    let value = request.json();
    if token(request) != TOKEN {
        return Answer::refuse(401, "", "Invalid username or password.");
    }
    let Some(name) = value["name"].as_str() else {
        return Answer::refuse(400, "", "\"name\" is required");
    };
    let id = match (value["organization"].as_str(), name.contains('/')) {
        (Some(owner), _) => format!("{owner}/{name}"),
        (None, true) => name.to_owned(),
        (None, false) => format!("tester/{name}"),
    };
    if !id.starts_with("tester/") && !id.starts_with("team/") {
        let message = "You don't have the rights to create a model under this namespace";
        return Answer::refuse(403, "", message);
    }
    let dataset = value["type"] == "dataset";
    let page = if dataset { "/datasets" } else { "" };
    let url = format!("{}{page}/{id}", shared.hub);
    let private = value["private"] == true || value["visibility"] == "private";
    let mut state = shared.state();
    let key = (dataset, id.clone());
    if state.repositories.contains_key(&key) {
        let message = "You already created this model repo";
        let body = json!({ "error": message, "url": url, "name": id }).to_string();
        let answer = Answer::bytes(409, "application/json; charset=utf-8", body);
        return answer.header("X-Error-Message", message);
    }
    state.repositories.insert(key, Repository::new(private));
    Answer::json(&json!({ "url": url, "name": id, "id": "1" }))
}

/// The Hub's look at the front matter of a card: here, that it is there and holds no path.
pub fn validate(request: &mut Request) -> Answer {
    let value = request.json();
    let content = value["content"].as_str().unwrap_or_default();
    let mut errors = Vec::new();
    if let Some(matter) = content.strip_prefix("---\n") {
        match matter.split_once("\n---\n") {
            None => errors.push(json!({ "message": "the front matter has no end" })),
            Some((matter, _)) if matter.contains("base_model: /") => {
                errors.push(json!({ "message": "\"base_model\" is no id" }));
            }
            Some(_) => {}
        }
    }
    let answer = Answer::json(&json!({ "errors": errors, "warnings": [] }));
    if errors.is_empty() { answer } else { Answer { status: 400, ..answer } }
}

pub fn api(shared: &Shared, request: &mut Request, key: &Key, rest: &[&str]) -> Answer {
    let body = request.body();
    let method = request.method.clone();
    let create_pr =
        request.query.get("create_pr").is_some_and(|value| value == "1" || value == "true");
    let allowed = token(request) == TOKEN;
    let large = shared.state().large.clone();
    let value: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    with(shared, request, key, |repository| {
        if !allowed {
            let message = "Forbidden: pass a token with write rights";
            return Answer::refuse(403, "", message);
        }
        match (method.as_str(), rest) {
            ("POST", ["preupload", revision]) => preupload(repository, &value, revision),
            ("POST", ["commit", revision]) => {
                let lines = String::from_utf8_lossy(&body).into_owned();
                let lines: Vec<Value> = lines
                    .lines()
                    .filter(|line| !line.trim().is_empty())
                    .map(|line| serde_json::from_str(line).unwrap_or(Value::Null))
                    .collect();
                let commit = Pushed { hub: &shared.hub, key, revision, create_pr, lines, large };
                commit.take(repository)
            }
            ("POST", ["tag", revision]) => tag(repository, &value, revision),
            ("DELETE", ["tag", name]) => match repository.tags.remove(*name) {
                Some(_) => Answer::json(&json!({})),
                None => no_revision(name),
            },
            ("POST", ["branch", name]) => branch(repository, &value, name),
            ("DELETE", ["branch", name]) => match repository.branches.remove(*name) {
                Some(_) => Answer::json(&json!({})),
                None => no_revision(name),
            },
            _ => Answer::refuse(404, "", "no such page"),
        }
    })
}

/// How each file is to be sent.
fn preupload(repository: &Repository, value: &Value, revision: &str) -> Answer {
    let Some(commit) = repository.at(revision) else { return no_revision(revision) };
    let files = value["files"].as_array().cloned().unwrap_or_default();
    if files.is_empty() || files.len() > FILES {
        return Answer::refuse(400, "", "\"files\" must contain 1 to 256 items");
    }
    let mut answers = Vec::new();
    for file in files {
        let (Some(path), Some(size)) = (file["path"].as_str(), file["size"].as_u64()) else {
            return Answer::refuse(400, "", "a file without path or size");
        };
        let sample = file["sample"].as_str().and_then(|sample| STANDARD.decode(sample).ok());
        if sample.is_none_or(|sample| sample.len() as u64 != size.min(512)) {
            return Answer::refuse(400, "", "the sample is not the first 512 bytes");
        }
        let mode = if is_large(path, size) { "lfs" } else { "regular" };
        let mut answer = json!({ "path": path, "uploadMode": mode, "shouldIgnore": false });
        if let Some(present) = commit.files.get(path) {
            answer["oid"] = json!(present.hash());
        }
        answers.push(answer);
    }
    Answer::json(&json!({ "files": answers, "commitOid": commit.oid }))
}

/// A commit as it is sent: one JSON object a line.
struct Pushed<'a> {
    hub: &'a str,
    key: &'a Key,
    revision: &'a str,
    create_pr: bool,
    lines: Vec<Value>,
    large: std::collections::BTreeMap<String, Content>,
}

impl Pushed<'_> {
    fn take(&self, repository: &mut Repository) -> Answer {
        let Some(&head) = repository.branches.get(self.revision) else {
            return no_revision(self.revision);
        };
        let Some(header) = self.lines.first().filter(|line| line["key"] == "header") else {
            return Answer::refuse(400, "", "the first line is no header");
        };
        let header = &header["value"];
        let Some(summary) = header["summary"].as_str().filter(|summary| !summary.is_empty()) else {
            return Answer::refuse(400, "", "\"summary\" is required");
        };
        let parent = header["parentCommit"].as_str();
        if parent.is_some_and(|parent| parent != repository.commits[head].oid) {
            let message = "A commit has happened since. Please refresh and try again.";
            return Answer::refuse(412, "", message);
        }
        let before = &repository.commits[head].files;
        let mut files = before.clone();
        for line in &self.lines[1..] {
            let value = &line["value"];
            let Some(path) = value["path"].as_str() else {
                return Answer::refuse(400, "", "an operation without path");
            };
            match line["key"].as_str() {
                Some("file") if value["encoding"] == "base64" => {
                    let bytes = STANDARD.decode(value["content"].as_str().unwrap_or_default());
                    let Ok(bytes) = bytes else { return Answer::refuse(400, "", "not base64") };
                    if is_large(path, bytes.len() as u64) {
                        let message = "Your push was rejected: this file must go through LFS";
                        return Answer::refuse(400, "", message);
                    }
                    files.insert(path.to_owned(), Stored::new(bytes.into(), false));
                }
                Some("lfsFile") if value["algo"] == "sha256" => {
                    let oid = value["oid"].as_str().unwrap_or_default();
                    match self.large.get(oid) {
                        Some(content) if Some(content.len()) == value["size"].as_u64() => {
                            let stored = Stored::large(oid.to_owned(), content.clone());
                            files.insert(path.to_owned(), stored);
                        }
                        _ => return Answer::refuse(400, "", "LFS pointer to an unknown object"),
                    }
                }
                Some("deletedFile") => {
                    files.remove(path);
                }
                Some("deletedFolder") => {
                    let folder = format!("{}/", path.trim_end_matches('/'));
                    files.retain(|path, _| !path.starts_with(&folder));
                }
                _ => return Answer::refuse(400, "", "an unknown operation"),
            }
        }
        let description = header["description"].as_str().unwrap_or_default();
        let pages = if self.key.0 { "/datasets" } else { "" };
        let page = format!("{}{pages}/{}", self.hub, self.key.1);
        let mut answer = json!({ "success": true, "hookOutput": "" });
        let same = files.len() == before.len()
            && files.iter().all(|(path, file)| {
                before.get(path).is_some_and(|present| present.oid == file.oid)
            });
        let oid = if same {
            repository.commits[head].oid.clone()
        } else if self.create_pr {
            let number =
                1 + repository.branches.keys().filter(|name| name.starts_with("refs/pr/")).count();
            let branch = format!("refs/pr/{number}");
            repository.branches.insert(branch.clone(), head);
            answer["pullRequestUrl"] = json!(format!("{page}/discussions/{number}"));
            repository.commit(&branch, summary, description, files)
        } else {
            repository.commit(self.revision, summary, description, files)
        };
        answer["commitUrl"] = json!(format!("{page}/commit/{oid}"));
        answer["commitOid"] = json!(oid);
        Answer::json(&answer)
    }
}

fn tag(repository: &mut Repository, value: &Value, revision: &str) -> Answer {
    let Some(commit) = repository.find(revision) else { return no_revision(revision) };
    let Some(name) = value["tag"].as_str() else {
        return Answer::refuse(400, "", "\"tag\" is required");
    };
    if repository.tags.contains_key(name) {
        return Answer::refuse(409, "", &format!("Tag reference exists already: {name}"));
    }
    let message = value["message"].as_str().unwrap_or_default().to_owned();
    repository.tags.insert(name.to_owned(), (commit, message));
    Answer::json(&json!({}))
}

fn branch(repository: &mut Repository, value: &Value, name: &str) -> Answer {
    let start = value["startingPoint"].as_str().unwrap_or("main");
    let Some(commit) = repository.find(start) else { return no_revision(start) };
    if repository.branches.contains_key(name) {
        return Answer::refuse(409, "", &format!("Reference already exists: refs/heads/{name}"));
    }
    repository.branches.insert(name.to_owned(), commit);
    Answer::json(&json!({}))
}
