//! Large files: the second host they come from, and the ways they go there.

use std::fs::File;
use std::io::{Read, Write};

use serde_json::{Value, json};

use super::content::Content;
use super::http::{Answer, Request};
use super::read::{Key, ranged, token, with};
use super::{Session, Shared, TOKEN};

/// A large file by its hash. Only who was sent here knows the way.
pub fn download(shared: &Shared, request: &Request, sha: &str) -> Answer {
    if request.query.get("X-Signature").map(String::as_str) != Some("signed") {
        return Answer::refuse(403, "", "AccessDenied");
    }
    // The store of the real one has tags of its own, and no use for the Hub's token.
    if !request.header("authorization").is_empty() {
        return Answer::refuse(400, "", "Only one auth mechanism allowed");
    }
    match shared.state().large.get(sha).cloned() {
        Some(content) => {
            ranged(request, content, "application/octet-stream").header("ETag", "\"of-the-store\"")
        }
        None => Answer::refuse(404, "", "NoSuchKey"),
    }
}

/// Which of some files have to be uploaded, and how; or whether one has arrived.
pub fn batch(shared: &Shared, request: &mut Request, key: &Key, action: &str) -> Answer {
    let value = request.json();
    let allowed = token(request) == TOKEN;
    let known = with(shared, request, key, |_| Answer::json(&Value::Null));
    if known.status != 200 {
        return known;
    }
    if !allowed {
        return Answer::refuse(403, "", "You don't have the rights to upload to this repository");
    }
    let kind = "application/vnd.git-lfs+json";
    if action == "verify" {
        let size = value["oid"].as_str().and_then(|oid| Some(shared.state().large.get(oid)?.len()));
        return if size.is_some() && size == value["size"].as_u64() {
            Answer::bytes(200, kind, "{}")
        } else {
            Answer::refuse(404, "", "the object has not arrived")
        };
    }
    let lists = |name: &str| {
        value["transfers"].as_array().is_some_and(|list| list.iter().any(|item| item == name))
    };
    if value["operation"] != "upload" || value["hash_algo"] != "sha256" {
        return Answer::refuse(422, "", "expected an upload with sha256");
    }
    let mut state = shared.state();
    let mut objects = Vec::new();
    let mut transfer = "basic";
    for object in value["objects"].as_array().into_iter().flatten() {
        let (Some(oid), Some(size)) = (object["oid"].as_str(), object["size"].as_u64()) else {
            return Answer::refuse(422, "", "an object without oid or size");
        };
        let mut answer = json!({ "oid": oid, "size": size });
        if !state.large.contains_key(oid) {
            let repository = if key.0 { format!("datasets/{}", key.1) } else { key.1.clone() };
            let verify = format!("{}/{repository}.git/info/lfs/objects/verify", shared.hub);
            let upload = if size > state.chunk && lists("multipart") {
                transfer = "multipart";
                let number = state.sessions.len();
                let session = Session { oid: oid.to_owned(), size, ..Session::default() };
                state.sessions.push(session);
                let mut header = json!({ "chunk_size": state.chunk.to_string() });
                for part in 1..=size.div_ceil(state.chunk) {
                    header[part.to_string()] =
                        json!(format!("{}/part/{number}/{part}?X-Signature=signed", shared.cdn));
                }
                let href = format!("{}/api/complete_multipart?session={number}", shared.hub);
                json!({ "href": href, "header": header })
            } else {
                json!({ "href": format!("{}/upload/{oid}?X-Signature=signed", shared.cdn) })
            };
            answer["actions"] = json!({ "upload": upload, "verify": { "href": verify } });
        }
        objects.push(answer);
    }
    let value = json!({ "transfer": transfer, "objects": objects });
    Answer::bytes(200, kind, value.to_string())
}

