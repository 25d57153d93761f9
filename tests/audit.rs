//! `bayes audit` on files with known faults, as a user runs it.

#![expect(clippy::unwrap_used, reason = "a test fails by panic")]

#[expect(dead_code, reason = "not every test needs all of it")]
mod home;

use std::collections::BTreeSet;

use bayes::compute::{Noise, Purpose};
use home::Home;
use serde_json::Value;

const TOPICS: [(&str, &str); 3] = [
    ("billing", "invoice refund charge payment card money price receipt account"),
    ("shipping", "parcel courier delivery address tracking box late package depot"),
    ("technical", "screen crash login error update button install device freeze"),
];

/// Rows of three topics, each with six words of its topic and four of any: texts with their topics.
fn rows(count: usize, seed: u64) -> Vec<(String, usize)> {
    let mut stream = Noise::new(seed).stream(Purpose::Init, 0, 0);
    let words: Vec<Vec<&str>> =
        TOPICS.iter().map(|(_, words)| words.split_whitespace().collect()).collect();
    let row = |row: usize| {
        let topic = row % TOPICS.len();
        let mut text: Vec<String> =
            (0..6).map(|_| (*stream.choose(&words[topic])).to_owned()).collect();
        for _ in 0..4 {
            text.push(format!("w{}", stream.below(400)));
        }
        stream.shuffle(&mut text);
        (text.join(" "), topic)
    };
    (0..count).map(row).collect()
}

fn csv(rows: impl IntoIterator<Item = (String, usize)>) -> String {
    let line = |(text, topic): (String, usize)| format!("{text},{}\n", TOPICS[topic].0);
    std::iter::once("text,label\n".to_owned()).chain(rows.into_iter().map(line)).collect()
}

/// A table in which every 20th label is another one, and the lines of those.
fn flipped(count: usize) -> (String, BTreeSet<u64>) {
    let mut rows = rows(count, 7);
    let flips: BTreeSet<u64> = (0..count as u64).step_by(20).collect();
    for &row in &flips {
        rows[row as usize].1 = (rows[row as usize].1 + 1) % TOPICS.len();
    }
    // Behind the header.
    (csv(rows), flips.into_iter().map(|row| row + 2).collect())
}

fn json(home: &Home, arguments: &[&str]) -> Value {
    let all = [&["audit", "--json", "--quiet"], arguments].concat();
    serde_json::from_str(&home.done(&all)).unwrap()
}

fn findings(report: &Value, reason: &str) -> Vec<Value> {
    let all = report["findings"].as_array().unwrap();
    all.iter().filter(|finding| finding["reason"] == reason).cloned().collect()
}

#[test]
fn flipped_labels_are_found_with_what_they_should_be() {
    let home = Home::new();
    let (table, flips) = flipped(600);
    home.write("tickets.csv", table);
    let arguments = ["tickets.csv", "--init", "none", "--output", "out.csv", "--report", "page"];
    let arguments = [arguments.as_slice(), &["--probabilities", "p.csv"]].concat();
    let report = json(&home, &arguments);
    let found = findings(&report, "label");
    let lines: BTreeSet<u64> = found.iter().map(|one| one["line"].as_u64().unwrap()).collect();
    let right = lines.intersection(&flips).count();
    assert!(right >= 28 && lines.len() <= right + 3, "{right} of {} in {lines:?}", flips.len());
    let labels = &report["labels"];
    assert_eq!(
        (labels["judged"].as_u64(), labels["suspects"].as_u64()),
        (Some(600), Some(lines.len() as u64))
    );
    let expected = labels["expected_wrong"].as_f64().unwrap();
    assert!((20.0..40.0).contains(&expected), "{expected}");
    for one in &found {
        let line = one["line"].as_u64().unwrap();
        if flips.contains(&line) {
            let topic = TOPICS[(line as usize - 2) % 3].0;
            assert_eq!(one["suggested"], topic, "{one}");
        }
    }
    // The most certain first, and the same in the table.
    let said = |one: &Value| one["probability"].as_f64().unwrap();
    assert!(found.iter().map(said).collect::<Vec<_>>().is_sorted_by(|a, b| a >= b));
    let table = std::fs::read_to_string(home.path("out.csv")).unwrap();
    let mut lines = table.lines();
    let header =
        "reason,split,file,row,given,suggested,probability,similarity,other_file,other_row,text";
    assert_eq!(lines.next(), Some(header));
    let first = &found[0];
    let begins =
        format!("label,train,tickets.csv,{},{},", first["line"], first["given"].as_str().unwrap());
    assert!(lines.next().unwrap().starts_with(&begins), "{table}");
    // Every row once in the probabilities, which add up to 1.
    let table = std::fs::read_to_string(home.path("p.csv")).unwrap();
    let mut lines = table.lines();
    assert_eq!(lines.next(), Some("split,file,row,given,billing,shipping,technical"));
    let sums = lines.map(|line| {
        let fields: Vec<&str> = line.split(',').collect();
        fields[4..].iter().map(|p| p.parse::<f64>().unwrap()).sum::<f64>()
    });
    let sums: Vec<f64> = sums.collect();
    assert_eq!(sums.len(), 600);
    assert!(sums.iter().all(|sum| (sum - 1.0).abs() < 1e-9));
    for name in ["audit.json", "audit.md", "audit.html"] {
        let page = std::fs::read_to_string(home.path("page").join(name)).unwrap();
        assert!(page.contains("tickets.csv"), "{name}");
    }
    // Twice is the same, over its own files.
    assert_eq!(json(&home, &arguments), report);
}

