//! A model folder by its path or its Hub id.

use std::path::{Path, PathBuf};

use super::ModelError;
use super::adapter::{Adapter, FILES as ADAPTER_FILES};
use super::sentence::{MODULES, POOLING};
use super::weight_files::{FORMS, shards};
use crate::hub::{self, Client, Entry, HubError, Listing, Repository};

/// Without this, weights, and one of these lists of files there is nothing to load.
const CONFIG: &str = "config.json";
pub(super) const TOKENIZERS: [&[&str]; 6] = [
    &["tokenizer.json"],
    &["vocab.txt"],
    &["vocab.json", "merges.txt"],
    &["sentencepiece.bpe.model"],
    &["spiece.model"],
    &["spm.model"],
];
/// Tokens that are added to the vocabulary: those of `tokenizer.json` must be among its own.
const ADDED_TOKENS: &str = "added_tokens.json";
/// What else is read where it is there, besides the folder `bayes`.
const FURTHER: [&str; 8] = [
    "tokenizer_config.json",
    "special_tokens_map.json",
    "README.md",
    MODULES,
    POOLING,
    "sentence_bert_config.json",
    "2_Dense/config.json",
    "2_Dense/model.safetensors",
];
/// Ends of files with weights that are programs for Python's unpickler.
const PICKLES: [&str; 5] = [".bin", ".pt", ".pth", ".ckpt", ".pkl"];

/// What transformers leaves on the Hub: what only `bayes` reads, and how sentence-transformers reads an
/// encoder.
const LEFT: [&str; 2] = ["bayes/manifest.json", MODULES];

/// The folder of a model that is on this machine, a path or a Hub id in the cache.
pub fn here(name: &str) -> Option<PathBuf> {
    let path = Path::new(name);
    if path.is_dir() {
        return Some(path.to_owned());
    }
    hub::is_id(name).then(|| hub::cached(&Repository::model(name), "main"))?
}

/// The folder of that path, else what the Hub has under that id: from the cache, or fetched.
///
/// # Errors
/// It is neither, it cannot be fetched, or it has no weights.
pub fn obtain(name: &str) -> Result<PathBuf, ModelError> {
    let folder = find(name)?;
    if let Some(adapter) = Adapter::of(&folder)?.filter(|adapter| !adapter.has_own_base()) {
        let base = find(adapter.base_name()?);
        base.map_err(|source| ModelError::Base { adapter: folder.clone(), source: source.into() })?;
    }
    Ok(folder)
}

/// The same without the base of an adapter.
fn find(name: &str) -> Result<PathBuf, ModelError> {
    let path = Path::new(name);
    if path.is_dir() {
        return Ok(path.to_owned());
    }
    // What begins with a folder that is here, or with that of our models, is a path with a slip.
    let first = name.split('/').next().unwrap_or_default();
    let is_path = name.contains('/') && (first == "checkpoints" || Path::new(first).is_dir());
    if is_path || !hub::is_id(name) {
        return Err(ModelError::NoFolder { name: name.to_owned() });
    }
    let repository = Repository::model(name);
    let whole = |folder: &PathBuf| {
        let has = |name: &str| folder.join(name).is_file();
        let weights = weights(&has, &|index| shards(&folder.join(index)));
        lacking(&has).is_none() && weights.is_ok_and(|all| all.iter().all(|name| has(name)))
    };
    if let Some(folder) = hub::cached(&repository, "main").filter(whole) {
        let unknown =
            |name: &&str| !folder.join(name).is_file() && !hub::lacks(&repository, &folder, name);
        let unknown: Vec<&str> = LEFT.into_iter().filter(unknown).collect();
        if !unknown.is_empty() {
            complete(&repository, &folder, &unknown);
        }
        return Ok(folder);
    }
    let failed =
        |source| ModelError::NotFetched { name: name.to_owned(), source: Box::new(source) };
    let client = Client::from_env().map_err(failed)?;
    let listing = client.listing(&repository, "main").map_err(failed)?;
    let has = |name: &str| listing.entries.iter().any(|entry| entry.path == name);
    let missing = |file: &str| ModelError::NotOnHub { id: name.to_owned(), file: file.to_owned() };
    if let Some(file) = lacking(&has) {
        return Err(missing(file));
    }
    let fetch = |files: &[&Entry]| -> Result<PathBuf, ModelError> {
        Ok(client.fetch(&listing, files).map_err(failed)?.folder)
    };
    let weights = weights(&has, &|index| {
        let folder = fetch(&named(&listing, &[index.to_owned()]))?;
        shards(&folder.join(index))
    })?;
    if let Some(file) = weights.iter().find(|file| !has(file)) {
        return Err(missing(file));
    }
    let needed = |entry: &&Entry| is_read(&entry.path) && is_needed(&entry.path, &has);
    let others = listing.entries.iter().filter(needed);
    fetch(&others.chain(named(&listing, &weights)).collect::<Vec<_>>())
}

