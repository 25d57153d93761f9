//! The tokenizer of a folder that another tool wrote, as transformers makes it.
//!
//! `tokenizer_config.json` has the last word: for the classes of BERT and RoBERTa transformers takes the
//! vocabulary from `tokenizer.json` and everything else from there, so that `do_lower_case` of one file
//! undoes what the other says. Folders without `tokenizer.json` have `vocab.txt`, or `vocab.json` and
//! `merges.txt`.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::built::{Names, byte_pairs, word_pieces};
use super::{TextTokenizer, TokenizerError};
use crate::store::without_mark;

/// Classes whose normalizer is made from `tokenizer_config.json`.
const BERT: [&str; 6] = [
    "BertTokenizer",
    "BertTokenizerFast",
    "DistilBertTokenizer",
    "DistilBertTokenizerFast",
    "ElectraTokenizer",
    "ElectraTokenizerFast",
];
/// The same for byte pairs.
const ROBERTA: [&str; 2] = ["RobertaTokenizer", "RobertaTokenizerFast"];
/// From here on `model_max_length` says that nothing was said: transformers writes 10³⁰.
const NO_LENGTH: f64 = 1e9;

/// A tokenizer, and what its folder says of the texts.
#[derive(Debug)]
pub struct FolderTokenizer {
    pub tokenizer: TextTokenizer,
    /// The most tokens of a text, where that is said.
    pub max_length: Option<usize>,
    /// Whether a longer text loses its beginning.
    pub keeps_the_end: bool,
}

/// `tokenizer_config.json`, which need not be there.
struct Config {
    path: PathBuf,
    map: Option<Map<String, Value>>,
}

impl FolderTokenizer {
    /// Reads the files of a folder.
    ///
    /// # Errors
    /// It has none, they cannot be read, or they are not trusted.
    pub fn read(folder: &Path) -> Result<Self, TokenizerError> {
        let config = Config::read(folder)?;
        let path = folder.join("tokenizer.json");
        let tokenizer = match content(&path)? {
            Some(bytes) => {
                let parse = |error: serde_json::Error| TokenizerError::Parse {
                    path: path.clone(),
                    source: error.into(),
                };
                let mut file: Value =
                    serde_json::from_slice(without_mark(&bytes)).map_err(parse)?;
                config.overrule(&mut file)?;
                TextTokenizer::from_json(&path, file)?
            }
            None => config.build(folder)?,
        };
        let max_length = config.max_length()?;
        Ok(Self { tokenizer, max_length, keeps_the_end: config.keeps_the_end()? })
    }
}

impl TextTokenizer {
    /// The tokenizer of a folder, whoever wrote it.
    pub fn of_folder(folder: &Path) -> Result<Self, TokenizerError> {
        FolderTokenizer::read(folder).map(|found| found.tokenizer)
    }
}

impl Config {
    fn read(folder: &Path) -> Result<Self, TokenizerError> {
        let path = folder.join("tokenizer_config.json");
        let map = match content(&path)? {
            Some(bytes) => Some(serde_json::from_slice(without_mark(&bytes)).map_err(|error| {
                TokenizerError::Config { path: path.clone(), message: error.to_string() }
            })?),
            None => None,
        };
        Ok(Self { path, map })
    }

    fn get(&self, key: &str) -> Option<&Value> {
        self.map.as_ref()?.get(key).filter(|value| !value.is_null())
    }

    fn refused(&self, message: String) -> TokenizerError {
        TokenizerError::Config { path: self.path.clone(), message }
    }

