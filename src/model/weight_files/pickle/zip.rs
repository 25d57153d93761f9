//! The form since torch 1.6: a zip file whose entries are stored as they are.
//!
//! A small reader of our own, although the crate `zip` is at hand: that one takes the last of two entries with one
//! name, inflates, and does not compare the directory with what stands before the entries, and a file that two
//! readers understand in two ways is how scanners of such files are passed by. Here each entry has one name, one
//! place and one size, and lies within the file and outside all others. Checksums are not compared: torch can be
//! told not to write them.

use std::collections::HashMap;
use std::fs::File;

use super::machine::run;
use super::tensors::state_dict;
use super::{Layout, MOST_WORDS, Wrong, damaged, read_at};
use crate::model::weight_files::shown;

/// Entries of one file: one for each storage, and a few words.
const MOST_ENTRIES: u64 = 1 << 17;
/// Bytes of the record at the end, of that of large files, and of what points to it.
const END: u64 = 22;
const LARGE_END: u64 = 56;
const POINTER: u64 = 20;
/// Bytes before the name of an entry, where it stands and in the directory.
const LOCAL: u64 = 30;
const CENTRAL: usize = 46;
/// In the place of a number that stands elsewhere.
const ELSEWHERE: u64 = u32::MAX as u64;

/// Where the bytes of an entry are.
#[derive(Clone, Copy, Debug)]
struct Entry {
    start: u64,
    bytes: u64,
}

/// The directory of a file.
struct Archive {
    entries: HashMap<String, Entry>,
    known: Vec<(u64, Vec<u8>)>,
}

/// Reads the directory and the pickle, and finds the numbers.
pub(super) fn layout(file: &mut File, length: u64) -> Result<Layout, Wrong> {
    let Archive { entries, mut known } = archive(file, length)?;
    let mut roots = entries.keys().filter_map(|name| name.strip_suffix("/data.pkl"));
    let (Some(root), None) = (roots.next(), roots.next()) else {
        return Err(Wrong::Unread("it is a zip file without one `data.pkl`".to_owned()));
    };
    let mut words = |name: &str| -> Result<Option<Vec<u8>>, Wrong> {
        let Some(entry) = entries.get(&format!("{root}/{name}")) else { return Ok(None) };
        let bytes = read_at(file, entry.start, entry.bytes)?;
        known.push((entry.start, bytes.clone()));
        Ok(Some(bytes))
    };
    // torch before 2.1 does not say, and means this one.
    if words("byteorder")?.is_some_and(|order| order != b"little") {
        return Err(Wrong::Unread("its numbers are written backwards (`byteorder`)".to_owned()));
    }
    let pickle = words("data.pkl")?.unwrap_or_default();
    let values = run(&pickle)?;
    if values.length != pickle.len() {
        return damaged("something follows the end of its pickle");
    }
    let state = state_dict(&values)?;
    let mut starts = Vec::new();
    for storage in &state.storages {
        let key = shown(&storage.key);
        let Some(entry) = entries.get(&format!("{root}/data/{}", storage.key)) else {
            return damaged(format!("its storage `{key}` is missing"));
        };
        if entry.bytes != storage.bytes() as u64 {
            return damaged(format!(
                "its storage `{key}` has {} bytes, but its pickle says {}",
                entry.bytes,
                storage.bytes()
            ));
        }
        starts.push(entry.start);
    }
    Ok(Layout { state, starts, known })
}

