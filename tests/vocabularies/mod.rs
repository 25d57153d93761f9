//! Folders with a small tokenizer in each of the forms that the Hub has, and texts that are hard to take apart.
//! `tests/python/golden_tokenizers.py` made the files.

use std::io::Read as _;
use std::path::Path;

use serde_json::Value;

/// The fixtures.
pub struct Vocabularies {
    archive: Vec<u8>,
    pub cases: Value,
}

impl Vocabularies {
    pub fn read() -> Self {
        let read = |name: &str| std::fs::read(Self::path(name)).unwrap();
        let cases = serde_json::from_slice(&read("cases.json")).unwrap();
        Self { archive: read("vocabularies.zip"), cases }
    }

    pub fn path(name: &str) -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tokenizers").join(name)
    }

    /// The folder of a case.
    pub fn folder(&self, case: &str) -> tempfile::TempDir {
        let case = &self.cases["cases"][case];
        let folder = tempfile::tempdir().unwrap();
        let mut archive = zip::ZipArchive::new(std::io::Cursor::new(&self.archive)).unwrap();
        for (name, source) in case["files"].as_object().unwrap() {
            let mut bytes = Vec::new();
            archive.by_name(source.as_str().unwrap()).unwrap().read_to_end(&mut bytes).unwrap();
            std::fs::write(folder.path().join(name), bytes).unwrap();
        }
        for (name, value) in case["json"].as_object().unwrap() {
            std::fs::write(folder.path().join(name), value.to_string()).unwrap();
        }
        folder
    }
}