/// The entries of these names.
fn named<'a>(listing: &'a Listing, names: &[String]) -> Vec<&'a Entry> {
    listing.entries.iter().filter(|entry| names.contains(&entry.path)).collect()
}

/// The files of the weights: of one form, and of an adapter. `shards` are those that an index names.
fn weights(
    has: &dyn Fn(&str) -> bool,
    shards: &dyn Fn(&str) -> Result<Vec<String>, ModelError>,
) -> Result<Vec<String>, ModelError> {
    let mut all = Vec::new();
    if let Some(form) = FORMS.into_iter().find(|form| has(form)) {
        all.push(form.to_owned());
        if form.ends_with(".json") {
            all.extend(shards(form)?);
        }
    }
    let [config, adapters @ ..] = ADAPTER_FILES;
    if has(config) {
        let adapter = adapters.into_iter().find(|name| has(name));
        all.extend([config, adapter.unwrap_or(adapters[0])].map(str::to_owned));
    }
    Ok(all)
}

/// Fetches what Python left out of a snapshot: a posterior that is only on the Hub would be missed
/// without a word. That there is none is remembered, as Python does. Where the Hub is not reached, what
/// is here has to do.
fn complete(repository: &Repository, folder: &Path, unknown: &[&str]) {
    let commit = folder.file_name().unwrap_or_default().to_string_lossy();
    let completed = || -> Result<(), HubError> {
        let client = Client::from_env()?;
        let listing = client.clone().impatient().listing(repository, &commit)?;
        let there = |name: &str| listing.entries.iter().any(|entry| entry.path == name);
        for name in unknown.iter().filter(|name| !there(name)) {
            hub::note_lack(repository, folder, name)?;
        }
        if unknown.iter().any(|name| there(name)) {
            let has = |name: &str| folder.join(name).is_file();
            // The weights are here.
            let weights = weights(&has, &|index| shards(&folder.join(index))).unwrap_or_default();
            let needed = |entry: &&Entry| is_read(&entry.path) && is_needed(&entry.path, &there);
            let others = listing.entries.iter().filter(needed);
            let files: Vec<&Entry> = others.chain(named(&listing, &weights)).collect();
            client.fetch(&listing, &files)?;
        }
        Ok(())
    };
    match completed() {
        Ok(()) => {}
        Err(error @ HubError::Offline { .. }) => tracing::debug!("{error}"),
        Err(error) => tracing::warn!(
            "it is unknown whether {repository} has a posterior on the Hub, and the cache has \
             none: {error}"
        ),
    }
}

/// The first file without which there is nothing to load, of those that are not there.
fn lacking(has: &dyn Fn(&str) -> bool) -> Option<&'static str> {
    let weights = FORMS.iter().any(|form| has(form));
    let [adapter, adapters @ ..] = ADAPTER_FILES;
    if has(adapter) && !(has(CONFIG) && weights) {
        // The rest is that of its base.
        return (!adapters.iter().any(|name| has(name))).then_some(adapters[0]);
    }
    let tokenizer = TOKENIZERS.iter().any(|files| files.iter().all(|name| has(name)));
    let needed = [(has(CONFIG), CONFIG), (weights, FORMS[0]), (tokenizer, TOKENIZERS[0][0])];
    needed.into_iter().find_map(|(there, name)| (!there).then_some(name))
}

