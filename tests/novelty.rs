//! Novelty that does not follow the length: a model of reviews of 5 to 200 words, against texts on other
//! topics that are as long.

#![expect(clippy::unwrap_used, reason = "a test fails by panic")]

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use bayes::artifact;
use bayes::calibrate::novelty::NoveltyScore;
use bayes::compute::{Backend, Noise, Purpose, Stream};
use bayes::data::{Overrides, reviews};
use bayes::experiment::{
    Ended, Experiment, FitJob, RecalibrateJob, Resume, RunContext, fit, recalibrate, train,
};
use bayes::method::Method;
use bayes::method::laplace::Head;
use bayes::model::Parameters;
use bayes::predict::{Predictor, Text};

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
    table_of(path, rows, 0);
}

fn table_of(path: &Path, rows: u32, split: u64) {
    let mut writer = Writer::new(split);
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
    run(folder, "long", more);
    Predictor::load(&folder.join("checkpoints/long/model"), &Backend::Cpu).unwrap()
}

/// Trains on the table of this name.
fn run(folder: &Path, name: &str, more: &[&str]) {
    let data = format!("data.dataset={}", folder.join(name).with_extension("csv").display());
    let name = format!("name={name}");
    let alarm = format!("calibration.ood_p={ALARM}");
    let own = [
        &name,
        "data.max_length=256",
        "data.calibration_fraction=0.25",
        "train.num_train_epochs=2",
        "train.learning_rate=3e-3",
        "train.tensorboard=false",
        "train.baseline=false",
        &alarm,
        &data,
    ];
    let new = [
        "model.hidden_size=32",
        "model.num_hidden_layers=2",
        "model.num_attention_heads=2",
        "model.intermediate_size=64",
    ];
    // An encoder that is there has its own.
    let new = if more.iter().any(|one| one.starts_with("model.init")) { &[][..] } else { &new };
    // A last layer alone has no epochs and no rate.
    let head = more.contains(&"train.recipe=head");
    let own = own.iter().filter(|one| !head || !one.contains("epochs") && !one.contains("_rate"));
    let settings: Vec<String> = own.chain(new).chain(more).map(|&one| one.to_owned()).collect();
    let experiment = Experiment::parse("", "test", &settings).unwrap();
    let context = RunContext {
        device: &Backend::Cpu,
        checkpoints: &folder.join("checkpoints"),
        runs: &folder.join("runs"),
        stop: &AtomicBool::new(false),
        resume: Resume::Never,
        first: None,
        saved: &|_, _| {},
    };
    let ended = train(&experiment, &context, &mut |_| {}).unwrap();
    assert!(matches!(ended, Ended::Finished(_)), "{ended:?}");
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

/// Classes of a table with many of them, and the words that each has to itself.
const SUBJECTS: u32 = 12;
const OWN_WORDS: u32 = 8;

/// A text with words of these subjects in turn, between words that all have.
fn request(stream: &mut Stream, subjects: &[u32]) -> String {
    let mut text = String::new();
    for place in 0..4 + stream.below(5) {
        let subject = subjects[place as usize % subjects.len()];
        let (own, common) = (stream.below(OWN_WORDS), stream.below(40));
        text += &format!("topic{subject}x{own} word{common} ");
    }
    text.trim_end().to_owned()
}

fn requests(path: &Path, stream: &mut Stream) {
    let mut table = "text,label\n".to_owned();
    for row in 0..2400 {
        let subject = row % SUBJECTS;
        table += &format!("{},subject {subject}\n", request(stream, &[subject]));
    }
    std::fs::write(path, table).unwrap();
}

/// Texts between two of many classes. The promise of the p-values holds whether rows are held apart or judged fold by
/// fold.
#[test]
fn with_many_classes_the_entropy_stands_beside_the_distance() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut stream = Noise::new(11).stream(Purpose::Generate, 3, 0);
    requests(&folder.join("apart.csv"), &mut stream);
    requests(&folder.join("crossed.csv"), &mut stream);
    let one = |row: u32| [row % SUBJECTS];
    let two = |row: u32| [row % SUBJECTS, (row + 1 + row / SUBJECTS % (SUBJECTS - 1)) % SUBJECTS];
    let usual: Vec<String> = (0..600).map(|row| request(&mut stream, &one(row))).collect();
    let between: Vec<String> = (0..600).map(|row| request(&mut stream, &two(row))).collect();
    let model = |name: &str| folder.join("checkpoints").join(name).join("model");
    let init = format!("model.init={}", model("apart").display());
    let head = [&*init, "train.recipe=head", "data.cross_fit=always"];
    for (name, more) in [("apart", &[][..]), ("crossed", &head)] {
        run(folder, name, more);
        let predictor = Predictor::load(&model(name), &Backend::Cpu).unwrap();
        let novelty = predictor.artifact().calibration.novelty.as_ref().unwrap();
        assert_eq!(novelty.score.name(), "combined");
        let (usual, between) = (judged(&predictor, &usual), judged(&predictor, &between));
        let auroc = auroc(&between, &usual);
        let alarms = usual.iter().filter(|(_, p)| *p <= ALARM).count() as f64 / 600.0;
        let rows = novelty.reference.fewest() as f64;
        println!("{name}: AUROC {auroc:.3}, false alarms {alarms:.3}, {rows} rows");
        let variance = ALARM * (1.0 - ALARM) * (1.0 / 600.0 + 1.0 / rows);
        assert!(alarms <= ALARM + 3.0 * variance.sqrt(), "{name}: {alarms}");
        assert!(auroc > 0.75, "{name}: {auroc}");
    }
}

