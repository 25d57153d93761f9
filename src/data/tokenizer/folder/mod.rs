//! The tokenizer of a folder that another tool wrote, as transformers makes it.
//!
//! `tokenizer_config.json` has the last word: for the classes of word pieces and byte pairs its options, such as
//! `do_lower_case`, undo what `tokenizer.json` says of the same. Folders without `tokenizer.json` have the files that
//! came before it.

mod beside;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::built::{self, Sources};
use super::{TextTokenizer, TokenizerError, template, whole};
use crate::store::without_mark;

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

/// `tokenizer_config.json` and the files beside it, none of which need be there.
struct Config {
    path: PathBuf,
    is_there: bool,
    sources: Sources,
}

/// The files that a tokenizer follows from, in every folder.
const FILES: [&str; 5] =
    ["tokenizer.json", "tokenizer_config.json", "vocab.txt", "vocab.json", "merges.txt"];
/// And in one without `tokenizer.json`.
const OLDER_FILES: [&str; 5] = [
    "added_tokens.json",
    "sentencepiece.bpe.model",
    "special_tokens_map.json",
    "spiece.model",
    "spm.model",
];

impl FolderTokenizer {
    /// The names of the files that the tokenizer of a folder follows from; not all of them need be there.
    pub fn files(folder: &Path) -> impl Iterator<Item = &'static str> + use<> {
        let older = if folder.join("tokenizer.json").is_file() { &[][..] } else { &OLDER_FILES };
        FILES.iter().chain(older).copied()
    }

    /// Reads the files of a folder.
    ///
    /// # Errors
    /// It has none, they cannot be read, or they are not trusted.
    pub fn read(folder: &Path) -> Result<Self, TokenizerError> {
        let config = Config::read(folder)?;
        config.check()?;
        let path = folder.join("tokenizer.json");
        let (path, mut file) = match content(&path)? {
            Some(bytes) => {
                let parse = |error: serde_json::Error| TokenizerError::Parse {
                    path: path.clone(),
                    source: error.into(),
                };
                let mut file: Value =
                    serde_json::from_slice(without_mark(&bytes)).map_err(parse)?;
                config.overrule(&mut file)?;
                beside::check(folder, &config.sources.config, &file)
                    .map_err(|message| TokenizerError::Config { path: path.clone(), message })?;
                (path, file)
            }
            None => built::build(folder, &config.sources)?,
        };
        if !built::gives_segments(&config.sources) {
            template::clear_segments(&mut file["post_processor"]);
        }
        let merges = whole::merges(&file);
        let cuts_left = file["truncation"]["direction"] == "Left";
        let tokenizer = TextTokenizer::from_json(&path, file)?;
        let vocabulary =
            config.rows().and_then(|rows| whole::vocabulary(tokenizer.vocabulary_size(), rows));
        for remark in merges.iter().chain(&vocabulary) {
            tracing::warn!("`{}`: {remark}", path.display());
        }
        let max_length = config.max_length()?;
        Ok(Self { tokenizer, max_length, keeps_the_end: config.keeps_the_end(cuts_left)? })
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
        let json = |name: &str| -> Result<Option<Value>, TokenizerError> {
            let path = folder.join(name);
            let Some(bytes) = content(&path)? else { return Ok(None) };
            let read: Result<Map<String, Value>, _> = serde_json::from_slice(without_mark(&bytes));
            let broken = |error: serde_json::Error| TokenizerError::Config {
                path,
                message: error.to_string(),
            };
            read.map(|map| Some(Value::Object(map))).map_err(broken)
        };
        let config = json("tokenizer_config.json")?;
        let mut sources = Sources::default();
        let is_there = config.is_some();
        sources.config = config.unwrap_or_default();
        // Where there is a `tokenizer.json` these say nothing, and need not be whole.
        if !folder.join("tokenizer.json").is_file() {
            sources.special_tokens_map = json("special_tokens_map.json")?.unwrap_or_default();
            sources.added_tokens = json("added_tokens.json")?.unwrap_or_default();
            sources.encoder = json("config.json")?.unwrap_or_default();
        }
        Ok(Self { path: folder.join("tokenizer_config.json"), is_there, sources })
    }

    fn get(&self, key: &str) -> Option<&Value> {
        self.sources.config.get(key).filter(|value| !value.is_null())
    }

    fn refused(&self, message: String) -> TokenizerError {
        TokenizerError::Config { path: self.path.clone(), message }
    }

    /// Whether a tokenizer of this kind follows this file: its class is of the kind, or not named.
    fn governs(&self, is_of_kind: fn(&str) -> bool) -> bool {
        let class = self.get("tokenizer_class").map(|class| class.as_str().unwrap_or_default());
        self.is_there && class.is_none_or(is_of_kind)
    }

    /// Embeddings of tokens, where the vocabulary is in a file by itself.
    fn rows(&self) -> Option<usize> {
        self.sources.encoder["vocab_size"].as_u64().map(|rows| rows as usize)
    }

    /// Refuses what is not done here.
    fn check(&self) -> Result<(), TokenizerError> {
        let splits = built::flag(&self.sources.config, "split_special_tokens");
        match splits.map_err(|message| self.refused(message))? {
            Some(true) => Err(self.refused(
                "`split_special_tokens` is true: special tokens that stand in a text would be read as letters, \
                 which is not done here; set it to false if no text has any"
                    .to_owned(),
            )),
            _ => Ok(()),
        }
    }

    /// What transformers would not take from `tokenizer.json`.
    fn overrule(&self, file: &mut Value) -> Result<(), TokenizerError> {
        let config = &self.sources.config;
        let refused = |message| self.refused(message);
        match file["model"]["type"].as_str() {
            Some("WordPiece") if self.governs(built::is_of_word_pieces) => {
                let of_bert = built::bert_normalizer(config).map_err(refused)?;
                if let Some(remark) = take_options(file, &of_bert) {
                    tracing::warn!(
                        "the `tokenizer.json` beside `{}` {remark}",
                        self.path.display()
                    );
                }
            }
            Some("BPE") if file["pre_tokenizer"]["type"] == "ByteLevel" => {
                let asked = built::flag(config, "add_prefix_space").map_err(refused)?;
                let own = &mut file["pre_tokenizer"]["add_prefix_space"];
                if let Some(remark) = self.take_prefix(own, asked) {
                    tracing::warn!(
                        "the `tokenizer.json` beside `{}` {remark}",
                        self.path.display()
                    );
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Settles whether a space is put before a text, `own`; gives what should be said of it.
    ///
    /// Version 4 of transformers follows this file for every class, and takes a key that is not there for false. So do
    /// the classes of version 5 that build their tokenizer; others of version 5 are what their file says.
    fn take_prefix(&self, own: &mut Value, asked: Option<bool>) -> Option<String> {
        if !self.governs(|class| !built::is_plain(class)) {
            return None;
        }
        match asked.or_else(|| self.governs(built::is_of_byte_pairs).then_some(false)) {
            Some(asked) if own != asked => {
                let was = std::mem::replace(own, asked.into());
                Some(format!(
                    "says `add_prefix_space` = {was}, and this file {asked}: this one is followed, as by version 4 of \
                     transformers"
                ))
            }
            None if own == true => Some(
                "puts a space before a text, and this file does not say so: it is put; version 4 of transformers \
                 puts none before `add_prefix_space` = true stands there"
                    .to_owned(),
            ),
            _ => None,
        }
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

    /// What `tokenizer.json` says holds where this file says nothing.
    fn keeps_the_end(&self, cuts_left: bool) -> Result<bool, TokenizerError> {
        match self.get("truncation_side").map(|side| side.as_str().unwrap_or_default()) {
            None => Ok(cuts_left),
            Some("right") => Ok(false),
            Some("left") => Ok(true),
            Some(other) => {
                Err(self.refused(format!("`truncation_side` is `{}`", short(&other.into()))))
            }
        }
    }
}

/// Puts the options of `of_bert` into a tokenizer of word pieces; gives what should be said of it.
///
/// Version 4 of transformers takes all else from the file, and version 5 only the vocabulary. Weights were trained with
/// what the file says, since version 5 writes into it what it did: so version 4 is followed, but for a file without a
/// normalizer, which it cannot load.
fn take_options(file: &mut Value, of_bert: &Value) -> Option<&'static str> {
    let words = json!({ "type": "BertPreTokenizer" });
    let own = std::mem::replace(&mut file["normalizer"], of_bert.clone());
    if own.is_null() {
        file["pre_tokenizer"] = words;
        return Some(
            "has no normalizer: BERT's is used, with BERT's way of taking words apart, as version 5 of transformers \
             does",
        );
    }
    if own["type"] != "BertNormalizer" {
        file["normalizer"] = own;
    } else if own["clean_text"].is_boolean() {
        file["normalizer"]["clean_text"].clone_from(&own["clean_text"]);
    }
    let is_of_bert = file["normalizer"] == *of_bert && file["pre_tokenizer"] == words;
    (!is_of_bert).then_some(
        "has another normalizer or pre-tokenizer than BERT's: it is followed, as by version 4 of transformers; version \
         5 puts BERT's in its place",
    )
}

/// A value as a message can hold it.
fn short(value: &Value) -> String {
    value.to_string().chars().take(60).collect()
}

/// The content of a file; `None` if it is not there.
pub(super) fn content(path: &Path) -> Result<Option<Vec<u8>>, TokenizerError> {
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
