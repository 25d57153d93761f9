//! `bayes/calibration.safetensors`.
//!
//! | tensor | type and shape | meaning |
//! |---|---|---|
//! | `conformal.alpha` | f64 `[a]` | shares of misses that were asked for |
//! | `conformal.M.scores` | f64 `[n]` | scores of the conformal part, class after class in label order, ascending within each; M is `lac`, `mondrian`, `aps` or `raps` |
//! | `conformal.M.rows_by_class` | i64 `[c]` | how many of them belong to each class |
//! | `conformal.raps.penalty`, `conformal.raps.free_ranks` | f64 `[1]` | λ and k_reg |
//! | `novelty.S.reference` | f64 `[n]` | scores of the conformal part, ascending; S is the method's name in the config |
//! | `novelty.alarm` | f64 `[1]` | the p-value up to which a text is called out of distribution |
//! | `novelty.layer.I.mean` | f32 `[d]` | mean of the training features of layer I |
//! | `novelty.layer.I.within` | f32 `[d (d + 1) / 2]` | lower triangle of W, row after row (`W[numpy.tril_indices(d)]`) |
//! | `novelty.layer.I.classes` | f32 `[k, d]` | W (m_k − mean) |
//! | `novelty.layer.I.background` | f32 `[d (d + 1) / 2]` | W of all rows, for the relative form |
//! | `novelty.layer.I.standard` | f64 `[2]` | mean and standard deviation of the layer's score |
//! | `limits` | f64 `[4]` | least confidence, most epistemic uncertainty, least p-value, most labels in a set; NaN where there is no limit; absent where nothing is decided |
//! | `limits.risk` | f64 `[1]` | at most this share of what the least confidence accepts is wrong; absent where that was not asked or not proved |
//!
//! What was not fitted is absent.

use std::collections::{BTreeMap, HashMap};

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

use super::conformal::{Conformal, Score};
use super::novelty::{Distance, Layer, Novelty, NoveltyScore};
use super::{Calibration, Limits};
use crate::model::EncoderConfig;

const CONFORMAL: [&str; 4] = ["lac", "mondrian", "aps", "raps"];
const NOVELTY: [&str; 6] = [
    "relative_mahalanobis",
    "mahalanobis",
    "energy",
    "max_softmax",
    "entropy",
    "mutual_information",
];

/// Shares of misses that one model is asked for.
const MOST_ALPHAS: usize = 64;
/// More than the logarithm of any number of classes.
const MOST_NATS: f64 = 1e3;
/// Beyond every score and every deviation of one.
const MOST_SCORE: f64 = 1e30;

/// Tensors on their way into a file.
#[derive(Default)]
struct Tensors(BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>);

impl Tensors {
    fn put(&mut self, name: &str, values: &[f64]) {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.0.insert(name.to_owned(), (Dtype::F64, vec![values.len()], bytes));
    }

    fn put_narrow(&mut self, name: &str, values: &[f32], shape: Vec<usize>) {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.0.insert(name.to_owned(), (Dtype::F32, shape, bytes));
    }

    fn put_counts(&mut self, name: &str, counts: impl Iterator<Item = usize>) {
        let bytes: Vec<u8> = counts.flat_map(|count| (count as i64).to_le_bytes()).collect();
        self.0.insert(name.to_owned(), (Dtype::I64, vec![bytes.len() / 8], bytes));
    }
}

