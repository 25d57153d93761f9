//! The experiment file: what was written, overridden, and checked.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::unused::OF_HEAD;
use super::{ExperimentError, keys};
use crate::calibrate::CalibrationConfig;
use crate::calibrate::novelty::NoveltyMethod;
use crate::data::{CrossFit, DataConfig};
use crate::method::PosteriorConfig;
use crate::model::{FROM_SCRATCH, ModelConfig, PositionEmbedding};
use crate::publish::PublishConfig;
use crate::store::without_mark;
use crate::train::{Recipe, TrainConfig};

/// The experiment that `bayes train` runs when nothing is given.
pub const QUICK_START: &str = include_str!("../../../configs/reviews.toml");

/// The recipe of `bayes train DATA`, for people's own data.
pub const CLASSIFY: &str = include_str!("../../../configs/classify.toml");

/// Keys that scripts give to every recipe: without effect for the recipe `head`, which is said.
const OF_SCRIPTS: [&str; 2] = ["train.tensorboard", "train.max_time"];

/// One experiment, with every key resolved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Experiment {
    /// Names the folders under `checkpoints` and `runs`.
    pub name: String,
    /// Which rows.
    pub data: DataConfig,
    /// Which encoder.
    pub model: ModelConfig,
    /// How it is trained.
    pub train: TrainConfig,
    /// How the posterior is approximated.
    pub posterior: PosteriorConfig,
    /// How probabilities are corrected.
    pub calibration: CalibrationConfig,
    /// Where it is published, and the words of its card.
    pub publish: PublishConfig,
    /// Keys that a person wrote, in a file or behind `--set`.
    #[serde(skip)]
    pub written: BTreeSet<String>,
    /// Keys of a file that another one, behind `--set` or a flag, left without effect.
    #[serde(skip)]
    pub gave_way: BTreeSet<String>,
}

impl Default for Experiment {
    fn default() -> Self {
        Self {
            name: "experiment".to_owned(),
            data: DataConfig::default(),
            model: ModelConfig::default(),
            train: TrainConfig::default(),
            posterior: PosteriorConfig::default(),
            calibration: CalibrationConfig::default(),
            publish: PublishConfig::default(),
            written: BTreeSet::new(),
            gave_way: BTreeSet::new(),
        }
    }
}

impl Experiment {
    /// Whether the method changes how weights are trained, and not only what is made of them.
    pub(super) fn shapes_training(&self) -> bool {
        self.posterior.approach().needs().shapes_training()
    }

