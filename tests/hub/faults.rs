//! Everything that goes wrong between the Hub and the cache.

use std::time::Duration;

use crate::home::text;
use crate::hub_double::{Content, Fault, STRANGER};
use crate::site::Site;

const FETCH: [&str; 3] = ["dataset", "fetch", "team/data"];
/// The repository's folder in the cache.
const FOLDER: &str = "datasets--team--data";

/// A data set of one large file and one small one; the bytes of the large one.
fn site() -> (Site, Content) {
    let site = Site::new();
    let content = Content::Made(100_003);
    let files = [("train.parquet", content.clone()), ("README.md", "# A card".into())];
    site.double.dataset("team/data", &files);
    (site, content)
}

/// The large file came whole: its blob is under its hash, and reading it through the link gives the
/// bytes that were put there.
fn assert_whole(site: &Site, content: &Content) {
    let cache = site.cache();
    assert!(cache.contains(&format!("{FOLDER}/blobs/{}", content.sha256())), "{cache:?}");
    assert!(!cache.iter().any(|file| file.ends_with(".incomplete") || file.contains(".tmp")));
    let link = cache.iter().find(|file| file.ends_with("/train.parquet")).unwrap();
    let link = site.home.path("hub/hub").join(link);
    assert!(std::fs::read_link(&link).unwrap().is_relative());
    assert!(std::fs::read(link).unwrap() == content.all(), "the bytes are other ones");
}

/// Nothing of it can be taken for a data set.
fn assert_clean(site: &Site) {
    let cache = site.cache();
    let good = |file: &String| file.ends_with(".incomplete") || file.contains("/blobs/");
    assert!(cache.iter().all(good), "{cache:?}");
    site.home.refused(&["dataset", "info", "team/data"]);
}

#[test]
fn a_line_that_breaks_at_any_byte_is_taken_up_where_it_broke() {
    let (site, content) = site();
    let length = content.len();
    let cuts = [0, 1, 4095, 4096, length / 2, length - 1];
    let mut at = 0;
    for cut in cuts.into_iter().filter(|&cut| cut > 0) {
        site.double.fault("GET /cdn/", 1, Fault::Cut(cut - at));
        at = cut;
    }
    site.double.fault("/resolve/", 1, Fault::Cut(0));
    site.done(&FETCH);
    assert_whole(&site, &content);
    let ranges: Vec<String> =
        site.double.requests("GET /cdn/").into_iter().map(|record| record.range).collect();
    let expected: Vec<String> = cuts
        .iter()
        .map(|cut| if *cut == 0 { String::new() } else { format!("bytes={cut}-") })
        .collect();
    assert_eq!(ranges, expected);
    assert_eq!(site.double.sent("GET /cdn/"), length, "no byte came twice");
}

#[test]
fn a_line_that_breaks_again_and_again_is_given_up_and_what_came_is_kept() {
    let (site, content) = site();
    site.double.fault("GET /cdn/", 1, Fault::Cut(5000));
    site.double.fault("GET /cdn/", 5, Fault::Cut(0));
    let message = site.refused(&FETCH);
    assert!(message.contains(&format!("only 5000 of {} bytes", content.len())), "{message}");
    assert!(message.contains("to continue"), "{message}");
    assert_clean(&site);
    site.done(&FETCH);
    assert_whole(&site, &content);
    assert_eq!(site.double.sent("GET /cdn/"), content.len());
}

#[test]
fn a_server_that_knows_no_ranges_sends_all_again() {
    let (site, content) = site();
    site.double.fault("GET /cdn/", 1, Fault::Cut(5000));
    site.double.fault("GET /cdn/", 1, Fault::NoRanges);
    site.done(&FETCH);
    assert_whole(&site, &content);
    assert_eq!(site.double.sent("GET /cdn/"), content.len() + 5000);
}

#[test]
fn silence_is_a_broken_line_and_slowness_is_none() {
    let (site, content) = site();
    site.double.fault("GET /cdn/", 1, Fault::Stall(7000, Duration::from_secs(30)));
    site.double.fault("GET /cdn/", 1, Fault::Throttle(content.len() / 4));
    let output = site.command(&FETCH).env("HF_HUB_DOWNLOAD_TIMEOUT", "2").output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_whole(&site, &content);
    // The first answer was not waited for: there was a second request.
    assert_eq!(site.double.requests("GET /cdn/")[1].range, "bytes=7000-");
}

