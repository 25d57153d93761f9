//! What a model keeps of the one that it is made from: its config, and what was fitted at other precisions.

use std::collections::BTreeSet;
use std::path::Path;

use toml::{Table, Value};

use super::Progress;
use crate::artifact::{self, CONFIG, Manifest};
use crate::calibrate::CalibrationConfig;
use crate::compute::Precision;
use crate::data::DataConfig;
use crate::publish::{PublishConfig, Source};

/// The section of the author's words.
const WORDS: &str = "publish";

/// The config of the run that made a model, as it was saved. Of one that nothing vouches for, the author's words alone
/// are kept.
pub(super) fn config(
    folder: &Path,
    manifest: &Manifest,
    show: &mut dyn FnMut(Progress<'_>),
) -> Option<String> {
    if let Some(text) = artifact::recorded_config(folder, manifest) {
        return Some(text);
    }
    if folder.join(CONFIG).is_file() {
        show(Progress::Warning(format!(
            "`{}` is not as it was saved with the model, so only its section [{WORDS}] is kept",
            folder.join(CONFIG).display()
        )));
    }
    Some(as_config(words(folder)?))
}

/// The config of a model that was fitted from one: the author's words, for no run made the fit. What they say of the
/// terms of the data is kept where the data are the same.
pub(super) fn config_of_fit(
    folder: &Path,
    (before, now): (Option<&DataConfig>, &DataConfig),
    show: &mut dyn FnMut(Progress<'_>),
) -> Option<String> {
    let mut words = words(folder)?;
    let is_same = before.is_some_and(|before| before.dataset == now.dataset);
    let terms = PublishConfig::default().data_license;
    if !is_same
        && words
            .insert("data_license".to_owned(), terms.into())
            .is_some_and(|before| is_written(&before))
    {
        show(Progress::Note(format!(
            "`publish.data_license` of the model is of its own data and is not kept; to state the terms of `{}`, give \
             them to `bayes publish` with `--set publish.data_license=…`",
            now.dataset
        )));
    }
    has_words(&words).then(|| as_config(words))
}

/// The config of the run that made the model, with the keys that are not as they were before.
pub(super) fn calibrated_as(
    text: String,
    before: Option<&CalibrationConfig>,
    now: &CalibrationConfig,
) -> String {
    let table = |config| Table::try_from(config).expect("a config is plain data");
    let (before, now) = (before.map(table).unwrap_or_default(), table(now));
    let changed = before.keys().chain(now.keys()).filter(|key| before.get(*key) != now.get(*key));
    let changed: BTreeSet<&String> = changed.collect();
    let Ok(mut whole) = text.parse::<Table>() else { return text };
    if changed.is_empty() {
        return text;
    }
    let own = whole.entry("calibration").or_insert_with(|| Table::new().into());
    let Some(own) = own.as_table_mut() else { return text };
    for key in changed {
        match now.get(key) {
            Some(value) => own.insert(key.clone(), value.clone()),
            None => own.remove(key),
        };
    }
    toml::to_string(&whole).expect("a table is plain data")
}

fn is_written(value: &Value) -> bool {
    value.as_str() != Some("")
}

/// The author's words in the config of a model folder or checkpoint, as `bayes publish` reads it; none where nobody
/// wrote any.
fn words(folder: &Path) -> Option<Table> {
    let text = Source::config_text(folder).ok().flatten()?;
    let words = text.parse::<Table>().ok()?.remove(WORDS)?;
    words.as_table().filter(|words| has_words(words)).cloned()
}

fn has_words(words: &Table) -> bool {
    words.clone().try_into::<PublishConfig>().is_ok_and(|own| own != PublishConfig::default())
}

fn as_config(words: Table) -> String {
    let whole = Table::from_iter([(WORDS.to_owned(), Value::Table(words))]);
    toml::to_string(&whole).expect("a table is plain data")
}

/// What to say where what was fitted at other precisions is not kept, but for those in `fitted`. `way` says what to do
/// where the model answered in one of them.
pub(super) fn lost_precisions(
    manifest: &Manifest,
    fitted: &[Precision],
    way: impl FnOnce(&[Precision]) -> String,
) -> Option<String> {
    if !manifest.precision.is_f32() {
        return None;
    }
    let certificates = manifest.certificates.iter();
    let lost = certificates.filter(|(precision, _)| !fitted.contains(precision));
    let lost: Vec<_> = lost.map(|(own, one)| (*own, one.verdict().granted)).collect();
    let names: Vec<String> = lost.iter().map(|(precision, _)| precision.to_string()).collect();
    let granted = lost.iter().filter(|(_, granted)| *granted).map(|(precision, _)| *precision);
    let granted: Vec<Precision> = granted.collect();
    let end = match granted.as_slice() {
        [] => String::new(),
        granted if fitted.is_empty() => {
            format!(", and the model answers in f32 from now on{}", way(granted))
        }
        granted => way(granted),
    };
    let names = names.join(" and ");
    (!lost.is_empty()).then(|| format!("what was fitted at {names} is not kept{end}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A model with a certificate for each precision, granted or refused.
    fn certified(all: &[(&str, bool)]) -> Manifest {
        let change = |value: f64| {
            let interval = json!({ "value": value, "low": value, "high": value });
            json!({ "f32": 0.5, "own": 0.5 + value, "difference": interval })
        };
        let certificate = |granted: bool| {
            let nll = if granted { 0.0 } else { 1.0 };
            json!({
                "rows": 1000, "accuracy": change(0.0), "nll": change(nll), "ece": change(0.0), "ece_floor": 0.0,
                "coverage": null, "novelty_auroc": null, "changed_labels": 0.0, "changed_decisions": null,
                "fit": { "method": "map" },
            })
        };
        let certificates: serde_json::Map<_, _> =
            all.iter().map(|(name, granted)| ((*name).to_owned(), certificate(*granted))).collect();
        let value = json!({
            "schema": 1, "bayes": "0.1.0", "name": "x", "method": "map", "transformers": "", "labels": [],
            "preprocessing": { "max_length": 8, "truncation": "head" }, "data": null, "seed": 0, "parts": {},
            "seen_in_test": 0, "test": null, "files": {}, "certificates": certificates,
        });
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn the_precision_of_answers_changes_where_one_was_granted_alone() {
        let way = |granted: &[Precision]| format!("; way of {granted:?}");
        let lost = |all: &[(&str, bool)], fitted: &[Precision]| {
            lost_precisions(&certified(all), fitted, way)
        };
        assert_eq!(lost(&[], &[]), None);
        let refused = lost(&[("bf16", false)], &[]).unwrap();
        assert_eq!(refused, "what was fitted at bf16 is not kept");
        let both = lost(&[("bf16", true), ("int8", false)], &[]).unwrap();
        let expected = "what was fitted at bf16 and int8 is not kept, and the model answers in f32 from now on; way of \
                        [Bf16]";
        assert_eq!(both, expected);
        // One that is fitted again is not lost.
        assert_eq!(lost(&[("bf16", true)], &[Precision::Bf16]), None);
        let other = lost(&[("bf16", true), ("int8", true)], &[Precision::Int8]).unwrap();
        assert_eq!(other, "what was fitted at bf16 is not kept; way of [Bf16]");
    }

    /// A run of the recipe `head` has a config without the keys of fine-tuning.
    #[test]
    fn keys_that_nobody_set_stay_away_from_the_config() {
        let text =
            "name = \"x\"\n\n[calibration]\ntemperature = true\n\n[train]\nrecipe = \"head\"\n";
        let before = CalibrationConfig::default();
        let as_now = |now: &CalibrationConfig| calibrated_as(text.to_owned(), Some(&before), now);
        assert_eq!(as_now(&before), text);
        let now = CalibrationConfig { temperature: false, ..before.clone() };
        assert_eq!(as_now(&now), text.replace("true", "false"));
        // Where it has no section yet, it has the changed keys alone.
        let words = "[publish]\nlicense = \"mit\"\n";
        let found = calibrated_as(words.to_owned(), Some(&before), &now);
        assert_eq!(found, format!("[calibration]\ntemperature = false\n\n{words}"));
    }
}
