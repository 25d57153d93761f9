//! The binary: parses, runs, reports and exits.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: bayes::compute::Allocator = bayes::compute::Allocator;

fn main() -> ExitCode {
    bayes::cli::main()
}