/// Whether a file is read that is none of weights.
fn is_read(path: &str) -> bool {
    let tokenizer = TOKENIZERS.iter().any(|files| files.contains(&path));
    let tokenizer = tokenizer || path == ADDED_TOKENS;
    let named = tokenizer || path == CONFIG || FURTHER.contains(&path);
    named || (path.starts_with("bayes/") && !is_pickle(path))
}

/// Not so are the files that `tokenizer.json` has replaced.
fn is_needed(path: &str, has: &dyn Fn(&str) -> bool) -> bool {
    let [newest, older @ ..] = TOKENIZERS;
    let is_older = older.iter().any(|files| files.contains(&path));
    !(is_older && has(newest[0]))
}

fn is_pickle(path: &str) -> bool {
    PICKLES.iter().any(|end| path.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_has_a_tokenizer_in_one_of_several_forms() {
        let with = |more: &[&str]| {
            lacking(&|name| {
                ["config.json", "model.safetensors"].contains(&name) || more.contains(&name)
            })
        };
        assert_eq!(with(&["tokenizer.json"]), None);
        assert_eq!(with(&["vocab.txt"]), None);
        assert_eq!(with(&["vocab.json", "merges.txt"]), None);
        for model in ["sentencepiece.bpe.model", "spiece.model", "spm.model"] {
            assert_eq!(with(&[model]), None);
        }
        assert_eq!(with(&["vocab.json"]), Some("tokenizer.json"));
        assert_eq!(lacking(&|_| false), Some("config.json"));
    }

    #[test]
    fn weights_come_in_the_first_form_that_is_there() {
        let fetched = |there: &[&str]| {
            let has = |name: &str| there.contains(&name);
            weights(&has, &|index| Ok(vec![format!("a part of {index}")])).unwrap()
        };
        let all = [FORMS[3], FORMS[2], FORMS[1], FORMS[0]];
        assert_eq!(fetched(&all), [FORMS[0]]);
        assert_eq!(fetched(&all[..3]), [FORMS[1], "a part of model.safetensors.index.json"]);
        assert_eq!(fetched(&all[..2]), [FORMS[2]]);
        assert_eq!(fetched(&all[..1]), [FORMS[3], "a part of pytorch_model.bin.index.json"]);
        assert_eq!(fetched(&["model.fp16.safetensors"]), [""; 0]);
        let adapter = ["adapter_config.json", "adapter_model.bin"];
        assert_eq!(fetched(&adapter), adapter);
        assert_eq!(lacking(&|name| adapter.contains(&name)), None);
        assert_eq!(lacking(&|name| name == adapter[0]), Some("adapter_model.safetensors"));
    }

    #[test]
    fn what_tokenizer_json_has_replaced_is_not_fetched() {
        let older = ["vocab.txt", "merges.txt", "spm.model"];
        for path in older {
            assert!(is_read(path), "{path}");
            assert!(is_needed(path, &|name| older.contains(&name)), "{path}");
            assert!(!is_needed(path, &|_| true), "{path}");
        }
        let others = ["tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"];
        for path in ["tokenizer.json"].into_iter().chain(others) {
            assert!(is_read(path) && is_needed(path, &|_| true), "{path}");
        }
    }

    #[test]
    fn of_the_other_files_those_are_fetched_that_are_read() {
        for path in ["config.json", "bayes/members/1.safetensors", "vocab.txt"] {
            assert!(is_read(path), "{path}");
        }
        for path in ["bayes/a.pkl", "tf_model.h5", "onnx/model.onnx", "training_args.bin"] {
            assert!(!is_read(path), "{path}");
        }
    }

    #[test]
    fn a_folder_is_itself_and_a_path_that_is_none_is_no_id() {
        let home = tempfile::tempdir().unwrap();
        let name = home.path().to_str().unwrap();
        assert_eq!(obtain(name).unwrap(), home.path());
        for path in [format!("{name}/none"), "checkpoints/none".to_owned(), "src/none".to_owned()] {
            let error = obtain(&path).unwrap_err();
            assert!(matches!(error, ModelError::NoFolder { .. }), "{error}");
        }
    }
}
