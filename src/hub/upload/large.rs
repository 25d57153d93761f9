//! Large file storage: which objects are missing, and sending them whole or in parts.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Deserialize;
use serde_json::{Value, json};
use ureq::http::Method;

use super::Observer;
use super::file::Hashed;
use super::parts::{Memory, Parts};
use crate::hub::client::{Call, Client, Payload};
use crate::hub::{HubError, Repository};

/// The media type of the batch interface.
const MEDIA: &str = "application/vnd.git-lfs+json";
/// Objects of one question at most.
const OBJECTS: usize = 256;

#[derive(Debug, Deserialize)]
struct Batch {
    objects: Vec<Object>,
}

#[derive(Debug, Deserialize)]
struct Object {
    oid: String,
    actions: Option<Actions>,
    error: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct Actions {
    upload: Option<Action>,
    verify: Option<Action>,
}

#[derive(Clone, Debug, Deserialize)]
struct Action {
    href: String,
    #[serde(default)]
    header: BTreeMap<String, Value>,
}

/// Bytes that have been sent, of all.
#[derive(Clone)]
pub struct Meter {
    pub sent: Arc<AtomicU64>,
    pub total: u64,
    pub observer: Observer,
}

impl Meter {
    fn set(&self, bytes: u64) {
        self.sent.store(bytes, Ordering::Relaxed);
        (self.observer)(bytes, self.total);
    }

