//! The differentiable operations of the encoder, on packed tokens, in their plain form: compositions
//! of Candle operations that have a backward pass. [`device`] has the form of those that a GPU computes, and
//! [`OnBatch`] is the choice between the two.
//!
//! Each is a function with at most three tensors in and one out, so that a fused kernel can take its
//! place behind the same name: γ and β travel as one `[2, d]` tensor, query, key and value as one
//! `[3d, d]` matrix; ids and offsets come with the batch. Candle's own fused layer norm and softmax
//! are not used: they have no backward pass and cut the gradient without an error.

mod activation;
mod attention;
mod convolution;
pub mod device;
mod dropout;
mod embedding;
mod linear;
mod loss;
mod norm;
mod on_batch;
mod pooling;
mod relative;
mod rotary;

#[cfg(test)]
pub(crate) mod gradient_check;

pub use activation::{Activation, activate, gate};
pub use attention::{Attending, attention, attention_weights};
pub use convolution::convolve;
pub use dropout::{Dropout, dropout, sequence_places};
pub use embedding::embed;
pub use linear::{linear, row_linear};
pub use loss::cross_entropy;
pub use norm::add_layer_norm;
pub use on_batch::OnBatch;
pub use pooling::{first_token, mean_token, normalise};
pub use relative::{Disentangled, Relative};
pub use rotary::rotate;
