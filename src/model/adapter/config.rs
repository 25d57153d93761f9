//! `adapter_config.json`: what an adapter does to its base.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::super::architecture::Architecture;
use super::super::weight_files::{self, FORMS};
use super::super::{ModelError, here};
use super::targets::{Targets, of_pattern};
use super::{CONFIG, FILES, keys};
use crate::hub;
use crate::store;

/// The most bytes of the file.
const LONGEST: u64 = 1 << 20;

/// Keys that change what an adapter computes, in ways that are not merged here. Empty or false they do nothing.
const OTHER_KINDS: [&str; 12] = [
    "use_dora",
    "lora_bias",
    "use_qalora",
    "use_bdlora",
    "arrow_config",
    "kasa_config",
    "monteclora_config",
    "alora_invocation_tokens",
    "layer_replication",
    "trainable_token_indices",
    "target_parameters",
    "megatron_config",
];

/// Beginnings of A and B that leave the weights of the base as they are.
const HARMLESS: [&str; 4] = ["gaussian", "eva", "orthogonal", "mica"];

/// An adapter in a folder.
#[derive(Clone, Debug)]
pub(in crate::model) struct Adapter {
    folder: PathBuf,
    written: Written,
    pub(super) targets: Targets,
    /// What a person should know of its config.
    unknown: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Written {
    base_model_name_or_path: Option<String>,
    revision: Option<String>,
    task_type: Option<String>,
    lora_alpha: Option<f64>,
    use_rslora: bool,
    alpha_pattern: Option<Map<String, Value>>,
}

/// Whether a value turns something on.
pub(super) fn is_on(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::Array(all) => !all.is_empty(),
        Value::Object(all) => !all.is_empty(),
        _ => true,
    }
}

fn short(value: &Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    text.chars().take(60).collect()
}

impl Adapter {
    /// The adapter of a folder, if there is one.
    ///
    /// # Errors
    /// Its config cannot be read, or is of a kind that is not merged.
    pub(in crate::model) fn of(folder: &Path) -> Result<Option<Self>, ModelError> {
        let path = folder.join(CONFIG);
        // The manifest of a folder of ours vouches for one file, and for no adapter.
        if !path.is_file() || folder.join("bayes/manifest.json").is_file() {
            return Ok(None);
        }
        let failed = |source| ModelError::Read { path: path.clone(), source };
        let refuse = |message| ModelError::Config { path: path.clone(), message };
        let length = path.metadata().map_err(failed)?.len();
        if length > LONGEST {
            return Err(refuse(format!("has {length} bytes, but at most {LONGEST} are read")));
        }
        let bytes = std::fs::read(&path).map_err(failed)?;
        let source: Map<String, Value> = store::from_json(store::without_mark(&bytes))
            .map_err(|error| refuse(error.to_string()))?;
        let written: Written = serde_json::from_value(Value::Object(source.clone()))
            .map_err(|error| refuse(error.to_string()))?;
        let targets: Targets = serde_json::from_value(Value::Object(source.clone()))
            .map_err(|error| refuse(error.to_string()))?;
        let unknown = keys::remark(&source);
        let adapter = Self { folder: folder.to_owned(), written, targets, unknown };
        match other_kind(&source) {
            Some(kind) => Err(adapter.unmerged(&kind)),
            None => Ok(Some(adapter)),
        }
    }

    /// Why it is not merged, and what to do.
    pub(in crate::model) fn unmerged(&self, why: &str) -> ModelError {
        ModelError::Adapter { folder: self.folder.clone(), message: why.to_owned() }
    }

    /// Why its config and its weights do not belong together.
    pub(super) fn apart(&self, why: &str) -> ModelError {
        let message = format!(
            "{why}: it and the weights of the adapter do not belong together, or one of them is damaged; get the \
             adapter again"
        );
        ModelError::Config { path: self.folder.join(CONFIG), message }
    }

    /// Its weights.
    pub(in crate::model) fn weights(&self) -> Result<PathBuf, ModelError> {
        let names = FILES.into_iter().skip(1);
        let there = names.map(|name| self.folder.join(name)).find(|path| path.is_file());
        there.ok_or_else(|| ModelError::Missing {
            folder: self.folder.clone(),
            file: FILES[1],
            hint: "it has an `adapter_config.json`: restore the weights of the adapter, or delete that file if \
                   the folder is a whole model",
        })
    }

    /// What its config calls the base.
    pub(in crate::model) fn base_name(&self) -> Result<&str, ModelError> {
        let refuse =
            |message: String| ModelError::Config { path: self.folder.join(CONFIG), message };
        if let Some(revision) = self.written.revision.as_deref().filter(|&one| one != "main") {
            return Err(refuse(format!(
                "asks for the revision `{}` of its base; fetch that, and give its folder as \
                 `base_model_name_or_path`",
                revision.chars().take(60).collect::<String>()
            )));
        }
        let name = self.written.base_model_name_or_path.as_deref().filter(|name| !name.is_empty());
        name.ok_or_else(|| {
            refuse(
                "has no `base_model_name_or_path`; give the folder or Hub id of its base"
                    .to_owned(),
            )
        })
    }

