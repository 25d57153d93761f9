//! Which rows a number is about, and whether the model has seen them.

use std::collections::{BTreeMap, HashSet};

use serde::Serialize;

use crate::artifact::{Manifest, PartRecord};
use crate::data::Example;
use crate::data::split::content_hash;

/// What every report says of its rows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Hygiene {
    /// The rows of this report.
    pub evaluated: PartRecord,
    /// How many of their texts occur more than once among them.
    pub repeated: usize,
    /// How many of their texts were also trained or calibrated on, where that is known.
    pub seen: Option<usize>,
    /// The parts that the model was made with, as its manifest has them.
    pub parts: BTreeMap<String, PartRecord>,
}

impl Hygiene {
    pub fn new(rows: &[&Example], seen: Option<usize>, manifest: &Manifest) -> Self {
        let mut texts = HashSet::new();
        let distinct = rows.iter().filter(|example| texts.insert(example.key())).count();
        let rows: Vec<Example> = rows.iter().copied().cloned().collect();
        Self {
            evaluated: PartRecord { rows: rows.len(), sha256: content_hash(&rows) },
            repeated: rows.len() - distinct,
            seen,
            parts: manifest.parts.clone(),
        }
    }
}