#[test]
fn leaks_repeats_contradictions_and_characters_are_found_with_both_rows() {
    let home = Home::new();
    let mut train = rows(120, 1);
    let test = rows(60, 2);
    // Lines of train.csv: 122 repeats 2, 123 contradicts 3; 126 and 127 are nearly 125, 127 with another label.
    train.push(train[0].clone());
    train.push((train[1].0.to_uppercase(), 2));
    train.push(("please cafÃ© the <b>invoice</b>".to_owned(), 0));
    let long =
        "the parcel with the glasses for my grandmother never came to the depot in the old town";
    train.push((format!("{long} of ours"), 1));
    train.push((format!("{long} of hers"), 1));
    train.push((format!("{long} of yours"), 0));
    let mut test: Vec<(String, usize)> = test;
    test[5] = train[9].clone();
    test[6] = (format!("{long} of mine"), 1);
    home.write("data/train.csv", csv(train));
    home.write("data/test.csv", csv(test));
    let report = json(&home, &["data", "--init", "none"]);
    let pairs = |reason: &str| -> Vec<(String, u64, String, u64)> {
        let place = |value: &Value| value["file"].as_str().unwrap().to_owned();
        let one = |one: &Value| {
            (
                place(one),
                one["line"].as_u64().unwrap(),
                place(&one["other"]),
                one["other"]["line"].as_u64().unwrap(),
            )
        };
        findings(&report, reason).iter().map(one).collect()
    };
    let (train, test) = ("data/train.csv".to_owned(), "data/test.csv".to_owned());
    assert_eq!(pairs("repeat"), [(train.clone(), 122, train.clone(), 2)]);
    assert_eq!(pairs("contradiction"), [(train.clone(), 123, train.clone(), 3)]);
    assert_eq!(pairs("leak"), [(test.clone(), 7, train.clone(), 11)]);
    assert_eq!(pairs("near_repeat"), [(train.clone(), 126, train.clone(), 125)]);
    // One row may be a copy of several: of another label, and of another split.
    let contradictions =
        [(train.clone(), 127, train.clone(), 125), (test.clone(), 8, train.clone(), 127)];
    assert_eq!(pairs("near_contradiction"), contradictions);
    assert_eq!(pairs("near_leak"), [(test, 8, train, 125)]);
    assert_eq!(findings(&report, "characters").len(), 1);
    assert_eq!(report["characters"]["wrong_encoding"], 1);
    assert_eq!(report["characters"]["markup"], 1);
    assert_eq!(report["rows"]["train"], 126);
    let words = home.done(&["audit", "data", "--init", "none", "--quiet"]);
    assert!(
        words.contains("same text in another split") && words.contains("such as `Ã©`"),
        "{words}"
    );
    assert!(words.lines().all(|line| line.chars().count() <= 80), "{words}");
}

