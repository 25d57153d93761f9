//! Texts that nobody sees.

use super::clean;

/// Whether a text has nothing to read: white space, control characters, and characters that draw nothing.
pub fn is_blank(text: &str) -> bool {
    clean(text).chars().all(|c| c.is_whitespace() || c.is_control() || draws_nothing(c))
}

/// Unicode's `Default_Ignorable_Code_Point`, and the empty cell of Braille.
pub(super) fn draws_nothing(character: char) -> bool {
    matches!(
        character,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
            | '\u{ffa0}' | '\u{fff0}'..='\u{fff8}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_of_characters_that_draw_nothing_is_blank() {
        for blank in [
            "",
            " \t\u{a0}",
            "<br />",
            "\u{200b}",
            "\u{ad} \u{2060}\u{feff}",
            "\u{fe0f}\u{200d}",
            "\u{3164}",
            "\u{2800}\u{2800}",
            "\u{e0041}",
            "\u{0}",
        ] {
            assert!(is_blank(blank), "{blank:?}");
        }
        for text in ["a", "\u{200b}a", ".", "❤\u{fe0f}", "👩\u{200d}🚀", "한", "⠁", "\u{301}"]
        {
            assert!(!is_blank(text), "{text:?}");
        }
    }
}
