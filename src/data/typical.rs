//! How long the texts of a data set are.

use super::{Example, TextTokenizer, TokenizerError, Truncation, clean};

/// So many texts, evenly spaced, say how long all are.
const LOOKED_AT: usize = 10_000;
/// No text is cut below so many tokens.
const LEAST: usize = 16;
/// Lengths are multiples of this.
const STEP: usize = 8;

/// The 99th percentile of the lengths of texts, in tokens with the special ones, rounded up.
pub fn typical_length(
    tokenizer: &TextTokenizer,
    rows: &[&Example],
) -> Result<usize, TokenizerError> {
    let every = rows.len().div_ceil(LOOKED_AT).max(1);
    let chosen = rows.iter().step_by(every);
    let cleaned: Vec<_> =
        chosen.map(|example| (clean(&example.text), example.pair.as_deref().map(clean))).collect();
    let texts: Vec<(&str, Option<&str>)> =
        cleaned.iter().map(|(text, pair)| (&**text, pair.as_deref())).collect();
    let encoded = tokenizer.encode(&texts, LEAST, Truncation::Head)?;
    let mut lengths: Vec<usize> = encoded.iter().map(|one| one.full_length as usize).collect();
    lengths.sort_unstable();
    let place = (lengths.len() * 99).div_ceil(100).saturating_sub(1);
    Ok(lengths.get(place).copied().unwrap_or(LEAST).max(LEAST).next_multiple_of(STEP))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::build_vocabulary;

    #[test]
    fn one_long_text_of_a_hundred_does_not_count() {
        let text =
            |words: usize| Example { text: vec!["word"; words].join(" "), pair: None, label: 0 };
        let mut rows: Vec<Example> = (0..99).map(|_| text(30)).collect();
        rows.push(text(500));
        let tokenizer = build_vocabulary(&["word"], 100).unwrap();
        let tokenizer = TextTokenizer::from_tokenizer(tokenizer).unwrap();
        let length = |rows: &[Example]| {
            typical_length(&tokenizer, &rows.iter().collect::<Vec<_>>()).unwrap()
        };
        assert_eq!(length(&rows), 32, "30 words and two special tokens");
        assert_eq!(length(&rows[90..]), 504, "one of ten counts");
        assert_eq!(length(&[text(2)]), LEAST);
        assert_eq!(length(&[]), LEAST);
    }
}
