//! What a folder of sentence-transformers says of the way its encoder is read: `modules.json` names the
//! modules, and the config of the one called Pooling has a flag for each mode.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{ModelError, Pooling};

/// The list of modules.
pub const MODULES: &str = "modules.json";
/// Where the config of the pooling is in every folder that sentence-transformers wrote.
pub const POOLING: &str = "1_Pooling/config.json";

/// The names that sentence-transformers has for the config of its Transformer, `sentence_FAMILY_config.json`.
const FAMILIES: [&str; 7] =
    ["bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet"];

/// Prompts that are put before texts.
const PROMPTS: &str = "config_sentence_transformers.json";

/// A step from a text to its vector.
#[derive(Debug, Deserialize)]
pub struct Module {
    /// Its folder beside the list; empty for the encoder.
    pub path: String,
    #[serde(rename = "type")]
    class: String,
}

impl Module {
    /// What it is: the last part of its class, such as `Pooling`.
    pub fn kind(&self) -> &str {
        self.class.rsplit('.').next().unwrap_or_default()
    }

    /// Its folder. A path from a file leads nowhere but into the folder of the model.
    pub fn folder(&self) -> Option<&str> {
        let inside = !self.path.is_empty() && !self.path.contains(['/', '\\']);
        Some(self.path.as_str()).filter(|path| inside && ![".", ".."].contains(path))
    }
}

/// The list of modules; `None` for a folder without.
///
/// # Errors
/// It is damaged.
pub fn modules_of(folder: &Path) -> Result<Option<Vec<Module>>, ModelError> {
    read(&folder.join(MODULES))
}

/// The pooling of an encoder's folder; `None` for one that says nothing of it.
///
/// # Errors
/// A file is damaged, or asks for a mode that is not supported.
pub fn pooling_of(folder: &Path) -> Result<Option<Pooling>, ModelError> {
    let modules = modules_of(folder)?;
    let Some(path) = config(folder, modules.as_deref()) else { return Ok(None) };
    let normalised = modules.iter().flatten().any(|one| one.kind() == "Normalize");
    let Some(flags) = read::<Map<String, Value>>(&path)? else {
        let message = format!("is missing, but `{MODULES}` names its folder");
        return Err(ModelError::Config { path, message });
    };
    let set = |(name, value): (&String, &Value)| {
        let mode = name.strip_prefix("pooling_mode_")?;
        (value == &Value::Bool(true)).then(|| mode.to_owned())
    };
    // Newer folders name the mode.
    let named = flags.get("pooling_mode").and_then(Value::as_str).map(str::to_owned);
    let modes: Vec<String> = flags.iter().filter_map(set).chain(named).collect();
    match modes.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["mean_tokens" | "mean"] if normalised => Ok(Some(Pooling::Normalised)),
        ["mean_tokens" | "mean"] => Ok(Some(Pooling::Mean)),
        ["cls_token" | "cls"] => Ok(Some(Pooling::Cls)),
        [] => Err(ModelError::Pooling { path, mode: "no mode at all".to_owned() }),
        other => Err(ModelError::Pooling { path, mode: other.join(" and ") }),
    }
}

/// The modules besides the encoder's Transformer, its Pooling and Normalize, which are all that an encoder is
/// read by.
///
/// # Errors
/// The list is damaged, or begins with something else than a Transformer.
pub fn left_out(folder: &Path) -> Result<Vec<String>, ModelError> {
    let modules = modules_of(folder)?.unwrap_or_default();
    let mut kinds = modules.iter().map(Module::kind);
    match kinds.next() {
        None | Some("Transformer") => {}
        Some(first) => {
            return Err(ModelError::Config {
                path: folder.join(MODULES),
                message: format!(
                    "its first module is `{first}`, but a text encoder starts with `Transformer`; choose \
                     another encoder"
                ),
            });
        }
    }
    // Dropout does nothing where nobody trains.
    let read = ["Pooling", "Normalize", "Dropout"];
    Ok(kinds.filter(|kind| !read.contains(kind)).map(str::to_owned).collect())
}

/// What sentence-transformers does to every text of an encoder or classifier before it is tokenized, and `bayes` does
/// not: a sentence each.
///
/// # Errors
/// A file is damaged.
pub fn unread_changes(folder: &Path) -> Result<Vec<String>, ModelError> {
    let mut changes = Vec::new();
    let config: Value = read(&folder.join(PROMPTS))?.unwrap_or_default();
    let name = config["default_prompt_name"].as_str();
    let prompt = name.and_then(|name| config["prompts"][name].as_str());
    if let Some(prompt) = prompt.filter(|prompt| !prompt.is_empty()) {
        let shown: String = prompt.chars().take(60).collect();
        let more = if prompt.chars().nth(60).is_some() { "…" } else { "" };
        changes.push(format!(
            "sentence-transformers puts `{shown}{more}` before every text (`default_prompt_name` in \
             `{PROMPTS}`), but `bayes` does not; put it before your texts yourself, in training and in \
             prediction"
        ));
    }
    for family in FAMILIES {
        let name = format!("sentence_{family}_config.json");
        let config: Value = read(&folder.join(&name))?.unwrap_or_default();
        if config["do_lower_case"] == true {
            changes.push(format!(
                "sentence-transformers lower-cases every text (`do_lower_case` in `{name}`), but `bayes` leaves \
                 that to the tokenizer; if the tokenizer keeps capitals, lower-case your texts yourself, in training \
                 and in prediction"
            ));
        }
    }
    Ok(changes)
}

