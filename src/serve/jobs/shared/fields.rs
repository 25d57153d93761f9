//! A job as the fields of a hash.

use crate::serve::jobs::record::{Record, Status};

/// What is known of a job, as far as it is a [`Record`], and the texts that are done.
pub const FIELDS: [&str; 11] = [
    "status", "created", "started", "finished", "expires", "total", "attempts", "owner", "key",
    "error", "done",
];

/// From the values of [`FIELDS`].
pub fn read_record(fields: Vec<Option<String>>) -> Option<(Record, usize)> {
    let [status, created, started, finished, expires, total, attempts, owner, key, error, done] =
        <[_; 11]>::try_from(fields).ok()?;
    let number = |text: Option<String>| text.and_then(|text| text.parse::<u64>().ok());
    let named = |text: Option<String>| text.filter(|text| !text.is_empty());
    let record = Record {
        status: Status::named(&status?)?,
        created: number(created)?,
        started: number(started),
        finished: number(finished),
        expires: number(expires)?,
        total: number(total)? as usize,
        attempts: number(attempts)? as u32,
        bytes: 0,
        promised: 0,
        owner: named(owner),
        key: named(key),
        error: error.and_then(|text| serde_json::from_str(&text).ok()),
    };
    Some((record, number(done).unwrap_or_default() as usize))
}
