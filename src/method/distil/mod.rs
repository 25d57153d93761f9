//! A teacher of several passes, distilled into one network that predicts in one pass, with what the passes
//! disagree about: Malinin, Mlodozeniec and Gales, "Ensemble distribution distillation" (ICLR 2020), with a Gaussian
//! over the logits in the place of their Dirichlet over probabilities.
//!
//! | paper | here |
//! |---|---|
//! | P(y \| x, θ_m), the ensemble | z_m, the logits of the teacher's passes, behind its temperature; computed once |
//! | p(π \| x, φ), the student's distribution over categoricals | softmax of z ~ N(μ, diag v): μ is the last layer, v_k = exp(a_kᵀ φ̃), [`Learned`] |
//! | −E ln p(π_m \| x, φ), eq. 8 | the density of z_m up to a shift, [`contrast_loss`], divided by K − 1 |
//! | KL to the ensemble's mean, eq. 5 | to the mean of the student's softmax over a few draws |
//! | T, the annealed temperature | none: logits have no spikes at the corners of a simplex |
//!
//! The mean of the probabilities carries the accuracy, the density the disagreement, and the labels count as
//! `label_weight` says. The members agree on rows that they were trained on, so the disagreement is seen on others:
//! altered copies of the training texts (`altered_copies`), and unlabelled texts (`data.unlabelled`).
//!
//! Draws are made for each step by itself and shared by its rows. The weights that are kept are those whose μ has the
//! best NLL on the validation rows.

mod loss;

use std::collections::BTreeMap;

use candle_core::{Result, Tensor, Var, bail};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use self::loss::{contrast_loss, log_mean_probability};
use super::{Approach, FitInput, FitRecord, Method, Needs, ObjectiveInput};
use crate::compute::{Noise, Purpose};
use crate::posterior::{Covariance, LEAST_VARIANCE, Learned, OwnDoubt, Posterior, Spread, softmax};
use crate::train::{Answers, Objective, OwnParameter};

/// Its keys.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Distil {
    /// Copies of each training text that are altered (mistyped, shortened, mixed with another) and learned from
    /// without their labels; 0 = none.
    pub altered_copies: usize,
    /// What the labels of the training rows count beside the teacher's probabilities.
    pub label_weight: f64,
    /// What the density of the members' logits counts beside their mean probabilities.
    pub density_weight: f64,
}

impl Default for Distil {
    fn default() -> Self {
        Self { altered_copies: 1, label_weight: 0.5, density_weight: 1.0 }
    }
}

/// More copies than this are other data.
const MOST_COPIES: usize = 20;
const MOST_WEIGHT: f64 = 100.0;
/// Draws for the student's mean in training; both signs of each are used.
const DRAWS: usize = 4;

const WEIGHT: &str = "classifier.log_variance.weight";
const BIAS: &str = "classifier.log_variance.bias";

/// What the teacher says of the rows of a training.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TeacherLogits {
    /// The logits of each pass behind its temperature, `[n, m, c]`.
    pub logit_nmc: Vec<f32>,
    /// `m`.
    pub passes: usize,
    /// `c`.
    pub classes: usize,
    /// Rows that have a label: the first ones.
    pub labelled: usize,
    /// The width `d` of the student's feature.
    pub width: usize,
    /// The seed of the run.
    pub seed: u64,
}

impl TeacherLogits {
    /// `n`.
    pub fn rows(&self) -> usize {
        self.logit_nmc.len() / (self.passes * self.classes).max(1)
    }

    /// The mean of the passes' probabilities, `[n, c]`.
    pub fn mean_probabilities(&self) -> Vec<f32> {
        let of_row = |logit_mc: &[f32]| {
            let mut mean_c = vec![0.0; self.classes];
            for logit_c in logit_mc.chunks_exact(self.classes) {
                let logit_c: Vec<f64> = logit_c.iter().map(|&logit| f64::from(logit)).collect();
                let p_c = softmax(&logit_c, 1.0);
                mean_c.iter_mut().zip(p_c).for_each(|(mean, p)| *mean += p / self.passes as f64);
            }
            mean_c.into_iter().map(|mean| mean as f32).collect::<Vec<f32>>()
        };
        let rows = self.logit_nmc.par_chunks_exact(self.passes * self.classes);
        rows.flat_map_iter(of_row).collect()
    }
}

