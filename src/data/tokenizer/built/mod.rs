//! A `tokenizer.json` from the files that came before it: `vocab.txt`, `vocab.json` with `merges.txt`, or a
//! SentencePiece model, by the rules of the class of transformers that reads them.

mod class;
mod pieces;
mod protobuf;
mod sentence_piece;
mod specials;
#[cfg(test)]
mod tests;
mod vocabulary;

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::TokenizerError;
use super::folder::content;
use class::{Class, Family, Form, Template};
use sentence_piece::SentencePiece;
use specials::{Specials, Vocabulary};

/// Entries of a vocabulary, and merges of byte pairs. The largest of published encoders has 901,629.
const MOST_ENTRIES: usize = 1 << 20;

/// The files beside a vocabulary, as they were read; `Null` for each that is not there.
#[derive(Debug, Default)]
pub(super) struct Sources {
    /// `tokenizer_config.json`.
    pub config: Value,
    pub special_tokens_map: Value,
    pub added_tokens: Value,
    /// `config.json` of the encoder.
    pub encoder: Value,
}

/// What is wrong, and with which file.
#[derive(Debug)]
struct Wrong {
    file: &'static str,
    message: String,
}

const CONFIG: &str = "tokenizer_config.json";

/// The class that these files name, if that says how a vocabulary is read.
fn class_name(sources: &Sources) -> Option<&str> {
    let named = [&sources.config, &sources.encoder].into_iter();
    let mut named = named.filter_map(|file| file["tokenizer_class"].as_str());
    named.next().filter(|name| class::says_something(name))
}

/// The `tokenizer.json` of a folder that has none, and the file that it was made of.
///
/// # Errors
/// There is none to make it of, or it is not as the class has it.
pub(super) fn build(folder: &Path, sources: &Sources) -> Result<(PathBuf, Value), TokenizerError> {
    let has = |name: &str| folder.join(name).is_file();
    let model_type = sources.encoder["model_type"].as_str().unwrap_or_default();
    let fitting = Class::of(&has, model_type);
    let fitting = fitting.ok_or_else(|| TokenizerError::NoFiles { folder: folder.to_owned() })?;
    let at = |Wrong { file, message }: Wrong| TokenizerError::Config {
        path: folder.join(file),
        message,
    };
    let class = class_name(sources).map_or(Ok(fitting), |name| named(name, &has)).map_err(at)?;
    let file = class.files()[0];
    let read = |name: &str| {
        let path = folder.join(name);
        content(&path)?.ok_or(TokenizerError::NoFiles { folder: folder.to_owned() })
    };
    let specials = Specials::read(class, sources);
    let specials = specials.map_err(|message| at(Wrong { file: CONFIG, message }))?;
    let built = Built { class, sources, specials };
    let bytes = read(file)?;
    let made = match class.form {
        Form::WordPieces => built.word_pieces(&bytes),
        Form::BytePairs => built.byte_pairs(&bytes, &read("merges.txt")?),
        Form::SentencePiece(family) => {
            let model = SentencePiece::read(&bytes).map_err(|message| Wrong { file, message });
            model.and_then(|model| built.pieces(family, &model))
        }
    };
    Ok((folder.join(file), made.map_err(at)?))
}

/// The class of a name, where its files are there.
fn named(name: &str, has: &dyn Fn(&str) -> bool) -> Result<&'static Class, Wrong> {
    let wrong = |message| Wrong { file: CONFIG, message };
    let class = Class::named(name).ok_or_else(|| {
        wrong(format!(
            "`tokenizer_class` is `{}`, which is not built without `tokenizer.json`; load and save \
             the tokenizer with transformers, which writes that file",
            short(name)
        ))
    })?;
    match class.files().iter().find(|file| !has(file)) {
        None => Ok(class),
        Some(file) => Err(wrong(format!(
            "`tokenizer_class` is `{}`, which needs `{file}`, but the folder does not have it; load \
             and save the tokenizer with transformers, which writes `tokenizer.json`",
            short(name)
        ))),
    }
}

/// What is known before the vocabulary is read.
struct Built<'a> {
    class: &'static Class,
    sources: &'a Sources,
    specials: Specials,
}

/// The parts of a `tokenizer.json` that follow from the form of the vocabulary.
struct Parts {
    normalizer: Value,
    pre_tokenizer: Value,
    decoder: Value,
    model: Value,
}

