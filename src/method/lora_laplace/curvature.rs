//! The curvature of the loss over the adapters, row by row: gradients of the logits through the top layers, and the
//! Kronecker factors that they add up to.

use std::collections::BTreeMap;

use candle_core::{Device, Result, Tensor, Var, bail};

use super::adapters::{Adapter, Side};
use crate::compute::{Backend, Noise, Packed, Purpose, Sequence};
use crate::model::{
    Classifier, EncoderConfig, Engine, GradientMap, Parameters, Tape, TrainingPass, specifications,
};
use crate::posterior::algebra::Matrix;
use crate::posterior::softmax;

/// So many of the most probable classes of a row count as they are; one is drawn for all others.
const WHOLE: usize = 3;

/// Vectors u `[c]` of the logits of one row: Σ u uᵀ is diag(p) − p pᵀ, on average over the draw. Of few classes it
/// is always that.
///
/// diag(p) − p pᵀ = Σ_y p_y (p − e_y)(p − e_y)ᵀ, of which the most probable classes are nearly all.
pub fn directions(probability_c: &[f64], uniform: f64) -> Vec<Vec<f64>> {
    if let [one, other] = *probability_c {
        let root = (one * other).sqrt();
        return vec![vec![root, -root]];
    }
    let mut order: Vec<usize> = (0..probability_c.len()).collect();
    order.sort_by(|&a, &b| probability_c[b].total_cmp(&probability_c[a]));
    let whole = if order.len() <= WHOLE + 1 { order.len() } else { WHOLE };
    let (whole, rest) = order.split_at(whole);
    let mut all: Vec<(usize, f64)> = whole.iter().map(|&y| (y, probability_c[y])).collect();
    let mass: f64 = rest.iter().map(|&y| probability_c[y]).sum();
    if mass > 0.0 {
        let mut left = uniform * mass;
        let drawn = rest.iter().find(|&&y| {
            left -= probability_c[y];
            left < 0.0
        });
        all.push((*drawn.unwrap_or(&rest[rest.len() - 1]), mass));
    }
    let vector = |(y, weight): (usize, f64)| {
        let entry = |(c, p): (usize, &f64)| weight.sqrt() * (p - f64::from(c == y));
        probability_c.iter().enumerate().map(entry).collect()
    };
    all.into_iter().filter(|(_, weight)| *weight > 0.0).map(vector).collect()
}

/// The network, ready to give gradients of its top layers.
pub struct Gradients<'a> {
    classifier: Classifier,
    engine: Engine,
    parameters: Parameters,
    /// Of what comes behind the layers.
    head: BTreeMap<String, Var>,
    lowest: usize,
    tape: Tape,
    found: GradientMap,
    config: &'a EncoderConfig,
}

impl<'a> Gradients<'a> {
    /// Of the layers whose weights have the numbers from `lowest` on.
    ///
    /// # Errors
    /// The weights cannot be read.
    pub fn new(config: &'a EncoderConfig, parameters: &Parameters, lowest: usize) -> Result<Self> {
        // The layers' own backward pass is one of the CPU.
        let parameters = parameters.on(&Backend::Cpu)?;
        let mut used = specifications(config);
        used.retain(|one| one.name.starts_with("pooler.") || one.name.starts_with("classifier."));
        let (head, parameters) = parameters.variables(&used)?;
        let Some(engine) = Engine::new(config, &parameters)? else {
            bail!("the weights are not f32")
        };
        let classifier = Classifier::new(config, &parameters);
        let (tape, found) = (Tape::default(), GradientMap::new());
        Ok(Self { classifier, engine, parameters, head, lowest, tape, found, config })
    }

    /// Weights as they are, on the CPU.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// The probabilities of one text.
    pub fn probabilities(&mut self, text: &Sequence) -> Result<Vec<f64>> {
        let batch = Packed::new([text.clone()]);
        let pass = self.pass(&batch);
        let pooled_bd = self.engine.pooled_with_tape(&pass, &mut self.tape)?;
        let logits = self.logits(&pooled_bd, &batch)?.flatten_all()?;
        let logits: Vec<f64> = logits.to_vec1::<f32>()?.into_iter().map(f64::from).collect();
        Ok(softmax(&logits, 1.0))
    }

    /// Of pooled hidden states, without dropout.
    fn logits(&self, pooled_bd: &Tensor, batch: &Packed) -> Result<Tensor> {
        self.classifier.feature_logits(&self.classifier.head_feature(pooled_bd, batch, None)?)
    }