impl Calibration {
    /// The file's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut tensors = Tensors::default();
        if let Some(conformal) = &self.conformal {
            let method = match conformal.score {
                Score::Lac if conformal.by_class => "mondrian",
                Score::Lac => "lac",
                Score::Aps => "aps",
                Score::Raps { .. } => "raps",
            };
            if let Score::Raps { penalty, free_ranks } = conformal.score {
                tensors.put("conformal.raps.penalty", &[penalty]);
                tensors.put("conformal.raps.free_ranks", &[free_ranks]);
            }
            let by_class = &conformal.scores_by_class;
            tensors.put(&format!("conformal.{method}.scores"), &by_class.concat());
            let counts = by_class.iter().map(Vec::len);
            tensors.put_counts(&format!("conformal.{method}.rows_by_class"), counts);
            tensors.put("conformal.alpha", &self.alphas);
        }
        if let Some(novelty) = &self.novelty {
            tensors.put(&format!("novelty.{}.reference", novelty.score.name()), &novelty.reference);
            tensors.put("novelty.alarm", &[novelty.alarm]);
            if let NoveltyScore::Distance(distance) = &novelty.score {
                for (index, layer) in distance.layers.iter().enumerate() {
                    put_layer(&mut tensors, index, layer);
                }
            }
        }
        if let Some(limits) = &self.limits {
            let or_none = |limit: Option<f64>| limit.unwrap_or(f64::NAN);
            let Limits { min_confidence, max_epistemic, ood_p, max_set_size } = *limits;
            let set_size = max_set_size.map(|size| size as f64);
            let limits = [min_confidence, max_epistemic, ood_p, set_size].map(or_none);
            tensors.put("limits", &limits);
        }
        if let Some(risk) = self.risk {
            tensors.put("limits.risk", &[risk]);
        }
        let views = tensors.0.iter().map(|(name, (dtype, shape, bytes))| {
            let view = TensorView::new(*dtype, shape.clone(), bytes);
            (name, view.expect("the shape is that of the values"))
        });
        let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
        safetensors::serialize(views, Some(metadata)).expect("names are unique and tensors valid")
    }

    /// Reads a file of a model with that many classes and features of that width. The error says
    /// what is wrong with it.
    pub fn from_bytes(bytes: &[u8], encoder: &EncoderConfig) -> Result<Self, String> {
        let classes = encoder.labels.len();
        let file = File(SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?);
        let conformal = read_conformal(&file, classes)?;
        let alphas =
            if conformal.is_some() { file.numbers("conformal.alpha")? } else { Vec::new() };
        if alphas.iter().any(|alpha| !(*alpha > 0.0 && *alpha < 1.0)) || alphas.len() > MOST_ALPHAS
        {
            return Err(format!("`conformal.alpha` is not up to {MOST_ALPHAS} shares"));
        }
        let limits = if file.has("limits") {
            let limits = file.exactly::<4>("limits")?;
            let [min_confidence, max_epistemic, ood_p, set_size] =
                limits.map(|limit| (!limit.is_nan()).then_some(limit));
            let share = |limit: Option<f64>| limit.is_none_or(|limit| (0.0..=1.0).contains(&limit));
            let counts = |size: f64| size.fract() == 0.0 && (0.0..=classes as f64).contains(&size);
            let fits = share(min_confidence) && share(ood_p) && set_size.is_none_or(counts);
            if !fits || max_epistemic.is_some_and(|most| !(0.0..=MOST_NATS).contains(&most)) {
                return Err("`limits` has a number that no limit can have".to_owned());
            }
            let max_set_size = set_size.map(|size| size as usize);
            Some(Limits { min_confidence, max_epistemic, ood_p, max_set_size })
        } else {
            None
        };
        let risk = match file.has("limits.risk") {
            true => Some(file.exactly::<1>("limits.risk")?[0]),
            false => None,
        };
        if risk.is_some_and(|risk| !(0.0..=1.0).contains(&risk)) {
            return Err("`limits.risk` is no share".to_owned());
        }
        Ok(Self { conformal, alphas, novelty: read_novelty(&file, encoder)?, limits, risk })
    }
}

fn put_layer(tensors: &mut Tensors, index: usize, layer: &Layer) {
    let name = |part: &str| format!("novelty.layer.{index}.{part}");
    let width = layer.mean_d.len();
    tensors.put_narrow(&name("mean"), &layer.mean_d, vec![width]);
    tensors.put_narrow(&name("within"), &layer.within, vec![layer.within.len()]);
    let shape = vec![layer.class_kd.len() / width, width];
    tensors.put_narrow(&name("classes"), &layer.class_kd, shape);
    if let Some(background) = &layer.background {
        tensors.put_narrow(&name("background"), background, vec![background.len()]);
    }
    tensors.put(&name("standard"), &[layer.centre, layer.scale]);
}

/// A file that is being read.
struct File<'a>(SafeTensors<'a>);

impl File<'_> {
    fn has(&self, name: &str) -> bool {
        self.0.tensor(name).is_ok()
    }

    fn bytes<const N: usize>(&self, name: &str, dtype: Dtype) -> Result<Vec<[u8; N]>, String> {
        let tensor = self.0.tensor(name).map_err(|_| format!("`{name}` is missing"))?;
        if tensor.dtype() != dtype {
            return Err(format!("`{name}` is {:?}, not {dtype:?}", tensor.dtype()));
        }
        Ok(tensor.data().as_chunks::<N>().0.to_vec())
    }

    fn numbers(&self, name: &str) -> Result<Vec<f64>, String> {
        Ok(self.bytes(name, Dtype::F64)?.into_iter().map(f64::from_le_bytes).collect())
    }

    fn exactly<const N: usize>(&self, name: &str) -> Result<[f64; N], String> {
        let numbers = self.numbers(name)?;
        numbers.try_into().map_err(|_| format!("`{name}` has not {N} numbers"))
    }

    /// Finite numbers in ascending order.
    fn scores(&self, name: &str) -> Result<Vec<f64>, String> {
        let scores = self.numbers(name)?;
        match scores.iter().all(|score| score.is_finite()) && scores.is_sorted() {
            true => Ok(scores),
            false => Err(format!("`{name}` is not finite and ascending")),
        }
    }

    /// So many finite numbers.
    fn narrow(&self, name: &str, count: Option<usize>) -> Result<Vec<f32>, String> {
        let numbers: Vec<f32> =
            self.bytes(name, Dtype::F32)?.into_iter().map(f32::from_le_bytes).collect();
        if count.is_some_and(|count| numbers.len() != count) {
            return Err(format!("`{name}` has the wrong number of values"));
        }
        match numbers.iter().all(|number| number.is_finite()) {
            true => Ok(numbers),
            false => Err(format!("`{name}` is not finite")),
        }
    }
}

