//! Which experiment a command is about: flags that `train` and `dataset prepare` share, so that what one
//! prepares is what the other reads.

use std::path::{Path, PathBuf};

use clap::Args;

use super::tables::TableFlags;
use crate::data::{Overrides, Suite};
use crate::experiment::{CLASSIFY, Experiment, ExperimentError, QUICK_START, told_repeated};
use crate::model::{FROM_SCRATCH, SIZES};
use crate::store;

/// Of two values of `--set` for one key the last one counts, and that is told.
///
/// # Errors
/// The value is a table.
pub fn tell_repeated(settings: &[String]) -> Result<(), ExperimentError> {
    let told = told_repeated(settings)
        .map_err(|message| ExperimentError::Config { place: "`--set`".to_owned(), message })?;
    told.into_iter().for_each(|said| tracing::warn!("`--set`: {said}"));
    Ok(())
}

/// Data, a config file, an encoder, and keys.
#[derive(Clone, Debug, Args)]
pub struct ExperimentFlags {
    /// File, folder, built-in data set name or Hub id; without DATA or --config, the quick-start
    /// example is used
    data: Option<String>,
    /// The experiment file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The pretrained encoder or starting model: a folder, a Hub id, or none to train one from scratch
    /// [default for your own data: sentence-transformers/all-MiniLM-L6-v2]
    #[arg(long, value_name = "ID|DIR|none")]
    init: Option<String>,
    /// Override a key of the experiment, such as train.seed=7
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
    #[command(flatten)]
    tables: TableFlags,
}

impl ExperimentFlags {
    /// The experiment that they describe.
    pub fn experiment(&self) -> Result<Experiment, ExperimentError> {
        self.refuse_twice()?;
        let mut settings = Vec::new();
        if let Some(data) = &self.data {
            if self.config.is_none() {
                settings.push(format!("name={}", name_of(data)));
            }
            // Quoted, since names of files may begin with a quote or a space.
            settings.push(format!("data.dataset={}", toml::Value::String(data.clone())));
        }
        settings.extend(self.init.iter().map(|init| format!("model.init={init}")));
        settings.extend(self.settings.iter().cloned());
        let mut experiment = self.written(settings)?;
        let refuse = |message| ExperimentError::Config { place: "the flags".to_owned(), message };
        self.tables.overrides().apply(&mut experiment.data).map_err(refuse)?;
        Ok(experiment)
    }

    /// The experiment that all tasks of a suite have, on the first one of them.
    pub fn of_suite(&self, suite: Suite) -> Result<Experiment, ExperimentError> {
        let first = suite.tasks().next().map_or("", |known| known.name);
        let own = Self { data: Some(first.to_owned()), ..self.clone() };
        let refuse = |message| ExperimentError::Config { place: "the flags".to_owned(), message };
        if sets(&self.settings, "data.dataset") {
            let said = "`--suite` and `--set data.dataset` set the same key; give only one of them";
            return Err(refuse(said.to_owned()));
        }
        if let Some(flag) = self.tables.given().first() {
            return Err(refuse(format!(
                "`{flag}` is about one data set, and `--suite` trains several; remove it"
            )));
        }
        let experiment = own.experiment()?;
        Ok(match self.config.is_some() || sets(&self.settings, "name") {
            true => experiment,
            false => Experiment { name: suite.name().to_owned(), ..experiment },
        })
    }

    /// The data that are named.
    pub fn data(&self) -> Option<&str> {
        self.data.as_deref()
    }

    /// What stands behind `--set`.
    pub fn settings(&self) -> &[String] {
        &self.settings
    }

    /// How their tables are read.
    pub fn overrides(&self) -> Overrides {
        self.tables.overrides()
    }

