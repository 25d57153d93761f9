//! What is kept of feedback, a line each, and how it is read back.
//!
//! | file | what |
//! |---|---|
//! | `labels.log` | [`Label`]s: on disk before they are acknowledged |
//! | `texts-N.log` | [`Text`]s of predictions, where the server keeps them, for as long as a label may come |
//! | `kept-N.log` | of these, the ones that got one |
//! | `lock` | held by the server that writes |

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::id;
use super::lines::{self, LogError, failed};

/// Files of texts, and of those that have a label.
pub const TEXTS: &str = "texts-";
pub const KEPT: &str = "kept-";

/// A label for a prediction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Label {
    /// The name of the prediction.
    pub id: String,
    pub label: String,
    /// The places of both labels in the model.
    pub class: u32,
    pub predicted: String,
    /// What requests call the model that predicted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// When it came, in milliseconds since 1970.
    pub at: u64,
    /// What was predicted for, where the label came with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pair: Option<String>,
}

/// When a label came, and its class: of several labels of one prediction the one whose rank is least stands.
pub type Rank = (u64, u32);

impl Label {
    pub fn rank(&self) -> Rank {
        (self.at, self.class)
    }
}

/// A text that was predicted for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Text {
    /// The UUID in the name of its prediction.
    uuid: String,
    pub text: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pair: Option<String>,
}

impl Text {
    pub fn new(uuid: Uuid, text: String, pair: Option<String>) -> Self {
        Self { uuid: uuid.simple().to_string(), text, pair }
    }

    /// That of a line, and the UUID.
    pub fn read(json: &[u8]) -> Option<(Uuid, Self)> {
        let text: Self = serde_json::from_slice(json).ok()?;
        Some((Uuid::try_parse(&text.uuid).ok()?, text))
    }
}

/// The file of the labels.
pub fn labels_of(folder: &Path) -> PathBuf {
    folder.join("labels.log")
}

/// Files whose names begin so, in the order of their numbers.
pub fn numbered(folder: &Path, prefix: &str) -> Result<Vec<(u64, PathBuf)>, LogError> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed(folder))? {
        let path = entry.map_err(failed(folder))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let number = name.strip_prefix(prefix).and_then(|name| name.strip_suffix(".log"));
        if let Some(number) = number.and_then(|number| number.parse().ok()) {
            found.push((number, path));
        }
    }
    found.sort();
    Ok(found)
}

/// A label with all that is known of its prediction.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The text, and the second one of a pair; `None` if it was not kept.
    pub text: Option<(String, Option<String>)>,
    pub label: String,
    pub predicted: String,
    /// What requests called the model that predicted.
    pub model: Option<String>,
    pub confidence: f64,
    /// When the label came, in milliseconds since 1970.
    pub at: u64,
}

/// All labels of these folders and those that replicas `shared`, in the order of the predictions, whether or not a
/// server uses the folders. A prediction that was labelled at several replicas stands once, with the first of its
/// labels.
///
/// # Errors
/// A folder has no feedback, or a file is damaged.
pub fn rows(folders: &[PathBuf], shared: Vec<Label>) -> Result<Vec<Row>, LogError> {
    let mut labels: HashMap<Uuid, Label> = HashMap::new();
    shared.into_iter().for_each(|label| add(&mut labels, label));
    for folder in folders {
        let path = labels_of(folder);
        if !path.exists() {
            return Err(failed(&path)(std::io::ErrorKind::NotFound.into()));
        }
        let whole = lines::read(&path, &mut |json| {
            if let Ok(label) = serde_json::from_slice::<Label>(json) {
                add(&mut labels, label);
            }
        })?;
        tell_torn(&path, whole)?;
    }
    let mut texts: HashMap<Uuid, (String, Option<String>)> = HashMap::new();
    for folder in folders {
        // In this order: what is no more among the first is among the second by then.
        for prefix in [TEXTS, KEPT] {
            for (_, path) in numbered(folder, prefix)? {
                lines::read(&path, &mut |json| {
                    let Some((uuid, text)) = Text::read(json) else { return };
                    if labels.contains_key(&uuid) {
                        texts.insert(uuid, (text.text, text.pair));
                    }
                })?;
            }
        }
    }
    let mut all: Vec<(Uuid, Label)> = labels.into_iter().collect();
    all.sort_by_key(|(uuid, _)| *uuid);
    let row = |(uuid, label): (Uuid, Label)| Row {
        confidence: id::trusted(&label.id).map_or(f64::NAN, |named| named.confidence),
        text: label.text.map(|text| (text, label.pair)).or_else(|| texts.remove(&uuid)),
        label: label.label,
        predicted: label.predicted,
        model: label.model,
        at: label.at,
    };
    Ok(all.into_iter().map(row).collect())
}

/// Says so where a file of labels goes on behind its whole lines: a server was stopped as it wrote the last one, or
/// writes it now.
fn tell_torn(path: &Path, whole: u64) -> Result<(), LogError> {
    let length = std::fs::metadata(path).map_err(failed(path))?.len();
    if length > whole {
        tracing::warn!(
            "the last {} bytes of `{}` are of a label that was not written whole, and are left out",
            length - whole,
            path.display()
        );
    }
    Ok(())
}

/// The first one stays, with the text of either: both are of one prediction.
fn add(labels: &mut HashMap<Uuid, Label>, mut label: Label) {
    let Some(named) = id::trusted(&label.id) else { return };
    let Some(known) = labels.get_mut(&Uuid::from_bytes(named.uuid)) else {
        labels.insert(Uuid::from_bytes(named.uuid), label);
        return;
    };
    if label.rank() < known.rank() {
        std::mem::swap(known, &mut label);
    }
    if known.text.is_none() {
        (known.text, known.pair) = (label.text, label.pair);
    }
}