fn read_conformal(file: &File<'_>, classes: usize) -> Result<Option<Conformal>, String> {
    let scores_of = |method: &str| format!("conformal.{method}.scores");
    let Some(method) = CONFORMAL.into_iter().find(|method| file.has(&scores_of(method))) else {
        return Ok(None);
    };
    let score = match method {
        "aps" => Score::Aps,
        "raps" => {
            let [penalty] = file.exactly("conformal.raps.penalty")?;
            let [free_ranks] = file.exactly("conformal.raps.free_ranks")?;
            let fits = (0.0..=MOST_SCORE).contains(&penalty)
                && (0.0..=classes as f64).contains(&free_ranks);
            if !fits {
                return Err("`conformal.raps` has a penalty or a rank that cannot be".to_owned());
            }
            Score::Raps { penalty, free_ranks }
        }
        _ => Score::Lac,
    };
    let name = format!("conformal.{method}.rows_by_class");
    let counts = file.bytes(&name, Dtype::I64)?.into_iter().map(i64::from_le_bytes);
    let mut rest = &*file.numbers(&scores_of(method))?;
    let mut scores_by_class = Vec::new();
    for count in counts {
        let parts = usize::try_from(count).ok().and_then(|count| rest.split_at_checked(count));
        let (own, others) = parts.ok_or_else(|| format!("`{name}` does not fit the scores"))?;
        if own.iter().any(|score| !score.is_finite()) || !own.is_sorted() {
            return Err(format!("`{}` is not finite and ascending by class", scores_of(method)));
        }
        scores_by_class.push(own.to_vec());
        rest = others;
    }
    if scores_by_class.len() != classes || !rest.is_empty() {
        return Err(format!("`{name}` does not fit the {classes} classes"));
    }
    Ok(Some(Conformal { score, by_class: method == "mondrian", scores_by_class }))
}

fn read_novelty(file: &File<'_>, encoder: &EncoderConfig) -> Result<Option<Novelty>, String> {
    let reference_of = |method: &str| format!("novelty.{method}.reference");
    let Some(method) = NOVELTY.into_iter().find(|method| file.has(&reference_of(method))) else {
        return Ok(None);
    };
    let score = match method {
        "energy" => NoveltyScore::Energy,
        "max_softmax" => NoveltyScore::MaxSoftmax,
        "entropy" => NoveltyScore::Entropy,
        "mutual_information" => NoveltyScore::MutualInformation,
        _ => {
            let mut layers = Vec::new();
            while file.has(&format!("novelty.layer.{}.mean", layers.len())) {
                layers.push(read_layer(file, layers.len(), method == "relative_mahalanobis")?);
            }
            if let Some(layer) =
                layers.iter().find(|layer| layer.mean_d.len() != encoder.hidden_size)
            {
                let (found, width) = (layer.mean_d.len(), encoder.hidden_size);
                return Err(format!("a novelty layer is {found} wide, the hidden states {width}"));
            }
            let most = encoder.num_hidden_layers + 1;
            if layers.is_empty() || layers.len() > most {
                return Err(format!("{} novelty layers, of 1 to {most}", layers.len()));
            }
            NoveltyScore::Distance(Distance { layers })
        }
    };
    let reference = file.scores(&reference_of(method))?;
    let [alarm] = file.exactly("novelty.alarm")?;
    if !(0.0..=1.0).contains(&alarm) {
        return Err(format!("`novelty.alarm` is {alarm:e}, which is no p-value"));
    }
    Ok(Some(Novelty::new(score, reference, alarm)))
}

fn read_layer(file: &File<'_>, index: usize, relative: bool) -> Result<Layer, String> {
    let name = |part: &str| format!("novelty.layer.{index}.{part}");
    let mean_d = file.narrow(&name("mean"), None)?;
    let width = mean_d.len();
    let triangle = Some(width * (width + 1) / 2);
    let class_kd = file.narrow(&name("classes"), None)?;
    if width == 0 || class_kd.is_empty() || !class_kd.len().is_multiple_of(width) {
        return Err(format!("`{}` does not fit the width {width}", name("classes")));
    }
    let [centre, scale] = file.exactly(&name("standard"))?;
    if !(centre.abs() <= MOST_SCORE && scale > 0.0 && scale <= MOST_SCORE) {
        return Err(format!("`{}` has {centre:e} and {scale:e}", name("standard")));
    }
    Ok(Layer {
        within: file.narrow(&name("within"), triangle)?,
        background: relative.then(|| file.narrow(&name("background"), triangle)).transpose()?,
        mean_d,
        class_kd,
        centre,
        scale,
    })
}

#[cfg(test)]
mod tests;
