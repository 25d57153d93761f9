//! A deep ensemble: Lakshminarayanan, Pritzel and Blundell, "Simple and scalable predictive uncertainty
//! estimation using deep ensembles" (NeurIPS 2017), algorithm 1 without adversarial training: several networks
//! are trained alike from different random beginnings, and the prediction is the mean of theirs.
//!
//! | paper | here |
//! |---|---|
//! | M, the networks | `num_members` |
//! | θ_m, initialised at random and independently | the seed of a member: new layers, the order of the rows, dropout |
//! | p(y \| x) = M⁻¹ Σ p_θm(y \| x, θ_m) | the link of [`LogitDistribution::Samples`](crate::posterior::LogitDistribution) |
//!
//! Members that begin with one pretrained encoder differ less than the paper's, which begin with nothing: in
//! the last layer, in what is shuffled and dropped, and, with `learning_rate_factor`, in the learning rate.
//! Wenzel, Snoek, Tran and Jenatton, "Hyperparameter ensembles for robustness and uncertainty quantification"
//! (NeurIPS 2020), draw such settings at random; here they alternate. The temperature is fitted to the mean
//! of all members, not to each.

use candle_core::Result;
use serde::{Deserialize, Serialize};

use super::{Approach, FitInput, FitRecord, Method, Needs};
use crate::compute::{Noise, Purpose};
use crate::posterior::{MOST_MEMBERS, OwnDoubt, Passes, Posterior, Spread};
use crate::train::TrainConfig;

/// Its keys.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ensemble {
    /// Networks that are trained, one after another; each text is read by all of them.
    pub num_members: usize,
    /// The second, fourth, … network is trained at this times the learning rate, the third, fifth, … at the
    /// rate divided by it; 1 = all at the same.
    pub learning_rate_factor: f64,
}

impl Default for Ensemble {
    fn default() -> Self {
        Self { num_members: 5, learning_rate_factor: 1.0 }
    }
}

/// Rates further apart are not those of one recipe any more.
const MOST_FACTOR: f64 = 10.0;

impl Approach for Ensemble {
    fn needs(&self) -> Needs {
        let runs = self.num_members;
        Needs { passes: Some(Passes::Members(runs)), runs, ..Needs::default() }
    }

    fn check(&self) -> std::result::Result<(), String> {
        let Self { num_members, learning_rate_factor: factor } = self;
        if !(2..=MOST_MEMBERS).contains(num_members) {
            return Err(format!(
                "`posterior.num_members` is {num_members}; use 2 to {MOST_MEMBERS}"
            ));
        }
        if !(1.0..=MOST_FACTOR).contains(factor) {
            return Err(format!(
                "`posterior.learning_rate_factor` is {factor}; use 1 (all the same) to \
                 {MOST_FACTOR}"
            ));
        }
        Ok(())
    }

    /// Member 0 is the network that `map` trains with this seed. The others have seeds of 32 bits that are drawn
    /// from it, so that ensembles of neighbouring seeds share no member.
    fn of_run(&self, train: &TrainConfig, number: usize) -> TrainConfig {
        let mut config = train.clone();
        if number > 0 {
            let mut stream = Noise::new(train.seed).stream(Purpose::Member, number as u64, 0);
            config.seed = u64::from(stream.word());
            let up = number % 2 == 1;
            let factor =
                if up { self.learning_rate_factor } else { self.learning_rate_factor.recip() };
            // The whole schedule, that of the last layer too.
            for rate in
                [&mut config.learning_rate, &mut config.head_learning_rate, &mut config.lr_end]
            {
                *rate *= factor;
            }
        }
        config
    }

    fn run(&self, input: &mut FitInput<'_>) -> Result<(Posterior, FitRecord)> {
        let spread = Spread::Passes(Passes::Members(self.num_members));
        Ok((input.around_last_layer(spread), input.record(Method::Ensemble)))
    }

    fn describe(posterior: &Posterior, _: &FitRecord) -> String {
        let count = posterior.passes().map_or(1, Passes::count);
        let mean = match posterior.own_doubt() {
            OwnDoubt::Known => {
                "the probabilities are the mean of theirs, and their disagreement is the epistemic \
                 uncertainty"
            }
            OwnDoubt::LeftOut | OwnDoubt::Absent => {
                "their logits are averaged, and their disagreement is not used"
            }
        };
        format!(
            "A deep ensemble: {count} networks, trained alike from different seeds, each read \
             every text; {mean} (Lakshminarayanan et al., 2017). A prediction costs {count} \
             forward passes."
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::method::PosteriorConfig;

    #[test]
    fn the_first_member_is_the_run_as_written_and_no_other_has_its_seed() {
        let own = Ensemble { num_members: 4, learning_rate_factor: 2.0 };
        let train = TrainConfig {
            seed: 3,
            learning_rate: 1e-4,
            head_learning_rate: 3e-3,
            ..TrainConfig::default()
        };
        assert_eq!(own.of_run(&train, 0), train);
        let members: Vec<TrainConfig> = (0..4).map(|number| own.of_run(&train, number)).collect();
        let rates: Vec<f64> = members.iter().map(|one| one.learning_rate / 1e-4).collect();
        assert_eq!(rates, [1.0, 2.0, 0.5, 2.0]);
        assert_eq!(members[1].head_learning_rate, 6e-3);
        assert!(members.iter().all(|one| one.check().is_ok()));
        let next = own.of_run(&TrainConfig { seed: 4, ..train.clone() }, 1);
        let mut seeds: Vec<u64> = members.iter().chain([&next]).map(|one| one.seed).collect();
        seeds.sort_unstable();
        seeds.dedup();
        assert_eq!(seeds.len(), 5, "{seeds:?}");
        let same = Ensemble { learning_rate_factor: 1.0, ..own }.of_run(&train, 3);
        assert_eq!(TrainConfig { seed: train.seed, ..same }, train);
    }

    #[test]
    fn numbers_that_cannot_be_are_refused_by_their_key() {
        let own = Ensemble::default();
        assert!(PosteriorConfig::from(Method::Ensemble).check().is_ok());
        for (wrong, key) in [
            (Ensemble { num_members: 1, ..own }, "num_members"),
            (Ensemble { num_members: 1_000_000_000, ..own }, "num_members"),
            (Ensemble { learning_rate_factor: 0.5, ..own }, "learning_rate_factor"),
            (Ensemble { learning_rate_factor: f64::NAN, ..own }, "learning_rate_factor"),
        ] {
            let message = wrong.check().unwrap_err();
            assert!(message.starts_with(&format!("`posterior.{key}` is ")), "{message}");
        }
    }
}