/// The config of the pooling module, where there is one.
fn config(folder: &Path, modules: Option<&[Module]>) -> Option<PathBuf> {
    let Some(modules) = modules else {
        let usual = folder.join(POOLING);
        return usual.is_file().then_some(usual);
    };
    let pooling = modules.iter().find(|module| module.kind() == "Pooling");
    let path = pooling.and_then(Module::folder);
    path.map(|path| folder.join(path).join("config.json"))
}

/// A JSON file; `None` where there is none.
fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Option<T>, ModelError> {
    if !path.is_file() {
        return Ok(None);
    }
    let bytes =
        std::fs::read(path).map_err(|source| ModelError::Read { path: path.to_owned(), source })?;
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|error| ModelError::Config { path: path.to_owned(), message: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        folder
    }

    const MODULE: &str = r#"[{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}]"#;

    #[test]
    fn the_mode_is_the_one_whose_flag_is_set() {
        let mean = r#"{"word_embedding_dimension": 8, "pooling_mode_cls_token": false,
            "pooling_mode_mean_tokens": true, "include_prompt": true}"#;
        let cls = mean.replace("cls_token\": false", "cls_token\": true");
        let cls = cls.replace("mean_tokens\": true", "mean_tokens\": false");
        for (text, expected) in [(mean, Pooling::Mean), (&cls, Pooling::Cls)] {
            let with = folder(&[(MODULES, MODULE), (POOLING, text)]);
            assert_eq!(pooling_of(with.path()).unwrap(), Some(expected));
            let unit = MODULE.replace("}]", r#"}, {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"}]"#);
            let both = folder(&[(MODULES, &unit), (POOLING, text)]);
            let found = pooling_of(both.path()).unwrap();
            let mean = expected == Pooling::Mean;
            assert_eq!(found, Some(if mean { Pooling::Normalised } else { expected }));
            let alone = folder(&[(POOLING, text)]);
            assert_eq!(pooling_of(alone.path()).unwrap(), Some(expected));
        }
        let newer = folder(&[(POOLING, r#"{"embedding_dimension": 8, "pooling_mode": "cls"}"#)]);
        assert_eq!(pooling_of(newer.path()).unwrap(), Some(Pooling::Cls));
    }

    #[test]
    fn a_folder_that_says_nothing_has_none_and_other_modes_are_refused() {
        assert_eq!(pooling_of(folder(&[]).path()).unwrap(), None);
        let elsewhere = MODULE.replace("1_Pooling", "../..");
        assert_eq!(pooling_of(folder(&[(MODULES, &elsewhere)]).path()).unwrap(), None);
        let lost = folder(&[(MODULES, MODULE)]);
        let message = pooling_of(lost.path()).unwrap_err().to_string();
        assert!(message.contains("1_Pooling/config.json`: is missing"), "{message}");
        for text in [
            r#"{"pooling_mode_max_tokens": true}"#,
            r#"{"pooling_mode_mean_tokens": true, "pooling_mode_max_tokens": true}"#,
            r#"{"pooling_mode": "lasttoken"}"#,
        ] {
            let message = pooling_of(folder(&[(POOLING, text)]).path()).unwrap_err().to_string();
            assert!(message.contains("`model.pooling`"), "{message}");
        }
        let damaged = folder(&[(MODULES, "[{")]);
        assert!(matches!(pooling_of(damaged.path()), Err(ModelError::Config { .. })));
    }

    #[test]
    fn modules_that_are_not_read_are_named_and_other_encoders_refused() {
        let list = |kinds: &[&str]| {
            let one = |kind: &&str| {
                format!(r#"{{"path": "", "type": "sentence_transformers.models.{kind}"}}"#)
            };
            let text = kinds.iter().map(one).collect::<Vec<_>>().join(",");
            left_out(folder(&[(MODULES, &format!("[{text}]"))]).path())
                .map_err(|error| error.to_string())
        };
        assert_eq!(left_out(folder(&[]).path()).unwrap(), [""; 0]);
        let none: [&str; 0] = [];
        assert_eq!(list(&["Transformer", "Pooling", "Dropout", "Normalize"]).unwrap(), none);
        assert_eq!(list(&["Transformer", "Pooling", "Dense", "Normalize"]).unwrap(), ["Dense"]);
        assert_eq!(list(&["Transformer", "LSTM", "Pooling"]).unwrap(), ["LSTM"]);
        for first in ["CLIPModel", "WordEmbeddings", "BoW"] {
            let message = list(&[first, "Pooling"]).unwrap_err();
            assert!(message.contains(first) && message.contains("`Transformer`"), "{message}");
        }
    }

    #[test]
    fn what_is_done_to_texts_elsewhere_is_said() {
        let changes = |name: &str, config: &str| {
            unread_changes(folder(&[(name, config)]).path()).unwrap().join("; ")
        };
        let prompt = |config: &str| changes("config_sentence_transformers.json", config);
        let query =
            r#"{"prompts": {"query": "query: ", "none": ""}, "default_prompt_name": "query"}"#;
        assert!(prompt(query).contains("puts `query: ` before"));
        for without in [
            "{}",
            r#"{"prompts": {"query": "query: "}, "default_prompt_name": null}"#,
            r#"{"prompts": {"none": ""}, "default_prompt_name": "none"}"#,
            r#"{"prompts": {}, "default_prompt_name": "query"}"#,
        ] {
            assert_eq!(prompt(without), "", "{without}");
        }
        for name in ["sentence_bert_config.json", "sentence_xlm-roberta_config.json"] {
            assert!(changes(name, r#"{"do_lower_case": true}"#).contains(name));
            assert_eq!(changes(name, r#"{"do_lower_case": false, "max_seq_length": 9}"#), "");
        }
        assert_eq!(unread_changes(folder(&[]).path()).unwrap(), Vec::<String>::new());
    }
}
