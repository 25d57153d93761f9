//! The README and `docs/`: their commands run, what they name exists, and the list of keys is that of the
//! code. `UPDATE_DOCS=1 cargo test --test docs` writes the list anew.
//!
//! What a block of a page means:
//!
//! | block | what happens |
//! |---|---|
//! | `sh` | every command is run, in order, in a folder of the page's own |
//! | `sh` after `<!-- not run: REASON -->` | only flags, keys and files are looked at |
//! | any after `<!-- file: NAME -->` | is written to that file |
//! | `text`, `toml`, `json`, `markdown` | is shown |

#![expect(clippy::unwrap_used, reason = "a test fails by panic")]

mod configuration;
#[path = "../home/mod.rs"]
#[expect(dead_code, reason = "pages train as they say")]
mod home;
mod names;
mod page;
mod reader;

use page::Page;
use reader::Reader;

/// All commands of a page.
fn follow(name: &str) {
    let page = Page::read(name);
    let mut reader = Reader::new();
    page.blocks().iter().for_each(|block| reader.follow(name, block));
}

#[test]
fn the_commands_of_the_readme_run() {
    follow("README.md");
}

#[test]
fn the_commands_of_training_run() {
    follow("docs/training.md");
}

#[test]
fn the_commands_of_data_run() {
    follow("docs/data.md");
}

#[test]
fn the_commands_of_benchmarks_are_right() {
    follow("docs/benchmarks.md");
}

#[test]
fn the_commands_of_uncertainty_run() {
    follow("docs/uncertainty.md");
}

#[test]
fn the_commands_of_replicas_are_right() {
    follow("docs/replicas.md");
    follow("docs/several-models.md");
}

#[test]
fn the_commands_of_audits_run() {
    follow("docs/audit.md");
    follow("docs/labelling.md");
}

#[test]
fn the_commands_of_metrics_run() {
    follow("docs/metrics.md");
}

#[test]
fn the_commands_of_methods_run() {
    follow("docs/methods.md");
}

#[test]
fn the_commands_of_models_run() {
    follow("docs/models.md");
}

#[test]
fn the_commands_of_performance_run() {
    follow("docs/performance.md");
}

#[test]
fn the_commands_of_precision_run() {
    follow("docs/precision.md");
}

#[test]
fn the_commands_of_gpu_run() {
    follow("docs/gpu.md");
}

#[test]
fn the_commands_of_the_device_engine_run() {
    follow("docs/device-engine.md");
}

#[test]
fn the_commands_of_serving_and_deployment_run() {
    follow("docs/serving.md");
    follow("docs/deployment.md");
}

#[test]
fn the_commands_of_protocols_run() {
    follow("docs/protocols.md");
}

#[test]
fn the_commands_of_cascades_are_right() {
    follow("docs/cascade.md");
}

#[test]
fn the_commands_of_drift_run() {
    follow("docs/drift.md");
}

#[test]
fn the_commands_of_publishing_run() {
    follow("docs/publishing.md");
}

#[test]
fn the_commands_of_configuration_and_contributing_run() {
    follow("docs/configuration.md");
    follow("CONTRIBUTING.md");
    follow("CHANGELOG.md");
}

/// No page is left out above.
#[test]
fn every_page_is_followed() {
    let own = include_str!("main.rs");
    for page in Page::all() {
        assert!(own.contains(&format!("follow(\"{}\")", page.name)), "{}", page.name);
    }
}
