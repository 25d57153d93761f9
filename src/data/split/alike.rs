//! What texts have in common that an encoder, or a reader, takes for the same one.

use unicode_normalization_alignments::UnicodeNormalization;

use crate::data::blank::draws_nothing;
use crate::data::clean::clean;

/// The text without case, accents of Latin, Greek and Cyrillic letters, characters that draw nothing, and
/// compatibility forms (`ﬁ`, letters of double width), and with one space between two words for any white space
/// there; beside a sign of punctuation there is none.
///
/// An encoder may see more. Two texts that differ in nothing else still belong on one side of a division: a
/// score on the one says nothing of texts that are new.
pub fn folded(text: &str) -> String {
    let text = clean(text);
    if text.is_ascii() {
        return fold(text.chars());
    }
    fold(text.nfkd().map(|(character, _)| character))
}

fn fold(characters: impl Iterator<Item = char>) -> String {
    let (mut folded, mut space) = (String::new(), false);
    for character in characters {
        if character.is_whitespace() || character.is_control() {
            space = true;
            continue;
        }
        if draws_nothing(character) || is_accent(character) {
            continue;
        }
        let between_words = character.is_alphanumeric() && folded.ends_with(char::is_alphanumeric);
        if std::mem::take(&mut space) && between_words {
            folded.push(' ');
        }
        folded.extend(character.to_lowercase());
    }
    folded
}

/// Vowel signs of other scripts are letters to a reader.
fn is_accent(character: char) -> bool {
    matches!(character, '\u{300}'..='\u{36f}')
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::compute::Noise;
    use crate::data::reviews;

    #[test]
    fn texts_that_look_or_read_the_same_are_one() {
        let text = "My card was declined, over 10 € at the café.";
        for variant in [
            "My  card was declined,\nover 10 € at the café.",
            "My\u{a0}card was\tdeclined, over\u{2003}10 € at the café.",
            "My card was de\u{ad}clined, over 10 € at the ca\u{200b}fé.\u{feff}",
            "My card was declined, over 10 € at the cafe\u{301}.",
            "my CARD was declined , over 10€ at the cafe .",
            "<br />My card<br>was declined, over １０ € at the café.",
        ] {
            assert_eq!(folded(variant), folded(text), "{variant:?}");
        }
        for (one, other) in [
            ("every day", "everyday"),
            ("10 of 2", "1 of 02"),
            ("कि", "का"),
            ("a b", "a c"),
            ("good!", "good?"),
            (":)", ":("),
        ] {
            assert_ne!(folded(one), folded(other), "{one} {other}");
        }
    }

    /// The division of the quick start, and so its weights, would change with another number of texts.
    #[test]
    fn the_generated_reviews_have_no_variants_of_one_text() {
        let noise = Noise::new(reviews::SEED);
        let texts: Vec<String> = [(0, 10_000), (1, 2000), (2, 2000)]
            .into_iter()
            .flat_map(|(split, rows)| (0..rows).map(move |row| (split, row)))
            .map(|(split, row)| reviews::review(&noise, split, row).text)
            .collect();
        let as_written: HashSet<&String> = texts.iter().collect();
        let compared: HashSet<String> = texts.iter().map(|text| folded(text)).collect();
        assert_eq!(compared.len(), as_written.len());
    }
}
