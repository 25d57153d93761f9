//! What stands under `deploy/` names settings that the server has, and its rules hold. Whether Prometheus,
//! Kubernetes and the others take the files is checked by hand, by `tests/python/check_deploy.py`.

#![expect(clippy::unwrap_used, reason = "a test fails by panic")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// What `compose.yaml` asks whoever runs it.
const OF_COMPOSE: [&str; 5] =
    ["BAYES_MODEL_DIR", "BAYES_API_KEYS", "BAYES_FEEDBACK_KEYS", "BAYES_MEMORY", "BAYES_GPU_PORT"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

/// Names such as `BAYES_PORT`.
fn variables(text: &str) -> BTreeSet<String> {
    let inside = |c: char| c.is_ascii_uppercase() || c == '_';
    let words = text.split(|c| !inside(c)).filter(|word| word.starts_with("BAYES_"));
    words.map(|word| word.trim_end_matches('_').to_owned()).collect()
}

#[test]
fn settings_in_files_of_deployment_exist() {
    let help =
        Command::new(env!("CARGO_BIN_EXE_bayes")).args(["serve", "--help"]).output().unwrap();
    let mut known = variables(&String::from_utf8(help.stdout).unwrap());
    known.insert("BAYES_API_KEY".to_owned());
    assert!(known.contains("BAYES_DRAIN_TIMEOUT"), "{known:?}");
    let mut paths = vec![root().join("compose.yaml")];
    files(&root().join("deploy"), &mut paths);
    assert!(paths.len() > 20, "{paths:?}");
    for path in paths {
        let text = fs::read_to_string(&path).unwrap();
        for name in variables(&text) {
            let asked = path.ends_with("compose.yaml") && OF_COMPOSE.contains(&&*name);
            assert!(known.contains(&name) || asked, "{}: {name}", path.display());
        }
    }
}

/// Of each panel: a description, and a query that every series is chosen by.
#[test]
fn the_panels_of_the_dashboard_say_what_they_show() {
    let path = root().join("deploy/grafana/dashboards/bayes.json");
    let board: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let panels = board["panels"].as_array().unwrap();
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        assert!(panel["description"].as_str().is_some_and(|text| text.ends_with('.')), "{panel}");
        for target in panel["targets"].as_array().unwrap() {
            assert!(target["expr"].as_str().unwrap().contains("job=\"$job\""), "{target}");
        }
    }
    assert!(panels.len() > 40);
}

#[test]
fn alerts_fire_where_they_should_and_only_there() {
    let tests = root().join("deploy/prometheus/tests/alerts_test.yml");
    match Command::new("promtool").args(["test", "rules"]).arg(tests).output() {
        Ok(output) => {
            let said = [output.stdout, output.stderr].concat();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
        }
        Err(error) => {
            let required = std::env::var_os("TEST_SERVERS").is_some_and(|how| how == "required");
            assert!(!required, "promtool is missing (Debian: prometheus): {error}");
            eprintln!("not run: promtool is missing (Debian: prometheus): {error}");
        }
    }
}
