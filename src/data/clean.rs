//! What happens to a text before it is tokenised, in training and in serving alike.

use std::borrow::Cow;

/// Changes whenever [`clean`] gives another result for some text, so that no cache outlives it.
pub const VERSION: u32 = 1;

const BREAKS: [&str; 3] = ["<br />", "<br/>", "<br>"];

/// Makes HTML line breaks (in any case) and control characters a space each and trims the ends.
/// Tabs and line feeds stay. A text that needs nothing is borrowed.
pub fn clean(text: &str) -> Cow<'_, str> {
    let text = text.trim_matches(is_outer);
    if !text.chars().any(is_control) && !starts_of_breaks(text).any(|rest| break_at(rest).is_some())
    {
        return Cow::Borrowed(text);
    }
    let mut cleaned = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        let length = match break_at(rest) {
            Some(length) => {
                cleaned.push(' ');
                length
            }
            None => {
                cleaned.push(if is_control(character) { ' ' } else { character });
                character.len_utf8()
            }
        };
        rest = &rest[length..];
    }
    // A break at either end has left a space there.
    Cow::Owned(cleaned.trim().to_string())
}

fn is_control(character: char) -> bool {
    character.is_control() && !matches!(character, '\t' | '\n')
}

fn is_outer(character: char) -> bool {
    character.is_whitespace() || character.is_control()
}

/// The rests of the text that begin with `<`.
fn starts_of_breaks(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices('<').map(|(start, _)| &text[start..])
}

/// The length in bytes of the line break that `rest` begins with.
fn break_at(rest: &str) -> Option<usize> {
    let bytes = rest.as_bytes();
    BREAKS
        .iter()
        .find(|found| {
            bytes
                .get(..found.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(found.as_bytes()))
        })
        .map(|found| found.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_breaks_of_every_spelling_become_one_space() {
        assert_eq!(clean("Slow.<br /><br />Then dull."), "Slow.  Then dull.");
        assert_eq!(clean("one<BR>two<Br/>three<bR />four"), "one two three four");
        assert_eq!(clean("<br />A plain ending.<br>"), "A plain ending.");
    }

    #[test]
    fn other_markup_and_a_bare_less_than_stay() {
        for text in ["<b>bold</b>", "1 < 2", "<br", "<brr>", "ends with <", "höher < größer"] {
            assert_eq!(clean(text), text);
        }
    }

    #[test]
    fn control_characters_become_spaces_but_tab_and_line_feed_stay() {
        assert_eq!(clean("a\u{0}b\rc\u{85}d\te\nf\u{7f}g"), "a b c d\te\nf g");
    }

    #[test]
    fn outer_white_space_is_trimmed_and_an_empty_text_stays_empty() {
        assert_eq!(clean(" \t\u{a0}\u{1}a film \r\n"), "a film");
        assert_eq!(clean(" <br /> \u{2} "), "");
    }

    #[test]
    fn a_clean_text_is_borrowed() {
        assert!(matches!(clean("Nothing to do < here."), Cow::Borrowed(_)));
        assert!(matches!(clean("  only the ends  "), Cow::Borrowed("only the ends")));
    }
}