    /// The gradients of u · logits of one text, by our names of the parameters.
    pub fn of(&mut self, text: &Sequence, direction_c: &[f64]) -> Result<&GradientMap> {
        let batch = Packed::new([text.clone()]);
        self.found.values_mut().for_each(|values| values.fill(0.0));
        let pass = self.pass(&batch);
        let pooled_bd = Var::from_tensor(&self.engine.pooled_with_tape(&pass, &mut self.tape)?)?;
        let logits_bc = self.logits(pooled_bd.as_tensor(), &batch)?;
        let direction: Vec<f32> = direction_c.iter().map(|&value| value as f32).collect();
        let direction_bc = Tensor::from_vec(direction, logits_bc.shape(), &Device::Cpu)?;
        let store = (logits_bc * direction_bc)?.sum_all()?.backward()?;
        for (name, variable) in &self.head {
            if let Some(gradient) = store.get(variable.as_tensor()) {
                self.found.insert(name.clone(), gradient.flatten_all()?.to_vec1()?);
            }
        }
        let Some(of_pooled) = store.get(pooled_bd.as_tensor()) else {
            bail!("the pooled state has no gradient")
        };
        let Self { engine, parameters, tape, found, .. } = self;
        engine.backward(parameters, &pass, tape, of_pooled, found)?;
        Ok(&self.found)
    }

    fn pass<'b>(&self, batch: &'b Packed) -> TrainingPass<'b> {
        debug_assert!(self.lowest < self.config.layer_weights());
        let frozen = self.config.first_with(self.lowest);
        TrainingPass { batch, source: None, checkpointing: 0, frozen }
    }
}

/// Of one adapter: with D_n the gradient of a row, `[w, r]`, Σ D Dᵀ and Σ Dᵀ D. Their Kronecker product over their
/// common trace stands for Σ vec(D) vec(D)ᵀ: it is one step from the identity to the nearest such product
/// (Morwani, Shapira, Vyas, Malach, Kakade and Janson, "A new perspective on Shampoo's preconditioner", 2024).
#[derive(Clone, Debug)]
pub struct Factors {
    /// `[w, w]`.
    pub wide: Matrix,
    /// `[r, r]`.
    pub narrow: Matrix,
}

impl Factors {
    fn new(wide: usize, narrow: usize) -> Self {
        Self { wide: Matrix::zeros(wide, wide), narrow: Matrix::zeros(narrow, narrow) }
    }

    /// Takes D, `[w, r]`, in.
    fn add(&mut self, gradient: &Matrix) {
        let transposed = gradient.transpose();
        self.wide.gemm(1.0, gradient, &transposed, 1.0);
        self.narrow.gemm(1.0, &transposed, gradient, 1.0);
    }

    /// The same of a D of rank one, a bᵀ.
    fn add_outer(&mut self, a: &[f64], b: &[f64]) {
        let [a, b] = [a, b].map(nalgebra::DVector::from_column_slice);
        self.wide.ger(b.norm_squared(), &a, &a, 1.0);
        self.narrow.ger(a.norm_squared(), &b, &b, 1.0);
    }
}

/// The factors of every adapter over these texts, each with what it counts.
pub fn factors(
    gradients: &mut Gradients<'_>,
    adapters: &BTreeMap<String, Adapter>,
    texts: impl Iterator<Item = (Sequence, f64)>,
    noise: &Noise,
) -> Result<BTreeMap<String, Factors>> {
    let blank = |(name, adapter): (&String, &Adapter)| {
        let [wide, narrow] = adapter.shape;
        (name.clone(), Factors::new(wide, narrow))
    };
    let mut all: BTreeMap<String, Factors> = adapters.iter().map(blank).collect();
    for (row, (text, weight)) in (0..).zip(texts) {
        let probability_c = gradients.probabilities(&text)?;
        let uniform = noise.stream(Purpose::Labels, row, 0).uniform();
        for direction_c in directions(&probability_c, uniform) {
            let direction_c: Vec<f64> =
                direction_c.into_iter().map(|u| weight.sqrt() * u).collect();
            let found = gradients.of(&text, &direction_c)?;
            for (name, factors) in &mut all {
                let adapter = &adapters[name];
                if matches!(adapter.side, Side::Whole) {
                    let feature_d = feature(&found[name], &direction_c);
                    factors.add_outer(&direction_c, &feature_d);
                } else {
                    factors.add(&adapter.gradient(&found[name]));
                }
            }
        }
    }
    Ok(all)
}

/// The feature φ of a gradient u φᵀ of the last layer.
fn feature(gradient_cd: &[f32], direction_c: &[f64]) -> Vec<f64> {
    let most = |a: &usize, b: &usize| direction_c[*a].abs().total_cmp(&direction_c[*b].abs());
    let line = (0..direction_c.len()).max_by(most).expect("there are classes");
    let width = gradient_cd.len() / direction_c.len();
    let own = &gradient_cd[line * width..(line + 1) * width];
    own.iter().map(|&value| f64::from(value) / direction_c[line]).collect()
}
