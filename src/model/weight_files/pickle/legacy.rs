//! The form before torch 1.6: five pickles in a row (a magic number, a version, what kind of machine wrote it, the
//! tensors, the keys of the storages), then for each key how many numbers follow, and the numbers.

use std::collections::HashMap;
use std::fs::File;

use super::machine::run;
use super::tensors::{Numbers, StateDict, state_dict};
use super::values::{Value, Values};
use super::{Layout, MOST_WORDS, Wrong, damaged, read_at};
use crate::model::weight_files::shown;

/// The first pickle.
pub(super) const MAGIC: [u8; 15] =
    [0x80, 2, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, b'.'];
/// The second one, and the only version that there was.
const VERSION: i64 = 1001;

/// Reads the pickles, and finds the numbers behind them.
pub(super) fn layout(file: &mut File, length: u64) -> Result<Layout, Wrong> {
    let mut words = read_at(file, 0, length.min(MOST_WORDS))?;
    let (state, order, at) = pickles(&words)?;
    let mut starts = vec![0; state.storages.len()];
    words.truncate(at);
    let mut place = at as u64;
    let mut known = vec![(0, words)];
    for number in order {
        let storage = &state.storages[number];
        let count = match read_at(file, place, 8)?.try_into() {
            Ok(eight) => u64::from_le_bytes(eight),
            Err(_) => return damaged("it ends too early"),
        };
        let bytes = storage.bytes() as u64;
        if count != storage.count() as u64 || bytes > length - place - 8 {
            return damaged(format!(
                "its storage `{}` does not have as many numbers as it says",
                shown(&storage.key)
            ));
        }
        known.push((place, count.to_le_bytes().to_vec()));
        starts[number] = place + 8;
        place += 8 + bytes;
    }
    if place != length {
        return damaged(format!("{} bytes follow its last number", length - place));
    }
    Ok(Layout { state, starts, known })
}

/// The tensors, the storages in their order, and where the pickles end.
fn pickles(words: &[u8]) -> Result<(StateDict, Vec<usize>, usize), Wrong> {
    let mut at = MAGIC.len();
    let version = run(&words[at..])?;
    if !matches!(version.get(version.root), Value::Int(VERSION)) {
        return damaged("it has a version that there never was");
    }
    at += version.length;
    let system = run(&words[at..])?;
    if !is_little_endian(&system) {
        return Err(Wrong::Unread("its numbers are written backwards (big-endian)".to_owned()));
    }
    at += system.length;
    let tensors = run(&words[at..])?;
    let state = state_dict(&tensors)?;
    at += tensors.length;
    let keys = run(&words[at..])?;
    let order = order(&keys, &state.storages)?;
    Ok((state, order, at + keys.length))
}

fn is_little_endian(system: &Values<'_>) -> bool {
    let Value::Dict(entries) = system.get(system.root) else { return false };
    entries.iter().any(|&(key, value)| {
        matches!(system.get(key), Value::Text("little_endian"))
            && matches!(system.get(value), Value::Bool(true))
    })
}

/// The storages in the order of their numbers: each of them once.
fn order(keys: &Values<'_>, storages: &[Numbers]) -> Result<Vec<usize>, Wrong> {
    let Value::List(ids) = keys.get(keys.root) else {
        return damaged("it does not list its storages");
    };
    let mut places: HashMap<&str, usize> = storages.iter().map(|one| &*one.key).zip(0..).collect();
    let mut order = Vec::new();
    for &id in ids {
        let Value::Text(key) = *keys.get(id) else {
            return damaged("it lists a storage without a key");
        };
        match places.remove(key) {
            Some(number) => order.push(number),
            None => {
                return damaged(format!("it lists the storage `{}` twice, or in vain", shown(key)));
            }
        }
    }
    match order.len() == storages.len() {
        true => Ok(order),
        false => damaged("it lists fewer storages than it uses"),
    }
}