/// Questions about one long passage are no repeats, and what is left out is counted.
#[test]
fn like_texts_are_no_repeats_and_rows_of_no_class_are_counted() {
    let home = Home::new();
    let passage = "a passage that goes on about a river and a town ".repeat(60);
    let questions =
        ["who lives there and since when", "what is the river called", "why is it so long"];
    let row =
        |row: usize| format!("{passage} {row},{},{}\n", questions[row % 3], ["x", "y"][row % 2]);
    let rows: String = (0..30).map(row).collect();
    home.write("pairs.csv", format!("passage,question,label\n{rows}"));
    let pairs = ["pairs.csv", "--text-column", "passage", "--text-pair-column", "question"];
    let report = json(&home, &[&pairs[..], &["--init", "none"]].concat());
    // Ten rows of each question, five under each label, whose passages differ at their ends.
    for (reason, expected) in
        [("repeat", 0), ("contradiction", 0), ("near_repeat", 24), ("near_contradiction", 27)]
    {
        assert_eq!(findings(&report, reason).len(), expected, "{reason}: {report}");
    }
    let mut table = csv(self::rows(90, 4));
    table.push_str("something else,other\nand another one,other\n");
    home.write("outside.csv", table);
    let arguments = ["outside.csv", "--init", "none", "--set", "data.ood_label=other"];
    let report = json(&home, &arguments);
    assert_eq!((&report["rows"]["train"], &report["out_of_scope"]), (&90.into(), &2.into()));
    let words = home.done(&[&["audit", "--quiet"], &arguments[..]].concat());
    assert!(words.contains("2 rows of no class"), "{words}");
}

#[test]
fn a_model_reads_texts_as_in_service_and_says_what_it_has_seen() {
    let home = Home::new();
    home.train_tiny(&["--quiet"]);
    let model = home.path("checkpoints");
    let model = std::fs::read_dir(model).unwrap().next().unwrap().unwrap().path().join("model");
    let arguments = ["audit", "--model", model.to_str().unwrap(), "--json"];
    let output = home.run(&arguments);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{message}");
    assert!(message.contains("the model was trained on"), "{message}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["labels"]["judged"], 240);
    assert!(report["lengths"]["limit"].as_u64().unwrap() > 0);
    // A model of single texts is asked none about pairs.
    home.write(
        "pairs.csv",
        "one,two,label\na b,c d,x\ne f,g h,y\n".repeat(9).replace("\none,two,label", ""),
    );
    let columns = ["--text-column", "one", "--text-pair-column", "two"];
    let asked = ["audit", "pairs.csv", "--model", model.to_str().unwrap()];
    let message = home.refused(&[&asked[..], &columns].concat());
    assert!(message.contains("the model classifies single texts"), "{message}");
    // Its features are kept, whatever the labels are.
    let data = home.write("other.csv", csv(rows(90, 3)));
    let arguments = ["audit", data.to_str().unwrap(), "--model", model.to_str().unwrap()];
    let first = home.run(&arguments);
    assert!(first.status.success(), "{}", String::from_utf8_lossy(&first.stderr));
    let again = home.run(&arguments);
    assert_eq!(first.stdout, again.stdout);
    let kept = || std::fs::read_dir(home.path("cache/features")).unwrap().count();
    let before = kept();
    home.write(
        "other.csv",
        csv(rows(90, 3).into_iter().map(|(text, topic)| (text, (topic + 1) % 3))),
    );
    assert!(home.run(&arguments).status.success());
    assert_eq!(kept(), before);
    assert!(!String::from_utf8_lossy(&again.stderr).contains("trained on"));
}

#[test]
fn what_has_no_effect_and_what_would_replace_a_file_is_refused() {
    let home = Home::new();
    home.write("tickets.csv", csv(rows(60, 4)));
    home.write("mine.csv", "text,label\nkeep me,billing\n");
    for (arguments, says) in [
        (&["--set", "train.max_steps=3"][..], "`--set train.max_steps` has no effect on an audit"),
        (&["--set", "data.train_limit=3"], "`--set data.train_limit` has no effect"),
        (&["--output", "mine.csv"], "is not a table of findings"),
        (&["--probabilities", "mine.csv"], "is not a table of an audit's probabilities"),
        (&["--output", "mine.docx"], "mine.docx"),
    ] {
        let all = [&["audit", "tickets.csv", "--init", "none"], arguments].concat();
        let message = home.refused(&all);
        assert!(message.contains(says), "{message}");
    }
    let kept = std::fs::read_to_string(home.path("mine.csv")).unwrap();
    assert_eq!(kept, "text,label\nkeep me,billing\n");
    let twice = ["--output", "new.csv", "--probabilities", "./new.csv"];
    let message = home.refused(&[&["audit", "tickets.csv", "--init", "none"], &twice[..]].concat());
    assert!(message.contains("--output and --probabilities both write"), "{message}");
    // Too few rows to judge labels: said, and the rest is done.
    home.write("few.csv", "text,label\na b c,x\na b c,y\n");
    let output = home.run(&["audit", "few.csv", "--init", "none"]);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && message.contains("too few to judge"), "{message}");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("same text, other label"), "{said}");
}