/// Reads the directory, and holds it against what stands before each entry.
fn archive(file: &mut File, length: u64) -> Result<Archive, Wrong> {
    let (count, start, bytes, end) = directory_at(file, length)?;
    let directory = read_at(file, start, bytes)?;
    let mut known = vec![(start, directory.clone()), end];
    let mut rest = directory.as_slice();
    let mut headers = Vec::new();
    while !rest.is_empty() {
        let (header, after) = central(rest)?;
        rest = after;
        headers.push(header);
    }
    if headers.len() as u64 != count {
        return damaged(format!("its directory has {} entries, but says {count}", headers.len()));
    }
    headers.sort_by_key(|header| header.place);
    let mut entries = HashMap::new();
    let (mut free, mut words) = (0, 0);
    for header in headers {
        let name = shown(&header.name);
        if header.place < free {
            return damaged(format!("its entry `{name}` lies in another one"));
        }
        let before = header.check(file)?;
        words += before.len() as u64;
        // torch pads an entry by no more than its alignment.
        if words > 4 * MOST_WORDS {
            return damaged("what stands before its entries is larger than torch makes it");
        }
        let own = header.place + before.len() as u64;
        known.push((header.place, before));
        free = own.checked_add(header.bytes).filter(|&end| end <= start).unwrap_or(u64::MAX);
        if free == u64::MAX {
            return damaged(format!("its entry `{name}` reaches beyond the file"));
        }
        let entry = Entry { start: own, bytes: header.bytes };
        if entries.insert(header.name, entry).is_some() {
            return damaged(format!("it has two entries `{name}`"));
        }
    }
    Ok(Archive { entries, known })
}

/// What was read at a place.
type Known = (u64, Vec<u8>);

/// How many entries there are, place and bytes of the directory, and what says so.
fn directory_at(file: &mut File, length: u64) -> Result<(u64, u64, u64, Known), Wrong> {
    let Some(at) = length.checked_sub(END) else {
        return damaged("it is too short for a zip file");
    };
    let end = read_at(file, at, END)?;
    if !end.starts_with(b"PK\x05\x06") || number(&end, 20, 2) != 0 {
        return damaged("it does not end as a zip file of torch does");
    }
    let small = [number(&end, 10, 2), number(&end, 12, 4), number(&end, 16, 4)];
    let disks = [number(&end, 4, 2), number(&end, 6, 2)];
    let (count, bytes, start, last, last_at) = match large_end(file, at)? {
        // What does not fit into the small record stands in the large one; the rest is the same in both.
        Some((large, (large_at, words))) => {
            let most = [u64::from(u16::MAX), ELSEWHERE, ELSEWHERE];
            let agree = |place: usize| small[place] == large[place] || small[place] == most[place];
            if !(0..3).all(agree) {
                return damaged("its two directories do not agree");
            }
            (large[0], large[1], large[2], [words, end].concat(), large_at)
        }
        None => (small[0], small[1], small[2], end, at),
    };
    if disks.iter().any(|&disk| disk != 0 && disk != u64::from(u16::MAX)) {
        return damaged("it is one of several disks");
    }
    if start.checked_add(bytes) != Some(last_at) || count > MOST_ENTRIES {
        return damaged("its directory is not where it should be");
    }
    Ok((count, start, bytes, (last_at, last)))
}

/// Count, bytes and place of the directory by the record for large files, which torch always writes; its place,
/// and its bytes with those of what points to it.
fn large_end(file: &mut File, end: u64) -> Result<Option<([u64; 3], Known)>, Wrong> {
    let Some(at) = end.checked_sub(POINTER + LARGE_END) else { return Ok(None) };
    let words = read_at(file, at, POINTER + LARGE_END)?;
    let (record, pointer) = words.split_at(LARGE_END as usize);
    if !pointer.starts_with(b"PK\x06\x07") {
        return Ok(None);
    }
    let there = number(pointer, 8, 8) == at && record.starts_with(b"PK\x06\x06");
    let sizes = [number(record, 4, 8), number(record, 16, 4), number(record, 20, 4)];
    if !there || sizes != [LARGE_END - 12, 0, 0] || number(record, 24, 8) != number(record, 32, 8) {
        return damaged("the record at its end is not one of torch's");
    }
    let numbers = [number(record, 32, 8), number(record, 40, 8), number(record, 48, 8)];
    Ok(Some((numbers, (at, words))))
}

