//! The few forms of YAML that a card's front matter needs.

use std::fmt::Write;

/// A text as a YAML scalar: plain where nothing can be mistaken, else in double quotes, as JSON.
pub fn scalar(text: &str) -> String {
    const WORDS: [&str; 10] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan"];
    let first = text.chars().next().is_some_and(|c| c.is_ascii_alphabetic());
    let plain = |c: char| c.is_ascii_alphanumeric() || " ._/+-".contains(c);
    let word = WORDS.contains(&text.to_lowercase().as_str());
    if first && !word && text.chars().all(plain) && !text.ends_with(' ') {
        text.to_owned()
    } else {
        serde_json::Value::from(text).to_string()
    }
}

/// Lines of a mapping, indented.
#[derive(Debug, Default)]
pub struct Yaml {
    text: String,
}

impl Yaml {
    /// `key: value`.
    pub fn pair(&mut self, indent: usize, key: &str, value: &str) {
        let _ = writeln!(self.text, "{:indent$}{key}: {}", "", scalar(value));
    }

    /// `key: 0.5`.
    pub fn number(&mut self, indent: usize, key: &str, value: f64) {
        let _ = writeln!(self.text, "{:indent$}{key}: {value:.6}", "");
    }

    /// `key:`, with what follows below it.
    pub fn open(&mut self, indent: usize, key: &str) {
        let _ = writeln!(self.text, "{:indent$}{key}:", "");
    }

    /// A list of texts; nothing for an empty one.
    pub fn list(&mut self, key: &str, values: &[String]) {
        if values.is_empty() {
            return;
        }
        self.open(0, key);
        for value in values {
            let _ = writeln!(self.text, "- {}", scalar(value));
        }
    }

    pub fn finish(self) -> String {
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_be_mistaken_is_quoted() {
        for text in ["text-classification", "stanfordnlp/imdb", "Macro F1", "en"] {
            assert_eq!(scalar(text), text);
        }
        for text in ["no", "True", "3.5", "a: b", "- a", "", "it's", "#x", "a #b", "ä", "x "] {
            let quoted = scalar(text);
            assert!(quoted.starts_with('"'), "{quoted}");
            assert_eq!(serde_json::from_str::<String>(&quoted).unwrap(), text);
        }
        assert_eq!(scalar("a\nb: \"c\""), r#""a\nb: \"c\"""#);
    }
}