const REFERENCE: &str = "bayes/reference.safetensors";

/// A model of reviews that was fine-tuned from another one, with the encoder that it began as.
fn tuned(folder: &Path) -> PathBuf {
    for (name, split) in [("first", 3), ("second", 4)] {
        table_of(&folder.join(name).with_extension("csv"), 800, split);
    }
    run(folder, "first", &[]);
    let init = format!("model.init={}", folder.join("checkpoints/first/model").display());
    let own = [&*init, "train.recipe=full", "calibration.novelty_reference=true"];
    run(folder, "second", &own);
    folder.join("checkpoints/second/model")
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (path, target) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(path, target).unwrap();
        }
    }
}

#[test]
fn the_encoder_before_fine_tuning_is_one_more_layer_of_the_distance() {
    let folder = tempfile::tempdir().unwrap();
    let model = tuned(folder.path());
    let loaded = artifact::load(&model, &Backend::Cpu).unwrap();
    let novelty = loaded.calibration.novelty.as_ref().unwrap();
    assert!(novelty.reads_reference());
    // Two layers, whose inputs are read, the feature, and that encoder.
    let NoveltyScore::Distance(distance) = &novelty.score else { panic!("{:?}", novelty.score) };
    assert_eq!((distance.layers.len(), novelty.inputs()), (4, 2));

    // It is what training began with, not what it ended with.
    let first =
        artifact::load(&folder.path().join("checkpoints/first/model"), &Backend::Cpu).unwrap();
    let values = |parameters: &Parameters, name: &str| -> Vec<f32> {
        parameters.get(name).flatten_all().unwrap().to_vec1().unwrap()
    };
    let reference = loaded.reference.as_ref().unwrap();
    for name in ["embeddings.word", "embeddings.norm"] {
        assert_eq!(values(reference, name), values(&first.parameters, name));
        assert_ne!(values(reference, name), values(&loaded.parameters, name));
    }

    // What is saved again is the same, and a text has one score alone and among others.
    let again = folder.path().join("again");
    artifact::save(&loaded, &again).unwrap();
    for name in loaded.hashed_files() {
        let read = |folder: &Path| std::fs::read(folder.join(&name)).unwrap();
        assert!(read(&model) == read(&again), "{name}");
    }
    assert!(loaded.hashed_files().contains(&REFERENCE.to_owned()));
    let predictor = Predictor::new(loaded).unwrap();
    assert_eq!(predictor.forward_passes(), 2);
    let (mut reviews, mut others) = (Writer::new(5), Writer::new(6));
    let usual: Vec<String> = (0..200).map(|row| reviews.review(10 + row % 90)).collect();
    let strange: Vec<String> = (0..200).map(|row| others.other(10 + row % 90)).collect();
    let (usual_scores, strange_scores) = (judged(&predictor, &usual), judged(&predictor, &strange));
    assert_eq!(judged(&predictor, &usual[..1])[0], usual_scores[0], "alone");
    assert!(auroc(&strange_scores, &usual_scores) > 0.9);

    // The layer of that encoder counts: without it the scores are others.
    let found = predictor.artifact().clone();
    let Some(NoveltyScore::Distance(mut own)) =
        found.calibration.novelty.as_ref().map(|one| one.score.clone())
    else {
        panic!("a distance")
    };
    own.layers.pop();
    own.reference = false;
    let mut plain = found;
    plain.reference = None;
    plain.calibration.novelty.as_mut().unwrap().score = NoveltyScore::Distance(own);
    let plain = Predictor::new(plain).unwrap();
    assert_eq!(plain.forward_passes(), 1);
    assert_ne!(judged(&plain, &usual[..1])[0].0, usual_scores[0].0);

    refused_folders(&model, &folder.path().join("hostile"));
    fitted_again(folder.path(), &model);
}

