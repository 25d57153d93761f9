//! Outputs: which tensors a model offers, and how predictions become their data.

use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::super::super::app::App;
use super::super::super::model::Loaded;
use super::super::super::problem::Problem;
use super::super::super::request::{Options, fault};
use super::super::Told;

/// A tensor of the model's metadata; the size of what varies is -1.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TensorKind {
    /// Its name.
    pub name: &'static str,
    /// `BYTES` (text), `FP32` or `BOOL`.
    pub datatype: &'static str,
    /// Texts, and labels.
    pub shape: Vec<i64>,
}

/// The answer.
#[derive(Debug, Serialize, ToSchema)]
pub struct InferResponse {
    /// The model's name.
    pub model_name: String,
    /// A hash of everything that affects its predictions.
    pub model_version: String,
    /// As sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The tensors.
    pub outputs: Vec<Output>,
}

/// A tensor of an answer.
#[derive(Debug, Serialize, ToSchema)]
pub struct Output {
    name: &'static str,
    datatype: &'static str,
    /// Texts, and labels.
    shape: Vec<usize>,
    /// Row by row.
    #[schema(value_type = Vec<Value>)]
    data: Data,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Data {
    Bytes(Vec<String>),
    Fp32(Vec<f32>),
    Bool(Vec<bool>),
}

/// All tensors that this model gives. What it cannot know it does not offer.
pub fn offered(app: &App, model: &Loaded) -> Vec<TensorKind> {
    let artifact = model.predictor.artifact();
    let labels = model.predictor.labels().len() as i64;
    let known = artifact.posterior.own_doubt().reason().is_none();
    let calibration = &artifact.calibration;
    let decides = app.limits(model, &Options::default()).is_some();
    let (each, every) = (vec![-1], vec![-1, labels]);
    [
        ("label", "BYTES", &each, true),
        ("probabilities", "FP32", &every, true),
        ("confidence", "FP32", &each, true),
        ("uncertainty", "FP32", &each, true),
        ("aleatoric", "FP32", &each, known),
        ("epistemic", "FP32", &each, known),
        ("prediction_set", "BOOL", &every, calibration.conformal.is_some()),
        ("ood_p_value", "FP32", &each, calibration.novelty.is_some()),
        ("decision", "BYTES", &each, decides),
    ]
    .into_iter()
    .filter(|(.., offered)| *offered)
    .map(|(name, datatype, shape, _)| TensorKind { name, datatype, shape: shape.clone() })
    .collect()
}

/// Those that are wanted, or all.
pub fn outputs(
    offered: &[TensorKind],
    wanted: Option<&[String]>,
) -> Result<Vec<TensorKind>, Problem> {
    let Some(wanted) = wanted else { return Ok(offered.to_vec()) };
    let find = |(index, name): (usize, &String)| {
        let place: [Value; 3] = ["outputs".into(), index.into(), "name".into()];
        if wanted[..index].contains(name) {
            return Err(Problem::Validation(vec![fault(
                &place,
                "occurs twice",
                "duplicate_output",
            )]));
        }
        offered.iter().find(|kind| kind.name == name).cloned().ok_or_else(|| {
            let names: Vec<_> = offered.iter().map(|kind| format!("`{}`", kind.name)).collect();
            let msg = format!("this model has the outputs {}", names.join(", "));
            Problem::Validation(vec![fault(&place, msg, "unknown_output")])
        })
    };
    wanted.iter().enumerate().map(find).collect()
}

/// The tensors of these predictions. One that a prediction has no value for is left out, unless it was asked for
/// by its name.
pub fn written(told: &[Told], kinds: &[TensorKind], by_name: bool) -> Result<Vec<Output>, Problem> {
    let mut outputs = Vec::with_capacity(kinds.len());
    for kind in kinds {
        let rows: Option<Vec<Data>> = told.iter().map(|told| row(told, kind.name)).collect();
        let Some(rows) = rows else {
            if by_name {
                let msg = format!("`{}` needs a `coverage`, or limits of the model", kind.name);
                let place = ["outputs".into()];
                return Err(Problem::Validation(vec![fault(&place, msg, "no_output")]));
            }
            continue;
        };
        let mut shape = vec![told.len()];
        shape.extend(kind.shape.get(1).map(|&labels| labels as usize));
        outputs.push(Output {
            name: kind.name,
            datatype: kind.datatype,
            shape,
            data: joined(rows),
        });
    }
    Ok(outputs)
}

/// What one prediction adds to a tensor; `None` where it has no value for it.
fn row(told: &Told, name: &str) -> Option<Data> {
    let object = &told.0;
    let details = object.uncertainty_details.as_ref();
    let number = |number: f64| Data::Fp32(vec![number as f32]);
    Some(match name {
        "label" => Data::Bytes(vec![object.label.clone()]),
        "probabilities" => {
            Data::Fp32(told.probabilities().into_iter().map(|(_, share)| share as f32).collect())
        }
        "confidence" => number(object.confidence),
        "uncertainty" => number(object.uncertainty?),
        "aleatoric" => number(details?.aleatoric?),
        "epistemic" => number(details?.epistemic?),
        "prediction_set" => {
            let set = &object.prediction_set.as_ref()?.labels;
            let holds = |(label, _): (&str, f64)| set.iter().any(|own| own == label);
            Data::Bool(told.probabilities().into_iter().map(holds).collect())
        }
        "ood_p_value" => number(object.ood?.p_value),
        "decision" => Data::Bytes(vec![object.decision?.to_owned()]),
        _ => return None,
    })
}

/// The rows of a tensor, one after another; all are of one kind.
fn joined(rows: Vec<Data>) -> Data {
    let mut rows = rows.into_iter();
    let mut all = rows.next().unwrap_or(Data::Fp32(Vec::new()));
    for row in rows {
        match (&mut all, row) {
            (Data::Bytes(all), Data::Bytes(more)) => all.extend(more),
            (Data::Fp32(all), Data::Fp32(more)) => all.extend(more),
            (Data::Bool(all), Data::Bool(more)) => all.extend(more),
            _ => unreachable!("a tensor is of one kind"),
        }
    }
    all
}

/// What a tensor of a request looks like.
pub fn input_schema() -> Value {
    json!({
        "type": "object", "required": ["name", "shape", "datatype"],
        "additionalProperties": false,
        "properties": {
            "name": { "enum": ["text", "text_pair"] },
            "shape": {
                "type": "array", "minItems": 1, "maxItems": 2,
                "items": { "type": "integer", "minimum": 1 },
                "description": "`[N]` or `[N, 1]`.",
            },
            "datatype": { "enum": ["BYTES"] },
            "parameters": {
                "type": "object",
                "properties": { "binary_data_size": { "type": "integer", "minimum": 0 } },
            },
            "data": {
                "type": "array", "items": {},
                "description": "Texts, row by row; absent where they follow the JSON as binary data.",
            },
        },
    })
}
