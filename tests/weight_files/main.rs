//! Weights in every form: one tiny classifier, made by `tests/python/golden_forms.py`, and files that were made to
//! harm.

#![expect(clippy::unwrap_used, reason = "a test fails by panic")]

mod archives;
mod craft;
#[path = "../hostile/damage.rs"]
mod damage;
mod folder;
mod forms;
mod pickles;

/// Counts what is asked for.
#[global_allocator]
static ALLOCATOR: bayes::compute::Allocator = bayes::compute::Allocator;
