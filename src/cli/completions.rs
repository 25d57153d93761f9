//! `bayes completions`: what a shell and `man` read.

use anyhow::{Result, bail};
use clap::{Args, Command};

use super::{Outcome, print_raw};

/// Flags of the command.
#[derive(Debug, Args)]
pub struct Options {
    /// The shell
    #[arg(required_unless_present = "man")]
    shell: Option<clap_complete::Shell>,
    /// Print a manual page instead: for `bayes`, or for one command, for example `--man=train`
    #[arg(
        long,
        value_name = "COMMAND",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "",
        conflicts_with = "shell"
    )]
    man: Option<String>,
}

/// Runs the command. `whole` is the command line that is described.
pub fn run(options: &Options, mut whole: Command) -> Result<Outcome> {
    let mut written = Vec::new();
    match (&options.man, options.shell) {
        (Some(name), _) => clap_mangen::Man::new(described(whole, name)?)
            .source(concat!("bayes ", env!("CARGO_PKG_VERSION")))
            .render(&mut written)?,
        (None, Some(shell)) => clap_complete::generate(shell, &mut whole, "bayes", &mut written),
        (None, None) => bail!("give a shell, or `--man`"),
    }
    print_raw(&String::from_utf8_lossy(&written))?;
    Ok(Outcome::Done)
}

/// A command with the flags that all commands take; the whole for no name.
fn described(mut whole: Command, name: &str) -> Result<Command> {
    whole.build();
    if name.is_empty() {
        return Ok(whole);
    }
    let Some(command) = whole.find_subcommand(name) else {
        let names: Vec<&str> = whole.get_subcommands().map(Command::get_name).collect();
        bail!("unknown command `{name}`; available commands: {}", names.join(", "));
    };
    Ok(command.clone())
}
