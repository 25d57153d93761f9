//! Processes that are killed, and processes at the same time.

use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::home::tickets;
use crate::hub_double::{Content, Fault};
use crate::site::Site;

/// Bytes that may have been on their way when a process was killed: what sockets hold.
const ON_THE_WAY: u64 = 8 << 20;

fn model(site: &Site, size: u64) -> Content {
    let weights = Content::Made(size);
    let files = [
        ("config.json", "{}".into()),
        ("model.safetensors", weights.clone()),
        ("tokenizer.json", "{}".into()),
    ];
    site.double.model("team/big", &files);
    weights
}

/// Fetches the model; that it is none is found out afterwards.
const PREDICT: [&str; 4] = ["predict", "--model", "team/big", "text"];

/// `BAYES_TEST_BIG` gives another size in MiB, such as 1024.
#[test]
fn a_killed_download_goes_on_where_it_was() {
    let site = Site::new();
    let megabytes = std::env::var("BAYES_TEST_BIG").ok().and_then(|text| text.parse().ok());
    let size: u64 = megabytes.unwrap_or(48) << 20;
    let weights = model(&site, size);
    site.double.fault("GET /cdn/", 1, Fault::Throttle(size / 4));
    let mut command = site.command(&PREDICT);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    let part = loop {
        assert!(begun.elapsed() < Duration::from_secs(60), "nothing comes");
        std::thread::sleep(Duration::from_millis(20));
        let part = site.incomplete("models--team--big");
        if let Some(part) = part.filter(|part| part.metadata().unwrap().len() > size / 4) {
            break part;
        }
    };
    child.kill().unwrap();
    child.wait().unwrap();
    let kept = part.metadata().unwrap().len();
    assert!(kept < size && !site.cache().iter().any(|file| file.contains("/refs/")));

    site.refused(&PREDICT);
    let requests = site.double.requests("GET /cdn/");
    let [first, second] = &requests[..] else { panic!("{requests:?}") };
    assert_eq!(second.range, format!("bytes={kept}-"));
    assert_eq!(second.sent, size - kept);
    assert!(first.sent + second.sent <= size + ON_THE_WAY, "{} {}", first.sent, second.sent);
    let blob = format!("models--team--big/blobs/{}", weights.sha256());
    assert!(site.cache().contains(&blob), "{:?}", site.cache());
    eprintln!("{size} bytes; killed with {kept}; the next call got {}", second.sent);
}

#[test]
fn processes_at_the_same_time_download_once() {
    let site = Site::new();
    let size = 12 << 20;
    let weights = model(&site, size);
    let csv = tickets(40);
    site.double.dataset("team/tickets", &[("train.csv", csv.as_str().into())]);
    site.double.fault("GET /cdn/", 1, Fault::Throttle(size / 2));
    let spawn = |arguments: &[&str]| {
        let mut command = site.command(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let sets: Vec<_> = (0..4).map(|_| spawn(&["dataset", "info", "team/tickets"])).collect();
    let models: Vec<_> = (0..4).map(|_| spawn(&PREDICT)).collect();
    for set in sets {
        let output = set.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let mut waited = 0;
    for model in models {
        let output = model.wait_with_output().unwrap();
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        // All of them have it, and see that it is no model.
        assert!(message.contains("config.json") && !message.contains("Hub"), "{message}");
        waited += usize::from(message.contains("waiting for another process"));
    }
    assert!(waited > 0);
    assert_eq!(site.double.sent("GET /cdn/"), size);
    let sent = site.double.sent("GET /datasets/team/tickets/resolve/");
    assert_eq!(sent, csv.len() as u64);
    assert!(site.cache().contains(&format!("models--team--big/blobs/{}", weights.sha256())));
    assert!(!site.cache().iter().any(|file| file.contains(".tmp") || file.contains(".incomplete")));
}
