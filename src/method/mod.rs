//! Bayesian methods: each makes a posterior from what training leaves.
//!
//! A method is a file here, with five parts in this order: its keys of `[posterior]`; what it needs; the
//! checks before anything is computed; how it makes the posterior, as its paper has it; its words. Besides
//! the file it takes a variant of [`Method`] and a line in the registry. The state that predicts is one of
//! those in [`posterior`](crate::posterior).

mod config;
mod distil;
mod ensemble;
mod input;
mod ivon;
pub mod laplace;
mod lora_laplace;
mod map;
mod mc_dropout;
mod record;
pub mod reference;
mod registry;
mod sngp;
mod swag;
mod vbll;
mod wide;

use candle_core::Result;
use serde::{Deserialize, Serialize};

use self::registry::registry;
pub use config::PosteriorConfig;
pub use distil::TeacherLogits;
pub use input::{FitInput, LastLayer, NetworkRows, fit_converged, tensors};
pub use laplace::Evidence;
pub use record::{FitRecord, TeacherRecord};
pub use wide::{fit_wide, scale_of};

use crate::model::EncoderConfig;
use crate::posterior::{Passes, Posterior};
use crate::train::{Follower, Objective, Plan, TrainConfig};

/// How a posterior is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// The point estimate at the end of training.
    Map,
    /// Last-layer Laplace approximation.
    #[default]
    Laplace,
    /// Dropout at prediction time: on the feature in closed form, or in several passes.
    McDropout,
    /// The weights that fine-tuning passes through: their mean, and how they vary.
    Swag,
    /// A Gaussian process on the feature, by random Fourier features: its variance grows with the distance from
    /// the training rows.
    Sngp,
    /// Variational Bayesian last layer: the Gaussian that maximises a bound of the evidence.
    Vbll,
    /// Several networks that differ in seed, each trained as `map` is.
    Ensemble,
    /// One network that has learned what a teacher of several passes says, and what they disagree about.
    Distil,
    /// Variational learning of the top layers: the optimizer finds a Gaussian over their weights.
    Ivon,
    /// Laplace approximation over low-rank adapters of the top layers, fitted after training.
    LoraLaplace,
}

registry! {
    Map(map::Map) = "map",
    Laplace(laplace::Settings) = "laplace",
    McDropout(mc_dropout::McDropout) = "mc_dropout",
    Swag(swag::Swag) = "swag",
    Sngp(sngp::Sngp) = "sngp",
    Vbll(vbll::Vbll) = "vbll",
    Ensemble(ensemble::Ensemble) = "ensemble",
    Distil(distil::Distil) = "distil",
    Ivon(ivon::Ivon) = "ivon",
    LoraLaplace(lora_laplace::LoraLaplace) = "lora_laplace",
}

/// What a method asks of those who run it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Needs {
    /// The features of the training rows.
    pub training_features: bool,
    /// The whole network and the tokens of rows, not only their features.
    pub network_rows: bool,
    /// A layer of its own that predicts, so that the last layer cannot be kept.
    pub own_layer: bool,
    /// Multiple forward passes for a text.
    pub passes: Option<Passes>,
    /// A last layer that may read hidden states beside the feature.
    pub hidden_states: bool,
    /// The weights that fine-tuning passes through: its keys are then keys of the training trajectory.
    pub trajectory: bool,
    /// Training runs, of one network each. Of more than one its keys are keys of the training trajectory too.
    pub runs: usize,
    /// A fine-tuning whose loss is its own: its keys are then keys of the training trajectory.
    pub objective: bool,
    /// A model that says what the training rows should be answered (`train.teacher`).
    pub teacher: bool,
}

/// What a method makes the loss of a fine-tuning from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ObjectiveInput<'a> {
    pub classes: usize,
    /// The width `d` of the feature.
    pub width: usize,
    /// Training rows.
    pub rows: usize,
    /// What the teacher says of them, where the method has one.
    pub teacher: Option<&'a TeacherLogits>,
}

impl Default for Needs {
    /// One training run, whose weights are all that counts.
    fn default() -> Self {
        Self {
            training_features: false,
            network_rows: false,
            passes: None,
            trajectory: false,
            own_layer: false,
            hidden_states: false,
            runs: 1,
            objective: false,
            teacher: false,
        }
    }
}

impl Needs {
    /// Whether its keys change how weights are trained, and not only what is made of them.
    pub fn shapes_training(&self) -> bool {
        self.trajectory || self.runs > 1 || self.objective || self.teacher
    }
}

/// What a method is told of the run that it follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FollowedRun {
    /// Training rows.
    pub rows: usize,
    /// Layers of the encoder with weights of their own.
    pub layers: usize,
    /// Of these, the lowest that are not trained.
    pub frozen_layers: usize,
    pub seed: u64,
}

/// A method with its settings.
pub trait Approach {
    /// What it asks for.
    fn needs(&self) -> Needs;

    /// Whether its posterior says how uncertain the weights are.
    fn has_variance(&self) -> bool {
        true
    }

    /// Its keys that change nothing beside its others, each with the reason.
    fn without_effect(&self) -> &'static [(&'static str, &'static str)] {
        &[]
    }

    /// The first value that cannot be, as a message that begins with its key.
    fn check(&self) -> std::result::Result<(), String> {
        Ok(())
    }

    /// Why an encoder does not do.
    fn check_encoder(&self, _: &EncoderConfig) -> std::result::Result<(), String> {
        Ok(())
    }

    /// What follows the weights of a training run, for methods that need its trajectory. The error says why
    /// the plan of the run does not do.
    fn follower(
        &self,
        _: &Plan,
        _: &FollowedRun,
    ) -> std::result::Result<Option<Box<dyn Follower>>, String> {
        Ok(None)
    }

    /// Copies of each training text that are altered and learned from without their labels.
    fn altered_copies(&self) -> usize {
        0
    }

    /// What its training minimises, if not the cross entropy with the labels.
    fn objective(&self, _: ObjectiveInput<'_>) -> Result<Option<Box<dyn Objective>>> {
        Ok(None)
    }

    /// The settings of one of its training runs; the first, number 0, has those that were written.
    fn of_run(&self, train: &TrainConfig, _number: usize) -> TrainConfig {
        train.clone()
    }

    /// Makes from what training left what predicts; the record says its method, and how a prior was chosen.
    fn run(&self, input: &mut FitInput<'_>) -> Result<(Posterior, FitRecord)>;

    /// What the posterior of a model is, in sentences for its card.
    fn describe(posterior: &Posterior, fit: &FitRecord) -> String
    where
        Self: Sized;
}