#[test]
fn bytes_with_another_hash_are_thrown_away() {
    let (site, content) = site();
    for (on, file) in [("GET /datasets/", "`README.md`"), ("GET /cdn/", "`train.parquet`")] {
        site.double.fault(on, 1, Fault::WrongBytes);
        let message = site.refused(&FETCH);
        assert!(message.contains(file) && message.contains("hash"), "{message}");
        assert_clean(&site);
        assert!(site.incomplete(FOLDER).is_none());
    }
    site.done(&FETCH);
    assert_whole(&site, &content);
}

#[test]
fn a_damaged_part_of_an_earlier_process_is_fetched_anew() {
    let (site, content) = site();
    let part = format!("hub/hub/{FOLDER}/blobs/{}.incomplete", content.sha256());
    for left in
        [vec![7; 3000], vec![7; content.len() as usize], vec![7; content.len() as usize + 9]]
    {
        site.home.write(&part, left);
        site.done(&FETCH);
        assert_whole(&site, &content);
        std::fs::remove_dir_all(site.home.path("hub/hub")).unwrap();
    }
}

#[test]
fn a_web_page_is_no_file() {
    let (site, content) = site();
    for on in ["GET /cdn/", "HEAD /datasets/", "/tree/", "/revision/"] {
        site.double.fault(on, 1, Fault::Page);
        let message = site.refused(&FETCH);
        assert!(message.contains("a web page came"), "{on}: {message}");
        assert_clean(&site);
    }
    site.done(&FETCH);
    assert_whole(&site, &content);
}

#[test]
fn refusals_are_clear_and_leave_nothing_behind() {
    let (site, content) = site();
    let status = |status, headers, body| Fault::Status(status, headers, body);
    let long = vec![("Retry-After", "3600".to_owned())];
    for (on, times, fault, expected) in [
        ("/revision/", 1, status(429, long, ""), "try again in 3600 s"),
        ("/revision/", 9, status(503, vec![], "busy"), "answered 503"),
        ("/resolve/", 1, status(404, vec![], ""), "is not on the Hub"),
        ("GET /cdn/", 1, status(403, vec![], ""), "does not allow this"),
        ("GET /cdn/", 1, status(200, vec![], "short"), "5 bytes are announced"),
        ("/tree/", 1, status(200, vec![], "{\"no\": \"list\"}"), "not a response of the Hub"),
    ] {
        site.double.fault(on, times, fault);
        let message = site.refused(&FETCH);
        assert!(message.contains(expected), "{expected}: {message}");
        assert!(message.contains("team/data") && !message.contains("X-Signature"), "{message}");
        assert_clean(&site);
        site.double.forget_faults();
    }
    let message = site.refused(&["dataset", "fetch", "team/none"]);
    assert!(message.contains("`team/none` does not exist or is private"), "{message}");
    site.double.change(true, "team/data", |repository| repository.gated = true);
    for token in [None, Some(STRANGER)] {
        let mut command = site.command(&FETCH);
        let output = command.envs(token.map(|token| ("HF_TOKEN", token))).output().unwrap();
        let message = text(&output.stderr);
        assert!(message.contains("gated") && message.contains("/datasets/team/data"), "{message}");
        assert_clean(&site);
    }
    site.double.change(true, "team/data", |repository| repository.gated = false);
    site.double.rename(true, "team/data", "other/new");
    let message = site.refused(&FETCH);
    assert!(message.contains("`team/data` has been renamed to `other/new`"), "{message}");
    site.done(&["dataset", "fetch", "other/new"]);
    assert!(site.cache().contains(&format!("datasets--other--new/blobs/{}", content.sha256())));
}

#[test]
fn a_pause_that_the_hub_asks_for_is_kept() {
    let (site, content) = site();
    let pause = vec![("Retry-After", "2".to_owned())];
    site.double.fault("GET /cdn/", 1, Fault::Status(429, pause.clone(), ""));
    site.double.fault("/revision/", 1, Fault::Status(503, pause, ""));
    let begun = std::time::Instant::now();
    site.done(&FETCH);
    assert!(begun.elapsed() >= Duration::from_secs(4));
    assert_whole(&site, &content);
}

#[test]
fn names_that_lead_out_of_the_cache_are_refused() {
    let site = Site::new();
    let names = ["config.json", "model.safetensors", "tokenizer.json", "bayes/../../../evil.json"];
    site.double.model("team/model", &names.map(|name| (name, Content::from("{}"))));
    let message = site.refused(&["predict", "--model", "team/model", "text"]);
    assert!(message.contains("lists a file `bayes/../../../evil.json`"), "{message}");
    assert!(site.cache().is_empty() && site.double.requests("/resolve/").is_empty());
}
