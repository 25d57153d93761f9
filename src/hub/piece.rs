//! A range of a file, and which version of the file it is from.

use ureq::http::HeaderMap;

use super::answer::header;

/// A range of what an address names.
#[derive(Clone, Debug)]
pub struct Piece {
    pub bytes: Vec<u8>,
    /// Bytes of the whole.
    pub whole: u64,
    pub version: Version,
}

/// What a server says of the version of a file: validators of HTTP (RFC 9110, section 8.8).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Version {
    tag: Option<String>,
    modified: Option<String>,
}

impl Version {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        // Of the same bytes one proxy may call it weak and another not.
        let tag = header(headers, "etag").map(|tag| tag.trim_start_matches("W/").to_owned());
        Self { tag, modified: header(headers, "last-modified").map(str::to_owned) }
    }

    /// Whether the two cannot be the same: by the tag, else by the time, where both have it.
    pub fn differs(&self, other: &Self) -> bool {
        let both = |one: &Option<String>, other: &Option<String>| {
            one.as_ref().zip(other.as_ref()).map(|(one, other)| one != other)
        };
        let by_tag = both(&self.tag, &other.tag);
        by_tag.or_else(|| both(&self.modified, &other.modified)).unwrap_or(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_differ_by_their_tag_or_else_by_their_time() {
        let version = |tag: &str, modified: &str| {
            let mut headers = HeaderMap::new();
            for (name, value) in [("etag", tag), ("last-modified", modified)] {
                if !value.is_empty() {
                    headers.insert(name, value.parse().unwrap());
                }
            }
            Version::of(&headers)
        };
        let monday = "Mon, 02 Nov 2026 00:00:00 GMT";
        let tuesday = "Tue, 03 Nov 2026 00:00:00 GMT";
        for (one, other, expected) in [
            (["", ""], ["", ""], false),
            (["\"a\"", ""], ["\"a\"", ""], false),
            (["\"a\"", ""], ["\"b\"", ""], true),
            (["W/\"a\"", ""], ["\"a\"", ""], false),
            // The tag is sure; copies of a file on several servers have times of their own.
            (["\"a\"", monday], ["\"a\"", tuesday], false),
            (["\"a\"", monday], ["", tuesday], true),
            (["\"a\"", ""], ["", tuesday], false),
            (["", monday], ["", tuesday], true),
            (["", monday], ["", monday], false),
        ] {
            let [one, other] = [one, other].map(|[tag, modified]| version(tag, modified));
            assert_eq!(one.differs(&other), expected, "{one:?} {other:?}");
            assert_eq!(other.differs(&one), expected);
        }
    }
}