    /// Reads a file, applies `key=value` settings in their order, and checks the result.
    pub fn read(path: &Path, settings: &[String]) -> Result<Self, ExperimentError> {
        let bytes = std::fs::read(path).map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => ExperimentError::NoFile(path.to_owned()),
            _ => ExperimentError::Read { path: path.to_owned(), source },
        })?;
        let place = format!("`{}`", path.display());
        let text = text(&bytes)
            .map_err(|message| ExperimentError::Config { place: place.clone(), message })?;
        let mut experiment = Self::parse(text, &place, settings)?;
        let table = toml::from_str(text).expect("it was parsed before");
        experiment.written.extend(keys::named(table).into_keys());
        Ok(experiment)
    }

    /// The same for a text that is built in, or was written by us; `place` names it in messages.
    pub fn parse(text: &str, place: &str, settings: &[String]) -> Result<Self, ExperimentError> {
        let refuse = |place: &str, message: String| ExperimentError::Config {
            place: place.to_owned(),
            message,
        };
        let mut table: Table =
            toml::from_str(text).map_err(|error| refuse(place, error.to_string()))?;
        keys::check(&table).map_err(|message| refuse(place, message))?;
        let gave_way = keys::make_way(&mut table, settings);
        for setting in settings {
            let place = format!("`--set {setting}`");
            keys::set(&mut table, setting).map_err(|message| refuse(&place, message))?;
        }
        let mut experiment: Self = Value::Table(table)
            .try_into()
            .map_err(|error: toml::de::Error| refuse(place, of_value(&error.to_string())))?;
        experiment.gave_way = gave_way;
        experiment.model.init.take_if(|init| init == FROM_SCRATCH);
        let set = settings.iter().filter_map(|setting| setting.split_once('='));
        experiment.written = set.map(|(key, _)| key.trim().to_owned()).collect();
        experiment.check().map_err(|message| refuse(place, message))?;
        experiment.check_settings(settings).map_err(|message| refuse("`--set`", message))?;
        Ok(experiment)
    }

    /// Refuses keys of fine-tuning for a recipe without it. Files may have them: another recipe reads them.
    fn check_settings(&self, settings: &[String]) -> Result<(), String> {
        let keys = settings.iter().filter_map(|setting| setting.split_once('='));
        let mut keys = keys.map(|(key, _)| key.trim()).filter(|key| key.starts_with("train."));
        match keys.find(|key| !OF_HEAD.contains(key) && !OF_SCRIPTS.contains(key)) {
            Some(key) if self.train.recipe == Recipe::Head => Err(format!(
                "`{key}` applies to fine-tuning, but the recipe `head` fits only the last layer; \
                 remove it, or set `train.recipe` to `auto` or `full`"
            )),
            _ => Ok(()),
        }
    }

    /// The whole experiment as a file, every key that is set written out.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a config is plain data")
    }

    /// The same without some keys.
    pub fn to_toml_without(&self, unused: &BTreeSet<String>) -> String {
        let mut whole = Table::try_from(self).expect("a config is plain data");
        for (section, key) in unused.iter().filter_map(|key| key.split_once('.')) {
            if let Some(Value::Table(section)) = whole.get_mut(section) {
                section.remove(key);
            }
        }
        toml::to_string(&whole).expect("a config is plain data")
    }

    /// The whole, with the keys that are not set as comments, each with a value that it may have.
    pub fn to_toml_with_unset(&self) -> String {
        let own = Table::try_from(self).expect("a config is plain data");
        let mut text = self.to_toml();
        let mut unset: BTreeMap<String, String> = BTreeMap::new();
        for (key, value) in keys::known() {
            let Some((section, key)) = key.split_once('.') else { continue };
            // What follows from another key is what it follows to be.
            let value = match (section, key) {
                ("model", "intermediate_size") => Value::from(self.model.feed_forward() as i64),
                ("model", "norm")
                    if self.model.position_embedding_type == Some(PositionEmbedding::Rotary) =>
                {
                    Value::from("pre")
                }
                _ => value,
            };
            if own.get(section).is_none_or(|own| own.get(key).is_none()) {
                let lines = unset.entry(section.to_owned()).or_default();
                lines.push_str(&format!("# {key} = {value}  # not set\n"));
            }
        }
        for (section, lines) in unset {
            let head = format!("[{section}]\n");
            text = text.replacen(&head, &format!("{head}{lines}"), 1);
        }
        text
    }

    fn check(&self) -> Result<(), String> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let plain = self.name.chars().all(allowed) && !self.name.starts_with('.');
        if self.name.is_empty() || !plain {
            return Err(format!(
                "`name` is `{}`, but it names folders; use only letters, digits, `-`, `_` and `.`",
                self.name
            ));
        }
        self.data.check()?;
        self.model.check()?;
        self.train.check()?;
        self.posterior.check()?;
        self.calibration.check()?;
        self.publish.check()?;
        let new = self.model.init.is_none();
        if self.train.recipe == Recipe::Head && new {
            return Err(
                "`train.recipe` is `head`, which fits the last layer on a pretrained encoder, but an \
                 encoder from scratch has learned nothing; give an encoder with `--init` \
                 (`model.init`), or set `train.recipe` to `full`"
                    .to_owned(),
            );
        }
        if self.calibration.novelty_reference && (self.train.recipe == Recipe::Head || new) {
            return Err(
                "`calibration.novelty_reference` looks at a pretrained encoder as it was before \
                 fine-tuning; set `train.recipe` to `full` or `auto`, and give such an encoder with \
                 `--init` (`model.init`)"
                    .to_owned(),
            );
        }
        if self.data.cross_fit == CrossFit::Always && (self.train.recipe == Recipe::Full || new) {
            return Err(
                "`data.cross_fit` is `always`, which the recipe `full` does not support because its \
                 encoder has seen the rows; set `train.recipe` to `head` or `auto`, and give a \
                 pretrained encoder (`model.init`)"
                    .to_owned(),
            );
        }
        if self.calibration.vector && !self.train.class_weights.is_none() {
            return Err("`calibration.vector` gives each class an offset, which would undo \
                 `train.class_weights`; use only one of the two"
                .to_owned());
        }
        if !self.posterior.approach().has_variance() {
            self.check_point()?;
        }
        let needs = self.posterior.approach().needs();
        if needs.trajectory {
            self.check_trajectory()?;
        }
        if needs.runs > 1 {
            self.check_runs()?;
        }
        if needs.network_rows && self.train.recipe != Recipe::Full {
            let method = self.posterior.name().name();
            return Err(format!(
                "`posterior.method` = `{method}` is fitted to a whole network after its training, but \
                 `train.recipe` is not `full`; set it to `full`, or train with a different method and run \
                 `bayes fit --method {method}` on that model"
            ));
        }
        if needs.objective {
            self.check_objective()?;
        }
        if needs.teacher { self.check_teacher() } else { Ok(()) }
    }

    /// Refuses a student without a teacher, and what does not let it learn.
    fn check_teacher(&self) -> Result<(), String> {
        let method = self.posterior.name().name();
        if self.train.teacher.is_empty() {
            return Err(format!(
                "`posterior.method` is `{method}`, which learns from a model of several passes; \
                 train one, such as an ensemble, and give its folder with `train.teacher`"
            ));
        }
        if self.train.recipe != Recipe::Full {
            return Err(format!(
                "`train.recipe` is not `full`, but `posterior.method` = `{method}` trains the \
                 whole network on what its teacher says; set `train.recipe` to `full`"
            ));
        }
        if self.data.streaming {
            return Err(format!(
                "`data.streaming` is set, but `posterior.method` = `{method}` keeps what its \
                 teacher says of every row; set `data.streaming` to false"
            ));
        }
        Ok(())
    }

    /// Refuses what a loss of the method's own has no place for.
    fn check_objective(&self) -> Result<(), String> {
        let method = self.posterior.name().name();
        if self.train.recipe != Recipe::Full {
            return Err(format!(
                "`train.recipe` is not `full`, but `posterior.{method}_joint` trains the encoder \
                 with the method; set `train.recipe` to `full`, or `posterior.{method}_joint` to \
                 `false`"
            ));
        }
        if self.train.label_smoothing_factor > 0.0 {
            return Err(format!(
                "`train.label_smoothing_factor` smooths the labels of the cross entropy, but \
                 `posterior.{method}_joint` trains with a loss of its own; set one of them to 0 or \
                 `false`"
            ));
        }
        Ok(())
    }

    /// Refuses what leaves the networks of a method without a difference, or compares them with one.
    fn check_runs(&self) -> Result<(), String> {
        let (recipe, why) = match self.train.recipe {
            Recipe::Full => return Ok(()),
            Recipe::Head => (
                "head",
                "a last layer that is fitted to convergence on a frozen encoder is the same for \
                 every seed",
            ),
            Recipe::Auto => (
                "auto",
                "all networks would start from the same fitted last layer, and `auto` chooses \
                 between one fitted last layer and one fine-tuned network",
            ),
        };
        Err(format!(
            "`train.recipe` is `{recipe}`, but `posterior.method` = `{}` needs several networks \
             that differ: {why}; set `train.recipe` to `full`, or choose a different method",
            self.posterior.name().name()
        ))
    }

    /// Refuses what leaves a method without the weights that it follows, or without effect on it.
    fn check_trajectory(&self) -> Result<(), String> {
        let method = self.posterior.name().name();
        let train = &self.train;
        let key = if train.recipe != Recipe::Full {
            "`train.recipe` is not `full`, but"
        } else if train.ema_decay > 0.0 {
            "`train.ema_decay` averages weights, as the method itself does:"
        } else if train.early_stopping_patience > 0 {
            "`train.early_stopping_patience` may end the run early, but"
        } else {
            return Ok(());
        };
        Err(format!(
            "{key} `posterior.method` = `{method}` needs the weights up to the last step of a full \
             fine-tuning run; set `train.recipe` to `full` and `train.ema_decay` and \
             `train.early_stopping_patience` to 0, or choose a different method"
        ))
    }

    /// Refuses what only a posterior can answer.
    fn check_point(&self) -> Result<(), String> {
        if self.calibration.novelty == NoveltyMethod::MutualInformation {
            return Err(
                "`calibration.novelty` is `mutual_information`, which a point estimate does not \
                 have; set `posterior.method` to a method other than `map`, or choose another \
                 novelty score"
                    .to_owned(),
            );
        }
        if self.calibration.max_epistemic > 0.0 {
            return Err(
                "`calibration.max_epistemic` limits an uncertainty that a point estimate does not \
                 have; set `posterior.method` to a method other than `map`, or use \
                 `calibration.min_confidence`"
                    .to_owned(),
            );
        }
        Ok(())
    }

    /// An experiment with every key present, for the list of keys that exist.
    pub(super) fn example() -> Self {
        Self { model: ModelConfig::example(), ..Self::default() }
    }
}

