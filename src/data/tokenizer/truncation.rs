//! Which tokens of a text or a pair stay when there are too many.

use serde::{Deserialize, Serialize};

/// Which tokens of a long text are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Truncation {
    /// The first tokens.
    Head,
    /// The first quarter and the last three quarters of the room left by the special tokens
    /// (Sun et al. 2019, "How to fine-tune BERT for text classification?": 128 and
    /// 382 of 510).
    #[default]
    HeadTail,
    /// The last tokens.
    Tail,
}

impl Truncation {
    /// The name in configuration files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Head => "head",
            Self::HeadTail => "head_tail",
            Self::Tail => "tail",
        }
    }

    /// Appends what is kept of `ids` when there is room for `room` of them.
    pub(super) fn keep(self, ids: &[u32], room: usize, kept: &mut Vec<u32>) {
        let head = match self {
            Self::Head => room,
            Self::HeadTail => (room + 2) / 4, // room / 4, rounded
            Self::Tail => 0,
        };
        if ids.len() <= room {
            kept.extend_from_slice(ids);
        } else {
            kept.extend_from_slice(&ids[..head]);
            kept.extend_from_slice(&ids[ids.len() - (room - head)..]);
        }
    }
}

/// How much of `room` each of two segments gets: the `longest_first` rule of `tokenizers`, which
/// gives an odd token to the longer segment, and to the second of two equal ones.
pub(super) fn share_room([first, second]: [usize; 2], room: usize) -> [usize; 2] {
    if first + second <= room {
        return [first, second];
    }
    let half = room / 2;
    if first > second {
        let short = second.min(half);
        [room - short, short]
    } else {
        let short = first.min(half);
        [short, room - short]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_512_tokens_the_head_has_128_and_the_tail_382() {
        let ids: Vec<u32> = (0..2000).collect();
        let mut kept = Vec::new();
        Truncation::HeadTail.keep(&ids, 510, &mut kept);
        let expected: Vec<u32> = (0..128).chain(2000 - 382..2000).collect();
        assert_eq!(kept, expected);
        for room in 1..9 {
            kept.clear();
            Truncation::HeadTail.keep(&ids, room, &mut kept);
            assert_eq!(kept.len(), room);
        }
        kept.clear();
        Truncation::Tail.keep(&ids, 3, &mut kept);
        assert_eq!(kept, [1997, 1998, 1999]);
    }

    #[test]
    fn the_name_is_the_one_in_configuration_files() {
        for truncation in [Truncation::Head, Truncation::HeadTail, Truncation::Tail] {
            let json = serde_json::to_value(truncation).unwrap();
            assert_eq!(json, truncation.name());
        }
    }
}