    /// The folder of the base: this one, where it has a whole model too, as in transformers; else the one that the
    /// config names, on this machine.
    pub(in crate::model) fn base(&self) -> Result<PathBuf, ModelError> {
        if self.has_own_base() {
            return Ok(self.folder.clone());
        }
        let name = self.base_name()?;
        let Some(base) = here(name) else {
            return Err(ModelError::Config {
                path: self.folder.join(CONFIG),
                message: format!(
                    "says that the base of this adapter is `{}`, which is neither a folder nor in the Hub's cache \
                     on this machine; give the folder or Hub id of the base as `base_model_name_or_path`",
                    name.chars().take(100).collect::<String>()
                ),
            });
        };
        if base.join(CONFIG).is_file() {
            return Err(self.unmerged("its base is an adapter too"));
        }
        Ok(base)
    }

    /// Whether the folder has a whole model beside the adapter.
    pub(in crate::model) fn has_own_base(&self) -> bool {
        let has = |name: &&str| self.folder.join(name).is_file();
        has(&"config.json") && FORMS.iter().any(has)
    }

    /// The base, for people: an id, or the name of a folder without its path.
    pub(in crate::model) fn shown_base(&self) -> String {
        if self.has_own_base() {
            return "the model beside it".to_owned();
        }
        let name = self.written.base_model_name_or_path.as_deref().unwrap_or_default();
        let is_folder = Path::new(name).is_dir() || !hub::is_id(name);
        let last = Path::new(name).file_name().map(|last| last.to_string_lossy().into_owned());
        let shown = last.filter(|_| is_folder).unwrap_or_else(|| name.to_owned());
        format!("`{}`", shown.chars().take(100).collect::<String>())
    }

    /// What a person should know of it.
    pub(in crate::model) fn remarks(&self, own_base: bool) -> Vec<String> {
        let merged = match own_base {
            true => "`adapter_config.json` lies beside a whole model; its adapter is merged into that, as in \
                     transformers with PEFT; delete the file if the model has it already"
                .to_owned(),
            false => format!("this is a LoRA adapter, merged into {} while reading", self.shown_base()),
        };
        std::iter::once(merged).chain(self.unknown.clone()).collect()
    }

    /// α of a module.
    pub(super) fn alpha(&self, module: &str) -> Result<f64, ModelError> {
        let own = self.written.alpha_pattern.as_ref().map(|all| of_pattern(all, module));
        match own.transpose().map_err(|why| self.unmerged(&why))?.flatten() {
            Some(alpha) => {
                alpha.as_f64().ok_or_else(|| self.unmerged("`alpha_pattern` has no number"))
            }
            // The default of PEFT.
            None => Ok(self.written.lora_alpha.unwrap_or(8.0)),
        }
    }

    /// Whether the head of the base is part of what was trained.
    pub(in crate::model) fn is_classifier(&self) -> bool {
        self.written.task_type.as_deref() == Some("SEQ_CLS")
    }

    pub(super) fn rank_stabilised(&self) -> bool {
        self.written.use_rslora
    }

    /// The config of its base with what the adapter changes of it: it has no `config.json` of its own, and the number
    /// of classes stands only in its weights.
    pub(in crate::model) fn amend(
        &self,
        config: &mut Map<String, Value>,
    ) -> Result<(), ModelError> {
        let model_type = config.get("model_type").and_then(Value::as_str).unwrap_or_default();
        // A family that is not read is refused where the config is.
        let Ok(architecture) = Architecture::of(model_type) else { return Ok(()) };
        let outputs = weight_files::outputs(&self.weights()?, architecture.head.last)?;
        let kind = match (self.written.task_type.as_deref(), outputs) {
            (Some("SEQ_CLS"), _) | (None, Some(_)) => "ForSequenceClassification",
            (Some("TOKEN_CLS"), _) => "ForTokenClassification",
            (Some("QUESTION_ANS"), _) => "ForQuestionAnswering",
            (Some(other @ ("CAUSAL_LM" | "SEQ_2_SEQ_LM")), _) => {
                return Err(self.unmerged(&format!("it is for `{other}`, not for classification")));
            }
            _ => "",
        };
        if !kind.is_empty() {
            let class = format!("{}{kind}", architecture.class);
            config.insert("architectures".to_owned(), json!([class]));
        }
        let named = config.get("id2label").and_then(Value::as_object).map(Map::len);
        if let Some(outputs) = outputs.filter(|&outputs| named != Some(outputs)) {
            config.shift_remove("id2label");
            config.shift_remove("label2id");
            config.insert("num_labels".to_owned(), json!(outputs));
        }
        Ok(())
    }
}

/// What of a config is not merged, if anything.
fn other_kind(source: &Map<String, Value>) -> Option<String> {
    let of = |key: &str| source.get(key).filter(|value| is_on(value));
    let kind = of("peft_type").map_or_else(|| "none".to_owned(), short);
    if kind != "LORA" {
        return Some(format!("`peft_type` is `{kind}`, not `LORA`"));
    }
    if let Some(key) = OTHER_KINDS.into_iter().find(|key| of(key).is_some()) {
        let note = if key == "use_dora" { " (DoRA)" } else { "" };
        return Some(format!("`{key}` is set{note}"));
    }
    if let Some(bias) = of("bias").filter(|bias| **bias != "none") {
        return Some(format!("`bias` is `{}`, not `none`", short(bias)));
    }
    let begin = of("init_lora_weights").and_then(Value::as_str);
    let begin = begin.filter(|begin| !HARMLESS.contains(begin))?;
    let begin: String = begin.chars().take(60).collect();
    Some(format!("`init_lora_weights` is `{begin}`, which changes the weights of the base too"))
}
