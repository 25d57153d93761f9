//! Pushing beside training: a thread of its own, which training never waits for.
//!
//! A checkpoint that is offered is linked at once, so that its rotation takes nothing away; while one
//! is sent, only the newest other one waits.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use super::source::TRAINER_STATE;
use super::{Card, PublishConfig, PublishError, Source, Target, Wanted, collect, publish};
use crate::artifact::HASHED;
use crate::hub::{Client, Memory, NewFile};

/// What a checkpoint is published from, besides the files that have hashes in its manifest.
const OTHERS: [&str; 5] = [
    "tokenizer_config.json",
    "special_tokens_map.json",
    "bayes/manifest.json",
    "config.toml",
    TRAINER_STATE,
];

/// What happened to a push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    Pushed(String),
    Failed(String),
}

/// A checkpoint that waits.
struct Waiting {
    links: tempfile::TempDir,
    step: u64,
}

#[derive(Default)]
struct State {
    next: Option<Waiting>,
    messages: Vec<Message>,
    closed: bool,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends checkpoints one after another.
pub struct Pusher {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Pusher {
    /// Begins to wait for checkpoints. `runs` is the folder of the runs.
    pub fn start(config: PublishConfig, runs: PathBuf, memory: Memory) -> Self {
        let shared = Arc::new(Shared::default());
        let own = Arc::clone(&shared);
        let thread = std::thread::spawn(move || work(&own, &config, &runs, &memory));
        Self { shared, thread: Some(thread) }
    }

    /// Offers a checkpoint; one that waited is dropped for it. Nothing is waited for.
    pub fn offer(&self, checkpoint: &Path, step: u64) {
        let linked = link(checkpoint);
        let mut state = self.shared.lock();
        match linked {
            Ok(links) => state.next = Some(Waiting { links, step }),
            Err(error) => {
                let failed = format!("the checkpoint of step {step} was not pushed: {error}");
                state.messages.push(Message::Failed(failed));
            }
        }
        self.shared.changed.notify_all();
    }

    /// What happened since the last call.
    pub fn messages(&self) -> Vec<Message> {
        std::mem::take(&mut self.shared.lock().messages)
    }

    /// Waits for the push that is under way; what waits is dropped, since the finished model follows.
    pub fn finish(mut self) -> Vec<Message> {
        {
            let mut state = self.shared.lock();
            state.next = None;
            state.closed = true;
        }
        self.shared.changed.notify_all();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            self.shared.lock().messages.push(Message::Failed("a push failed".to_owned()));
        }
        self.messages()
    }
}

fn work(shared: &Shared, config: &PublishConfig, runs: &Path, memory: &Memory) {
    loop {
        let waiting = {
            let mut state = shared.lock();
            loop {
                if let Some(waiting) = state.next.take() {
                    break waiting;
                }
                if state.closed {
                    return;
                }
                state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        };
        let step = waiting.step;
        let message = match push(waiting.links.path(), step, config, runs, memory) {
            Ok(url) => {
                Message::Pushed(format!("the checkpoint of step {step} was pushed to {url}"))
            }
            Err(error) => {
                Message::Failed(format!("the checkpoint of step {step} was not pushed: {error}"))
            }
        };
        shared.lock().messages.push(message);
    }
}

fn push(
    folder: &Path,
    step: u64,
    config: &PublishConfig,
    runs: &Path,
    memory: &Memory,
) -> Result<String, PublishError> {
    let client = Client::from_env()?;
    let (target, files) = whole(folder, runs, config, format!("Training, step {step}"))?;
    let nobody: crate::hub::Observer = Arc::new(|_, _| {});
    Ok(publish(&client, &target, &files, memory, &nobody)?.url)
}

/// All that a run of training publishes of a folder, and where to.
///
/// # Errors
/// It is no whole model folder.
pub fn whole(
    folder: &Path,
    runs: &Path,
    config: &PublishConfig,
    message: String,
) -> Result<(Target, Vec<NewFile>), PublishError> {
    let source = Source::open(folder, runs)?;
    let card = Card { source: &source, config, repo: Some(&config.repo) }.render(None)?;
    let files = collect(&source, &Wanted { card, ..Wanted::default() })?;
    let (repo, private) = (config.repo.clone(), config.private);
    Ok((Target { repo, private, branch: "main".to_owned(), tag: None, message }, files))
}

/// A folder with second names of a checkpoint's files, beside it.
fn link(checkpoint: &Path) -> io::Result<tempfile::TempDir> {
    let beside = checkpoint.parent().unwrap_or(Path::new("."));
    let links = tempfile::Builder::new().prefix(".tmp-push-").tempdir_in(beside)?;
    fs::create_dir(links.path().join("bayes"))?;
    for name in HASHED.into_iter().chain(OTHERS) {
        let (from, to) = (checkpoint.join(name), links.path().join(name));
        if from.is_file() && fs::hard_link(&from, &to).is_err() {
            fs::copy(&from, &to)?;
        }
    }
    Ok(links)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_outlive_the_checkpoint_and_leave_nothing() {
        let home = tempfile::tempdir().unwrap();
        let checkpoint = home.path().join("checkpoint_epoch_0_step_1");
        fs::create_dir_all(checkpoint.join("bayes")).unwrap();
        for name in ["model.safetensors", "bayes/manifest.json", "optimizer.safetensors"] {
            fs::write(checkpoint.join(name), name).unwrap();
        }
        let links = link(&checkpoint).unwrap();
        fs::remove_dir_all(&checkpoint).unwrap();
        let read = |name: &str| fs::read_to_string(links.path().join(name)).ok();
        assert_eq!(read("bayes/manifest.json").as_deref(), Some("bayes/manifest.json"));
        assert_eq!(read("optimizer.safetensors"), None);
        drop(links);
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
    }
}
