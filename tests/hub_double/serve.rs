//! The double of the Hub as a process, for clients that are not written in Rust. It prints one line of
//! JSON with its endpoint and the token that it lets in, and ends with its standard input.
//!
//!     cargo run --example hub_double [BYTES]
//!
//! Files larger than BYTES are uploaded in parts of that size.

#![expect(clippy::unwrap_used, reason = "only tests run it")]
#![expect(clippy::print_stdout, reason = "a program")]

#[path = "mod.rs"]
mod hub_double;

use hub_double::{Double, TOKEN};

fn main() {
    let double = Double::start();
    if let Some(chunk) = std::env::args().nth(1) {
        double.state().chunk = chunk.parse().unwrap();
    }
    println!("{}", serde_json::json!({ "endpoint": double.endpoint(), "token": TOKEN }));
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).unwrap();
}