    fn flag(&self, key: &str) -> Result<Option<bool>, TokenizerError> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(other) => {
                Err(self.refused(format!("`{key}` is {}, not true or false", short(other))))
            }
        }
    }

    /// Whether a tokenizer of this kind follows this file: its class is one of these, or not named.
    fn governs(&self, classes: &[&str]) -> bool {
        let class = self.get("tokenizer_class").map(|class| class.as_str().unwrap_or_default());
        self.map.is_some() && class.is_none_or(|class| classes.contains(&class))
    }

    /// BERT's normalizer, by the defaults of transformers.
    fn normalizer(&self) -> Result<Value, TokenizerError> {
        Ok(json!({
            "type": "BertNormalizer",
            "clean_text": true,
            "handle_chinese_chars": self.flag("tokenize_chinese_chars")?.unwrap_or(true),
            "strip_accents": self.flag("strip_accents")?,
            "lowercase": self.flag("do_lower_case")?.unwrap_or(true),
        }))
    }

    /// What transformers would not take from `tokenizer.json`.
    fn overrule(&self, file: &mut Value) -> Result<(), TokenizerError> {
        match file["model"]["type"].as_str() {
            Some("WordPiece") if self.governs(&BERT) => {
                file["normalizer"] = self.normalizer()?;
                file["pre_tokenizer"] = json!({ "type": "BertPreTokenizer" });
            }
            Some("BPE")
                if self.governs(&ROBERTA) && file["pre_tokenizer"]["type"] == "ByteLevel" =>
            {
                let prefix = self.flag("add_prefix_space")?.unwrap_or(false);
                file["pre_tokenizer"]["add_prefix_space"] = prefix.into();
            }
            _ => {}
        }
        Ok(())
    }

    /// Without `tokenizer.json`, from the files of older versions.
    fn build(&self, folder: &Path) -> Result<TextTokenizer, TokenizerError> {
        let at = |name: &str| folder.join(name);
        let class = self.get("tokenizer_class").and_then(Value::as_str).unwrap_or_default();
        if let Some(vocabulary) = content(&at("vocab.txt"))? {
            if !class.is_empty() && !BERT.contains(&class) {
                return Err(self.refused(format!(
                    "`tokenizer_class` is `{}`, but only a BERT tokenizer can be built from \
                     `vocab.txt`; save the tokenizer with transformers, which writes \
                     `tokenizer.json`",
                    short(&class.into())
                )));
            }
            if at("added_tokens.json").exists() {
                return Err(self.refused(
                    "`added_tokens.json` exists as well as `vocab.txt`; save the tokenizer with \
                     transformers, which writes `tokenizer.json`"
                        .to_owned(),
                ));
            }
            let path = at("vocab.txt");
            let names = Names::bert(|key| self.token(key));
            let made = word_pieces(&vocabulary, &names, &self.normalizer()?);
            let file =
                made.map_err(|message| TokenizerError::Config { path: path.clone(), message })?;
            return TextTokenizer::from_json(&path, file);
        }
        let path = at("vocab.json");
        if let (Some(vocabulary), Some(merges)) = (content(&path)?, content(&at("merges.txt"))?) {
            let names = Names::roberta(|key| self.token(key));
            let prefix = self.flag("add_prefix_space")?.unwrap_or(false);
            let file = byte_pairs(&vocabulary, &merges, &names, prefix)
                .map_err(|message| TokenizerError::Config { path: path.clone(), message })?;
            return TextTokenizer::from_json(&path, file);
        }
        Err(TokenizerError::NoFiles { folder: folder.to_owned() })
    }

    /// The content of a special token that is named here, as a text or as an object.
    fn token(&self, key: &str) -> Option<String> {
        let value = self.get(key)?;
        value.as_str().or_else(|| value["content"].as_str()).map(str::to_owned)
    }

    fn max_length(&self) -> Result<Option<usize>, TokenizerError> {
        let Some(value) = self.get("model_max_length").or_else(|| self.get("max_len")) else {
            return Ok(None);
        };
        match value.as_f64() {
            Some(length) if length >= NO_LENGTH => Ok(None),
            Some(length) if length >= 1.0 && length.fract() == 0.0 => Ok(Some(length as usize)),
            _ => Err(self.refused(format!("`model_max_length` is {}", short(value)))),
        }
    }

    fn keeps_the_end(&self) -> Result<bool, TokenizerError> {
        match self.get("truncation_side").map(|side| side.as_str().unwrap_or_default()) {
            None | Some("right") => Ok(false),
            Some("left") => Ok(true),
            Some(other) => {
                Err(self.refused(format!("`truncation_side` is `{}`", short(&other.into()))))
            }
        }
    }
}

/// A value as a message can hold it.
fn short(value: &Value) -> String {
    value.to_string().chars().take(60).collect()
}

/// The content of a file; `None` if it is not there.
fn content(path: &Path) -> Result<Option<Vec<u8>>, TokenizerError> {
    let read = |source| TokenizerError::Read { path: path.to_owned(), source };
    match std::fs::metadata(path) {
        Ok(found) if found.len() > TextTokenizer::MOST_BYTES => {
            return Err(TokenizerError::TooLarge { path: path.to_owned(), size: found.len() });
        }
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        _ => {}
    }
    std::fs::read(path).map(Some).map_err(read)
}

#[cfg(test)]
mod tests;