impl Approach for Distil {
    fn needs(&self) -> Needs {
        Needs { teacher: true, ..Needs::default() }
    }

    fn check(&self) -> std::result::Result<(), String> {
        let Self { altered_copies, label_weight, density_weight } = *self;
        if altered_copies > MOST_COPIES {
            return Err(format!(
                "`posterior.altered_copies` is {altered_copies}; use 0 to {MOST_COPIES}"
            ));
        }
        if !(0.0..=MOST_WEIGHT).contains(&label_weight) {
            return Err(format!(
                "`posterior.label_weight` is {label_weight}; use 0 (the teacher alone) to \
                 {MOST_WEIGHT}"
            ));
        }
        if !(density_weight > 0.0 && density_weight <= MOST_WEIGHT) {
            return Err(format!(
                "`posterior.density_weight` is {density_weight}; use a number above 0 and at most \
                 {MOST_WEIGHT}"
            ));
        }
        Ok(())
    }

    fn altered_copies(&self) -> usize {
        self.altered_copies
    }

    fn objective(&self, input: ObjectiveInput<'_>) -> Result<Option<Box<dyn Objective>>> {
        let distillation =
            |teacher| Box::new(Distillation::new(*self, teacher)) as Box<dyn Objective>;
        Ok(input.teacher.map(distillation))
    }

    fn run(&self, input: &mut FitInput<'_>) -> Result<(Posterior, FitRecord)> {
        let learned = input.gathered.and_then(|own| Some((own.get(WEIGHT)?, own.get(BIAS)?)));
        let Some((weight_cd, bias_c)) = learned else {
            bail!("distil needs the variances that a training run has learned")
        };
        let (classes, width) = input.last.weight_cd.dims2()?;
        let lines = weight_cd.chunks_exact(width).zip(bias_c);
        let log_variance_ki =
            lines.flat_map(|(line, bias)| line.iter().chain([bias])).copied().collect();
        let covariance = Covariance::Learned(Learned { log_variance_ki, classes });
        let posterior = input.around_last_layer(Spread::LastLayer(covariance));
        Ok((posterior, input.record(Method::Distil)))
    }

    fn describe(posterior: &Posterior, fit: &FitRecord) -> String {
        let teacher = fit.teacher.as_ref().map_or("a model of several passes".to_owned(), |one| {
            format!("`{}` ({}, {} passes for each text)", one.name, one.method.name(), one.passes)
        });
        let spread = match posterior.own_doubt() {
            OwnDoubt::Known => {
                "what the passes disagree about is the epistemic uncertainty, which it has learned \
                 to say of each text"
            }
            OwnDoubt::LeftOut | OwnDoubt::Absent => {
                "what the passes disagree about it has learned too, but does not use"
            }
        };
        format!(
            "One network, distilled from {teacher}: it has learned their mean probabilities, and \
             {spread} (after Malinin et al., 2020). A prediction costs one forward pass."
        )
    }
}

/// The loss of a student.
#[derive(Debug)]
struct Distillation {
    own: Distil,
    /// Centred: a common shift of large logits would cost digits.
    teacher: TeacherLogits,
    /// `[n, c]`.
    mean_nc: Vec<f32>,
    noise: Noise,
}

impl Distillation {
    fn new(own: Distil, teacher: &TeacherLogits) -> Self {
        let mean_nc = teacher.mean_probabilities();
        let mut teacher = teacher.clone();
        teacher.logit_nmc.par_chunks_exact_mut(teacher.classes).for_each(centre);
        let noise = Noise::new(teacher.seed);
        Self { own, teacher, mean_nc, noise }
    }

    /// The logarithm of the mean variance of each class over all rows, `[c]`: where the student begins.
    fn usual_log_variances(&self) -> Vec<f32> {
        let TeacherLogits { logit_nmc, passes, classes, .. } = &self.teacher;
        let (passes, classes) = (*passes, *classes);
        let mut sum_c = vec![0.0; classes];
        for logit_mc in logit_nmc.chunks_exact(passes * classes) {
            for (class, sum) in sum_c.iter_mut().enumerate() {
                let own = || logit_mc.iter().skip(class).step_by(classes).map(|&z| f64::from(z));
                let mean = own().sum::<f64>() / passes as f64;
                *sum += own().map(|z| (z - mean).powi(2)).sum::<f64>();
            }
        }
        // Centring has taken 1/K of the variance of equal ones away.
        let centred = (classes - 1) as f64 / classes as f64;
        let count = (self.teacher.rows() * (passes - 1).max(1)) as f64 * centred;
        sum_c.iter().map(|sum| (sum / count + LEAST_VARIANCE).ln() as f32).collect()
    }

