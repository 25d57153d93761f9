//! Novelty that does not follow the length: a model of reviews of 5 to 200 words, against texts on other
//! topics that are as long.

#![expect(clippy::unwrap_used, reason = "a test fails by panic")]

use std::ops::Range;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use bayes::compute::{Noise, Purpose};
use bayes::data::reviews;
use bayes::experiment::{Ended, Experiment, Resume, RunContext, train};
use bayes::predict::{Predictor, Text};
use candle_core::Device;

/// Words from and below.
const GROUPS: [Range<usize>; 5] = [5..10, 10..20, 20..50, 50..100, 100..201];
/// Texts of each kind in each group.
const TEXTS: usize = 300;
const ALARM: f64 = 0.05;

/// The first words of as many texts as that takes.
fn words(count: usize, mut next: impl FnMut() -> String) -> String {
    let mut words: Vec<String> = Vec::new();
    while words.len() < count {
        words.extend(next().split_whitespace().map(str::to_owned));
    }
    words.truncate(count);
    words.join(" ")
}

/// Reviews, or texts on other topics, one after another.
struct Writer {
    noise: Noise,
    split: u64,
    row: u32,
}

impl Writer {
    fn new(split: u64) -> Self {
        Self { noise: Noise::new(77 + split), split, row: 0 }
    }

    fn review(&mut self, count: usize) -> String {
        words(count, || {
            self.row += 1;
            reviews::review(&self.noise, self.split, self.row).text
        })
    }

    fn other(&mut self, count: usize) -> String {
        words(count, || {
            self.row += 1;
            reviews::out_of_domain(&self.noise, self.row)
        })
    }
}

fn table(path: &Path, rows: u32) {
    let mut writer = Writer::new(0);
    let mut stream = Noise::new(3).stream(Purpose::Generate, 1, 0);
    let mut text = "text,label\n".to_owned();
    for _ in 0..rows {
        let count = 5.0 * 40f64.powf(stream.uniform());
        let review = writer.review(count as usize);
        let label = if reviews::probability(&review) < 0.5 { "negative" } else { "positive" };
        text += &format!("\"{review}\",{label}\n");
    }
    std::fs::write(path, text).unwrap();
}

fn trained(folder: &Path, more: &[&str]) -> Predictor {
    table(&folder.join("long.csv"), 3000);
    let data = format!("data.dataset={}", folder.join("long.csv").display());
    let alarm = format!("calibration.ood_p={ALARM}");
    let own = [
        "name=long",
        "data.max_length=256",
        "data.calibration_fraction=0.25",
        "model.hidden_size=32",
        "model.num_hidden_layers=2",
        "model.num_attention_heads=2",
        "model.intermediate_size=64",
        "train.num_train_epochs=2",
        "train.learning_rate=3e-3",
        "train.tensorboard=false",
        "train.baseline=false",
        &alarm,
        &data,
    ];
    let settings: Vec<String> = own.iter().chain(more).map(|&one| one.to_owned()).collect();
    let experiment = Experiment::parse("", "test", &settings).unwrap();
    let context = RunContext {
        device: &Device::Cpu,
        checkpoints: &folder.join("checkpoints"),
        runs: &folder.join("runs"),
        stop: &AtomicBool::new(false),
        resume: Resume::Never,
        first: None,
        saved: &|_, _| {},
    };
    let ended = train(&experiment, &context, &mut |_| {}).unwrap();
    assert!(matches!(ended, Ended::Finished(_)), "{ended:?}");
    Predictor::load(&folder.join("checkpoints/long/model"), &Device::Cpu).unwrap()
}

/// Scores and p-values.
fn judged(predictor: &Predictor, texts: &[String]) -> Vec<(f64, f64)> {
    let texts: Vec<Text<'_>> = texts.iter().map(|text| (text.as_str(), None)).collect();
    let predicted = predictor.predict(&texts, &mut |_| {}).unwrap();
    let ood = predicted.into_iter().map(|one| one.judgement.ood.unwrap());
    ood.map(|ood| (ood.score, ood.p_value)).collect()
}

/// The share of pairs in which the strange text has the larger score.
fn auroc(strange: &[(f64, f64)], usual: &[(f64, f64)]) -> f64 {
    let above = |one: &(f64, f64)| usual.iter().filter(|other| other.0 < one.0).count();
    let pairs = (strange.len() * usual.len()) as f64;
    strange.iter().map(above).sum::<usize>() as f64 / pairs
}

#[test]
fn texts_on_other_topics_are_strange_and_reviews_are_not_at_every_length() {
    let folder = tempfile::tempdir().unwrap();
    let predictor = trained(folder.path(), &["calibration.novelty_by_length=true"]);
    let novelty = predictor.artifact().calibration.novelty.as_ref().unwrap();
    let rows = novelty.reference.fewest();
    assert!(novelty.reference.groups().len() > 2, "{}", novelty.reference.groups().len());

    let (mut reviews, mut others) = (Writer::new(1), Writer::new(2));
    let mut stream = Noise::new(5).stream(Purpose::Generate, 2, 0);
    let mut groups = Vec::new();
    for group in GROUPS {
        let span = (group.end - group.start) as u32;
        let mut counts = || -> Vec<usize> {
            (0..TEXTS).map(|_| group.start + stream.below(span) as usize).collect()
        };
        let usual: Vec<String> = counts().into_iter().map(|count| reviews.review(count)).collect();
        let strange: Vec<String> = counts().into_iter().map(|count| others.other(count)).collect();
        groups.push((judged(&predictor, &usual), judged(&predictor, &strange)));
    }
    for ((usual, strange), words) in groups.iter().zip(GROUPS) {
        let found = auroc(strange, usual);
        let alarms = usual.iter().filter(|(_, p)| *p <= ALARM).count() as f64 / TEXTS as f64;
        println!("{words:?} words: AUROC {found:.3}, false alarms {alarms:.3}");
    }
    for ((usual, strange), words) in groups.iter().zip(GROUPS) {
        let found = auroc(strange, usual);
        assert!(found >= 0.9, "{words:?} words: AUROC {found}");
        let alarms = usual.iter().filter(|(_, p)| *p <= ALARM).count() as f64 / TEXTS as f64;
        // The promise is kept on average over reference rows, of which a group has at least so many.
        let variance = ALARM * (1.0 - ALARM) * (1.0 / TEXTS as f64 + 1.0 / rows as f64);
        let most = ALARM + 3.0 * variance.sqrt();
        assert!(alarms <= most, "{words:?} words: {alarms} of the reviews are called strange");
    }
    // Long texts on other topics are stranger than short reviews.
    let (short, long) = (&groups[0].0, &groups[4].1);
    assert!(auroc(long, short) >= 0.9, "{}", auroc(long, short));
}
