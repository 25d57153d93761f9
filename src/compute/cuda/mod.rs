//! CUDA cards: whether one can be used, and opening it.
//!
//! A binary with CUDA starts where there is no driver: its functions are opened late ([`late`]). Whatever stands in the
//! way is said in one sentence ([`trouble`]) before anything is loaded, and a card is tried out first ([`tryout`]).

#[cfg(feature = "cuda")]
mod blas;
#[cfg(feature = "cuda")]
mod driver;
pub mod kernels;
#[cfg(feature = "cuda")]
mod late;
#[cfg(feature = "cuda")]
mod open;
#[cfg_attr(not(feature = "cuda"), expect(dead_code, reason = "tested in every build"))]
mod trouble;
#[cfg_attr(not(feature = "cuda"), expect(dead_code, reason = "tested in every build"))]
mod tryout;
#[cfg(feature = "cuda")]
mod unused;

#[cfg(feature = "cuda")]
pub use open::open;
