//! What commands print, whole: stdout, stderr and exit code. `INSTA_UPDATE=always cargo test --test snapshots`
//! takes what they print now; look at the difference before you commit it.

#![expect(clippy::unwrap_used, reason = "a test fails by panic")]

#[expect(dead_code, reason = "only a part is needed here")]
mod home;

use home::{Home, text};
use insta::assert_snapshot;

/// What a command prints, without what differs from run to run.
fn printed(home: &Home, arguments: &[&str]) -> String {
    let output = home.run(arguments);
    let code = output.status.code().unwrap();
    let whole = format!(
        "exit code {code}\n--- stdout\n{}--- stderr\n{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    let whole = whole.replace(home.path("").to_str().unwrap(), "HOME/");
    let lines = whole.lines().map(|line| without_times(line) + "\n");
    lines.collect()
}

/// Dates of run folders, and numbers of seconds.
fn without_times(line: &str) -> String {
    let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
    for place in 0..words.len() {
        let number = words[place].chars().all(|c| c.is_ascii_digit()) && !words[place].is_empty();
        let unit = words.get(place + 1).map(|unit| unit.trim_end_matches([',', '.', ';']));
        match unit.filter(|_| number) {
            Some("s" | "ms") => words[place] = "N".to_owned(),
            Some("second" | "seconds") => {
                words[place] = "N".to_owned();
                words[place + 1] = "seconds".to_owned();
            }
            _ => {}
        }
        if let Some(date) = words[place].find("runs/2") {
            let end = words[place][date..].find('_').map_or(words[place].len(), |end| date + end);
            words[place].replace_range(date + "runs/".len()..end, "DATE");
        }
    }
    words.join(" ")
}

#[test]
fn what_a_user_reads_is_what_was_looked_at() {
    let home = Home::new();
    let data = home.write("tickets.csv", home::tickets(240));
    let data = data.to_str().unwrap();
    assert_snapshot!("predict_without_a_model", printed(&home, &["predict", "an invoice"]));
    let plan = printed(&home, &["train", data, "--init", "none", "--dry-run"]);
    assert_snapshot!("train_dry_run", plan);
    let train = [&["train", data, "--quiet"][..], &home::TINY].concat();
    assert_snapshot!("train", printed(&home, &train));
    assert_snapshot!("predict", printed(&home, &["predict", "please look at my invoice"]));
    assert_snapshot!("eval", printed(&home, &["eval", "--quiet"]));
    assert_snapshot!("dataset_head", printed(&home, &["dataset", "head", data, "-n", "3"]));
    assert_snapshot!("dataset_info", printed(&home, &["dataset", "info", "reviews"]));
    assert_snapshot!("publish", printed(&home, &["publish", "--card-only"]));
}
