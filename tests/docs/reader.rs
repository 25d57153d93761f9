//! Someone who follows a page: types its commands into a shell, in a folder of their own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::home::{Home, text, tickets};
use super::page::{Block, root};

/// What the built-in recipe begins with, and what stands for it here: an encoder of a few kilobytes.
const ENCODER: &str = "sentence-transformers/all-MiniLM-L6-v2";
const STAND_IN: &str = "name = \"encoder\"\n[data]\ndataset = \"tickets.csv\"\nmax_length = 256\n\
                        [model]\nnum_hidden_layers = 2\nhidden_size = 16\nnum_attention_heads = 2\n\
                        [train]\nmax_steps = 1\n";

/// Words of the page to what they are here. A training is the same but short; a request is only
/// spelled out, since a bare machine may lack curl.
const RUN: &str = r#"
bayes() {
    case $1 in
        train)
            case "$*" in
                *recipe=head*) "$BAYES" "$@" --set data.train_limit=200 ;;
                *) "$BAYES" "$@" --set train.max_steps=4 --set data.train_limit=200 ;;
            esac ;;
        *) "$BAYES" "$@" ;;
    esac
}
cargo() { shift 3; bayes "$@"; }
curl() { printf '%s\n' "$@"; }
"#;

/// The flags are read from the left to `--help`, which ends it.
const CHECK: &str = r#"
bayes() {
    "$BAYES" "$@" --help || exit
    case $1 in
        train) "$BAYES" "$@" --print-config ;;
    esac
}
cargo() { shift 3; bayes "$@"; }
"#;

/// With all that a page may begin with.
pub struct Reader {
    home: Home,
    server: Option<Server>,
}

impl Reader {
    pub fn new() -> Self {
        let home = Home::new();
        home.write("tickets.csv", tickets(300));
        let new: Vec<String> = tickets(40)
            .lines()
            .filter_map(|line| Some(line.rsplit_once(',')?.0.to_owned()))
            .collect();
        home.write("new.csv", new.join("\n") + "\n");
        std::os::unix::fs::symlink(root().join("configs"), home.path("configs")).unwrap();
        let commit = "0123456789012345678901234567890123456789";
        let place = format!("hub/hub/models--{}", ENCODER.replace('/', "--"));
        home.write(&format!("{place}/refs/main"), commit);
        for file in ["config.json", "model.safetensors", "tokenizer.json"] {
            let bytes = fs::read(encoder().join(file)).unwrap();
            home.write(&format!("{place}/snapshots/{commit}/{file}"), bytes);
        }
        Self { home, server: None }
    }

    pub fn follow(&mut self, page: &str, block: &Block) {
        match block {
            Block::File(name, content) => drop(self.home.write(name, content)),
            Block::Run(commands) => commands.iter().for_each(|command| self.run(page, command)),
            Block::Check(commands) => commands.iter().for_each(|command| self.check(page, command)),
        }
    }

    fn run(&mut self, page: &str, command: &str) {
        let known = ["bayes ", "curl ", "cargo run --release -- "];
        assert!(
            known.iter().any(|start| command.starts_with(start)) || command == "bayes train",
            "{page}: `{command}` is not run here: say `<!-- not run: REASON -->` before its block"
        );
        let ends = ["--check", "--health"].iter().any(|flag| command.contains(flag));
        if let Some(rest) = command.strip_prefix("bayes serve ").filter(|_| !ends) {
            self.server = Some(Server::start(
                self.shell("", &format!("exec \"$BAYES\" serve {rest} --port 0")),
            ));
            return;
        }
        let output = self.shell(RUN, command).output().unwrap();
        self.succeeded(page, command, &output);
        if command.starts_with("curl ") {
            let server =
                self.server.as_ref().unwrap_or_else(|| panic!("{page}: no server: `{command}`"));
            server.ask(command, &text(&output.stdout));
        }
    }

    fn check(&self, page: &str, command: &str) {
        for word in command.split_whitespace() {
            let ours = ["benches/", "configs/", "docs/", "tests/"].iter();
            let named = ours.clone().any(|folder| word.starts_with(folder));
            assert!(!named || root().join(word).exists(), "{page}: `{word}` does not exist");
        }
        if command.starts_with("bayes ") || command.starts_with("cargo run --release -- ") {
            let output = self.shell(CHECK, command).output().unwrap();
            self.succeeded(page, command, &output);
        }
    }

    fn shell(&self, prelude: &str, command: &str) -> Command {
        let usual = self.home.command(&[]);
        let mut shell = Command::new("sh");
        for (name, value) in usual.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        shell.env("BAYES", usual.get_program()).current_dir(usual.get_current_dir().unwrap());
        shell.arg("-c").arg(format!("{prelude}\n{command}")).stdin(Stdio::null());
        shell
    }

    fn succeeded(&self, page: &str, command: &str, output: &Output) {
        let (out, error) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{page}: `{command}`\n{out}\n{error}");
    }
}

/// A folder with the tiny encoder, made once.
fn encoder() -> &'static Path {
    static ENCODER: OnceLock<(Home, PathBuf)> = OnceLock::new();
    let (_, folder) = ENCODER.get_or_init(|| {
        let home = Home::new();
        home.write("tickets.csv", tickets(100));
        home.write("encoder.toml", STAND_IN);
        home.done(&["train", "--config", "encoder.toml"]);
        let folder = home.path("checkpoints/encoder/model");
        (home, folder)
    });
    folder
}

/// `bayes serve`, on a port of its own.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(mut command: Command) -> Self {
        let log = tempfile::NamedTempFile::new().unwrap();
        command.stderr(log.reopen().unwrap()).stdout(Stdio::null());
        let mut server = Self { child: command.spawn().unwrap(), address: String::new() };
        let began = Instant::now();
        while server.address.is_empty() {
            let said = fs::read_to_string(log.path()).unwrap();
            let ready = said.lines().find(|line| line.starts_with("ready in"));
            let address = ready.and_then(|line| line.split("on http://").nth(1)?.split(' ').next());
            server.address = address.unwrap_or_default().to_owned();
            assert!(began.elapsed() < Duration::from_secs(60), "the server is not ready: {said}");
            std::thread::sleep(Duration::from_millis(20));
        }
        server
    }

    /// Sends what curl would send; `words` are its arguments, one a line.
    fn ask(&self, command: &str, words: &str) {
        let (mut body, mut headers, mut url) = (None, Vec::new(), None);
        let mut words = words.lines();
        while let Some(word) = words.next() {
            match word {
                "-d" => body = words.next(),
                "-H" => headers.extend(words.next().and_then(|header| header.split_once(": "))),
                word => {
                    assert!(!word.starts_with('-') && url.is_none(), "`{word}` of `{command}`");
                    url = Some(word);
                }
            }
        }
        let path = url.and_then(|url| url.strip_prefix("localhost:8000")).unwrap();
        let mut request =
            ureq::http::Request::builder().uri(format!("http://{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let answer = match body {
            Some(body) => ureq::run(request.method("POST").body(body.to_owned()).unwrap()),
            None => ureq::run(request.body(()).unwrap()),
        };
        let answer = answer.unwrap_or_else(|error| panic!("`{command}`: {error}"));
        let answer = answer.into_body().read_to_string().unwrap();
        let _: Value =
            serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{answer}: {error}"));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
