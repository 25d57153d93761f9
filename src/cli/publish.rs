//! `bayes publish`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, bail};
use clap::Args;
use indicatif::HumanBytes;
use serde_json::json;

use super::environment::MODEL;
use super::written::tell_repeated;
use super::{Common, Outcome, RUNS, model_folder, models, note, print, print_json, transfer};
use crate::data;
use crate::experiment::Experiment;
use crate::hub::{self, Client, Memory, NewFile, Observer, Progress};
use crate::numbers::counted;
use crate::publish::{
    Card, PublishConfig, Published, Source, Status, Target, Wanted, collect, publish,
};

/// The branch that every repository has.
const MAIN: &str = "main";

/// Flags of `bayes publish`.
#[derive(Debug, Args)]
pub struct Options {
    /// Model folder [default: the newest model under checkpoints; needed where BAYES_MODEL is set]
    #[arg(long, value_name = "FOLDER")]
    model: Option<PathBuf>,
    /// The repository, as OWNER/NAME [default: publish.repo in the config]
    #[arg(long, value_name = "OWNER/NAME", value_parser = repository)]
    repo: Option<String>,
    /// If the repository does not exist, create it as private
    #[arg(long)]
    private: bool,
    /// Branch to push to; created if it does not exist
    #[arg(long, value_name = "NAME", default_value = MAIN, value_parser = reference)]
    branch: String,
    /// Tag the commit, for example v1.0.0; existing tags are never moved
    #[arg(long, value_name = "NAME", value_parser = reference)]
    tag: Option<String>,
    /// Message for the commit and the tag
    #[arg(long, value_name = "TEXT")]
    message: Option<String>,
    /// Show the files and their sizes without uploading anything
    #[arg(long)]
    dry_run: bool,
    /// A template for the card: Markdown with placeholders such as {{results}}
    #[arg(long, value_name = "FILE")]
    card: Option<PathBuf>,
    /// Print only the model card or, with --repo, push only the card
    #[arg(long)]
    card_only: bool,
    /// Also publish the reports, which may contain texts from your data
    #[arg(long)]
    include_examples: bool,
    /// Experiment file whose [publish] table is used [default: the model's own]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Override a key of [publish], such as publish.license=mit
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
}

pub fn run(options: &Options, common: &Common) -> Result<Outcome> {
    // What is public is not chosen by a variable that was set for a server.
    if options.model.is_none()
        && let Some(named) = models::of_environment()?
    {
        bail!(
            "`{MODEL}` names `{}`, which may not be the model that you mean to publish; give it with --model",
            named.display()
        );
    }
    let folder = model_folder(options.model.as_deref())?;
    let config = words(options, &folder)?;
    let named = Some(config.repo.as_str()).filter(|repo| !repo.is_empty());
    let repo = options.repo.as_deref().or(named);
    let source = Source::open(&folder, Path::new(RUNS))?;
    for doubt in &source.doubts {
        note(&format!("warning: {doubt}"))?;
    }
    let template = match &options.card {
        Some(path) => Some(
            std::fs::read_to_string(path)
                .with_context(|| format!("cannot read the template `{}`", path.display()))?,
        ),
        None => None,
    };
    if let Some(idle) = idle(options) {
        note(&format!("warning: {idle}"))?;
    }
    let card = Card { source: &source, config: &config, repo }.render(template.as_deref())?;
    if options.card_only && options.repo.is_none() && !options.dry_run {
        if common.json {
            print_json(&json!({ "card": card }))?;
        } else {
            print(&card)?;
        }
        return Ok(Outcome::Done);
    }
    let wanted = Wanted { card, card_only: options.card_only, examples: options.include_examples };
    let files = collect(&source, &wanted)?;
    if options.dry_run {
        return plan(options, repo, &files, common);
    }
    let Some(repo) = repo else {
        bail!(
            "you gave no repository; use `--repo OWNER/NAME`, or set `publish.repo` in the config; \
             `--dry-run` shows what would be uploaded"
        )
    };
    let target = Target {
        repo: repo.to_owned(),
        private: options.private || config.private,
        branch: options.branch.clone(),
        tag: options.tag.clone(),
        message: options.message.clone().unwrap_or_else(usual_message),
    };
    let published = send(&target, &files)?;
    for warning in &published.warnings {
        note(&format!("warning: the card: {warning}"))?;
    }
    if common.json {
        print_json(&published)?;
    } else {
        print(&done_text(&published))?;
    }
    Ok(Outcome::Done)
}

/// Flags that say something of what is not done.
fn idle(options: &Options) -> Option<String> {
    if !options.card_only {
        return None;
    }
    let prints = options.repo.is_none() && !options.dry_run;
    let of_commit = [
        ("--private", options.private),
        ("--branch", options.branch != MAIN),
        ("--tag", options.tag.is_some()),
        ("--message", options.message.is_some()),
    ];
    let of_commit = of_commit.into_iter().filter(|(_, given)| *given && prints);
    let examples = ("--include-examples", options.include_examples);
    let all = of_commit.chain([examples].into_iter().filter(|(_, given)| *given));
    let flags: Vec<&str> = all.map(|(flag, _)| flag).collect();
    let why = match prints {
        true => "`--card-only` without `--repo` only prints the card",
        false => "`--card-only` leaves out all files but the card",
    };
    let have = if flags.len() == 1 { "has" } else { "have" };
    (!flags.is_empty()).then(|| format!("{} {have} no effect: {why}", flags.join(", ")))
}