    /// Refuses a key that a flag sets and `--set` too: one of them would have no effect.
    fn refuse_twice(&self) -> Result<(), ExperimentError> {
        tell_repeated(&self.settings)?;
        let own = [
            ("the data set", "data.dataset", self.data.is_some()),
            ("`--init`", "model.init", self.init.is_some()),
        ];
        let own = own.into_iter().filter(|(_, _, given)| *given);
        let own = own.map(|(flag, key, _)| (flag.to_owned(), key.to_owned()));
        let of_tables = self
            .tables
            .given()
            .into_iter()
            .map(|flag| (format!("`{flag}`"), format!("data.{}", flag[2..].replace('-', "_"))));
        for (flag, key) in own.chain(of_tables) {
            if sets(&self.settings, &key) {
                return Err(ExperimentError::Config {
                    place: "the flags".to_owned(),
                    message: format!(
                        "{flag} and `--set {key}` set the same key; give only one of them"
                    ),
                });
            }
        }
        Ok(())
    }

    /// The experiment that the config and the settings describe, or one of the built-in recipes.
    fn written(&self, mut settings: Vec<String>) -> Result<Experiment, ExperimentError> {
        if let Some(path) = &self.config {
            return Experiment::read(path, &settings);
        }
        let own = self.data.as_deref().is_some_and(|data| data != "reviews");
        let encoder = init(&settings).is_some_and(|init| init != FROM_SCRATCH);
        let new = init(&settings).is_some()
            || SIZES.iter().any(|key| sets(&settings, &format!("model.{key}")));
        if encoder || (own && !new) {
            if !own {
                settings.insert(0, "data.dataset=reviews".to_owned());
            }
            return Experiment::parse(CLASSIFY, "the settings", &settings);
        }
        if own {
            settings.splice(..0, of_own_data(&settings));
        }
        Experiment::parse(QUICK_START, "the settings", &settings)
    }
}

/// What is different from the quick start where an encoder from scratch is trained on somebody's own data: their
/// texts may be longer, and few rows are read more often. The rates of `classify.toml` are those of a pretrained
/// encoder, and too low for a new one.
fn of_own_data(settings: &[String]) -> Vec<String> {
    let width =
        settings.iter().rfind(|setting| setting.trim_start().starts_with("model.hidden_size"));
    let width = width.and_then(|setting| setting.split_once('=')?.1.trim().parse::<usize>().ok());
    let width = width.map(|width| format!("model.intermediate_size={}", width.saturating_mul(4)));
    let length = ["data.max_length=256", "train.num_train_epochs=0"].map(str::to_owned);
    length.into_iter().chain(width).collect()
}

/// What an experiment on these data is called: by their file or folder. Letters that no name of a folder
/// should have become `-`, and then a few digits of a hash tell `评论` from `数据`.
fn name_of(data: &str) -> String {
    let path = Path::new(data);
    let real = if path.is_dir() { path.canonicalize().ok() } else { None };
    let path = real.as_deref().unwrap_or(path);
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let stem = stem.strip_suffix(".csv").or(stem.strip_suffix(".tsv")).unwrap_or(&stem);
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    let name: String = stem.chars().map(|c| if allowed(c) { c } else { '-' }).collect();
    if stem.is_ascii() && name.contains(|c: char| c.is_ascii_alphanumeric()) {
        return name;
    }
    let digits = store::sha256(stem.as_bytes());
    let name = name.trim_matches('-');
    let name = if name.is_empty() { "data" } else { name };
    format!("{name}-{}", &digits[..6])
}

/// The encoder that settings name last.
fn init(settings: &[String]) -> Option<&str> {
    let value = |setting: &'_ String| Some(setting.split_once('=')?.0.trim() == "model.init");
    let named = settings.iter().rfind(|setting| value(setting) == Some(true))?;
    named.split_once('=').map(|(_, init)| init.trim().trim_matches('"'))
}

/// Whether settings name a key of `[model]`.
fn sets(settings: &[String], key: &str) -> bool {
    let name = |setting: &String| setting.split_once('=').map(|(name, _)| name.trim().to_owned());
    settings.iter().any(|setting| name(setting).as_deref() == Some(key))
}
