//! What is asked of the double: who, what is in a repository, and its files.

use serde_json::{Value, json};

use super::http::{Answer, Request, decoded};
use super::repository::{Commit, Repository};
use super::{STRANGER, Shared, TOKEN};

pub type Key = (bool, String);

/// The token's rights: none, known, or let in.
pub fn token(request: &Request) -> &str {
    request.header("authorization").strip_prefix("Bearer ").unwrap_or_default()
}

pub fn who(request: &Request) -> Answer {
    match token(request) {
        TOKEN => Answer::json(&json!({
            "type": "user", "id": "1", "name": "tester", "fullname": "A Tester",
            "orgs": [{ "type": "org", "name": "team" }],
            "auth": { "accessToken": { "displayName": "double", "role": "write" } },
        })),
        STRANGER => Answer::json(&json!({ "type": "user", "name": "stranger", "orgs": [] })),
        _ => Answer::refuse(401, "", "Invalid username or password."),
    }
}

/// Looks a repository up; the Hub does not tell the unknown from the private.
pub fn with(
    shared: &Shared,
    request: &Request,
    key: &Key,
    answer: impl FnOnce(&mut Repository) -> Answer,
) -> Answer {
    let mut state = shared.state();
    if let Some(new) = state.moved.get(key) {
        let path = request.path.replacen(&key.1, new, 1);
        return Answer::bytes(307, "text/plain", "").header("Location", &path);
    }
    let allowed = token(request) == TOKEN;
    match state.repositories.get_mut(key) {
        Some(repository) if !repository.private || allowed => answer(repository),
        _ if allowed => Answer::refuse(404, "RepoNotFound", "Repository not found"),
        _ => Answer::refuse(401, "RepoNotFound", "Invalid username or password."),
    }
}

pub fn no_revision(revision: &str) -> Answer {
    Answer::refuse(404, "RevisionNotFound", &format!("Invalid rev id: {revision}"))
}

pub fn api(shared: &Shared, request: &Request, key: &Key, rest: &[&str]) -> Answer {
    let page = shared.state().page;
    with(shared, request, key, |repository| match rest {
        [] => info(repository, key, "main"),
        ["revision", revision] => info(repository, key, revision),
        ["tree", revision, folder @ ..] => {
            tree(&shared.hub, request, repository, revision, &folder.join("/"), page)
        }
        ["refs"] => Answer::json(&repository.refs()),
        ["commits", revision] => commits(repository, revision),
        _ => Answer::refuse(404, "", "no such page"),
    })
}

fn info(repository: &Repository, key: &Key, revision: &str) -> Answer {
    let Some(commit) = repository.at(revision) else { return no_revision(revision) };
    let siblings: Vec<Value> =
        commit.files.keys().map(|path| json!({ "rfilename": path })).collect();
    let gated = if repository.gated { json!("manual") } else { json!(false) };
    Answer::json(&json!({
        "_id": "1", "id": key.1, "modelId": key.1, "author": key.1.split('/').next(),
        "sha": commit.oid, "private": repository.private, "gated": gated, "disabled": false,
        "lastModified": "2026-01-01T00:00:00.000Z", "createdAt": "2026-01-01T00:00:00.000Z",
        "downloads": 0, "likes": 0, "tags": [], "siblings": siblings,
    }))
}

/// A page of the files and folders below a folder.
fn tree(
    hub: &str,
    request: &Request,
    repository: &Repository,
    revision: &str,
    folder: &str,
    page: usize,
) -> Answer {
    let Some(commit) = repository.at(revision) else { return no_revision(revision) };
    let recursive =
        matches!(request.query.get("recursive").map(String::as_str), Some("true" | "True" | "1"));
    let inside = if folder.is_empty() { String::new() } else { format!("{folder}/") };
    let mut entries = Vec::new();
    let mut folders = std::collections::BTreeSet::new();
    for (path, file) in &commit.files {
        let Some(rest) = path.strip_prefix(&inside) else { continue };
        let mut place = inside.len();
        for part in rest.split('/').rev().skip(1).collect::<Vec<_>>().into_iter().rev() {
            place += part.len();
            let name = &path[..place];
            place += 1;
            if folders.insert(name.to_owned()) {
                let oid = super::content::name_of(name);
                entries.push(json!({ "type": "directory", "path": name, "size": 0, "oid": oid }));
            }
            if !recursive {
                break;
            }
        }
        if recursive || !rest.contains('/') {
            entries.push(file.entry(path));
        }
    }
    if entries.is_empty() && !folder.is_empty() {
        return Answer::refuse(404, "EntryNotFound", &format!("{folder} does not exist"));
    }
    let start: usize = request.query.get("cursor").and_then(|at| at.parse().ok()).unwrap_or(0);
    let end = (start + page).min(entries.len());
    let answer = Answer::json(&Value::from(entries[start.min(end)..end].to_vec()));
    if end == entries.len() {
        return answer;
    }
    let next = format!("{hub}{}?recursive={recursive}&cursor={end}", request.path);
    answer.header("Link", &format!("<{next}>; rel=\"next\""))
}

