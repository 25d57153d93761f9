//! Has the traffic changed? What each prediction says of its text, held against the calibration rows.
//!
//! **How far.** The population stability index of the newest predictions, PSI = Σ_b (q_b − p_b) ln(q_b / p_b) over bins
//! of the calibration rows: see [`Stability`].
//!
//! **Whether.** A sequential test of each feature, whose false alarms are bounded however long it runs. Volkhonskiy,
//! Burnaev, Nouretdinov, Gammerman and Vovk, "Inductive conformal martingales for change-point detection" (COPA 2017);
//! Vovk, Petej, Nouretdinov, Ahlberg, Carlsson and Gammerman, "Retrain or not retrain: conformal test martingales for
//! change-point detection" (COPA 2021); Shin, Ramdas and Rinaldo, "E-detectors: a nonparametric framework for
//! sequential change detection" (2023); Fedorova, Gammerman, Nouretdinov and Vovk, "Plug-in martingales for testing
//! exchangeability on-line" (ICML 2012).
//!
//! | symbol | here |
//! |---|---|
//! | p_i = (#{x_j > x_i} + τ_i #{x_j = x_i}) / #{j}, over calibration rows and requests up to i | [`Ranks::p_value`] |
//! | τ_i | uniform, from seeded noise |
//! | f_k(p), a density on [0, 1] that depends on p_1 … p_{i−1} alone | [`Bets`] |
//! | R_i = mean over k of R_i,k, R_i,k = (1 + R_{i−1,k}) f_k(p_i), R_0 = 0 (Shiryaev and Roberts) | [`Detector::see`] |
//!
//! If calibration rows and requests are exchangeable, the p-values are independent and uniform, so that R_i − i is a
//! martingale and R_i a submartingale with E R_n = n. By Doob's inequality the chance of an alarm at R ≥ c among n
//! requests is n/c at most, and the mean number of requests until one is c at least. A product of bets alone, as in
//! [`super::conformal::exchange`], would be bounded by 1/c for ever, but a long quiet time uses its capital up, and it
//! then sees a change late or never; R begins anew at every request.
//!
//! With t tests and c = t · N the chance of any alarm among n requests is n/N at most.
//!
//! Departures. Values are compared after they were cut to eight significant bits (see `grid`): that is the same for
//! all rows, so the p-values stay exact, and what a test remembers has a fixed size. Every request joins the reference.

mod detector;
mod grid;
mod monitor;
mod ranks;
mod reference;
mod stability;

pub use detector::{Bets, Detector};
pub use monitor::{Feature, FeatureState, LabelMonitor, Monitor, Watched};
pub use ranks::Ranks;
pub use reference::{DriftReference, Histogram};
pub use stability::{FEWEST, Stability};