    /// −Σ t ln p̄ + Σ q ln q, `t` being the teacher's mean probabilities q and what the label counts.
    fn targets(&self, answers: &Answers<'_>) -> (Vec<f32>, f64) {
        let (classes, mut constant) = (self.teacher.classes, 0.0);
        let mut target_bc = Vec::with_capacity(answers.rows.len() * classes);
        for (place, &row) in answers.rows.iter().enumerate() {
            let mean_c = &self.mean_nc[row as usize * classes..][..classes];
            let entropy = |q: &f32| f64::from(*q) * f64::from(q.max(f32::MIN_POSITIVE)).ln();
            constant += mean_c.iter().map(entropy).sum::<f64>();
            target_bc.extend_from_slice(mean_c);
            if (row as usize) < self.teacher.labelled {
                let label = place * classes + answers.labels[place] as usize;
                target_bc[label] += self.own.label_weight as f32 * answers.weights[place];
            }
        }
        (target_bc, constant)
    }
}

/// Takes the mean away.
fn centre(logit_c: &mut [f32]) {
    let sum = logit_c.iter().map(|&logit| f64::from(logit)).sum::<f64>();
    let mean = (sum / logit_c.len() as f64) as f32;
    logit_c.iter_mut().for_each(|logit| *logit -= mean);
}

impl Objective for Distillation {
    fn parameters(&self) -> Vec<OwnParameter> {
        let TeacherLogits { classes, width, .. } = self.teacher;
        let (weight, bias) = (vec![0.0; classes * width], self.usual_log_variances());
        let own = |name: &str, shape: &[usize], start, decays| OwnParameter {
            name: name.to_owned(),
            shape: shape.to_vec(),
            start,
            decays,
        };
        vec![own(WEIGHT, &[classes, width], weight, true), own(BIAS, &[classes], bias, false)]
    }

    fn loss(&self, answers: &Answers<'_>, variables: &BTreeMap<String, Var>) -> Result<Tensor> {
        let Answers { feature_bd, logit_bc, rows, .. } = *answers;
        let TeacherLogits { passes, classes, .. } = self.teacher;
        let device = logit_bc.device();
        let tensor = |values: Vec<f32>, shape: &[usize]| {
            Tensor::from_vec(values, shape, device)?.to_dtype(logit_bc.dtype())
        };
        let log_variance_bc = feature_bd
            .matmul(&variables[WEIGHT].t()?)?
            .broadcast_add(variables[BIAS].as_tensor())?;
        let variance_bc = (log_variance_bc.exp()? + LEAST_VARIANCE)?;
        let each = passes * classes;
        let own = |&row: &u32| &self.teacher.logit_nmc[row as usize * each..][..each];
        let logit_bmc =
            tensor(rows.iter().flat_map(own).copied().collect(), &[rows.len(), passes, classes])?;
        let centred_bc = logit_bc.broadcast_sub(&logit_bc.mean_keepdim(1)?)?;
        let density_b = contrast_loss(&centred_bc, &variance_bc, &logit_bmc)?;
        let mut stream = self.noise.stream(Purpose::Student, answers.pass, 0);
        let normal = (0..DRAWS * classes).map(|_| stream.normal() as f32).collect();
        let normal_sc = tensor(normal, &[DRAWS, classes])?;
        let log_p_bc = log_mean_probability(&centred_bc, &variance_bc, &normal_sc)?;
        let (target_bc, constant) = self.targets(answers);
        let target_bc = tensor(target_bc, &[rows.len(), classes])?;
        let cross = (log_p_bc * target_bc)?.sum_all()?;
        let density = (density_b.sum_all()? * self.own.density_weight)?;
        ((density - cross)? + constant)? / answers.step_rows as f64
    }
}

#[cfg(test)]
mod tests;
