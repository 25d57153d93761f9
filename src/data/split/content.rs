//! Identity of texts: what makes two rows the same, and a split the one that was reported on.

use std::collections::HashSet;

use sha2::{Digest, Sha256};

use super::alike::folded;
use crate::data::example::Example;

/// What a division needs to know of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowKey {
    pub label: u32,
    /// [`text_key`] of the row.
    pub text: u64,
}

impl From<&Example> for RowKey {
    fn from(example: &Example) -> Self {
        Self { label: example.label, text: example.key() }
    }
}

/// The rows of `b` whose text also occurs in `a`, ascending.
pub fn overlap(a: &[u64], b: &[u64]) -> Vec<usize> {
    let texts: HashSet<u64> = a.iter().copied().collect();
    (0..b.len()).filter(|&row| texts.contains(&b[row])).collect()
}

/// What makes two texts the same one: 64 bits of the SHA-256 of text and pair without what does not count,
/// such as case, accents, and how much white space there is. It is kept nowhere.
pub fn text_key(text: &str, pair: Option<&str>) -> u64 {
    let mut hasher = Sha256::new();
    update_texts(&mut hasher, &folded(text), pair.map(folded).as_deref());
    let digest: [u8; 32] = hasher.finalize().into();
    u64::from_le_bytes(digest[..8].try_into().expect("eight bytes"))
}

/// SHA-256, in hexadecimal, of texts, pairs and labels in order: what a split consists of.
pub fn content_hash(examples: &[Example]) -> String {
    let mut hasher = Sha256::new();
    for example in examples {
        update_texts(&mut hasher, &example.text, example.pair.as_deref());
        hasher.update(example.label.to_le_bytes());
    }
    hexadecimal(&hasher.finalize())
}

/// Length first, so that no two lists of texts give the same bytes.
pub(in crate::data) fn update_texts(hasher: &mut Sha256, text: &str, pair: Option<&str>) {
    hasher.update((text.len() as u64).to_le_bytes());
    hasher.update(text);
    match pair {
        None => hasher.update([0]),
        Some(pair) => {
            hasher.update([1]);
            hasher.update((pair.len() as u64).to_le_bytes());
            hasher.update(pair);
        }
    }
}

/// Two lower-case digits for each byte.
pub(in crate::data) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_differ_only_in_how_they_are_written_are_the_same_text() {
        assert_eq!(text_key("Dull.<br />Long. ", None), text_key("Dull. Long.", None));
        assert_eq!(
            text_key("dull", Some("Très  long")),
            text_key("Dull", Some("tre\u{300}s long"))
        );
        assert_ne!(text_key("a", None), text_key("a", Some("")));
        assert_eq!(overlap(&[1, 2, 3], &[3, 4, 3, 1]), [0, 2, 3]);
    }

    #[test]
    fn the_content_hash_sees_texts_pairs_labels_and_order() {
        let example = |text: &str, pair: Option<&str>, label| Example {
            text: text.to_string(),
            pair: pair.map(str::to_string),
            label,
        };
        let a = vec![example("ab", None, 0), example("c", None, 1)];
        let variants = [
            vec![example("a", None, 0), example("bc", None, 1)],
            vec![example("ab", Some(""), 0), example("c", None, 1)],
            vec![example("ab", None, 1), example("c", None, 1)],
            vec![example("c", None, 1), example("ab", None, 0)],
        ];
        assert_eq!(content_hash(&a), content_hash(&a.clone()));
        assert!(variants.iter().all(|other| content_hash(&a) != content_hash(other)));
        // Of no bytes at all: the published SHA-256 of the empty message.
        assert!(content_hash(&[]).starts_with("e3b0c44298fc1c149afbf4c8996fb924"));
    }
}