    fn get(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

/// A reader whose bytes are counted.
struct Counted {
    source: Box<dyn Read>,
    meter: Meter,
}

impl Read for Counted {
    fn read(&mut self, block: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(block)?;
        self.meter.set(self.meter.get() + read as u64);
        Ok(read)
    }
}

/// Sends what the store does not have. `branch` is where the files will be.
pub struct Store<'a> {
    pub client: &'a Client,
    pub repository: &'a Repository,
    pub branch: &'a str,
    pub memory: &'a Memory,
    pub meter: Meter,
}

impl Store<'_> {
    /// Sends all files; gives the bytes of those that were there.
    pub fn send(&self, files: &[&Hashed<'_>]) -> Result<(), HubError> {
        for group in files.chunks(OBJECTS) {
            let by_oid: BTreeMap<&str, &&Hashed<'_>> =
                group.iter().map(|file| (file.sha256.as_str(), file)).collect();
            for object in self.ask(&by_oid)?.objects {
                let Some(file) = by_oid.get(object.oid.as_str()) else { continue };
                if let Some(error) = object.error {
                    let message = error["message"].as_str().unwrap_or_default().to_owned();
                    let status = error["code"].as_u64().and_then(|code| u16::try_from(code).ok());
                    let (what, status) = (self.name(file), status.unwrap_or(422));
                    return Err(HubError::Refused { what, status, message });
                }
                self.object(file, object.actions)?;
            }
        }
        Ok(())
    }

    fn name(&self, file: &Hashed<'_>) -> String {
        format!("`{}` of {}", file.file.path, self.repository)
    }

    fn ask(&self, files: &BTreeMap<&str, &&Hashed<'_>>) -> Result<Batch, HubError> {
        let objects: Vec<Value> = files
            .values()
            .map(|file| json!({ "oid": file.sha256, "size": file.file.size }))
            .collect();
        let question = json!({
            "operation": "upload",
            "transfers": ["basic", "multipart"],
            "objects": objects,
            "hash_algo": "sha256",
            "ref": { "name": format!("refs/heads/{}", self.branch) },
        });
        let bytes = question.to_string().into_bytes();
        let address = format!("{}.git/info/lfs/objects/batch", self.repository.page());
        let call = Call::new(Method::POST, self.repository.to_string(), address)
            .header("Accept", MEDIA)
            .payload(Payload::Bytes(MEDIA, &bytes));
        self.client.json(&call)
    }

    fn object(&self, file: &Hashed<'_>, actions: Option<Actions>) -> Result<(), HubError> {
        let before = self.meter.get();
        let place = self.place();
        let Some(Actions { upload: Some(upload), verify }) = actions else {
            // It is there.
            self.meter.set(before + file.file.size);
            self.memory.forget(&place, &file.sha256);
            return Ok(());
        };
        match fresh_parts(file, &upload) {
            Some(Ok(fresh)) => self.in_parts(file, fresh, before)?,
            Some(Err(reason)) => {
                return Err(HubError::Answer { what: self.name(file), reason });
            }
            None => {
                let mut call = Call::new(Method::PUT, self.name(file), upload.href);
                for (name, value) in &upload.header {
                    call = call.header(name, value.as_str().unwrap_or_default());
                }
                self.put(call, file, (0, file.file.size), before)?;
            }
        }
        if let Some(verify) = verify {
            let value = json!({ "oid": file.sha256, "size": file.file.size });
            let bytes = value.to_string().into_bytes();
            let mut call = Call::new(Method::POST, self.name(file), verify.href)
                .header("Accept", MEDIA)
                .payload(Payload::Bytes(MEDIA, &bytes));
            for (name, value) in &verify.header {
                call = call.header(name, value.as_str().unwrap_or_default());
            }
            self.client.bytes(&call)?;
        }
        self.memory.forget(&place, &file.sha256);
        Ok(())
    }

    /// What an upload is remembered by.
    fn place(&self) -> String {
        self.client.address(&self.repository.page())
    }

    /// Sends a span of a file, after `before` bytes of all; gives the tag of what arrived.
    fn put(
        &self,
        call: Call<'_>,
        file: &Hashed<'_>,
        (from, length): (u64, u64),
        before: u64,
    ) -> Result<String, HubError> {
        let open = || {
            // Every try begins at the same place.
            self.meter.set(before);
            let source = file.file.open(from)?;
            Ok(Box::new(Counted { source, meter: self.meter.clone() }) as Box<dyn Read>)
        };
        let headers = self.client.headers(&call.payload(Payload::Stream(length, &open)))?;
        self.meter.set(before + length);
        let tag = headers.get("etag").and_then(|tag| tag.to_str().ok()).unwrap_or_default();
        Ok(tag.to_owned())
    }

    /// In parts: those of an upload that was begun before, if the store still takes them.
    fn in_parts(&self, file: &Hashed<'_>, fresh: Parts, before: u64) -> Result<(), HubError> {
        let place = self.place();
        if let Some(begun) = self.memory.find(&place, &file.sha256, file.file.size) {
            match self.parts(file, begun, before) {
                // Its addresses are good no longer: from the beginning.
                Err(
                    HubError::Refused { status: 400..=499, .. }
                    | HubError::Forbidden { .. }
                    | HubError::Unauthorised { .. }
                    | HubError::Missing { .. },
                ) => self.memory.forget(&place, &file.sha256),
                result => return result,
            }
        }
        self.parts(file, fresh, before)
    }

    fn parts(&self, file: &Hashed<'_>, mut parts: Parts, before: u64) -> Result<(), HubError> {
        let place = self.place();
        self.memory.keep(&place, &parts)?;
        self.meter.set(before + parts.arrived());
        for (number, address) in parts.addresses.clone() {
            if parts.done.contains_key(&number) {
                continue;
            }
            let call = Call::new(Method::PUT, self.name(file), address);
            let tag = self.put(call, file, parts.span(number), before + parts.arrived())?;
            if tag.is_empty() {
                let reason = "a part arrived without a tag".to_owned();
                return Err(HubError::Answer { what: self.name(file), reason });
            }
            parts.done.insert(number, tag);
            self.memory.keep(&place, &parts)?;
        }
        let list: Vec<Value> = parts
            .done
            .iter()
            .map(|(number, tag)| json!({ "partNumber": number, "etag": tag }))
            .collect();
        let bytes = json!({ "oid": file.sha256, "parts": list }).to_string().into_bytes();
        let call = Call::new(Method::POST, self.name(file), parts.completion)
            .header("Accept", MEDIA)
            .payload(Payload::Bytes(MEDIA, &bytes));
        self.client.bytes(&call).map(drop)
    }
}

/// The parts that an answer asks for; `None` where it asks for the file as a whole.
fn fresh_parts(file: &Hashed<'_>, upload: &Action) -> Option<Result<Parts, String>> {
    let chunk = upload.header.get("chunk_size")?;
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let numbered = upload
        .header
        .iter()
        .filter_map(|(name, address)| Some((name.parse::<u64>().ok()?, text(address))));
    let parts = Parts {
        oid: file.sha256.clone(),
        size: file.file.size,
        chunk: text(chunk).parse().unwrap_or(0),
        addresses: numbered.collect(),
        completion: upload.href.clone(),
        done: BTreeMap::new(),
    };
    Some(if parts.is_whole() {
        Ok(parts)
    } else {
        Err("parts that do not make the file".to_owned())
    })
}