fn commits(repository: &Repository, revision: &str) -> Answer {
    let Some(mut index) = repository.find(revision) else { return no_revision(revision) };
    let mut list = Vec::new();
    loop {
        let Commit { oid, title, description, parent, .. } = &repository.commits[index];
        list.push(json!({
            "id": oid, "title": title, "message": description, "date": "2026-01-01T00:00:00.000Z",
            "authors": [{ "user": "tester" }],
        }));
        match parent {
            Some(parent) => index = *parent,
            None => return Answer::json(&Value::from(list)),
        }
    }
}

/// Entries of the paths asked for, as JSON or as a form.
pub fn paths_info(shared: &Shared, request: &mut Request, key: &Key, revision: &str) -> Answer {
    let body = String::from_utf8_lossy(&request.body()).into_owned();
    let paths: Vec<String> = match serde_json::from_str::<Value>(&body) {
        Ok(value) => value["paths"]
            .as_array()
            .map(|paths| paths.iter().filter_map(|path| Some(path.as_str()?.to_owned())).collect())
            .unwrap_or_default(),
        Err(_) => {
            body.split('&').filter_map(|pair| pair.strip_prefix("paths=")).map(decoded).collect()
        }
    };
    with(shared, request, key, |repository| {
        let Some(commit) = repository.at(revision) else { return no_revision(revision) };
        let files = paths.iter().filter_map(|path| Some(commit.files.get(path)?.entry(path)));
        Answer::json(&Value::from(files.collect::<Vec<Value>>()))
    })
}

/// A file, or the way to it.
pub fn resolve(
    shared: &Shared,
    request: &Request,
    key: &Key,
    revision: &str,
    path: &str,
) -> Answer {
    with(shared, request, key, |repository| {
        if repository.gated && token(request) != TOKEN {
            let status = if token(request) == STRANGER { 403 } else { 401 };
            return Answer::refuse(status, "GatedRepo", "Access to this repository is restricted");
        }
        let Some(commit) = repository.at(revision) else { return no_revision(revision) };
        let Some(file) = commit.files.get(path) else {
            let answer = Answer::refuse(404, "EntryNotFound", "Entry not found");
            return answer.header("X-Repo-Commit", &commit.oid);
        };
        let size = file.content.len();
        if let Some(sha) = &file.lfs {
            return Answer::bytes(302, "text/plain", "Found")
                .header("Location", &format!("{}/cdn/{sha}?X-Signature=signed", shared.cdn))
                .header("X-Repo-Commit", &commit.oid)
                .header("X-Linked-Size", &size.to_string())
                .header("X-Linked-Etag", &format!("\"{sha}\""))
                .header("ETag", &format!("\"{}\"", file.oid))
                .header("Accept-Ranges", "bytes");
        }
        ranged(request, file.content.clone(), "text/plain; charset=utf-8")
            .header("ETag", &format!("\"{}\"", file.oid))
            .header("X-Repo-Commit", &commit.oid)
    })
}

/// All of a content, or the range that was asked for.
pub fn ranged(request: &Request, content: super::Content, kind: &str) -> Answer {
    let length = content.len();
    let mut answer = Answer { status: 200, headers: Vec::new(), part: (0, length), body: content };
    answer = answer.header("Content-Type", kind).header("Accept-Ranges", "bytes");
    match request.range(length) {
        None => answer,
        Some((start, end)) if start >= length || start >= end => {
            Answer::bytes(416, "text/plain", "")
                .header("Content-Range", &format!("bytes */{length}"))
        }
        Some((start, end)) => {
            answer.status = 206;
            answer.part = (start, end);
            answer.header("Content-Range", &format!("bytes {start}-{}/{length}", end - 1))
        }
    }
}
