//! The binary: parses, runs, reports and exits.

use std::process::ExitCode;

fn main() -> ExitCode {
    bayes::cli::main()
}