/// Takes a body to a file; `None` when the line broke.
fn take(shared: &Shared, request: &mut Request, name: &str) -> Option<Content> {
    let path = shared.folder.join(name);
    let mut file = File::create(&path).unwrap();
    let (mut left, mut block) = (request.left, vec![0; 1 << 16]);
    while left > 0 {
        let most = block.len().min(left as usize);
        match request.reader.read(&mut block[..most]) {
            Ok(0) | Err(_) => break,
            Ok(read) => {
                file.write_all(&block[..read]).unwrap();
                left -= read as u64;
            }
        }
    }
    let length = request.left;
    request.left = 0;
    (left == 0).then_some(Content::Disk(path, length))
}

fn is_signed(request: &Request) -> bool {
    request.query.get("X-Signature").map(String::as_str) == Some("signed")
        && request.header("authorization").is_empty()
}

/// A whole large file.
pub fn upload(shared: &Shared, request: &mut Request, sha: &str) -> Answer {
    if !is_signed(request) {
        return Answer::refuse(403, "", "AccessDenied");
    }
    let name = format!("upload-{}", shared.state().log.len());
    let Some(content) = take(shared, request, &name) else {
        return Answer::refuse(400, "", "IncompleteBody");
    };
    if content.sha256() != sha {
        return Answer::refuse(400, "", "BadDigest");
    }
    shared.state().large.insert(sha.to_owned(), content);
    Answer::bytes(200, "text/plain", "").header("ETag", &format!("\"{sha}\""))
}

/// One part of a large file.
pub fn part(shared: &Shared, request: &mut Request, session: &str, number: &str) -> Answer {
    let (Ok(session), Ok(number)) = (session.parse::<usize>(), number.parse::<u64>()) else {
        return Answer::refuse(404, "", "NoSuchUpload");
    };
    if !is_signed(request) || session >= shared.state().sessions.len() {
        return Answer::refuse(403, "", "AccessDenied");
    }
    let name = format!("part-{session}-{number}-{}", shared.state().log.len());
    let Some(content) = take(shared, request, &name) else {
        return Answer::refuse(400, "", "IncompleteBody");
    };
    let etag = format!("\"{}\"", &content.sha256()[..32]);
    let path = shared.folder.join(name);
    shared.state().sessions[session].parts.insert(number, (path, etag.clone()));
    Answer::bytes(200, "text/plain", "").header("ETag", &etag)
}

/// Puts the parts together.
pub fn complete(shared: &Shared, request: &mut Request) -> Answer {
    let value = request.json();
    let number = request.query.get("session").and_then(|number| number.parse::<usize>().ok());
    let parts = {
        let state = shared.state();
        let Some(session) = number.and_then(|number| state.sessions.get(number)) else {
            return Answer::refuse(404, "", "NoSuchUpload");
        };
        let expected: Vec<Value> = session
            .parts
            .iter()
            .map(|(number, (_, etag))| json!({ "partNumber": number, "etag": etag }))
            .collect();
        let named = value["parts"].as_array().map(|parts| {
            let part =
                |part: &Value| json!({ "partNumber": part["partNumber"], "etag": part["etag"] });
            parts.iter().map(part).collect::<Vec<Value>>()
        });
        if value["oid"] != session.oid.as_str() || named.as_ref() != Some(&expected) {
            return Answer::refuse(400, "", "InvalidPart");
        }
        session.parts.values().map(|(path, _)| path.clone()).collect::<Vec<_>>()
    };
    let oid = value["oid"].as_str().unwrap_or_default().to_owned();
    let path = shared.folder.join(format!("whole-{}", number.unwrap_or(0)));
    let mut whole = File::create(&path).unwrap();
    for part in parts {
        std::io::copy(&mut File::open(part).unwrap(), &mut whole).unwrap();
    }
    let content = Content::Disk(path, whole.metadata().unwrap().len());
    if content.sha256() != oid {
        return Answer::refuse(400, "", "BadDigest");
    }
    shared.state().large.insert(oid, content);
    Answer::json(&json!({ "success": true }))
}
