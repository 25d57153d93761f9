//! `bayes/calibration.safetensors`.
//!
//! | tensor | type and shape | meaning |
//! |---|---|---|
//! | `conformal.alpha` | f64 `[a]` | shares of misses that were asked for |
//! | `conformal.M.scores` | f64 `[n]` | scores of the conformal part, class after class in label order, ascending within each; M is `lac`, `mondrian`, `aps` or `raps` |
//! | `conformal.M.rows_by_class` | i64 `[c]` | how many of them belong to each class |
//! | `conformal.raps.penalty`, `conformal.raps.free_ranks` | f64 `[1]` | λ and k_reg |
//! | `novelty.S.reference` | f64 `[n]` | scores of the conformal part, group after group of lengths, ascending within each; S is the method's name in the config |
//! | `novelty.groups.rows` | i64 `[g]` | how many of them belong to each group; absent where there is one |
//! | `novelty.groups.tokens` | i64 `[g − 1]` | the least tokens of each group but the first |
//! | `novelty.length` | f64 `[2, 25]` | the usual score and its deviation for texts of 2^(1 + j/2) tokens; absent where lengths are not looked at |
//! | `novelty.alarm` | f64 `[1]` | the p-value up to which a text is called out of distribution |
//! | `novelty.layer.I.mean` | f32 `[d]` | mean of the training features of layer I |
//! | `novelty.layer.I.within` | f32 `[d (d + 1) / 2]` | lower triangle of W, row after row (`W[numpy.tril_indices(d)]`) |
//! | `novelty.layer.I.classes` | f32 `[k, d]` | W (m_k − mean) |
//! | `novelty.layer.I.background` | f32 `[d (d + 1) / 2]` | W of all rows, for the relative form |
//! | `novelty.layer.I.rows`, `.neighbour` | f16 `[n, d]`, f64 `[1]` | normalised training features, and which neighbour counts, for `knn` |
//! | `novelty.layer.I.means`, `.roots`, `.constants` | f32 `[k, d]`, f32 `[k, d (d + 1) / 2]`, f64 `[k]` | means, lower triangles of W_k and ln π_k + ln det W_k − d/2 ln 2π of the classes, for `ddu` |
//! | `novelty.layer.I.standard` | f64 `[2]` | mean and standard deviation of the layer's score |
//! | `limits` | f64 `[4]` | least confidence, most epistemic uncertainty, least p-value, most labels in a set; NaN where there is no limit; absent where nothing is decided |
//! | `limits.risk` | f64 `[1]` | at most this share of what the least confidence accepts is wrong; absent where that was not asked or not proved |
//!
//! What was not fitted is absent.

use safetensors::tensor::Dtype;

use super::conformal::{Conformal, Score};
use super::{Calibration, Limits};
use crate::model::EncoderConfig;
use crate::store::{TensorFile, Tensors};

mod novelty;

const CONFORMAL: [&str; 4] = ["lac", "mondrian", "aps", "raps"];

/// Shares of misses that one model is asked for.
const MOST_ALPHAS: usize = 64;
/// More than the logarithm of any number of classes.
const MOST_NATS: f64 = 1e3;
/// Beyond every score and every deviation of one.
const MOST_SCORE: f64 = 1e30;

impl Calibration {
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
                tensors.put_f64("conformal.raps.penalty", &[penalty]);
                tensors.put_f64("conformal.raps.free_ranks", &[free_ranks]);
            }
            let by_class = &conformal.scores_by_class;
            tensors.put_f64(&format!("conformal.{method}.scores"), &by_class.concat());
            let counts: Vec<i64> = by_class.iter().map(|scores| scores.len() as i64).collect();
            tensors.put_i64(&format!("conformal.{method}.rows_by_class"), &counts);
            tensors.put_f64("conformal.alpha", &self.alphas);
        }
        if let Some(novelty) = &self.novelty {
            novelty::put(&mut tensors, novelty);
        }
        if let Some(limits) = &self.limits {
            let or_none = |limit: Option<f64>| limit.unwrap_or(f64::NAN);
            let Limits { min_confidence, max_epistemic, ood_p, max_set_size } = *limits;
            let set_size = max_set_size.map(|size| size as f64);
            let limits = [min_confidence, max_epistemic, ood_p, set_size].map(or_none);
            tensors.put_f64("limits", &limits);
        }
        if let Some(risk) = self.risk {
            tensors.put_f64("limits.risk", &[risk]);
        }
        tensors.to_bytes()
    }

    /// Reads a file of a model with that many classes and features of that width. The error says
    /// what is wrong with it.
    pub fn from_bytes(bytes: &[u8], encoder: &EncoderConfig) -> Result<Self, String> {
        let classes = encoder.labels.len();
        let file = TensorFile::parse(bytes)?;
        let conformal = read_conformal(&file, classes)?;
        let alphas = if conformal.is_some() { file.f64("conformal.alpha")? } else { Vec::new() };
        if alphas.iter().any(|alpha| !(*alpha > 0.0 && *alpha < 1.0)) || alphas.len() > MOST_ALPHAS
        {
            return Err(format!(
                "`conformal.alpha` must have at most {MOST_ALPHAS} values between 0 and 1"
            ));
        }
        let limits = if file.has("limits") {
            let limits = file.f64s::<4>("limits")?;
            let [min_confidence, max_epistemic, ood_p, set_size] =
                limits.map(|limit| (!limit.is_nan()).then_some(limit));
            let share = |limit: Option<f64>| limit.is_none_or(|limit| (0.0..=1.0).contains(&limit));
            let counts = |size: f64| size.fract() == 0.0 && (0.0..=classes as f64).contains(&size);
            let fits = share(min_confidence) && share(ood_p) && set_size.is_none_or(counts);
            if !fits || max_epistemic.is_some_and(|most| !(0.0..=MOST_NATS).contains(&most)) {
                return Err("`limits` contains an invalid number".to_owned());
            }
            let max_set_size = set_size.map(|size| size as usize);
            Some(Limits { min_confidence, max_epistemic, ood_p, max_set_size })
        } else {
            None
        };
        let risk = match file.has("limits.risk") {
            true => Some(file.f64s::<1>("limits.risk")?[0]),
            false => None,
        };
        if risk.is_some_and(|risk| !(0.0..=1.0).contains(&risk)) {
            return Err("`limits.risk` is not between 0 and 1".to_owned());
        }
        Ok(Self { conformal, alphas, novelty: novelty::read(&file, encoder)?, limits, risk })
    }
}

fn read_conformal(file: &TensorFile<'_>, classes: usize) -> Result<Option<Conformal>, String> {
    let scores_of = |method: &str| format!("conformal.{method}.scores");
    let Some(method) = CONFORMAL.into_iter().find(|method| file.has(&scores_of(method))) else {
        return Ok(None);
    };
    let score = match method {
        "aps" => Score::Aps,
        "raps" => {
            let [penalty] = file.f64s("conformal.raps.penalty")?;
            let [free_ranks] = file.f64s("conformal.raps.free_ranks")?;
            let fits = (0.0..=MOST_SCORE).contains(&penalty)
                && (0.0..=classes as f64).contains(&free_ranks);
            if !fits {
                return Err("`conformal.raps` has an invalid penalty or rank".to_owned());
            }
            Score::Raps { penalty, free_ranks }
        }
        _ => Score::Lac,
    };
    let name = format!("conformal.{method}.rows_by_class");
    let (_, counts) = file.values(&name, Dtype::I64)?;
    let counts = counts.into_iter().map(i64::from_le_bytes);
    let mut rest = &*file.f64(&scores_of(method))?;
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

#[cfg(test)]
mod tests;
