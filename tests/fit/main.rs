//! `bayes fit` as a user runs it.

#![expect(clippy::unwrap_used, reason = "a test fails by panic")]

mod files;
#[expect(dead_code, reason = "these tests train on data of their own")]
#[path = "../home/mod.rs"]
mod home;
mod methods;
mod refit;
mod rows;

use std::collections::BTreeMap;
use std::path::PathBuf;

use home::{Home, TINY};
use safetensors::SafeTensors;
use serde_json::Value;

/// Requests to three departments; every tenth went to the wrong one.
fn requests(rows: usize) -> String {
    let things = ["invoice", "router", "parcel"];
    let mut csv = "subject,department\n".to_owned();
    for row in 0..rows {
        let department = if row % 10 == 0 { row + 1 } else { row } % 3;
        let (thing, department) =
            (things[row % 3], ["billing", "technical", "shipping"][department]);
        csv.push_str(&format!("\"please look at my {thing}, case {row}\",{department}\n"));
    }
    csv
}

/// A model of method `map`, and the data it was trained on.
fn trained() -> (Home, PathBuf) {
    let home = Home::new();
    let data = home.write("requests.csv", requests(400));
    let mut arguments = vec!["train", data.to_str().unwrap(), "--set", "posterior.method=map"];
    arguments.extend(TINY);
    home.done(&arguments);
    (home, data)
}

const MODEL: &str = "checkpoints/requests/model";

fn tensors(home: &Home, file: &str) -> BTreeMap<String, Vec<u8>> {
    let bytes = std::fs::read(home.path(file)).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    file.iter().map(|(name, view)| (name.to_owned(), view.data().to_vec())).collect()
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}
