//! Any number of texts: from lines or a table to a table with their predictions, a batch at a time.
//!
//! ```no_run
//! use std::path::Path;
//!
//! use bayes::data::Overrides;
//! use bayes::predict::Predictor;
//! use bayes::predict::stream::{Input, Options, Predictions, Sink};
//! use bayes::compute::Backend;
//!
//! let predictor = Predictor::load(Path::new("checkpoints/reviews/model"), &Backend::Cpu)?;
//! let input = Input::file(Path::new("in.csv"), &predictor, &Overrides::default())?;
//! let mut predictions = Predictions::new(&predictor, input, Options::default())?;
//! let mut table = Sink::create(Path::new("out.parquet"), &predictions)?;
//! while let Some(batch) = predictions.next_batch(&mut |_| {})? {
//!     batch.iter().try_for_each(|row| table.write(row))?;
//! }
//! table.finish()?;
//! println!("{} rows", predictions.finish()?.rows);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod error;
mod input;
mod lines;
mod order;
mod predictions;
mod row;
mod rows;
mod sink;

pub use error::StreamError;
pub use input::Input;
pub use order::{Order, SortBy};
pub use predictions::{Event, Options, Predicted, Predictions, Summary};
pub use row::TextRow;
pub use sink::{Sink, is_predictions, is_same_file};
