//! Classes whose rows all have one text: a header that files have in common, or a remark.

use std::collections::HashMap;

use super::classes::Fate;
use super::clean;
use super::read::Content;
use super::split::text_key;
use super::take::Raw;
use super::{Remark, remark::some, table};

/// What the rows of a class have in common.
struct Seen<'a> {
    first: &'a Raw,
    key: u64,
    rows: usize,
    several: bool,
}

/// Says which classes have one text in all their training rows, where there are several rows; of one row it is said
/// elsewhere.
pub(super) fn classes_of_one_text(
    content: &Content,
    fates: &HashMap<String, Fate>,
    names: &[String],
) -> Vec<Remark> {
    let mut classes: HashMap<u32, Seen<'_>> = HashMap::new();
    for row in content.raw.get("train").into_iter().flatten() {
        let Fate::Class(class) = fates[&row.label] else { continue };
        let key = || text_key(&row.text, row.pair.as_deref());
        let seen = classes.entry(class).or_insert_with(|| Seen {
            first: row,
            key: key(),
            rows: 0,
            several: false,
        });
        seen.rows += 1;
        seen.several = seen.several || key() != seen.key;
    }
    let mut found: Vec<(u32, Seen<'_>)> =
        classes.into_iter().filter(|(_, seen)| !seen.several && seen.rows > 1).collect();
    found.sort_unstable_by_key(|(class, _)| *class);
    let say = |(class, seen): (u32, Seen<'_>)| {
        let (file, line) = seen.first.place;
        let text: String = clean(&seen.first.text).chars().take(60).collect();
        Remark::Warning(format!(
            "all {} training rows of {} have the same text, `{text}` (the first in `{}` {} {line}), so nothing can be \
             measured for it; if that is the header of another table, remove those lines",
            seen.rows,
            some([names[class as usize].as_str()]),
            content.files[file as usize],
            table::unit(&content.files[file as usize])
        ))
    };
    found.into_iter().map(say).collect()
}
