//! What a folder has for other tools. `bayes` reads none of it for its answers, so the manifest has no hash of
//! it: it is made from the model wherever it is written, and compared with the model where a folder is read.

use std::path::Path;

use serde_json::Value;

use super::save::pretty;
use super::sentence::sentence_files;
use super::{Artifact, ArtifactError, SENTENCE_FILES, files};

const TOKENIZER_CONFIG: &str = "tokenizer_config.json";
const SPECIAL_TOKENS: &str = "special_tokens_map.json";
/// What transformers reads beside `tokenizer.json`.
pub(super) const TOKENIZER_FILES: [&str; 2] = [TOKENIZER_CONFIG, SPECIAL_TOKENS];
/// What transformers lays over the weights, if somebody put it beside them.
const ADAPTER: &str = "adapter_config.json";

impl Artifact {
    /// The files that transformers and sentence-transformers read besides those that `bayes` reads too.
    ///
    /// # Errors
    /// The weights cannot be read.
    pub fn for_other_tools(&self) -> Result<Vec<(&'static str, Vec<u8>)>, ArtifactError> {
        let Self { encoder, parameters, special_tokens, tokenizer, .. } = self;
        let cut = &self.manifest.preprocessing;
        let max_length = cut.max_length;
        let config = special_tokens.tokenizer_config(encoder, cut, tokenizer.puts_space());
        let mut all = vec![
            (TOKENIZER_CONFIG, pretty(&config)),
            (SPECIAL_TOKENS, pretty(&special_tokens.to_json())),
        ];
        all.extend(sentence_files(encoder, parameters, max_length)?);
        Ok(all)
    }
}

/// Says which of these files are not as the model has them: another tool would answer something else, or
/// nothing.
pub(super) fn tell_differences(folder: &Path, artifact: &Artifact) -> Result<(), ArtifactError> {
    let different = differences(folder, artifact)?;
    if !different.is_empty() {
        tracing::warn!(
            "{} of `{}` differs from the saved model. `bayes` does not read it, but Python does \
             and may return different predictions; restore it. `bayes publish` sends these files \
             in the version that belongs to the weights",
            different.join(", "),
            folder.display()
        );
    }
    Ok(())
}

/// Each of these files that is missing, changed, or of another model.
fn differences(folder: &Path, artifact: &Artifact) -> Result<Vec<String>, ArtifactError> {
    let expected = artifact.for_other_tools()?;
    let mut different = Vec::new();
    for name in TOKENIZER_FILES.into_iter().chain(SENTENCE_FILES).chain([ADAPTER]) {
        let own = expected.iter().find(|(own, _)| *own == name).map(|(_, bytes)| bytes);
        let what = match (own, files::read(folder, name)?) {
            (Some(_), None) => "is missing",
            (None, Some(_)) => "does not belong to it",
            (Some(own), Some(found)) if !same(name, own, &found.bytes) => "has changed",
            _ => continue,
        };
        different.push(format!("`{name}` ({what})"));
    }
    Ok(different)
}

/// White space and the order of keys are no change.
fn same(name: &str, one: &[u8], other: &[u8]) -> bool {
    let value = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).ok();
    one == other || (name.ends_with(".json") && value(one) == value(other))
}
