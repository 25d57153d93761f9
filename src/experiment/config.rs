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
use crate::model::{FROM_SCRATCH, ModelConfig};
use crate::publish::PublishConfig;
use crate::store::without_mark;
use crate::train::{Recipe, TrainConfig};

/// The experiment that `bayes train` runs when nothing is given.
pub const QUICK_START: &str = include_str!("../../configs/reviews.toml");

/// The recipe of `bayes train DATA`, for people's own data.
pub const CLASSIFY: &str = include_str!("../../configs/classify.toml");

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
        }
    }
}

impl Experiment {
    /// Reads a file, applies `key=value` settings in their order, and checks the result.
    pub fn read(path: &Path, settings: &[String]) -> Result<Self, ExperimentError> {
        let bytes = std::fs::read(path)
            .map_err(|source| ExperimentError::Read { path: path.to_owned(), source })?;
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
        keys::make_way(&mut table, settings);
        for setting in settings {
            let place = format!("`--set {setting}`");
            keys::set(&mut table, setting).map_err(|message| refuse(&place, message))?;
        }
        let mut experiment: Self =
            Value::Table(table).try_into().map_err(|error: toml::de::Error| {
                refuse(place, error.to_string().trim().replace('\n', ": "))
            })?;
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
                 remove it, or set `train.recipe` to auto or full"
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
                "`train.recipe` is head, which fits the last layer on a pretrained encoder, but an \
                 encoder from scratch has learned nothing; give an encoder with `--init` \
                 (`model.init`), or set `train.recipe` to full"
                    .to_owned(),
            );
        }
        if self.data.cross_fit == CrossFit::Always && (self.train.recipe == Recipe::Full || new) {
            return Err(
                "`data.cross_fit` is always, which the recipe `full` does not support because its \
                 encoder has seen the rows; set `train.recipe` to head or auto, and give a \
                 pretrained encoder (`model.init`)"
                    .to_owned(),
            );
        }
        if self.calibration.vector && !self.train.class_weights.is_none() {
            return Err(
                "`calibration.vector` gives each class an offset for its frequency, which takes back what \
                 `train.class_weights` does: leave one of the two out"
                    .to_owned(),
            );
        }
        if !self.posterior.approach().has_variance() {
            self.check_point()?;
        }
        if self.posterior.approach().needs().trajectory {
            self.check_trajectory()?;
        }
        Ok(())
    }

    /// Refuses what leaves a method without the weights that it follows, or without effect on it.
    fn check_trajectory(&self) -> Result<(), String> {
        let method = self.posterior.name().name();
        let train = &self.train;
        let key = if train.recipe != Recipe::Full {
            "`train.recipe` is not full, but"
        } else if train.ema_decay > 0.0 {
            "`train.ema_decay` averages weights, as the method itself does:"
        } else if train.early_stopping_patience > 0 {
            "`train.early_stopping_patience` may end the run early, but"
        } else {
            return Ok(());
        };
        Err(format!(
            "{key} `posterior.method` = {method} needs the weights up to the last step of a full \
             fine-tuning run; set `train.recipe` to full and `train.ema_decay` and \
             `train.early_stopping_patience` to 0, or choose a different method"
        ))
    }

    /// Refuses what only a posterior can answer.
    fn check_point(&self) -> Result<(), String> {
        if self.calibration.novelty == NoveltyMethod::MutualInformation {
            return Err(
                "`calibration.novelty` is mutual_information, which a point estimate does not \
                 have; set `posterior.method` to a method other than map, or choose another \
                 novelty score"
                    .to_owned(),
            );
        }
        if self.calibration.max_epistemic > 0.0 {
            return Err(
                "`calibration.max_epistemic` limits an uncertainty that a point estimate does not \
                 have; set `posterior.method` to a method other than map, or use \
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
        format!("line {line} is not valid UTF-8; save the config as UTF-8")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_fine_tuning_are_refused_for_a_head() {
        for key in ["warmup_steps=5", "max_steps=5", "learning_rate=1e-3"] {
            let setting = format!("train.{key}");
            let head = ["model.init=a/b", "train.recipe=head", &setting];
            let message = parse("", &head).unwrap_err();
            assert!(
                message.contains("`train.") && message.contains("applies to fine-tuning"),
                "{message}"
            );
            assert!(parse("", &["train.recipe=auto", &setting]).is_ok());
        }
        let settings =
            ["model.init=a/b", "train.recipe=head", "train.seed=3", "train.class_weights=balanced"];
        assert!(parse("[train]\nmax_steps = 5\n", &settings).is_ok());
    }

    #[test]
    fn a_method_that_follows_the_training_needs_all_of_it() {
        for (setting, key) in [
            ("train.recipe=auto", "`train.recipe`"),
            ("train.recipe=head", "`train.recipe`"),
            ("train.ema_decay=0.9", "`train.ema_decay`"),
            ("train.early_stopping_patience=2", "`train.early_stopping_patience`"),
        ] {
            let message =
                parse("", &["posterior.method=swag", "model.init=a/b", setting]).unwrap_err();
            assert!(message.contains(key) && message.contains("swag needs"), "{message}");
            assert!(parse("", &["model.init=a/b", setting]).is_ok());
        }
        assert!(parse("", &["posterior.method=swag"]).is_ok());
    }

    #[test]
    fn what_only_a_trained_encoder_can_do_is_refused_from_scratch() {
        let message = parse("", &["train.recipe=head"]).unwrap_err();
        assert!(
            message.contains("`train.recipe` is head") && message.contains("`--init`"),
            "{message}"
        );
        let message = parse("", &["train.recipe=auto", "data.cross_fit=always"]).unwrap_err();
        assert!(message.contains("`data.cross_fit` is always"), "{message}");
        for recipe in ["head", "auto"] {
            let recipe = format!("train.recipe={recipe}");
            assert!(parse("", &["model.init=a/b", "data.cross_fit=always", &recipe]).is_ok());
        }
    }

    fn parse(text: &str, settings: &[&str]) -> Result<Experiment, String> {
        let settings: Vec<String> = settings.iter().map(|&one| one.to_owned()).collect();
        Experiment::parse(text, "`test.toml`", &settings).map_err(|error| error.to_string())
    }

    #[test]
    fn a_misspelt_key_is_refused_by_name_with_the_right_one() {
        let message = parse("[train]\nlerning_rate = 1e-4\n", &[]).unwrap_err();
        assert!(message.contains("`train.lerning_rate`"), "{message}");
        assert!(message.contains("did you mean `train.learning_rate`?"), "{message}");
        let message = parse("", &["train.sed=3"]).unwrap_err();
        assert!(message.contains("`train.sed`") && message.contains("`train.seed`"), "{message}");
        assert!(parse("[trian]\nseed = 1\n", &[]).unwrap_err().contains("`trian`"));
    }

    #[test]
    fn a_key_that_this_build_cannot_honour_is_refused_and_not_ignored() {
        let message = parse("[posterior]\nmethod = \"sngp\"\n", &[]).unwrap_err();
        assert!(message.contains("sngp") && message.contains("laplace"), "{message}");
    }

    #[test]
    fn calibration_that_cannot_be_is_refused() {
        for (setting, key) in [
            ("calibration.conformal_alpha=[0.9]", "`calibration.conformal_alpha` contains 0.9"),
            ("calibration.ood_p=2.0", "`calibration.ood_p` is 2"),
            ("calibration.novelty=mutual_information", "point estimate"),
            ("calibration.max_epistemic=0.2", "point estimate"),
            ("calibration.novelty=distance", "relative_mahalanobis"),
        ] {
            let settings = [setting, "posterior.method=map"];
            let message = parse("", &settings).unwrap_err();
            assert!(message.contains(key), "{message}");
        }
        let message = parse("[calibration]\nconformal_alpha = []\nmax_set_size = 1\n", &[]);
        assert!(message.unwrap_err().contains("`calibration.max_set_size` needs prediction sets"));
    }

    #[test]
    fn settings_are_read_by_the_type_of_their_key() {
        let settings =
            ["train.learning_rate=3e-5", "data.dataset=123", "calibration.temperature=false"];
        let experiment = parse("", &settings).unwrap();
        assert_eq!(experiment.train.learning_rate, 3e-5);
        assert_eq!(experiment.data.dataset, "123");
        assert!(!experiment.calibration.temperature);
        let whole = parse("", &["train.learning_rate=1", "train.num_train_epochs=2"]).unwrap();
        assert_eq!((whole.train.learning_rate, whole.train.num_train_epochs), (1.0, 2.0));
        for wrong in ["train.seed=abc", "train.seed", "train=3", "train.learning_rate=-1"] {
            assert!(parse("", &[wrong]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn files_of_every_editor_are_read_or_refused_with_the_encoding() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("e.toml");
        let toml = "name = \"win\"\r\n[publish]\r\ndescription = \"Größen\"\r\n";
        let utf16: Vec<u8> = toml.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let latin: Vec<u8> = toml.chars().map(|c| u32::from(c) as u8).collect();
        let marked = |mark: &[u8], bytes: &[u8]| [mark, bytes].concat();
        for bytes in [toml.as_bytes().to_vec(), marked(b"\xef\xbb\xbf", toml.as_bytes())] {
            std::fs::write(&path, bytes).unwrap();
            assert_eq!(Experiment::read(&path, &[]).unwrap().publish.description, "Größen");
        }
        for (bytes, what) in
            [(marked(b"\xff\xfe", &utf16), "UTF-16"), (utf16, "UTF-16"), (latin, "line 3")]
        {
            std::fs::write(&path, bytes).unwrap();
            let message = Experiment::read(&path, &[]).unwrap_err().to_string();
            assert!(message.contains(what) && message.contains("as UTF-8"), "{message}");
            assert!(message.contains("e.toml"), "{message}");
        }
    }

    #[test]
    fn every_key_is_printed_and_what_is_printed_is_the_same_experiment() {
        let experiment = parse(QUICK_START, &[]).unwrap();
        let printed = experiment.to_toml_with_unset();
        for key in ["init", "vocab_size", "norm", "text_column", "label_map", "encoding", "repo"] {
            assert!(printed.contains(key), "{key}: {printed}");
        }
        assert_eq!(parse(&printed, &[]).unwrap(), experiment);
    }

    #[test]
    fn a_map_of_labels_is_written_in_the_file_or_set() {
        let text = "[data]\ndataset = \"a.csv\"\n[data.label_map]\nneg = \"negative\"\n";
        let map = parse(text, &[]).unwrap().data.label_map;
        let set = parse("", &["data.label_map={ neg = \"negative\" }"]).unwrap().data.label_map;
        assert_eq!((map.len(), &map), (1, &set));
        assert!(parse("", &["data.delimiter=ab"]).unwrap_err().contains("`data.delimiter`"));
        assert!(parse("", &["data.encoding=klingon"]).unwrap_err().contains("windows-1252"));
        assert!(parse("", &["data.quoting=some"]).unwrap_err().contains("backslash"));
        assert_eq!(
            parse("", &["data.dataset=\"a \\\"b\\\".csv\""]).unwrap().data.dataset,
            "a \"b\".csv"
        );
        assert_eq!(parse("", &["data.dataset=\"q\".csv"]).unwrap().data.dataset, "\"q\".csv");
    }

    #[test]
    fn a_target_risk_is_a_number_or_a_list_of_them() {
        let levels = |written: &str| {
            let setting = format!("calibration.target_risk={written}");
            parse("", &[&setting]).map(|one| one.calibration.target_risk.ascending())
        };
        assert_eq!(levels("0.05").unwrap(), [0.05]);
        assert_eq!(levels("[0.05, 0.01]").unwrap(), [0.01, 0.05]);
        assert!(levels("0").unwrap().is_empty() && levels("[]").unwrap().is_empty());
        for (wrong, part) in [
            ("[0.1, 2.0]", "`calibration.target_risk` is 2"),
            ("[0, 0.1]", "0 among others"),
            ("'low'", "a number such as 0.02"),
        ] {
            let message = levels(wrong).unwrap_err();
            assert!(message.contains(part), "{message}");
        }
        // What was written before there were lists: a file, and a manifest.
        let old = parse("[calibration]\ntarget_risk = 0.1\n", &[]).unwrap();
        assert!(old.to_toml().contains("target_risk = 0.1\n"), "{}", old.to_toml());
        let old: CalibrationConfig = serde_json::from_str("{\"target_risk\": 0.1}").unwrap();
        assert_eq!(old.target_risk.ascending(), [0.1]);
    }

    #[test]
    fn the_words_of_the_card_are_typed_and_checked() {
        let text = "[publish]\nlicense = \"mit\"\nwidget = [\"A text.\"]\npush = \"every_save\"\n\
                    repo = \"owner/name\"\n";
        let publish = parse(text, &["publish.language=[\"en\"]"]).unwrap().publish;
        assert_eq!((publish.license.as_str(), publish.language.len()), ("mit", 1));
        let message = parse("[publish]\nlicence = \"mit\"\n", &[]).unwrap_err();
        assert!(message.contains("did you mean `publish.license`?"), "{message}");
        let message = parse("[publish]\npush = \"always\"\n", &[]).unwrap_err();
        assert!(message.contains("every_save"), "{message}");
        let message = parse("", &["publish.push=end"]).unwrap_err();
        assert!(message.contains("`publish.repo`"), "{message}");
    }

    #[test]
    fn the_resolved_file_gives_the_same_experiment() {
        let mut experiment = parse(QUICK_START, &["train.seed=7", "name=other"]).unwrap();
        assert_eq!(experiment.written, ["name", "train.seed"].map(str::to_owned).into());
        experiment.written.clear();
        assert_eq!(parse(&experiment.to_toml(), &[]).unwrap(), experiment);
    }

    /// An encoder that exists and sizes of a new one exclude each other; what is said last counts.
    #[test]
    fn an_encoder_replaces_sizes_and_sizes_replace_an_encoder() {
        let init = parse(QUICK_START, &["model.init=some/encoder"]).unwrap().model;
        assert_eq!((init.init.as_deref(), init.hidden_size), (Some("some/encoder"), None));
        let sizes = parse(CLASSIFY, &["model.hidden_size=32"]).unwrap().model;
        assert_eq!((sizes.init, sizes.hidden_size), (None, Some(32)));
        let none = parse(CLASSIFY, &["model.init=none"]).unwrap().model;
        assert_eq!((none.init, none.hidden_size), (None, None));
        let kept = parse(QUICK_START, &["model.init=none"]).unwrap().model;
        assert_eq!((kept.init, kept.hidden_size), (None, Some(64)));
        let both = parse(CLASSIFY, &["model.init=none", "model.hidden_size=32"]).unwrap().model;
        assert_eq!((both.init, both.hidden_size), (None, Some(32)));
        for text in ["[model]\ninit = \"a/b\"\nhidden_size = 8\n", ""] {
            let message = parse(text, &["model.init=a/b", "model.hidden_size=8"]).unwrap_err();
            assert!(message.contains("give only one of the two"), "{message}");
        }
        assert!(parse("[model]\ninit = \"a/b\"\nhidden_size = 8\n", &[]).is_err());
    }

    #[test]
    fn every_file_in_configs_is_a_valid_experiment() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs");
        let mut files = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            Experiment::read(&entry.unwrap().path(), &[]).unwrap();
            files += 1;
        }
        assert!(files >= 3);
    }
}
