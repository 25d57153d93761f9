//! A classifier that sentence-transformers wrote: its `modules.json` says how its encoder is pooled, which
//! `config.json` does not.

use std::path::{Path, PathBuf};

use safetensors::SafeTensors;
use serde_json::Value;

use super::sentence::last;
use super::{ArtifactError, files};
use crate::model::{
    EncoderConfig, MODULES, ModelError, Module, Parameters, Pooling, modules_of, pooling_of,
};

/// Numbers that two programs have written may differ by that share.
const ROUNDING: f32 = 1e-4;

/// A last layer that stands in the list of modules too.
#[derive(Debug)]
pub(super) struct Dense {
    path: PathBuf,
    name: String,
}

/// Sets the pooling that the list of modules names. What the modules say of the last layer is to be
/// [checked](Dense::check) when there are weights.
pub(super) fn follow(
    folder: &Path,
    encoder: &mut EncoderConfig,
) -> Result<Option<Dense>, ArtifactError> {
    let Some(modules) = modules_of(folder)? else { return Ok(None) };
    let kinds: Vec<&str> = modules.iter().map(Module::kind).collect();
    if !kinds.contains(&"Pooling") {
        return Ok(None);
    }
    let refuse = |message: String| ArtifactError::Nonsense { path: folder.join(MODULES), message };
    let dense = match kinds.as_slice() {
        ["Transformer", "Pooling"] | ["Transformer", "Pooling", "Normalize"] => None,
        ["Transformer", "Pooling", "Dense"] | ["Transformer", "Pooling", "Normalize", "Dense"] => {
            modules.last()
        }
        other => {
            return Err(refuse(format!(
                "it names the modules {}, but a classifier must have Transformer, Pooling, \
                 optionally Normalize, and optionally Dense, in that order",
                other.join(", ")
            )));
        }
    };
    let pooling = match pooling_of(folder) {
        Err(ModelError::Pooling { path, mode }) => {
            return Err(refuse(format!(
                "`{}` pools the tokens of a text by {mode}, but a classifier must use mean or \
                 first-token (cls) pooling",
                path.display()
            )));
        }
        // With modules there is one.
        found => found?.unwrap_or_default(),
    };
    let architecture = encoder.source.get("architectures").and_then(|all| all.get(0)?.as_str());
    if encoder.source.contains_key("bayes") {
        if pooling != encoder.pooling {
            return Err(refuse(format!(
                "it pools by {}, but `config.json` by {} (`bayes.pooling`); delete the one that is \
                 wrong",
                words(pooling),
                words(encoder.pooling)
            )));
        }
    } else if let Some(name) =
        architecture.filter(|name| name.ends_with("ForSequenceClassification"))
    {
        return Err(refuse(format!(
            "it pools by {}, but `config.json` names `{name}`, whose head reads the first token \
             through a layer of its own; delete `{MODULES}` to use that head, or name only the \
             encoder under `architectures`",
            words(pooling)
        )));
    } else if pooling == Pooling::Normalised && dense.is_none() {
        return Err(refuse(
            "it scales texts to vectors of length one before the classifier, and no module says \
             what its weights are for; classifiers on such vectors need a Dense module"
                .to_owned(),
        ));
    }
    encoder.pooling = pooling;
    let Some(dense) = dense else { return Ok(None) };
    match dense.folder() {
        Some(name) => Ok(Some(Dense { path: folder.to_owned(), name: name.to_owned() })),
        None => Err(refuse(format!("folder `{}` is missing next to it", dense.path))),
    }
}

fn words(pooling: Pooling) -> &'static str {
    match pooling {
        Pooling::Auto => "the head of transformers",
        Pooling::Mean => "the mean of all tokens",
        Pooling::Normalised => "the mean of all tokens, scaled",
        Pooling::Cls => "the first token",
    }
}

impl Dense {
    /// Refuses a module that is not the classifier of the weights: each gives other answers.
    pub(super) fn check(
        &self,
        encoder: &EncoderConfig,
        parameters: &Parameters,
    ) -> Result<(), ArtifactError> {
        let refuse = |file: &str, message: &str| ArtifactError::Nonsense {
            path: self.path.join(&self.name).join(file),
            message: message.to_owned(),
        };
        let read = |file: &str| {
            let name = format!("{}/{file}", self.name);
            // What is no file is not waited for.
            let there = self.path.join(&name).is_file();
            let found = if there { files::read(&self.path, &name)? } else { None };
            found.ok_or_else(|| refuse(file, &format!("`{MODULES}` names it, but it is missing")))
        };
        let config: Value = serde_json::from_slice(&read("config.json")?.bytes)
            .map_err(|error| refuse("config.json", &error.to_string()))?;
        let identity = |name: &str| name.rsplit('.').next() == Some("Identity");
        if !config["activation_function"].as_str().is_some_and(identity) {
            return Err(refuse(
                "config.json",
                "the `activation_function` of a last layer must be Identity",
            ));
        }
        const WEIGHTS: &str = "model.safetensors";
        let own = last(parameters, encoder)?;
        let found = read(WEIGHTS)?;
        if !same(&own, &found.bytes) {
            return Err(refuse(
                WEIGHTS,
                "its layer is not the classifier in `model.safetensors`; delete one of the two, \
                 with its line in `modules.json`",
            ));
        }
        Ok(())
    }
}

/// Whether two files have the same layer.
fn same(one: &[u8], other: &[u8]) -> bool {
    let parsed = |bytes| SafeTensors::deserialize(bytes).ok();
    let (Some(one), Some(other)) = (parsed(one), parsed(other)) else { return false };
    ["linear.weight", "linear.bias"].iter().all(|name| {
        let (Ok(one), Ok(other)) = (one.tensor(name), other.tensor(name)) else { return false };
        let shapes = one.shape() == other.shape() && one.dtype() == other.dtype();
        let number = |four: &[u8]| f32::from_le_bytes([four[0], four[1], four[2], four[3]]);
        let mut pairs = one.data().chunks_exact(4).zip(other.data().chunks_exact(4));
        shapes
            && pairs.all(|(one, other)| {
                let (one, other) = (number(one), number(other));
                (one - other).abs() <= ROUNDING * one.abs().max(other.abs()) + f32::MIN_POSITIVE
            })
    })
}