/// Folders in which that encoder is missing, changed, or read by nobody.
fn refused_folders(model: &Path, place: &Path) {
    let refused = |change: &dyn Fn(&Path)| {
        let _ = std::fs::remove_dir_all(place);
        copy(model, place);
        change(place);
        artifact::load(place, &Backend::Cpu).unwrap_err().to_string()
    };
    let gone = refused(&|folder| std::fs::remove_file(folder.join(REFERENCE)).unwrap());
    assert!(gone.contains(REFERENCE) && gone.contains("not found"), "{gone}");
    let changed = refused(&|folder| {
        let mut bytes = std::fs::read(folder.join(REFERENCE)).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(folder.join(REFERENCE), bytes).unwrap();
    });
    assert!(changed.contains(REFERENCE) && changed.contains("has changed"), "{changed}");
    let edited = |change: &dyn Fn(&mut serde_json::Value)| {
        refused(&|folder| {
            let path = folder.join("bayes/manifest.json");
            let mut manifest = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            change(&mut manifest);
            manifest.as_object_mut().unwrap().remove("sha256");
            std::fs::write(path, manifest.to_string()).unwrap();
        })
    };
    let unlisted = edited(&|manifest| {
        manifest["files"].as_object_mut().unwrap().remove(REFERENCE);
    });
    assert!(unlisted.contains("no sha256 of `bayes/reference.safetensors`"), "{unlisted}");
    let unread = edited(&|manifest| {
        let files = manifest["files"].as_object_mut().unwrap();
        files.remove("bayes/calibration.safetensors");
    });
    assert!(unread.contains("does not read it"), "{unread}");
}

/// A fit keeps it while novelty reads it, and a model that has none is refused.
fn fitted_again(folder: &Path, model: &Path) {
    let source = folder.join("source");
    copy(model, &source);
    let fitted = |model: &Path, settings: &[&str]| {
        let job = FitJob {
            model: model.to_owned(),
            dataset: Some(folder.join("second.csv").display().to_string()),
            overrides: Overrides::default(),
            labels: None,
            methods: vec![Method::Map],
            settings: settings.iter().map(|&one| one.to_owned()).collect(),
            limit: 0,
            head: Head::Refit,
            output: Some(folder.join("fitted")),
        };
        fit(&job, &Backend::Cpu, &folder.join("checkpoints"), &mut |_| {})
            .map(|report| artifact::load(&report.model, &Backend::Cpu).unwrap())
            .map_err(|error| error.to_string())
    };
    let kept = fitted(&source, &[]).unwrap();
    assert!(kept.reference.is_some() && kept.calibration.novelty.unwrap().reads_reference());
    // New rows calibrate it with that encoder.
    table_of(&folder.join("third.csv"), 300, 5);
    let job = RecalibrateJob {
        model: source.clone(),
        dataset: folder.join("third.csv").display().to_string(),
        overrides: Overrides::default(),
        settings: vec!["calibration.target_risk=0.2".to_owned()],
        output: Some(folder.join("recalibrated")),
    };
    let report = recalibrate(&job, &Backend::Cpu, &folder.join("checkpoints"), &mut |_| {});
    let again = artifact::load(&report.unwrap().model, &Backend::Cpu).unwrap();
    assert!(again.reference.is_some() && again.calibration.novelty.unwrap().reads_reference());
    assert!(again.manifest.calibration.unwrap().novelty_reference);
    let left = fitted(&source, &["calibration.novelty_reference=false"]).unwrap();
    assert!(left.reference.is_none() && !left.calibration.novelty.unwrap().reads_reference());
    let plain = folder.join("checkpoints/first/model");
    let message = fitted(&plain, &["calibration.novelty_reference=true"]).unwrap_err();
    assert!(message.contains("does not hold the encoder"), "{message}");
}

#[test]
fn an_encoder_from_before_fine_tuning_that_is_not_there_is_refused() {
    for (settings, words) in [
        (vec!["calibration.novelty_reference=true"], "pretrained encoder"),
        (
            vec!["calibration.novelty_reference=true", "calibration.novelty=energy"],
            "is for a distance",
        ),
        (
            vec!["calibration.novelty_reference=true", "model.init=x", "train.recipe=head"],
            "pretrained encoder",
        ),
    ] {
        let settings: Vec<String> = settings.into_iter().map(str::to_owned).collect();
        let message = Experiment::parse("", "test", &settings).unwrap_err().to_string();
        assert!(message.contains(words), "{message}");
    }
}
