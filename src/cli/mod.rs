//! The command line: flags, one file per command, exit codes, and all printing.

mod audit;
mod bench;
mod beside;
mod compare;
mod completions;
mod dataset;
mod decisions;
mod environment;
mod eval;
mod feedback;
mod fit;
mod fitted;
mod flags;
mod forward;
mod hidden;
mod info;
mod log;
mod models;
mod output;
mod precision;
mod predict;
mod progress;
mod publish;
mod quantize;
mod quoted;
mod recalibrate;
mod redis;
mod replace;
mod report;
mod serve;
mod shift;
mod stop;
mod suite;
mod summary;
mod tables;
mod train;
mod transfer;
mod words;
mod written;
mod zero_shot;

use std::io;
use std::process::ExitCode;

use anyhow::Result;
use candle_core::DeviceLocation;
use clap::{Args, CommandFactory, Parser, Subcommand};
use log::Reader;
use models::model_folder;
use output::{note, print, print_json, print_raw};

use crate::compute::{self, Backend, DeviceChoice, Selected};
use crate::hub;

/// Folder of the models, in the working folder.
const CHECKPOINTS: &str = "checkpoints";
/// Folder of the runs, in the working folder.
const RUNS: &str = "runs";

/// Train and run text classifiers that know when they are unsure.
#[derive(Debug, Parser)]
#[command(name = "bayes", version, arg_required_else_help = true, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    common: Common,
}

/// What every command takes.
#[derive(Debug, Args)]
struct Common {
    /// Device to run on: auto, cpu, cuda or cuda:N
    #[arg(
        long,
        global = true,
        display_order = 1000,
        default_value = "auto",
        value_name = "DEVICE",
        env = environment::DEVICE
    )]
    device: String,
    /// Number of threads in each thread pool [default: all cores]
    #[arg(
        long,
        global = true,
        display_order = 1001,
        value_parser = words::whole::<u16>(1..=4096),
        env = "BAYES_THREADS"
    )]
    threads: Option<u16>,
    /// Print the result as JSON
    #[arg(long, global = true, display_order = 1002)]
    json: bool,
    /// Hide progress output
    #[arg(long, short, global = true, display_order = 1003)]
    quiet: bool,
    /// Show more log messages; use -vv to show all
    #[arg(long, short, global = true, display_order = 1004, action = clap::ArgAction::Count)]
    verbose: u8,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Train a classifier: fine-tune, calibrate, evaluate, and write a report and a model folder
    Train(train::Options),
    /// Add a posterior to an existing classifier without retraining it
    Fit(fit::Options),
    /// Measure the accuracy and calibration of a model
    Eval(eval::Options),
    /// Find what is wrong in labelled data: wrong labels, contradictions, leaks, odd characters
    Audit(Box<audit::Options>),
    /// Compare posterior methods on the same data, over several seeds, in one table
    Compare(Box<compare::Options>),
    /// Measure a model's latency, throughput, memory use and training speed
    Bench(bench::Options),
    /// Classify texts and report the uncertainty of each prediction
    Predict(predict::Options),
    /// Fit temperature, prediction sets, novelty and limits to new labelled rows; the weights stay
    Recalibrate(recalibrate::Options),
    /// Store a model in bf16 or int8, with proof that its probabilities hold
    Quantize(quantize::Options),
    /// Publish a model and its model card on the Hugging Face Hub
    Publish(Box<publish::Options>),
    /// Serve predictions over HTTP
    Serve(Box<serve::Options>),
    /// Export the labels that a server was told
    Feedback(feedback::Options),
    /// List, inspect, download and tokenise data sets
    Dataset(dataset::Options),
    /// Show version, device, threads, CPU features and folders, or what a model is
    Info(info::Options),
    /// Print shell completions or a manual page
    Completions(completions::Options),
}

impl Command {
    /// The name of the command, behind that of its parent, where it reads tables.
    fn name(&self) -> &'static [&'static str] {
        match self {
            Self::Train(_) => &["train"],
            Self::Fit(_) => &["fit"],
            Self::Eval(_) => &["eval"],
            Self::Audit(_) => &["audit"],
            Self::Compare(_) => &["compare"],
            Self::Bench(_) => &["bench"],
            Self::Recalibrate(_) => &["recalibrate"],
            Self::Predict(_) => &["predict"],
            Self::Dataset(options) => options.name(),
            Self::Publish(_)
            | Self::Quantize(_)
            | Self::Serve(_)
            | Self::Feedback(_)
            | Self::Info(_)
            | Self::Completions(_) => &[],
        }
    }
}

/// How a command that ran ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Done,
    /// Ran, and the answer is no.
    No,
    /// Stopped by a signal, in good order.
    Interrupted,
}

