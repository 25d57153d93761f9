//! What a run minimises where that is not the cross entropy with the labels.

use std::collections::BTreeMap;
use std::fmt::Debug;

use candle_core::{Result, Tensor, Var};

use super::Gathered;
use crate::compute::fetch;
use crate::model::{Parameters, Part, Specification};

/// A parameter that is no part of the network, and is trained with it. One whose name begins with
/// `classifier.` has the learning rate of the last layer.
#[derive(Clone, Debug, PartialEq)]
pub struct OwnParameter {
    pub name: String,
    pub shape: Vec<usize>,
    /// Its first values.
    pub start: Vec<f32>,
    /// Whether weight decay applies.
    pub decays: bool,
}

/// What the network makes of a batch, and what is known of its rows.
#[derive(Clone, Copy, Debug)]
pub struct Answers<'a> {
    /// The feature that enters the last layer, behind its dropout: `[b, d]`.
    pub feature_bd: &'a Tensor,
    /// What the last layer makes of it: `[b, c]`.
    pub logit_bc: &'a Tensor,
    /// Places of the rows in the training set, `[b]`.
    pub rows: &'a [u32],
    /// `[b]`.
    pub labels: &'a [u32],
    /// What a row of each label counts, `[b]`.
    pub weights: &'a [f32],
    /// Rows of the whole step, of which this may be a part.
    pub step_rows: usize,
    /// The forward pass, counted over the whole run.
    pub pass: u64,
}

/// A loss of its own. What it draws must follow from the pass alone, so that a run that resumes comes to the
/// same bytes.
pub trait Objective: Debug {
    /// What is trained besides the network.
    fn parameters(&self) -> Vec<OwnParameter>;

    /// The part of the step's mean loss that is due to this batch, `[]`. `variables` has everything that is
    /// trained.
    fn loss(&self, answers: &Answers<'_>, variables: &BTreeMap<String, Var>) -> Result<Tensor>;

    /// Puts weights back to where they may be, after each step.
    fn constrain(&self, _: &BTreeMap<String, Var>) -> Result<()> {
        Ok(())
    }
}

/// What the values of the best weights are called in a checkpoint.
const BEST: &str = "best.";

/// The parameters of an objective beside those of the network.
#[derive(Debug, Default)]
pub(super) struct Own(Vec<OwnParameter>);

impl Own {
    pub(super) fn of(objective: Option<&dyn Objective>) -> Self {
        Self(objective.map_or_else(Vec::new, Objective::parameters))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn specifications(&self) -> impl Iterator<Item = Specification> {
        self.0.iter().map(|one| Specification {
            name: one.name.clone(),
            shape: one.shape.clone(),
            parts: vec![Part { name: one.name.clone(), shape: one.shape.clone() }],
            // Their first values are known.
            fill: crate::model::Fill::Zero,
            decay: one.decays,
            head: true,
            used: true,
        })
    }

    /// Puts them beside the network, with the values of a checkpoint where there is one.
    pub(super) fn beside(&self, network: Parameters, known: &Gathered) -> Result<Parameters> {
        self.add(network, |one| known.get(&one.name))
    }

    /// The same for the best weights of a checkpoint.
    pub(super) fn beside_best(&self, network: Parameters, known: &Gathered) -> Result<Parameters> {
        self.add(network, |one| known.get(&format!("{BEST}{}", one.name)))
    }

    fn add<'a>(
        &'a self,
        mut network: Parameters,
        known: impl Fn(&OwnParameter) -> Option<&'a Vec<f32>>,
    ) -> Result<Parameters> {
        let device = network.get("classifier.weight").device().clone();
        for one in &self.0 {
            let values = known(one).unwrap_or(&one.start);
            let tensor = Tensor::from_slice(values, one.shape.as_slice(), &device)?;
            network = network.with(&one.name, tensor);
        }
        Ok(network)
    }

    /// Their values in these parameters.
    pub(super) fn values(&self, parameters: &Parameters) -> Result<Gathered> {
        let value = |one: &OwnParameter| Ok((one.name.clone(), fetch(parameters.get(&one.name))?));
        self.0.iter().map(value).collect()
    }

    /// What a checkpoint keeps of them.
    pub(super) fn kept(&self, now: &Parameters, best: Option<&Parameters>) -> Result<Gathered> {
        let mut kept = self.values(now)?;
        if let Some(best) = best {
            let named = self.values(best)?.into_iter();
            kept.extend(named.map(|(name, values)| (format!("{BEST}{name}"), values)));
        }
        Ok(kept)
    }

    /// The network alone.
    pub(super) fn without(&self, parameters: &Parameters) -> Parameters {
        let own = |name: &str| self.0.iter().any(|one| one.name == name);
        parameters.clone().retain(|name| !own(name))
    }
}
