//! How a model fares on damaged copies of the rows that it is evaluated on.
//!
//! A list of damages is a list of evaluations: each damage is applied to the rows as they were, and stands in one
//! table with the undamaged rows. Damages that are applied together are joined by `+`.
//!
//! ```no_run
//! use bayes::evaluate::models::{Options, evaluate_models};
//! use bayes::evaluate::shift::Damage;
//! use bayes::compute::Backend;
//!
//! let shift: Vec<Damage> = vec!["typos=0.05".parse()?, "truncate=64+drop=0.1".parse()?];
//! let options = Options { shift, ..Options::default() };
//! let folders = ["checkpoints/reviews/model".into()];
//! for one in evaluate_models(&folders, &Backend::Cpu, &options, &mut |_| {})? {
//!     for shifted in &one.shift {
//!         println!("{}: NLL {}", shifted.label, shifted.nll.value);
//!     }
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod damage;
mod figures;
mod typos;
mod words;

pub use damage::{Damage, DamageError};
pub use figures::{Kept, Shifted, UNDAMAGED};