/// Parses the arguments, runs the command, reports, and gives the exit code: 0 done, 1 the answer
/// is no, 2 could not run, 130 interrupted.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    compute::set_threads(cli.common.threads.map(usize::from));
    start_log(&cli);
    flags::of_command(&Cli::command(), cli.command.name());
    transfer::set_quiet(cli.common.quiet);
    hub::observe(transfer::show);
    match run(&cli) {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::No) => ExitCode::from(1),
        Ok(Outcome::Interrupted) => ExitCode::from(130),
        // Whoever read our output has heard enough.
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let mut causes = error.chain().map(said);
            let mut message = format!("error: {}", causes.next().unwrap_or_default());
            for cause in causes {
                message.push_str(&format!("\n  because: {cause}"));
            }
            let _ = note(&message);
            ExitCode::from(2)
        }
    }
}

/// Common flags that say nothing to a command.
fn idle(command: &Command, common: &Common) -> Vec<String> {
    use Command::{Completions, Dataset, Feedback, Publish, Serve};
    let computes = !matches!(command, Completions(_) | Dataset(_) | Feedback(_) | Publish(_));
    let answers = !matches!(command, Completions(_) | Serve(_));
    // A variable is set for whatever runs.
    let of_variable = std::env::var(environment::DEVICE).is_ok_and(|set| set == common.device);
    let flags = [
        (
            "--device",
            common.device != "auto" && !of_variable && !computes,
            "the command computes nothing with a model",
        ),
        ("--json", common.json && !answers, "the command has no result to print"),
    ];
    let idle = flags.into_iter().filter(|(_, idle, _)| *idle);
    idle.map(|(flag, _, why)| format!("{flag} has no effect: {why}")).collect()
}

fn run(cli: &Cli) -> Result<Outcome> {
    for idle in idle(&cli.command, &cli.common) {
        note(&format!("warning: {idle}"))?;
    }
    for unknown in environment::unknown(&Cli::command()) {
        match &cli.command {
            // Its lines have a form of their own.
            Command::Serve(_) => tracing::warn!("{unknown}"),
            _ => note(&format!("warning: {unknown}"))?,
        }
    }
    match &cli.command {
        Command::Train(options) => train::run(options, &cli.common),
        Command::Fit(options) => fit::run(options, &cli.common),
        Command::Eval(options) => eval::run(options, &cli.common),
        Command::Audit(options) => audit::run(options, &cli.common),
        Command::Compare(options) => compare::run(options, &cli.common),
        Command::Bench(options) => bench::run(options, &cli.common),
        Command::Predict(options) => predict::run(options, &cli.common),
        Command::Publish(options) => publish::run(options, &cli.common),
        Command::Serve(options) => serve::run(options, &cli.common),
        Command::Feedback(options) => feedback::run(options, &cli.common),
        Command::Dataset(options) => dataset::run(options, &cli.common),
        Command::Recalibrate(options) => recalibrate::run(options, &cli.common),
        Command::Quantize(options) => quantize::run(options, &cli.common),
        Command::Info(options) => info::run(options, &cli.common),
        Command::Completions(options) => completions::run(options, Cli::command()),
    }
}

fn start_log(cli: &Cli) {
    let reader = match &cli.command {
        Command::Serve(options) if options.logs_json() => Reader::Program,
        Command::Serve(_) => Reader::Operator,
        _ => Reader::Person,
    };
    log::start(reader, cli.common.verbose);
}

/// An error without the frames that Candle writes behind its own.
fn said(error: &(dyn std::error::Error + 'static)) -> String {
    let whole = error.to_string();
    let frame = whole.find("\n   0: ");
    frame.map_or(whole.as_str(), |at| &whole[..at]).to_owned()
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let closed = |cause: &io::Error| cause.kind() == io::ErrorKind::BrokenPipe;
    error.chain().filter_map(|cause| cause.downcast_ref()).any(closed)
}

impl Common {
    fn device(&self) -> Result<Selected> {
        let choice: DeviceChoice = self.device.parse()?;
        let selected = compute::select(choice)?;
        let device = match selected.device.location() {
            DeviceLocation::Cuda { gpu_id } => format!("cuda:{gpu_id}"),
            _ => "cpu".to_owned(),
        };
        tracing::info!("device {device} ({})", selected.reason);
        Ok(selected)
    }

    /// Where networks compute.
    fn backend(&self) -> Result<Backend> {
        self.backend_on(self.device()?)
    }

    /// On a device that was selected.
    fn backend_on(&self, selected: Selected) -> Result<Backend> {
        compute::allow_tf32(std::env::var_os(environment::TF32).is_some_and(|value| value == "1"));
        Ok(match self.device.parse()? {
            DeviceChoice::Twin => Backend::TWIN,
            _ => Backend::of(selected.device),
        })
    }
}
