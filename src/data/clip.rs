//! A text that is longer than any encoder reads, before it is tokenised: its middle is left out.
//!
//! A tokenizer takes a hundred times the memory of its text and keeps at most `max_length` tokens, from the
//! beginning or from both ends. What is left here gives the same tokens.

use std::borrow::Cow;

use super::tokenizer::Encoded;

/// A text of fewer bytes is never cut before it is tokenised.
pub const LONGEST_TEXT: usize = 1 << 18;
/// Bytes for each token that is kept at most.
const BYTES_A_TOKEN: usize = 64;

/// Bytes that are tokenised of a text of which so many tokens are kept.
pub fn longest(max_length: usize) -> usize {
    LONGEST_TEXT.max(max_length.saturating_mul(BYTES_A_TOKEN))
}

/// The text without its middle, if it is that long.
pub fn clip(text: &str, max_length: usize) -> Cow<'_, str> {
    let half = longest(max_length) / 2;
    if text.len() <= 2 * half {
        return Cow::Borrowed(text);
    }
    let boundary = |&place: &usize| text.is_char_boundary(place);
    // A letter has at most four bytes, and both ends of a text are boundaries.
    let end = (0..=half).rev().find(boundary).unwrap_or(0);
    let start = (text.len() - half..=text.len()).find(boundary).unwrap_or(text.len());
    let (head, tail) = (&text[..end], &text[start..]);
    // At words, where there are any: half a word would be another.
    let head = head.rfind(char::is_whitespace).map_or(head, |end| &head[..end]);
    let tail = tail.find(char::is_whitespace).map_or(tail, |start| &tail[start..]);
    Cow::Owned(format!("{head} {}", tail.trim_start()))
}

/// Says of the tokens of a clipped text that there were more.
pub(super) fn mark(encoded: &mut Encoded, text: &str, max_length: usize) {
    if text.len() > longest(max_length) {
        let kept = encoded.full_length.max(encoded.ids.len() as u32);
        let share = text.len() as f64 / longest(max_length) as f64;
        encoded.full_length = (f64::from(kept) * share) as u32 + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{TextTokenizer, Truncation, build_vocabulary};

    #[test]
    fn the_tokens_that_are_kept_are_those_of_the_whole_text() {
        let words = ["a dull film with one good scene", "größer und 大 so on"];
        let tokenizer =
            TextTokenizer::from_tokenizer(build_vocabulary(&words, 300).unwrap()).unwrap();
        let long: String = (0..40_000)
            .map(|i| words[i % 2].to_owned() + if i % 7 == 0 { "\n" } else { " " })
            .collect();
        assert!(long.len() > LONGEST_TEXT);
        for truncation in [Truncation::Head, Truncation::HeadTail] {
            let whole = tokenizer.encode(&[(&long, None)], 512, truncation).unwrap();
            let clipped = clip(&long, 512);
            assert!(clipped.len() <= LONGEST_TEXT);
            let mut part =
                tokenizer.encode(&[(&clipped, None)], 512, truncation).unwrap().remove(0);
            assert_eq!(part.ids, whole[0].ids);
            mark(&mut part, &long, 512);
            assert!(part.full_length > part.ids.len() as u32);
        }
    }

    #[test]
    fn a_text_without_white_space_is_cut_between_characters() {
        let text = "大".repeat(LONGEST_TEXT);
        let clipped = clip(&text, 16);
        assert!(clipped.len() <= LONGEST_TEXT && clipped.chars().all(|c| c == '大' || c == ' '));
        assert!(matches!(clip("short", 16), Cow::Borrowed(_)));
        assert_eq!(longest(1 << 20), 1 << 26);
    }
}
