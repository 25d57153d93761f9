//! The client of the Hub against a double of it: what it asks, what it keeps, and what it says when
//! something goes wrong.

#![expect(clippy::unwrap_used, reason = "a test fails by panic")]

mod cache;
mod client;
mod commands;
mod faults;
#[path = "../home/mod.rs"]
mod home;
#[path = "../hub_double/mod.rs"]
mod hub_double;
mod left_out;
mod site;
