//! Flags that choose what to label next.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::cli::words::whole;
use crate::predict::select;

#[derive(Debug, Args)]
pub(super) struct SelectFlags {
    /// Choose this many texts to label next, of which the model would learn most, and write only these, in the order of
    /// the choice
    #[arg(long, value_name = "N", value_parser = whole::<usize>(1..=u64::MAX), conflicts_with = "sort_by")]
    select: Option<usize>,
    /// How to choose them
    #[arg(long, value_enum, requires = "select", default_value_t = Strategy::Badge)]
    strategy: Strategy,
    /// Table of texts that have labels, where its column of labels is not empty: `--select` leaves them out, and
    /// `--strategy coverage` keeps away from them
    #[arg(long, value_name = "FILE", requires = "select")]
    pub(super) labelled: Option<PathBuf>,
    /// Seed of the draws of `--select`
    #[arg(long, value_name = "N", requires = "select", default_value_t = 42)]
    seed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Strategy {
    /// The highest epistemic (model) uncertainty. Requires a model that reports it
    Epistemic,
    /// At random, with chances in proportion to epistemic uncertainty. Requires a model that reports it
    Bald,
    /// Texts that would change the last layer most, each in another way; for any model
    Badge,
    /// Texts that differ from each other and from the labelled ones; for any model
    Coverage,
}

impl From<Strategy> for select::Strategy {
    fn from(strategy: Strategy) -> Self {
        match strategy {
            Strategy::Epistemic => Self::Epistemic,
            Strategy::Bald => Self::Bald,
            Strategy::Badge => Self::Badge,
            Strategy::Coverage => Self::Coverage,
        }
    }
}

impl SelectFlags {
    pub(super) fn selection(&self) -> Option<select::Selection> {
        let &Self { strategy, seed, .. } = self;
        self.select.map(|count| select::Selection { count, strategy: strategy.into(), seed })
    }
}
