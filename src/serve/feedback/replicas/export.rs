//! The labels of all replicas, for a new calibration.

use std::collections::HashMap;
use std::time::Duration;

use redis::{Connection, RedisError};

use super::STREAM;
use crate::serve::feedback::record::Label;
use crate::serve::shared::{Address, Prefix};

/// Entries that are read at once.
const MANY: usize = 200;
/// How long Redis may take for an answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why the labels in Redis could not be read.
#[derive(Debug, thiserror::Error)]
pub enum SharedError {
    #[error("cannot read labels from Redis at {place}; check that it runs, and --redis-url")]
    Redis {
        place: String,
        #[source]
        source: RedisError,
    },
    #[error("Redis has labels of several servers; choose one with --redis-prefix: {0}")]
    Several(String),
}

/// All labels that are in Redis, in the order in which they came there.
///
/// # Errors
/// Redis is gone, or has labels under several prefixes and none is chosen.
pub fn labels(address: &Address) -> Result<Vec<Label>, SharedError> {
    let failed = |source| SharedError::Redis { place: address.place.clone(), source };
    let mut connection = address.connect(PATIENCE).map_err(failed)?;
    let prefix = match &address.prefix {
        Prefix::Given(prefix) => prefix.clone(),
        Prefix::OfModel => {
            let mut found = prefixes(&mut connection).map_err(failed)?;
            match found.len() {
                0 => return Ok(Vec::new()),
                1 => found.remove(0),
                _ => return Err(SharedError::Several(found.join(", "))),
            }
        }
    };
    read(&mut connection, &format!("{prefix}:{STREAM}")).map_err(failed)
}

/// Prefixes that have labels, of those that servers choose by themselves.
fn prefixes(connection: &mut Connection) -> Result<Vec<String>, RedisError> {
    let mut found = Vec::new();
    let mut cursor = "0".to_owned();
    loop {
        let mut ask = redis::cmd("SCAN");
        ask.arg(&cursor).arg("MATCH").arg(format!("bayes:*:{STREAM}")).arg("COUNT").arg(1000);
        let (next, keys): (String, Vec<String>) = ask.query(connection)?;
        let end = format!(":{STREAM}");
        found.extend(keys.iter().filter_map(|key| Some(key.strip_suffix(&end)?.to_owned())));
        if next == "0" {
            found.sort();
            found.dedup();
            return Ok(found);
        }
        cursor = next;
    }
}

fn read(connection: &mut Connection, stream: &str) -> Result<Vec<Label>, RedisError> {
    let (mut found, mut after) = (Vec::new(), "-".to_owned());
    loop {
        let mut ask = redis::cmd("XRANGE");
        ask.arg(stream).arg(&after).arg("+").arg("COUNT").arg(MANY);
        let entries: Vec<(String, HashMap<String, Vec<u8>>)> = ask.query(connection)?;
        let Some((last, _)) = entries.last() else { return Ok(found) };
        after = format!("({last}");
        let labels = entries.iter().filter_map(|(_, fields)| fields.get("label"));
        found.extend(labels.filter_map(|json| serde_json::from_slice::<Label>(json).ok()));
    }
}
