//! Model folders to change: one as transformers writes it, and one of ours.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::home::{Home, text};

/// A folder as transformers wrote it: three classes, 40 positions, 99 tokens.
pub struct Foreign(pub Home);

impl Foreign {
    pub fn new() -> Self {
        let home = Home::new();
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/encoders/bert");
        for entry in std::fs::read_dir(fixture).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            if name != "expected.json" {
                home.write(&format!("m/{name}"), std::fs::read(&path).unwrap());
            }
        }
        Self(home)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path("m").join(name)
    }

    pub fn edit(&self, name: &str, change: impl FnOnce(&mut Value)) {
        edit_json(&self.path(name), change);
    }

    /// What is said of one text.
    pub fn answer(&self, sentence: &str) -> Value {
        serde_json::from_str(&self.0.done(&["predict", "--model", "m", "--json", sentence]))
            .unwrap()
    }

    /// Why nothing is said.
    pub fn refused(&self) -> String {
        self.0.refused(&["predict", "--model", "m", "a film"])
    }
}

/// A model of ours with a posterior and calibration, trained once.
fn trained() -> &'static Path {
    static MODEL: OnceLock<(Home, PathBuf)> = OnceLock::new();
    let (_, model) = MODEL.get_or_init(|| {
        let home = Home::new();
        home.train_tiny(&[]);
        let model = home.path("checkpoints/tickets/model");
        (home, model)
    });
    model
}

/// An ensemble of three networks, trained once.
fn ensemble() -> &'static Path {
    static MODEL: OnceLock<(Home, PathBuf)> = OnceLock::new();
    let (_, model) = MODEL.get_or_init(|| {
        let home = Home::new();
        let settings =
            ["train.recipe=full", "posterior.method=ensemble", "posterior.num_members=3"];
        let settings = settings.map(|setting| ["--set", setting]);
        home.train_tiny(&settings.concat());
        let model = home.path("checkpoints/tickets/model");
        (home, model)
    });
    model
}

/// A copy of it.
pub struct Own(pub Home);

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}

impl Own {
    pub fn new() -> Self {
        Self::copied(trained())
    }

    pub fn ensemble() -> Self {
        Self::copied(ensemble())
    }

    fn copied(model: &Path) -> Self {
        let home = Home::new();
        copy(model, &home.path("m"));
        Self(home)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path("m").join(name)
    }

    /// Changes a file, and gives the manifest the hashes of what then lies there.
    pub fn edit(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let path = self.path(name);
        let mut bytes = std::fs::read(&path).unwrap();
        change(&mut bytes);
        std::fs::write(&path, bytes).unwrap();
        self.rehash();
    }

    pub fn edit_json(&self, name: &str, change: impl FnOnce(&mut Value)) {
        edit_json(&self.path(name), change);
        self.rehash();
    }

    fn rehash(&self) {
        let root = self.path("");
        edit_json(&self.path("bayes/manifest.json"), |manifest| {
            let Some(files) = manifest["files"].as_object_mut() else { return };
            for (name, hash) in files {
                if let Ok(bytes) = std::fs::read(root.join(name)) {
                    let digest = Sha256::digest(&bytes);
                    let text: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
                    *hash = text.into();
                }
            }
        });
    }

    pub fn refused(&self) -> String {
        let message = self.0.refused(&["predict", "--model", "m", "please look at my invoice"]);
        let check = self.0.run(&["serve", "--check", "--model", "m"]);
        assert_eq!(check.status.code(), Some(2), "{}", text(&check.stderr));
        message
    }
}

/// A manifest loses its own hash, as one that a stranger writes has none.
pub fn edit_json(path: &Path, change: impl FnOnce(&mut Value)) {
    let mut value: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    change(&mut value);
    if path.ends_with("manifest.json")
        && let Some(manifest) = value.as_object_mut()
    {
        manifest.shift_remove("sha256");
    }
    std::fs::write(path, value.to_string()).unwrap();
}

/// The bytes of a tensor in a safetensors file.
pub fn tensor<'a>(bytes: &'a mut [u8], name: &str) -> &'a mut [u8] {
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let value: Value = serde_json::from_slice(&bytes[8..8 + header]).unwrap();
    let place = |at: usize| value[name]["data_offsets"][at].as_u64().unwrap() as usize + 8 + header;
    let (start, end) = (place(0), place(1));
    &mut bytes[start..end]
}