/// What is wrong with a value. TOML's own words end with a line that names the key, and numbers have the names
/// of Rust.
fn of_value(message: &str) -> String {
    let message = message
        .trim()
        .replace("expected u64", "expected a whole number of 0 or more")
        .replace("expected usize", "expected a whole number of 0 or more")
        .replace("expected f64", "expected a number");
    if let Some((what, key)) = message.rsplit_once("\nin ")
        && let Some(choice) = what.strip_prefix("unknown variant ")
        && let Some((found, known)) = choice.split_once(", expected ")
        && key.contains('.')
    {
        return format!("{key} is {found}; use {known}");
    }
    match message.rsplit_once("\nin ") {
        // Ours name the key themselves.
        Some((what, key)) if what.starts_with(key.trim_end_matches('`')) => what.to_owned(),
        Some((what, key)) => format!("{key}: {what}"),
        None => message,
    }
    .replace('\n', ": ")
}

/// The text of a file; some editors put a mark before UTF-8.
fn text(bytes: &[u8]) -> Result<&str, String> {
    let bytes = without_mark(bytes);
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") || bytes.contains(&0) {
        return Err(
            "a config must be UTF-8, but this file looks like UTF-16; save it as UTF-8".to_owned()
        );
    }
    std::str::from_utf8(bytes).map_err(|error| {
        let line = bytes[..error.valid_up_to()].iter().filter(|&&byte| byte == b'\n').count() + 1;
        format!("line {line} is not UTF-8; save the config as UTF-8")
    })
}

#[cfg(test)]
mod tests;
