//! `bayes eval`.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::json;

use super::progress::{Display, grouped};
use super::{Common, Outcome, model_folder, print, print_json, report};
use crate::artifact::Manifest;
use crate::compute::Noise;
use crate::data::{DataConfig, Dataset, Example, Parts, sample};
use crate::evaluate::{Rows, score};
use crate::experiment::Progress;
use crate::predict::Predictor;

/// Flags of `bayes eval`.
#[derive(Debug, Args)]
pub struct Options {
    /// The model folder [default: the newest under checkpoints]
    #[arg(long, value_name = "FOLDER")]
    model: Option<PathBuf>,
    /// A file, folder or known name [default: what the model was trained on]
    #[arg(long, value_name = "DATA")]
    dataset: Option<String>,
    /// Which rows: train, validation, temperature, conformal, test, or a split of the data set
    #[arg(long, default_value = "test")]
    split: String,
    /// A seeded, class-balanced sample of that many rows; 0 = all
    #[arg(long, default_value_t = 0)]
    limit: usize,
}

/// The rows to look at.
pub(super) struct Chosen {
    pub(super) rows: Vec<usize>,
    pub(super) split: String,
    pub(super) seen: Vec<usize>,
}

/// Runs the command.
pub fn run(options: &Options, common: &Common) -> Result<Outcome> {
    let folder = model_folder(options.model.as_deref())?;
    let selected = common.device()?;
    let predictor = Predictor::load(&folder, &selected.device)?;
    let manifest = &predictor.artifact().manifest;
    let Some(config) = data_config(options.dataset.as_deref(), manifest) else {
        bail!(
            "`{}` does not say what it was trained on: name a data set with --dataset",
            folder.display()
        )
    };
    let noise = Noise::new(manifest.seed);
    let dataset = Dataset::open(&config)?;
    let own = manifest.data.as_ref().is_some_and(|data| data.dataset == config.dataset);
    let mut chosen = choose(&dataset, &config, &options.split, own, &noise)?;
    let all = dataset.rows(&chosen.split);
    let labels: Vec<u32> = chosen.rows.iter().map(|&row| all[row].label).collect();
    let places = sample(&labels, options.limit, &noise);
    let seen = |place: &usize| chosen.seen.binary_search(place).is_ok();
    let seen: Vec<usize> =
        places.iter().enumerate().filter(|(_, place)| seen(place)).map(|(i, _)| i).collect();
    chosen.rows = places.into_iter().map(|place| chosen.rows[place]).collect();
    let inside: Vec<&Example> = chosen.rows.iter().map(|&row| &all[row]).collect();
    let outside = dataset.out_of_scope.get(&chosen.split).map_or(&[][..], Vec::as_slice);
    let rows = Rows { dataset: &dataset, inside: &inside, outside, seen: &seen };
    let mut display = Display::new(common.quiet);
    let scored = score(&predictor, &rows, &noise, &mut |done, total| {
        display.show(&Progress::Work { what: "evaluating", done, total });
    });
    display.finish();
    let (result, uncalibrated) = scored?;
    let scaling = predictor.artifact().uncertainty.scaling;
    if common.json {
        let mut object = json!({
            "model": folder, "dataset": dataset.name, "split": options.split,
            "generated": dataset.generated, "temperature": scaling.temperature, "scale": scaling.scale, "seed": manifest.seed,
        });
        let metrics = serde_json::to_value(&result)?;
        let both = (object.as_object_mut(), metrics.as_object());
        let (Some(object), Some(metrics)) = both else { bail!("a report is an object") };
        object.extend(metrics.clone());
        object.insert("without_temperature".to_owned(), json!(uncalibrated));
        print_json(&object)?;
        return Ok(Outcome::Done);
    }
    let generated = if dataset.generated { " (generated texts)" } else { "" };
    let scaled = (scaling.temperature != 1.0).then_some(&uncalibrated);
    print(&format!(
        "\n{}{generated}, {}: {} rows, with 95 % intervals (seed {})\n\n{}",
        dataset.name,
        options.split,
        grouped(result.summary.rows as u64),
        manifest.seed,
        report::table(&result, scaled)
    ))?;
    Ok(Outcome::Done)
}

/// The data set that was named, or the one that the model was trained on, if that is known.
pub(super) fn data_config(named: Option<&str>, manifest: &Manifest) -> Option<DataConfig> {
    match (named, &manifest.data) {
        (Some(dataset), Some(data)) if *dataset == data.dataset => Some(data.clone()),
        (Some(dataset), _) => {
            Some(DataConfig { dataset: dataset.to_owned(), ..DataConfig::default() })
        }
        (None, data) => data.clone(),
    }
}

/// On the data that the model was trained on the parts are those of the training; else a split of
/// the data set, or all of it where there is only one.
pub(super) fn choose(
    dataset: &Dataset,
    config: &DataConfig,
    split: &str,
    own: bool,
    noise: &Noise,
) -> Result<Chosen> {
    if own {
        let parts = Parts::divide(dataset, config, noise)?;
        if let Some(part) = parts.get(split) {
            let seen = if split == "test" { parts.seen_in_test.clone() } else { Vec::new() };
            return Ok(Chosen { rows: part.rows.clone(), split: part.split.clone(), seen });
        }
    }
    let only = dataset.splits.len() == 1 && split == "test";
    let name = if only { dataset.splits.keys().next().map(String::as_str) } else { Some(split) };
    let name = name.filter(|name| dataset.splits.contains_key(*name)).with_context(|| {
        let known: Vec<&str> = dataset.splits.keys().map(String::as_str).collect();
        format!("`{}` has no split `{split}`: it has `{}`", dataset.name, known.join("`, `"))
    })?;
    let rows = (0..dataset.rows(name).len()).collect();
    Ok(Chosen { rows, split: name.to_owned(), seen: Vec::new() })
}