/// Sends files, with a bar for the large ones.
pub(super) fn send(target: &Target, files: &[NewFile]) -> Result<Published> {
    let client = Client::from_env()?;
    let published = publish(&client, target, files, &memory(), &observer(&target.repo));
    transfer::show(&Progress::Ended);
    Ok(published?)
}

pub(super) fn usual_message() -> String {
    format!("Publish with bayes {}", env!("CARGO_PKG_VERSION"))
}

/// Where uploads in parts are remembered: beside the token cache.
pub(super) fn memory() -> Memory {
    Memory::new(data::cache_folder().with_file_name("uploads"))
}

fn observer(repo: &str) -> Observer {
    let (what, begun) = (format!("`{repo}`"), AtomicBool::new(false));
    Arc::new(move |done, total| {
        if !begun.swap(true, Ordering::Relaxed) {
            transfer::show(&Progress::Sending { what: &what, bytes: total });
        }
        transfer::show(&Progress::Bytes { done, total });
    })
}

/// The author's words: those of the model's own config, or of another one.
fn words(options: &Options, folder: &Path) -> Result<PublishConfig> {
    if let Some(setting) = options.settings.iter().find(|one| !one.starts_with("publish.")) {
        bail!("`--set {setting}`: only keys of [publish] can be changed after training");
    }
    tell_repeated(&options.settings)?;
    let own =
        [("--repo", "repo", options.repo.is_some()), ("--private", "private", options.private)];
    for (flag, key, given) in own {
        let sets = |setting: &String| {
            let name = setting.split_once('=').map_or("", |(name, _)| name.trim());
            name.strip_prefix("publish.") == Some(key)
        };
        if given && options.settings.iter().any(sets) {
            bail!("`{flag}` and `--set publish.{key}` set the same key; give only one of them");
        }
    }
    let experiment = match &options.config {
        Some(path) => Experiment::read(path, &options.settings)?,
        None => {
            let text = Source::config_text(folder)?.unwrap_or_default();
            Experiment::parse(&text, "the config of the model", &options.settings)?
        }
    };
    Ok(experiment.publish)
}

fn plan(
    options: &Options,
    repo: Option<&str>,
    files: &[NewFile],
    common: &Common,
) -> Result<Outcome> {
    let bytes: u64 = files.iter().map(|file| file.size).sum();
    if common.json {
        let list: Vec<_> =
            files.iter().map(|file| json!({ "name": file.path, "size": file.size })).collect();
        print_json(&json!({
            "repo": repo, "branch": options.branch, "tag": options.tag, "dry_run": true,
            "files": list, "bytes": bytes,
        }))?;
        return Ok(Outcome::Done);
    }
    let mut text = String::new();
    for file in files {
        text.push_str(&format!("{:>12}  {}\n", HumanBytes(file.size).to_string(), file.path));
    }
    let to = repo.map_or(String::new(), |repo| format!(", for {repo}, branch {}", options.branch));
    text.push_str(&format!(
        "\n{}, {}{to}; dry run, nothing was uploaded\n",
        counted(files.len(), "file"),
        HumanBytes(bytes)
    ));
    print(&text)?;
    Ok(Outcome::Done)
}

fn done_text(published: &Published) -> String {
    let sent = published.files.iter().filter(|file| file.status == Status::Sent);
    let (mut number, mut bytes) = (0, 0);
    for file in sent {
        number += 1;
        bytes += file.size;
    }
    let unchanged = published.files.len() - number;
    let what = match number {
        0 => "nothing to upload: all files are already there".to_owned(),
        _ => format!(
            "{} in one commit, {}; {unchanged} unchanged",
            counted(number, "file"),
            HumanBytes(bytes)
        ),
    };
    let tag = published.tag.as_ref().map_or(String::new(), |tag| format!("tag     {tag}\n"));
    format!(
        "{what}\n\nurl     {}\nbranch  {}\ncommit  {}\n{tag}",
        published.url, published.branch, published.commit
    )
}

fn repository(name: &str) -> Result<String, String> {
    let known = hub::is_id(name);
    known.then(|| name.to_owned()).ok_or_else(|| {
        format!("`{name}` is not a repository name; use OWNER/NAME, such as me/my-model")
    })
}

/// The name of a branch or tag, as Git would take it.
fn reference(name: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    let ends = name.starts_with(['-', '/', '.']) || name.ends_with(['/', '.']);
    if name.is_empty()
        || ends
        || name.contains("..")
        || name.contains("//")
        || !name.chars().all(plain)
    {
        return Err(format!(
            "`{name}` is not a valid branch or tag name; use only letters, digits, `-`, `_`, `.` \
             and `/`"
        ));
    }
    Ok(name.to_owned())
}