impl Built<'_> {
    /// A setting of `tokenizer_config.json`.
    fn flag(&self, key: &str, usual: bool) -> Result<bool, Wrong> {
        flag(&self.sources.config, key)
            .map(|found| found.unwrap_or(usual))
            .map_err(|message| Wrong { file: CONFIG, message })
    }

    fn file(&self, parts: Parts, vocabulary: &Vocabulary<'_>) -> Result<Value, String> {
        let rows = self.sources.encoder["vocab_size"].as_u64();
        let added = self.specials.added(vocabulary, rows)?;
        let id = |token: &str| -> Result<Value, String> {
            let own = added.iter().find(|added| added["content"] == token);
            own.map_or_else(|| vocabulary.id(token).map(Value::from), |own| Ok(own["id"].clone()))
        };
        let post_processor = self.template(&id)?;
        let entries = [
            ("version", json!("1.0")),
            ("truncation", Value::Null),
            ("padding", Value::Null),
            ("added_tokens", added.into()),
            ("normalizer", parts.normalizer),
            ("pre_tokenizer", parts.pre_tokenizer),
            ("post_processor", post_processor),
            ("decoder", parts.decoder),
            ("model", parts.model),
        ];
        Ok(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
    }

    fn template(&self, id: &dyn Fn(&str) -> Result<Value, String>) -> Result<Value, String> {
        let keys = match self.class.template {
            Template::Sentences => ["bos_token", "eos_token"],
            Template::Bert | Template::Roberta => ["cls_token", "sep_token"],
        };
        let [first, last] = keys.map(|key| self.specials.needed(key));
        let (first, last) = (first?, last?);
        let (first_id, last_id) = (id(first)?, id(last)?);
        if self.class.template == Template::Roberta {
            return Ok(json!({
                "type": "RobertaProcessing", "sep": [last, last_id], "cls": [first, first_id],
                "trim_offsets": true,
                "add_prefix_space": self.sources.config["add_prefix_space"] == true,
            }));
        }
        let special =
            |name: &str, kind: u32| json!({ "SpecialToken": { "id": name, "type_id": kind } });
        let text = |name: &str, kind: u32| json!({ "Sequence": { "id": name, "type_id": kind } });
        let single = [special(first, 0), text("A", 0), special(last, 0)];
        let second = match self.class.template {
            Template::Bert => vec![text("B", 1), special(last, 1)],
            _ => vec![special(last, 0), text("B", 0), special(last, 0)],
        };
        let mut specials = Map::new();
        for (name, id) in [(first, first_id), (last, last_id)] {
            specials.insert(name.to_owned(), json!({ "id": name, "ids": [id], "tokens": [name] }));
        }
        let pair: Vec<&Value> = single.iter().chain(&second).collect();
        Ok(json!({
            "type": "TemplateProcessing", "single": single, "pair": pair,
            "special_tokens": specials,
        }))
    }
}

/// Whether a class has word pieces.
pub(super) fn is_of_word_pieces(class: &str) -> bool {
    Class::named(class).is_some_and(|class| class.form == Form::WordPieces)
}

/// Whether a class has byte pairs.
pub(super) fn is_of_byte_pairs(class: &str) -> bool {
    Class::named(class).is_some_and(|class| class.form == Form::BytePairs)
}

/// Whether a class is what its `tokenizer.json` says, and nothing else.
pub(super) fn is_plain(class: &str) -> bool {
    PLAIN.contains(&class)
}

/// A setting that is true or false, or not there.
pub(super) fn flag(file: &Value, key: &str) -> Result<Option<bool>, String> {
    match &file[key] {
        Value::Null => Ok(None),
        Value::Bool(flag) => Ok(Some(*flag)),
        other => Err(format!("`{key}` is {}, not true or false", short(&other.to_string()))),
    }
}

/// BERT's normalizer, by the defaults of transformers.
pub(super) fn bert_normalizer(config: &Value) -> Result<Value, String> {
    Ok(json!({
        "type": "BertNormalizer",
        "clean_text": true,
        "handle_chinese_chars": flag(config, "tokenize_chinese_chars")?.unwrap_or(true),
        "strip_accents": flag(config, "strip_accents")?,
        "lowercase": flag(config, "do_lower_case")?.unwrap_or(true),
    }))
}

/// Names that only transformers 5 writes, for tokenizers that are what their file says.
const PLAIN: [&str; 2] = ["TokenizersBackend", "PythonBackend"];

/// Whether the encoder is told which text of a pair a token is of: by `model_input_names`, else by the class. Where
/// transformers 5 gives it up, as for `AlbertTokenizer`, it is version 4 that counts: weights were trained with it.
pub(super) fn gives_segments(sources: &Sources) -> bool {
    if let Some(names) = sources.config["model_input_names"].as_array() {
        return names.iter().any(|name| name == "token_type_ids");
    }
    if sources.config["tokenizer_class"].as_str().is_some_and(is_plain) {
        return false;
    }
    let class = class_name(sources).and_then(Class::named);
    class.is_none_or(|class| class.gives_segments)
}

/// A text as a message can hold it.
pub(super) fn short(text: &str) -> String {
    text.chars().take(60).collect()
}
