//! One labelled text: what every data set becomes.

use super::split::text_key;

/// A text, or a pair of texts, with its class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Example {
    /// The text; the first of the two where there is a pair.
    pub text: String,
    /// The second text of a pair (a hypothesis, an answer, a reply).
    pub pair: Option<String>,
    /// The class, counted from 0.
    pub label: u32,
}

impl Example {
    /// What makes its text the same as another: see [`text_key`].
    pub fn key(&self) -> u64 {
        text_key(&self.text, self.pair.as_deref())
    }
}
