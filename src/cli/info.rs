//! `bayes info`.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::Args;
use serde_json::json;

use super::environment::MODEL;
use super::quantize::certificate_table;
use super::words::filled;
use super::{Common, Outcome, model_folder, print, print_json};
use crate::artifact::{self, Ancestor, Fitted, Manifest};
use crate::compute::{Card, Precision};
use crate::numbers::grouped;
use crate::{compute, data, hub};

/// Of which model a certificate is.
const RECALIBRATED: &str = "It was checked before the model was recalibrated: the weights are those that it has; \
     temperature, prediction sets and limits were fitted anew since.";

/// Flags of `bayes info`.
#[derive(Debug, Args)]
pub struct Options {
    /// Show what this model is and which precisions keep its promises: a folder or a Hub id
    #[arg(long, value_name = "MODEL")]
    model: Option<PathBuf>,
}

pub fn run(options: &Options, common: &Common) -> Result<Outcome> {
    if let Some(model) = &options.model {
        return of_model(&model_folder(Some(model))?, common);
    }
    let selected = common.device()?;
    let device = common.backend_on(selected.clone())?.kind();
    let features = compute::cpu_features();
    let precisions: Vec<String> = Precision::available().map(|one| one.to_string()).collect();
    // One that cannot be used is no reason to show nothing else.
    let endpoint = match hub::Settings::from_env() {
        Ok(settings) => settings.endpoint,
        Err(error) => error.to_string(),
    };
    let data_folder = std::env::var("BAYES_DATA_DIR").ok();
    let usual_model = std::env::var(MODEL).ok().filter(|named| !named.is_empty());
    if common.json {
        let mut found = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "device": device,
            "reason": selected.reason,
            "threads": compute::threads(),
            "cpu_features": features,
            "precisions": precisions,
            "token_cache": data::cache_folder(),
            "hub_cache": hub::cache_folder(),
            "hub_endpoint": endpoint,
            "hub_offline": hub::is_offline(),
            "data_folder": data_folder,
            "default_model": usual_model,
            "license": env!("CARGO_PKG_LICENSE"),
        });
        if let Some(card) = &selected.card {
            found["card"] = json!(card);
        }
        print_json(&found)?;
        return Ok(Outcome::Done);
    }
    print(&format!(
        "bayes         {}\ndevice        {device} ({})\n{}threads       {}\nCPU features  {}\nprecisions    {}\n\
         token cache   {} (BAYES_CACHE_DIR)\nHub cache     {} (HF_HOME)\n\
         Hub           {endpoint} (HF_ENDPOINT){}\ndata folder   {}\n\
         default model {}\nlicense       {}\n",
        env!("CARGO_PKG_VERSION"),
        selected.reason,
        selected.card.as_ref().map(of_card).unwrap_or_default(),
        compute::threads(),
        features.join(" "),
        precisions.join(" "),
        data::cache_folder().display(),
        hub::cache_folder().display(),
        if hub::is_offline() { ", offline (HF_HUB_OFFLINE is set)" } else { "" },
        data_folder.as_deref().unwrap_or("not set (BAYES_DATA_DIR)"),
        usual_model.map_or("the newest (BAYES_MODEL is not set)".to_owned(), |named| format!(
            "{named} ({MODEL})"
        )),
        env!("CARGO_PKG_LICENSE"),
    ))?;
    Ok(Outcome::Done)
}

/// A card and its driver, in three lines.
fn of_card(card: &Card) -> String {
    let gib = |bytes: usize| bytes as f64 / f64::from(1 << 30);
    format!(
        "card          {}, compute capability {}\ncard memory   {:.1} GiB, {:.1} GiB free\n\
         CUDA driver   {}, supports CUDA {}; built with {}\n",
        card.name,
        card.compute_capability,
        gib(card.memory_bytes),
        gib(card.free_bytes),
        card.driver.as_deref().unwrap_or("release not told"),
        card.driver_cuda,
        card.toolkit,
    )
}

/// A model that another was made from, and what its data did to it.
fn of_ancestor(one: &Ancestor) -> serde_json::Value {
    let dataset = one.data.as_ref().map(|data| &data.dataset);
    json!({ "name": one.name, "dataset": dataset, "fitted": one.fitted })
}

/// What the manifest of a model says of it.
fn of_model(folder: &Path, common: &Common) -> Result<Outcome> {
    let Some(manifest) = artifact::manifest_of(folder)? else {
        bail!(
            "`{}` was not written by bayes, so nothing is recorded of it; `bayes fit` calibrates it and records \
             what is known",
            folder.display()
        );
    };
    let Manifest { name, fit, labels, precision, certificates, recalibrated, .. } = &manifest;
    if common.json {
        let verdicts =
            certificates.keys().map(|own| (own.to_string(), json!(manifest.verdict(*own))));
        print_json(&json!({
            "name": name,
            "bayes": manifest.bayes,
            "method": fit.method.name(),
            "classes": labels.len(),
            "dataset": manifest.data.as_ref().map(|data| &data.dataset),
            "fitted": manifest.fitted,
            "lineage": manifest.lineage.iter().map(of_ancestor).collect::<Vec<_>>(),
            "recalibrated": recalibrated,
            "precision": precision,
            "certificates": certificates,
            "verdicts": verdicts.collect::<serde_json::Map<_, _>>(),
        }))?;
        return Ok(Outcome::Done);
    }
    let dataset = manifest.data.as_ref().map_or("not recorded", |data| data.dataset.as_str());
    let (made, what) = match manifest.fitted {
        Some(one @ (Fitted::LastLayer | Fitted::Posterior)) => {
            ("fitted on", format!(" ({})", one.what(recalibrated.is_some())))
        }
        Some(Fitted::Calibration) | None => (manifest.made_on(), String::new()),
    };
    let indent = " ".repeat(14);
    let before = manifest.made_from(str::to_owned);
    let before = before.map_or(String::new(), |before| filled(&indent, &indent, &before));
    let recalibrated = recalibrated.as_ref().map_or(String::new(), |own| {
        format!("recalibrated  {} ({} rows)\n", own.data.dataset, grouped(own.rows as u64))
    });
    let certificates: String = match certificates.is_empty() {
        true => match manifest.why_unchecked() {
            None => {
                "\nNo precision but this one was checked; `bayes quantize` checks one.\n".to_owned()
            }
            Some(_) => "\nNo precision but this one was checked.\n".to_owned(),
        },
        false => certificates
            .iter()
            .map(|(own, one)| format!("\n{}", certificate_table(*own, one)))
            .chain(manifest.recalibrated.as_ref().map(|_| filled("", "", RECALIBRATED)))
            .collect(),
    };
    print(&format!(
        "model         {name}\nmethod        {}\nclasses       {}\n{made:<14}{dataset}{what}\n{before}{recalibrated}\
         written by    bayes {}\nweights       {precision}\n{certificates}",
        fit.method.name(),
        labels.len(),
        manifest.bayes,
    ))?;
    Ok(Outcome::Done)
}
