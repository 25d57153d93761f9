//! A folder with weights in one form, and what its logits are.

use std::path::{Path, PathBuf};

use bayes::compute::{Backend, Noise, Packed, Sequence};
use bayes::model::{self, Classifier, EncoderConfig, Loaded, ModelError};
use serde_json::Value;

/// Agreement with transformers in f32; adapters are merged in another order of sums.
const TOLERANCE: f32 = 1e-5;

pub fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/forms")
}

fn expected() -> Value {
    serde_json::from_slice(&std::fs::read(fixtures().join("expected.json")).unwrap()).unwrap()
}

/// A folder with the files of a form, and its config.
pub struct Folder(pub tempfile::TempDir);

impl Folder {
    pub fn of(form: &str) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.add(form);
        if !form.starts_with("adapter") {
            std::fs::copy(fixtures().join("config.json"), folder.path("config.json")).unwrap();
        }
        folder
    }

    /// One of an adapter whose base is another folder.
    pub fn adapter(form: &str, base: &Self) -> Self {
        let folder = Self::of(form);
        let base = base.0.path().to_str().unwrap().to_owned();
        folder
            .edit("adapter_config.json", |config| config["base_model_name_or_path"] = base.into());
        folder
    }

    pub fn add(&self, form: &str) {
        for entry in std::fs::read_dir(fixtures().join(form)).unwrap() {
            let path = entry.unwrap().path();
            std::fs::copy(&path, self.path(path.file_name().unwrap().to_str().unwrap())).unwrap();
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn edit(&self, name: &str, change: impl FnOnce(&mut Value)) {
        let path = self.path(name);
        let mut value: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        change(&mut value);
        std::fs::write(path, value.to_string()).unwrap();
    }

    pub fn config(&self) -> Result<EncoderConfig, ModelError> {
        EncoderConfig::read(self.0.path())
    }

    pub fn load(&self) -> Result<Loaded, ModelError> {
        model::load(self.0.path(), &self.config()?, &Noise::new(0), &Backend::Cpu)
    }

    pub fn refused(&self) -> String {
        self.load().unwrap_err().to_string()
    }

    pub fn logits(&self) -> Vec<Vec<f32>> {
        let loaded = self.load().unwrap();
        assert_eq!((&loaded.missing, loaded.other_head), (&Vec::new(), None));
        let ids: Vec<Vec<u32>> = serde_json::from_value(expected()["input_ids"].clone()).unwrap();
        let sequence = |(row, ids): (usize, Vec<u32>)| {
            let type_ids = vec![0; ids.len()];
            Sequence { ids, type_ids, row: row as u64 }
        };
        let batch = Packed::new(ids.into_iter().enumerate().map(sequence));
        let classifier = Classifier::packed(&self.config().unwrap(), &loaded.parameters).unwrap();
        classifier.logits(&batch, None).unwrap().to_vec2().unwrap()
    }
}

pub fn assert_close(found: &[Vec<f32>], case: &str, what: &str) {
    let expected: Vec<Vec<f32>> =
        serde_json::from_value(expected()["logits"][case].clone()).unwrap();
    let pairs = found.iter().flatten().zip(expected.iter().flatten());
    let worst = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert_eq!(found[0].len(), expected[0].len());
    assert!(worst < TOLERANCE, "{what}: {worst}");
}
