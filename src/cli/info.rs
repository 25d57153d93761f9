//! `bayes info`.

use anyhow::Result;
use serde_json::json;

use super::{Common, Outcome, print, print_json};
use crate::compute::Precision;
use crate::{compute, data, hub};

pub fn run(common: &Common) -> Result<Outcome> {
    let selected = common.device()?;
    let device = if selected.device.is_cpu() { "cpu" } else { "cuda" };
    let features = compute::cpu_features();
    let precisions: Vec<String> = Precision::available().map(|one| one.to_string()).collect();
    // One that cannot be used is no reason to show nothing else.
    let endpoint = match hub::Settings::from_env() {
        Ok(settings) => settings.endpoint,
        Err(error) => error.to_string(),
    };
    let data_folder = std::env::var("BAYES_DATA_DIR").ok();
    if common.json {
        print_json(&json!({
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
            "license": env!("CARGO_PKG_LICENSE"),
        }))?;
        return Ok(Outcome::Done);
    }
    print(&format!(
        "bayes         {}\ndevice        {device} ({})\nthreads       {}\nCPU features  {}\nprecisions    {}\n\
         token cache   {} (BAYES_CACHE_DIR)\nHub cache     {} (HF_HOME)\n\
         Hub           {endpoint} (HF_ENDPOINT){}\ndata folder   {}\n\
         license       {}\n",
        env!("CARGO_PKG_VERSION"),
        selected.reason,
        compute::threads(),
        features.join(" "),
        precisions.join(" "),
        data::cache_folder().display(),
        hub::cache_folder().display(),
        if hub::is_offline() { ", offline (HF_HUB_OFFLINE is set)" } else { "" },
        data_folder.as_deref().unwrap_or("not set (BAYES_DATA_DIR)"),
        env!("CARGO_PKG_LICENSE"),
    ))?;
    Ok(Outcome::Done)
}
