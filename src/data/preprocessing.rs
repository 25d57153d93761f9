//! How a text becomes tokens, as a model keeps it.

use serde::{Deserialize, Serialize};

use super::tokenizer::Truncation;

/// How a text becomes tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preprocessing {
    /// Most tokens, specials included.
    pub max_length: usize,
    /// Which part of a longer text is kept.
    pub truncation: Truncation,
    /// Whether texts are [cleaned](super::clean()) first: those of a model that was trained here are.
    /// Whoever trained another one gave it the texts as they are.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub clean: bool,
}

impl Preprocessing {
    /// Of a model that is trained here.
    pub fn new(max_length: usize, truncation: Truncation) -> Self {
        Self { max_length, truncation, clean: true }
    }
}

fn yes() -> bool {
    true
}

fn is_yes(clean: &bool) -> bool {
    *clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_says_nothing_was_trained_on_clean_texts() {
        let own = Preprocessing::new(64, Truncation::Head);
        let text = serde_json::to_string(&own).unwrap();
        assert_eq!(text, r#"{"max_length":64,"truncation":"head"}"#);
        assert_eq!(serde_json::from_str::<Preprocessing>(&text).unwrap(), own);
        let raw = Preprocessing { clean: false, ..own };
        let text = serde_json::to_string(&raw).unwrap();
        assert_eq!(serde_json::from_str::<Preprocessing>(&text).unwrap(), raw);
    }
}