/// A little-endian number of at most eight bytes, which are there.
fn number(bytes: &[u8], at: usize, count: usize) -> u64 {
    bytes[at..at + count].iter().rev().fold(0, |all, &byte| all << 8 | u64::from(byte))
}

/// What the directory says of an entry.
struct Header {
    name: String,
    flags: u64,
    bytes: u64,
    place: u64,
}

/// The next one of a directory.
fn central(directory: &[u8]) -> Result<(Header, &[u8]), Wrong> {
    if directory.len() < CENTRAL || !directory.starts_with(b"PK\x01\x02") {
        return damaged("its directory is broken off");
    }
    let lengths = [28, 30, 32].map(|at| number(directory, at, 2) as usize);
    let rest = &directory[CENTRAL..];
    if rest.len() < lengths.iter().sum() {
        return damaged("its directory is broken off");
    }
    let (name, rest) = rest.split_at(lengths[0]);
    let (extra, rest) = rest.split_at(lengths[1]);
    let rest = &rest[lengths[2]..];
    let Ok(name) = std::str::from_utf8(name) else {
        return damaged("it has an entry whose name is not UTF-8");
    };
    let [flags, method] = [8, 10].map(|at| number(directory, at, 2));
    let [packed, bytes, place] = [20, 24, 42].map(|at| number(directory, at, 4));
    let [bytes, packed, place] = elsewhere(extra, [bytes, packed, place])?;
    // Encrypted entries have the first flag.
    if method != 0 || flags & 1 != 0 || packed != bytes {
        return Err(Wrong::Unread(format!(
            "its entry `{}` is compressed or encrypted, which torch does not do",
            shown(name)
        )));
    }
    Ok((Header { name: name.to_owned(), flags, bytes, place }, rest))
}

/// Numbers that did not fit stand in the field for large files, in this order.
fn elsewhere(mut extra: &[u8], mut numbers: [u64; 3]) -> Result<[u64; 3], Wrong> {
    if !numbers.contains(&ELSEWHERE) {
        return Ok(numbers);
    }
    while extra.len() >= 4 {
        let (kind, length) = (number(extra, 0, 2), number(extra, 2, 2) as usize);
        let Some(field) = extra[4..].get(..length) else { break };
        extra = &extra[4 + length..];
        if kind != 1 {
            continue;
        }
        let (eights, _) = field.as_chunks::<8>();
        let mut eights = eights.iter().map(|&eight| u64::from_le_bytes(eight));
        for number in numbers.iter_mut().filter(|number| **number == ELSEWHERE) {
            match eights.next() {
                Some(large) => *number = large,
                None => return damaged("an entry has no size"),
            }
        }
        return Ok(numbers);
    }
    damaged("an entry has no size")
}

impl Header {
    /// Compares what stands before the entry; returns it.
    fn check(&self, file: &mut File) -> Result<Vec<u8>, Wrong> {
        let wrong = || {
            Wrong::Damaged(format!(
                "its directory and the entry `{}` do not agree",
                shown(&self.name)
            ))
        };
        let fixed = read_at(file, self.place, LOCAL)?;
        let [name, extra] = [26, 28].map(|at| number(&fixed, at, 2));
        let own = read_at(file, self.place, LOCAL + name + extra)?;
        let same_name = own[LOCAL as usize..].starts_with(self.name.as_bytes())
            && name == self.name.len() as u64;
        // Sizes may follow the entry instead.
        let later = self.flags & 8 != 0;
        let size = |at| {
            let found = number(&fixed, at, 4);
            found == self.bytes || (later && found == 0) || found == ELSEWHERE
        };
        let same = number(&fixed, 6, 2) == self.flags && number(&fixed, 8, 2) == 0;
        match fixed.starts_with(b"PK\x03\x04") && same_name && same && size(18) && size(22) {
            true => Ok(own),
            false => Err(wrong()),
        }
    }
}
