//! One row to look at, and the table of all.

use std::path::Path;

use serde::Serialize;

use crate::data::Place;
use crate::data::table::{self, Kind, TableError, Value, Writer};

/// Why a row is to be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The label is probably wrong.
    Label,
    /// An earlier row has the same text and another label.
    Contradiction,
    /// The same of nearly the same text.
    NearContradiction,
    /// A row of another split has the same text, and the same label.
    Leak,
    /// The same of nearly the same text.
    NearLeak,
    /// An earlier row of the split has the same text, and the same label.
    Repeat,
    /// The same of nearly the same text.
    NearRepeat,
    /// The text has characters that do not belong there.
    Characters,
}

impl Reason {
    /// All of them, the gravest first.
    pub const ALL: [Self; 8] = [
        Self::Label,
        Self::Contradiction,
        Self::NearContradiction,
        Self::Leak,
        Self::NearLeak,
        Self::Repeat,
        Self::NearRepeat,
        Self::Characters,
    ];

    /// Its name in a table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Label => "label",
            Self::Contradiction => "contradiction",
            Self::NearContradiction => "near_contradiction",
            Self::Leak => "leak",
            Self::NearLeak => "near_leak",
            Self::Repeat => "repeat",
            Self::NearRepeat => "near_repeat",
            Self::Characters => "characters",
        }
    }

    /// For people.
    pub fn words(self) -> &'static str {
        match self {
            Self::Label => "label probably wrong",
            Self::Contradiction => "same text, other label",
            Self::NearContradiction => "nearly the same text, other label",
            Self::Leak => "same text in another split",
            Self::NearLeak => "nearly the same text in another split",
            Self::Repeat => "same text in its split",
            Self::NearRepeat => "nearly the same text in its split",
            Self::Characters => "characters that do not belong in a text",
        }
    }
}

/// A row to look at.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    pub reason: Reason,
    #[serde(flatten)]
    pub place: Place,
    /// The label that it has.
    pub given: String,
    /// The label that it should rather have: what the classifier says, or the row that it repeats.
    pub suggested: Option<String>,
    /// That the label is wrong.
    pub probability: Option<f64>,
    /// Of the two texts, 1 where they are the same.
    pub similarity: Option<f64>,
    /// The earlier row.
    pub other: Option<Place>,
    pub text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pair: Option<String>,
}

/// The columns of the table; the last one only where there are pairs.
const COLUMNS: [(&str, Kind); 12] = [
    ("reason", Kind::Text),
    ("split", Kind::Text),
    ("file", Kind::Text),
    ("row", Kind::Integer),
    ("given", Kind::Text),
    ("suggested", Kind::Text),
    ("probability", Kind::Float),
    ("similarity", Kind::Float),
    ("other_file", Kind::Text),
    ("other_row", Kind::Integer),
    ("text", Kind::Text),
    ("text_pair", Kind::Text),
];

/// Writes a table of findings in the format that the extension names.
///
/// # Errors
/// The file cannot be written.
pub fn write(path: &Path, findings: &[Finding]) -> Result<(), TableError> {
    let pairs = findings.iter().any(|finding| finding.pair.is_some());
    let columns = &COLUMNS[..COLUMNS.len() - usize::from(!pairs)];
    let mut writer = Writer::create(path, columns)?;
    let text = |text: &str| Value::Text(text.to_owned());
    let line = |place: &Place| Value::Integer(i64::try_from(place.line).unwrap_or(i64::MAX));
    let optional = |value: Option<Value>| value.unwrap_or(Value::Null);
    for finding in findings {
        let Finding { place, other, .. } = finding;
        let mut values = vec![
            text(finding.reason.name()),
            text(&place.split),
            text(&place.file),
            line(place),
            text(&finding.given),
            optional(finding.suggested.as_deref().map(text)),
            optional(finding.probability.map(Value::Float)),
            optional(finding.similarity.map(Value::Float)),
            optional(other.as_ref().map(|other| text(&other.file))),
            optional(other.as_ref().map(line)),
            text(&finding.text),
        ];
        if pairs {
            values.push(optional(finding.pair.as_deref().map(text)));
        }
        writer.write(&values)?;
    }
    writer.finish()
}

/// Whether a file is such a table.
pub fn is_findings(path: &Path) -> bool {
    let own = COLUMNS[..COLUMNS.len() - 1].iter().map(|(name, _)| *name);
    table::open(path).is_ok_and(|table| {
        let found = table.columns.iter().map(String::as_str);
        own.eq(found.take(COLUMNS.len() - 1))
    })
}
