//! The contract of the Bayesian methods: each that is in the list passes, on texts of three classes that
//! words tell apart.

#![expect(clippy::unwrap_used, reason = "a test fails by panic")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bayes::artifact::{self, Artifact};
use bayes::compute::{Noise, Packed, Purpose, Sequence};
use bayes::data::Encoded;
use bayes::experiment::{
    Ended, Experiment, ExperimentError, Resume, RunContext, TrainReport, train,
};
use bayes::method::Method;
use bayes::model::Classifier;
use bayes::posterior::{LogitCovariance, LogitDistribution, OwnDoubt, Posterior, softmax};
use bayes::predict::Predictor;
use bayes::publish::{Card, PublishConfig, Source, Wanted, collect};
use candle_core::Device;
use tempfile::TempDir;

const WORDS: [(&str, [&str; 4]); 3] = [
    ("kitchen", ["oven", "spoon", "kettle", "plate"]),
    ("garden", ["rake", "seed", "hedge", "lawn"]),
    ("garage", ["wrench", "tyre", "engine", "bolt"]),
];

/// Rows of two words of a class among others that say nothing.
fn table(folder: &Path) -> PathBuf {
    let mut stream = Noise::new(9).stream(Purpose::Generate, 0, 0);
    let mut of = |count: usize| ((stream.uniform() * count as f64) as usize).min(count - 1);
    let mut text = "text,label\n".to_owned();
    for row in 0..600 {
        let (label, words) = WORDS[row % 3];
        let (one, other) = (words[of(4)], words[of(4)]);
        let filler = ["on", "under", "beside", "behind"][of(4)];
        text += &format!("the {one} is {filler} the {other} number {row},{label}\n");
    }
    let path = folder.join("things.csv");
    fs::write(&path, text).unwrap();
    path
}

/// A place with a data set, in which one method trains.
struct Place {
    folder: TempDir,
    method: Method,
    /// Keys of the method that are not the usual ones.
    keys: &'static [&'static str],
    /// A finished run that has the first network.
    first: Option<PathBuf>,
}

/// Methods in another of their forms.
const FORMS: [(Method, &[&str]); 6] = [
    (Method::Sngp, &["posterior.sngp_joint=true"]),
    (Method::Vbll, &["posterior.vbll_joint=true"]),
    (Method::Map, &[WIDE]),
    (Method::Laplace, &[WIDE]),
    (Method::Sngp, &[WIDE]),
    (Method::Vbll, &[WIDE]),
];

/// The last layer reads the output of the embeddings too.
const WIDE: &str = "posterior.feature_layers=[0]";

impl Place {
    fn new(method: Method, keys: &'static [&'static str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        table(folder.path());
        Self { folder, method, keys, first: None }
    }

    fn is_wide(&self) -> bool {
        self.keys.contains(&WIDE)
    }

    /// Another, where the same can be trained.
    fn like(&self) -> Self {
        Self::new(self.method, self.keys)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn experiment(&self, more: &[&str]) -> Experiment {
        let data = format!("data.dataset={}", self.path("things.csv").display());
        let method = format!("posterior.method={}", self.method.name());
        let own = [
            "name=things",
            "data.max_length=16",
            "model.hidden_size=16",
            "model.num_hidden_layers=1",
            "model.num_attention_heads=2",
            "model.intermediate_size=32",
            "train.num_train_epochs=4",
            "train.learning_rate=5e-3",
            "train.save_steps=7",
            "train.tensorboard=false",
            "train.baseline=false",
            &data,
            &method,
        ];
        let teacher = || format!("train.teacher={}", TEACHER.model().display());
        let teacher = if self.method == Method::Distil { teacher() } else { String::new() };
        let small: &[&str] = match self.method {
            Method::Ensemble => &["posterior.num_members=3", "posterior.learning_rate_factor=1.5"],
            Method::Distil => &[&teacher],
            Method::Ivon => &[
                "posterior.num_samples=4",
                "posterior.ivon_learning_rate=30",
                "posterior.clip_radius=1e-4",
                "posterior.ess=1e6",
                "train.num_train_epochs=6",
                "model.num_hidden_layers=2",
            ],
            Method::LoraLaplace => &["posterior.num_samples=4", "posterior.curvature_rows=100"],
            _ => &[],
        };
        let settings = own.iter().chain(small).chain(self.keys).chain(more);
        let settings: Vec<String> = settings.map(|&one| one.to_owned()).collect();
        Experiment::parse("", "test", &settings).unwrap()
    }

    /// Trains; `saved` hears of every checkpoint with the steps behind it.
    fn train(&self, more: &[&str], saved: &dyn Fn(&Path, u64)) -> Ended {
        self.try_to_train(more, saved).unwrap()
    }

    /// Why it does not train.
    fn refused(&self, more: &[&str]) -> String {
        self.try_to_train(more, &|_, _| {}).unwrap_err().to_string()
    }

    fn try_to_train(
        &self,
        more: &[&str],
        saved: &dyn Fn(&Path, u64),
    ) -> Result<Ended, ExperimentError> {
        let context = RunContext {
            device: &Device::Cpu,
            checkpoints: &self.path("checkpoints"),
            runs: &self.path("runs"),
            stop: &AtomicBool::new(false),
            resume: Resume::Auto,
            first: self.first.as_deref(),
            saved,
        };
        train(&self.experiment(more), &context, &mut |_| {})
    }

    fn finish(&self, more: &[&str]) -> TrainReport {
        match self.train(more, &|_, _| {}) {
            Ended::Finished(report) => *report,
            other => panic!("{other:?}"),
        }
    }

    fn model(&self) -> PathBuf {
        self.path("checkpoints/things/model")
    }

    /// The files that change a prediction.
    fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let manifest = artifact::manifest_of(&self.model()).unwrap().unwrap();
        let read = |name: String| {
            let bytes = fs::read(self.model().join(&name)).unwrap();
            (name, bytes)
        };
        manifest.files.into_keys().map(read).collect()
    }

    /// The log of the only run.
    fn log(&self) -> Vec<u8> {
        let run = fs::read_dir(self.path("runs")).unwrap().next().unwrap().unwrap();
        fs::read(run.path().join("metrics.jsonl")).unwrap()
    }
}

/// What a student learns from.
static TEACHER: LazyLock<Place> = LazyLock::new(|| {
    let place = Place::new(Method::Ensemble, &[]);
    place.finish(&["name=things"]);
    place
});

/// A model of each method, and of its other forms.
static MODELS: LazyLock<Vec<(Place, TrainReport)>> = LazyLock::new(|| {
    let trained = |(method, keys)| {
        let place = Place::new(method, keys);
        let report = place.finish(&[]);
        (place, report)
    };
    let usual = Method::ALL.iter().map(|&method| (method, [].as_slice()));
    usual.chain(FORMS).map(trained).collect()
});

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if path.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(&path).unwrap(), target).unwrap();
        } else if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(path, target).unwrap();
        }
    }
}

#[test]
fn it_learns_what_words_tell_apart() {
    for (place, report) in &*MODELS {
        let summary = &report.test.summary;
        let name = place.method.name();
        assert!(summary.accuracy.value > 0.95, "{name}: accuracy {}", summary.accuracy.value);
        assert!(summary.nll.value < 0.2, "{name}: NLL {}", summary.nll.value);
        assert_eq!(report.posterior.method, place.method);
    }
}

#[test]
fn equal_seeds_give_equal_bytes_and_others_do_not() {
    for (place, _) in &*MODELS {
        let again = place.like();
        again.finish(&[]);
        assert!(place.files() == again.files(), "{}: other bytes", place.method.name());
        let other = place.like();
        other.finish(&["train.seed=7"]);
        let weights = "model.safetensors";
        assert!(place.files()[weights] != other.files()[weights], "{}", place.method.name());
    }
}

#[test]
fn what_is_saved_is_loaded() {
    for (place, _) in &*MODELS {
        let loaded = artifact::load(&place.model(), &Device::Cpu).unwrap();
        assert_eq!(loaded.manifest.fit.method, place.method);
        let manifest = fs::read(place.model().join("bayes/manifest.json")).unwrap();
        let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
        assert_eq!(manifest["method"], place.method.name(), "where other tools look for it");
        let own = place.method == Method::Sngp || place.is_wide();
        let last = if own { "stand-in" } else { "posterior mean" };
        assert_eq!(manifest["transformers"], last, "{}", place.method.name());
        let copy = place.path("copy");
        artifact::save(&loaded, &copy).unwrap();
        for (name, bytes) in place.files() {
            let copied = fs::read(copy.join(&name)).unwrap();
            assert!(bytes == copied, "{}: {name}", place.method.name());
        }
    }
}

#[test]
fn batch_mates_do_not_move_an_answer() {
    let texts = ["the oven is on the plate", "rake", "the bolt is under the seed of the lawn", "x"];
    for (place, _) in &*MODELS {
        let predictor = Predictor::load(&place.model(), &Device::Cpu).unwrap();
        let together = predictor.predict(&texts.map(|text| (text, None)), &mut |_| {}).unwrap();
        for (text, together) in texts.iter().zip(together) {
            let alone = predictor.predict(&[(*text, None)], &mut |_| {}).unwrap().remove(0);
            assert_eq!(alone.logits, together.logits, "{}: {text}", place.method.name());
            let bits = |one: &[f64]| one.iter().map(|p| p.to_bits()).collect::<Vec<_>>();
            let [alone, together] =
                [alone, together].map(|one| bits(&one.predictive.probability_c));
            assert_eq!(alone, together, "{}: {text}", place.method.name());
        }
    }
}

/// The folders as they are after a checkpoint are what a process that is killed then leaves: the first with so many
/// steps behind it. Then the run is finished.
fn killed_and_resumed(whole: &Place, report: &TrainReport, late: u64) {
    let name = whole.method.name();
    let place = whole.like();
    let folders = ["checkpoints", "runs"];
    let snapshot = |_: &Path, steps: u64| {
        if steps >= late && !place.path("killed").exists() {
            for one in folders {
                copy(&place.path(one), &place.path("killed").join(one));
            }
        }
    };
    place.train(&[], &snapshot);
    for one in folders {
        fs::remove_dir_all(place.path(one)).unwrap();
        fs::rename(place.path("killed").join(one), place.path(one)).unwrap();
    }
    assert!(!place.model().exists(), "{name}: it was killed before its model was there");
    let began = AtomicU64::new(u64::MAX);
    let first = |_: &Path, steps: u64| {
        began.fetch_min(steps, Ordering::Relaxed);
    };
    let Ended::Finished(resumed) = place.train(&[], &first) else { panic!("{name}") };
    assert!(began.into_inner() > late, "{name}: it resumed, and did not start over");
    assert_eq!(resumed.steps, report.steps);
    assert!(place.log() == whole.log(), "{name}, killed after {late} steps: another log");
    for (file, bytes) in whole.files() {
        assert!(bytes == place.files()[&file], "{name}, killed after {late} steps: {file}");
    }
}

#[test]
fn a_run_that_was_killed_resumes_to_the_same_bytes() {
    for (whole, report) in &*MODELS {
        killed_and_resumed(whole, report, report.steps * 3 / 4);
    }
}

fn ensemble() -> &'static (Place, TrainReport) {
    MODELS.iter().find(|(place, _)| place.method == Method::Ensemble).unwrap()
}

/// In the middle of the first network, at its end with nothing of the second on the disk, and in the second.
#[test]
fn an_ensemble_resumes_in_the_network_that_it_was_killed_in() {
    let (whole, report) = ensemble();
    let own: Vec<u64> = report.members.iter().map(|one| one.steps).collect();
    assert_eq!((own.len(), own.iter().sum::<u64>()), (3, report.steps));
    for late in [own[0] / 2, own[0], own[0] + own[1] / 2] {
        killed_and_resumed(whole, report, late);
    }
    let log = String::from_utf8(whole.log()).unwrap();
    let numbers = log.lines().map(|line| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        line["member"].as_u64().unwrap()
    });
    let numbers: Vec<u64> = numbers.collect();
    assert!(numbers.is_sorted() && numbers.last() == Some(&2), "network after network");
    let home = whole.path("checkpoints/things");
    for folder in [home.clone(), home.join("members/1"), home.join("members/2")] {
        let entries = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name());
        let kept = entries.filter(|name| name.to_string_lossy().starts_with("checkpoint_")).count();
        assert_eq!(kept, 1, "{}: of a network that has ended the last is kept", folder.display());
    }
}

/// A point estimate of the same seed.
#[test]
fn the_first_network_of_an_ensemble_is_that_of_map_and_the_others_are_not() {
    let (whole, report) = ensemble();
    let map = MODELS.iter().find(|(place, _)| place.method == Method::Map).unwrap();
    let (files, alone) = (whole.files(), map.0.files());
    let weights = "model.safetensors";
    assert!(files[weights] == alone[weights], "another first network");
    let others = ["bayes/members/1.safetensors", "bayes/members/2.safetensors"];
    assert!(files[others[0]] != files[weights] && files[others[0]] != files[others[1]]);
    assert_eq!(files.len(), alone.len() + 2);
    let rates: Vec<f64> = report.members.iter().map(|one| one.learning_rate / 5e-3).collect();
    assert!((rates[1] - 1.5).abs() < 1e-12 && (rates[2] * 1.5 - 1.0).abs() < 1e-12, "{rates:?}");
}

/// Nor is it trained again, where a run of one has it; and a run that was killed after that resumes.
#[test]
fn an_ensemble_takes_its_first_network_from_a_run_that_has_it() {
    let (whole, report) = ensemble();
    let map = MODELS.iter().find(|(place, _)| place.method == Method::Map).unwrap();
    let own: Vec<u64> = report.members.iter().map(|one| one.steps).collect();
    let place = Place { first: Some(map.0.path("checkpoints/things")), ..whole.like() };
    let data = format!("data.dataset={}", map.0.path("things.csv").display());
    let stopped = AtomicU64::new(0);
    let killed = place.path("killed");
    let first_steps = AtomicU64::new(u64::MAX);
    place.train(&[&data], &|_, steps| {
        first_steps.fetch_min(steps, Ordering::Relaxed);
        if steps > own[0] + own[1] && stopped.fetch_add(1, Ordering::Relaxed) == 0 {
            for one in ["checkpoints", "runs"] {
                copy(&place.path(one), &killed.join(one));
            }
        }
    });
    assert!(first_steps.into_inner() > own[0], "the first network was trained again");
    assert!(whole.files() == place.files(), "other bytes");
    for one in ["checkpoints", "runs"] {
        fs::remove_dir_all(place.path(one)).unwrap();
        fs::rename(killed.join(one), place.path(one)).unwrap();
    }
    let began = AtomicU64::new(u64::MAX);
    place.train(&[&data], &|_, steps| {
        began.fetch_min(steps, Ordering::Relaxed);
    });
    assert!(began.into_inner() > own[0] + own[1], "it resumed in the third network");
    assert!(whole.files() == place.files(), "other bytes after a kill");
}

#[test]
fn an_ensemble_says_the_mean_of_what_its_networks_say() {
    let texts = ["the oven is on the plate", "rake", "bolt of the lawn"].map(|text| (text, None));
    let (place, _) = ensemble();
    let whole = Predictor::load(&place.model(), &Device::Cpu).unwrap();
    let artifact = whole.artifact().clone();
    let alone = |parameters: &bayes::model::Parameters| {
        let posterior = Posterior::point(artifact.manifest.task, parameters);
        let parameters = parameters.clone();
        let one = Artifact { parameters, members: Vec::new(), posterior, ..artifact.clone() };
        Predictor::new(one).unwrap().predict(&texts, &mut |_| {}).unwrap()
    };
    let networks = std::iter::once(&artifact.parameters).chain(&artifact.members);
    let networks: Vec<_> = networks.map(alone).collect();
    let temperature = artifact.posterior.scaling.temperature;
    assert_eq!(artifact.posterior.scaling.scale, 1.0, "each network counts as it is");
    let found = whole.predict(&texts, &mut |_| {}).unwrap();
    for (row, found) in found.iter().enumerate() {
        let mut mean_c = [0.0; 3];
        for network in &networks {
            let p_c = softmax(&network[row].logits.mean(), temperature);
            mean_c.iter_mut().zip(p_c).for_each(|(mean, p)| *mean += p / 3.0);
        }
        let both = found.predictive.probability_c.iter().zip(mean_c);
        assert!(both.clone().all(|(a, b)| (a - b).abs() < 1e-9), "{:?}", both.collect::<Vec<_>>());
        assert!(found.predictive.epistemic.unwrap() >= 0.0);
        assert_eq!(found.logits.passes(), Some(3));
    }
}

fn of_top_layers() -> impl Iterator<Item = &'static Place> {
    let own = |place: &&Place| matches!(place.method, Method::Ivon | Method::LoraLaplace);
    MODELS.iter().map(|(place, _)| place).filter(own)
}

/// Each sample is a network of its own, whose lower layers happen to be those of the others.
#[test]
fn samples_of_the_top_layers_say_the_mean_of_what_whole_networks_say() {
    let texts = ["the oven is on the plate", "rake", "bolt of the lawn"].map(|text| (text, None));
    for place in of_top_layers() {
        let name = place.method.name();
        let whole = Predictor::load(&place.model(), &Device::Cpu).unwrap();
        let artifact = whole.artifact().clone();
        let top = artifact.posterior.top_layers().unwrap().clone();
        let all = artifact.encoder.num_hidden_layers;
        assert_eq!((top.samples, top.layers, top.all), (4, 1, all), "{name}");
        assert_eq!(top.cost(), 1.0 + 4.0 / all as f64, "{name}");
        let alone = |sample: usize| {
            let parameters = top.sample(sample, &artifact.parameters).unwrap();
            let posterior = Posterior::point(artifact.manifest.task, &parameters);
            let one = Artifact { parameters, posterior, ..artifact.clone() };
            Predictor::new(one).unwrap().predict(&texts, &mut |_| {}).unwrap()
        };
        let networks: Vec<_> = (0..top.samples).map(alone).collect();
        let scaling = &artifact.posterior.scaling;
        assert_eq!(scaling.scale, 1.0, "{name}: each sample counts as it is");
        let found = whole.predict(&texts, &mut |_| {}).unwrap();
        for (row, found) in found.iter().enumerate() {
            let mut mean_c = [0.0; 3];
            for network in &networks {
                let p_c = softmax(&network[row].logits.mean(), scaling.temperature);
                mean_c.iter_mut().zip(p_c).for_each(|(mean, p)| *mean += p / 4.0);
            }
            let both = found.predictive.probability_c.iter().zip(mean_c);
            assert!(
                both.clone().all(|(a, b)| (a - b).abs() < 1e-9),
                "{name}: {:?}",
                both.collect::<Vec<_>>()
            );
            assert!(found.predictive.epistemic.unwrap() > 0.0, "{name}");
            assert_eq!(found.logits.passes(), Some(4));
        }
    }
}

/// A server reads one batch of texts that are tokenised already, and is not always asked for the uncertainty.
#[test]
fn samples_of_the_top_layers_answer_the_same_to_a_server() {
    let texts = ["the oven is on the plate", "rake"].map(|text| (text, None));
    for place in of_top_layers() {
        let predictor = Predictor::load(&place.model(), &Device::Cpu).unwrap();
        let expected = predictor.predict(&texts, &mut |_| {}).unwrap();
        let encoded = predictor.encode(&texts).unwrap();
        let batch: Vec<&Encoded> = encoded.iter().collect();
        for sampling in [None, predictor.passes(None, 7)] {
            let readings = predictor.read(&batch, sampling, &|| true).unwrap().unwrap();
            for ((encoded, reading), expected) in encoded.iter().zip(readings).zip(&expected) {
                let answer = predictor.answer(encoded, reading, predictor.usual()).unwrap();
                assert_eq!(answer.logits, expected.logits, "{}", place.method.name());
                let (one, other) = (&answer.predictive, &expected.predictive);
                assert_eq!(one.probability_c, other.probability_c);
                assert_eq!(one.epistemic, other.epistemic);
            }
        }
        assert!(predictor.read(&batch, None, &|| false).unwrap().is_none(), "nobody waits");
    }
}

#[test]
fn an_ensemble_is_published_whole_and_its_card_says_what_python_sees() {
    let (place, _) = ensemble();
    let source = Source::open(&place.model(), &place.path("runs")).unwrap();
    let config = PublishConfig::default();
    let card = Card { source: &source, config: &config, repo: None }.render(None).unwrap();
    assert!(card.contains("the first of the model's 3 networks alone"), "{card}");
    assert!(card.contains("A prediction costs 3 forward passes"), "{card}");
    assert!(card.contains("3 networks were trained one after another"), "{card}");
    let files = collect(&source, &Wanted { card, ..Wanted::default() }).unwrap();
    for name in place.files().into_keys() {
        assert!(files.iter().any(|file| file.path == name), "{name} is not sent");
    }
    let readme = fs::read_to_string(place.model().join("README.md")).unwrap();
    assert!(readme.contains("ensemble of 3 networks"), "{readme}");
}

#[test]
fn an_ensemble_of_one_fitted_last_layer_is_refused() {
    for (recipe, why) in [("head", "the same for every seed"), ("auto", "between one fitted")] {
        let settings = [format!("train.recipe={recipe}"), "posterior.method=ensemble".to_owned()];
        let settings = settings.into_iter().chain(["model.init=x".to_owned()]);
        let settings: Vec<String> = settings.collect();
        let message = Experiment::parse("", "test", &settings).unwrap_err().to_string();
        assert!(message.contains(why) && message.contains("`train.recipe` to `full`"), "{message}");
    }
}

fn student() -> &'static (Place, TrainReport) {
    MODELS.iter().find(|(place, _)| place.method == Method::Distil).unwrap()
}

/// The mean variance of the logits of these texts; of passes, that of their points.
fn mean_variance(predictor: &Predictor, texts: &[&str]) -> f64 {
    let texts: Vec<_> = texts.iter().map(|&text| (text, None)).collect();
    let found = predictor.predict(&texts, &mut |_| {}).unwrap();
    let of_one = |logits: &LogitDistribution| match logits {
        LogitDistribution::Samples { logit_mc, classes } => {
            let root: Vec<f64> = logits
                .mean()
                .iter()
                .enumerate()
                .flat_map(|(class, mean)| {
                    let own = logit_mc.iter().skip(class).step_by(*classes);
                    own.map(move |logit| logit - mean).collect::<Vec<_>>()
                })
                .collect();
            centred(&root, *classes) / (logit_mc.len() / classes - 1) as f64
        }
        gaussian => variance(gaussian, 3),
    };
    found.iter().map(|one| of_one(&one.logits)).sum::<f64>() / found.len() as f64
}

/// Where the teacher's networks disagree the student is uncertain, in one pass.
#[test]
fn a_student_has_learned_what_its_teacher_disagrees_about() {
    let (place, _) = student();
    let [teacher, student] = [TEACHER.model(), place.model()]
        .map(|model| Predictor::load(&model, &Device::Cpu).unwrap());
    assert_eq!((teacher.forward_passes(), student.forward_passes()), (3, 1));
    let clear = ["the oven is on the plate number 3", "the rake is behind the hedge number 8"];
    let mixed = ["the oven is on the hedge number 3", "the bolt is under the seed number 8"];
    let growth = |one: &Predictor| mean_variance(one, &mixed) / mean_variance(one, &clear);
    let (of_teacher, of_student) = (growth(&teacher), growth(&student));
    assert!(of_teacher > 1.0 && of_student > 1.0, "{of_teacher} {of_student}");
}

#[test]
fn a_student_says_who_taught_it_and_what_the_teacher_had_seen() {
    let (place, report) = student();
    let manifest = artifact::manifest_of(&place.model()).unwrap().unwrap();
    let teacher = manifest.fit.teacher.as_ref().unwrap();
    assert_eq!((teacher.method, teacher.passes), (Method::Ensemble, 3));
    assert_eq!(report.posterior.teacher.as_ref(), Some(teacher));
    assert_eq!(manifest.lineage[0].name, "things");
    // The same rows and the same seed: the same parts, so nothing was seen that is measured by.
    let of_teacher = artifact::manifest_of(&TEACHER.model()).unwrap().unwrap();
    assert_eq!(manifest.parts, of_teacher.parts);
    assert!(manifest.lineage_known && manifest.seen_in_test == of_teacher.seen_in_test);
}

#[test]
fn unlabelled_texts_are_learned_from_and_a_changed_teacher_is_another_run() {
    let place = Place::new(Method::Distil, &[]);
    let texts: String = (0..30).map(|row| format!("the shed is under the oven {row}\n")).collect();
    fs::write(place.path("more.csv"), format!("text\n{texts}")).unwrap();
    let more = format!("data.unlabelled={}", place.path("more.csv").display());
    place.finish(&[&more]);
    assert!(place.files() != student().0.files());
    fs::write(place.path("more.csv"), format!("text\n{texts}once more a rake\n")).unwrap();
    let error = place.refused(&[&more]);
    assert!(error.contains("the texts of `data.unlabelled` have changed"), "{error}");
}

#[test]
fn who_cannot_teach_is_refused() {
    let place = Place::new(Method::Distil, &[]);
    let map = MODELS.iter().find(|(place, _)| place.method == Method::Map).unwrap();
    let one = format!("train.teacher={}", map.0.model().display());
    let message = place.refused(&[&one]);
    assert!(message.contains("answers in one pass") && message.contains("`map`"), "{message}");
    let message = place.refused(&["data.label_map={ garage = \"shed\" }", "name=other"]);
    assert!(message.contains("knows `garage` and does not know `shed`"), "{message}");
    let settings = ["posterior.method=distil".to_owned()];
    let message = Experiment::parse("", "test", &settings).unwrap_err().to_string();
    assert!(message.contains("give its folder with `train.teacher`"), "{message}");
    let settings = ["train.recipe=auto", "train.teacher=x", "posterior.method=distil"];
    let settings = settings.map(str::to_owned).into_iter().chain(["model.init=x".to_owned()]);
    let settings: Vec<String> = settings.collect();
    let message = Experiment::parse("", "test", &settings).unwrap_err().to_string();
    assert!(message.contains("set `train.recipe` to `full`"), "{message}");
}

/// The trace of the covariance of the logits, up to a shift of all.
fn variance(distribution: &LogitDistribution, classes: usize) -> f64 {
    let LogitDistribution::Gaussian { covariance, .. } = distribution else { return 0.0 };
    match covariance {
        LogitCovariance::Difference(variance) => *variance,
        LogitCovariance::Root(root) => centred(root, classes),
        LogitCovariance::Diagonal(variance_c) => {
            (1.0 - 1.0 / classes as f64) * variance_c.iter().sum::<f64>()
        }
        LogitCovariance::Shared { basis, variance_j } => {
            let lines = basis.values().chunks_exact(basis.width());
            let line = |line: &[f32]| -> Vec<f64> {
                line.iter().zip(variance_j).map(|(&q, v)| f64::from(q) * v.sqrt()).collect()
            };
            centred(&lines.flat_map(line).collect::<Vec<_>>(), classes)
        }
    }
}

fn centred(root: &[f64], classes: usize) -> f64 {
    let width = root.len() / classes;
    let column = |j: usize| root.iter().skip(j).step_by(width);
    let spread = |j: usize| {
        let mean = column(j).sum::<f64>() / classes as f64;
        column(j).map(|value| (value - mean).powi(2)).sum::<f64>()
    };
    (0..width).map(spread).sum()
}

/// Laplace promises it: along directions that no training row has the weights stay as uncertain as the prior.
/// And so does the Gaussian process, of places that no row is near.
#[test]
fn uncertainty_grows_away_from_the_data_where_that_is_promised() {
    let promise = [Method::Laplace, Method::Sngp];
    for (place, _) in MODELS.iter().filter(|(place, _)| promise.contains(&place.method)) {
        let predictor = Predictor::load(&place.model(), &Device::Cpu).unwrap();
        let artifact = predictor.artifact();
        let (width, classes) = (artifact.encoder.hidden_size, artifact.encoder.labels.len());
        let posterior = &artifact.posterior;
        let encoded = predictor.encode(&[("the oven is on the plate", None)]).unwrap().remove(0);
        let Encoded { ids, type_ids, .. } = encoded;
        let text = Packed::new([Sequence { ids, type_ids, ..Sequence::default() }]);
        let near = predictor.features(&text).unwrap();
        let length = near.iter().map(|x| x * x).sum::<f32>().sqrt();
        let mut stream = Noise::new(4).stream(Purpose::Bootstrap, 0, 0);
        let mut far = Vec::new();
        for _ in 0..50 {
            let one: Vec<f32> = (0..width).map(|_| stream.normal() as f32).collect();
            let own = one.iter().map(|x| x * x).sum::<f32>().sqrt();
            far.extend(one.iter().map(|x| x * length / own));
        }
        let spread = |features: &[f32]| -> f64 {
            let found = posterior.logits(features).unwrap();
            found.iter().map(|one| variance(one, classes)).sum::<f64>() / found.len() as f64
        };
        let (near, far) = (spread(&near), spread(&far));
        assert!(near > 0.0 && far > 2.0 * near, "{near} near the data, {far} in any direction");
    }
}

#[test]
fn it_says_what_it_is() {
    let mut said: Vec<String> = Vec::new();
    for (place, report) in &*MODELS {
        let artifact = artifact::load(&place.model(), &Device::Cpu).unwrap();
        assert_eq!(artifact.manifest.fit, report.posterior, "{}", place.method.name());
        let words = place.method.describe(&artifact.posterior, &artifact.manifest.fit);
        assert!(words.len() > 40 && words.ends_with('.'), "{words}");
        let new = place.is_wide() || !said.contains(&words);
        assert!(new, "two methods say the same: {words}");
        said.push(words);
        let absent = artifact.posterior.own_doubt() == OwnDoubt::Absent;
        assert_eq!(absent, report.posterior.scale.is_none(), "{}", place.method.name());
    }
}

/// By another way than that of predictions: plain operations, and means by hand.
#[test]
fn a_wide_layer_reads_the_means_of_hidden_states() {
    let (place, _) = MODELS.iter().find(|(place, _)| place.is_wide()).unwrap();
    let loaded = artifact::load(&place.model(), &Device::Cpu).unwrap();
    assert_eq!(loaded.posterior.states().words(), "0");
    let plain = Classifier::new(&loaded.encoder, &loaded.parameters);
    let predictor = Predictor::new(loaded).unwrap();
    let texts = [("the oven is on the plate", None), ("rake", None)];
    let sequences = predictor.encode(&texts).unwrap().into_iter().map(|one| {
        let Encoded { ids, type_ids, .. } = one;
        Sequence { ids, type_ids, row: 0 }
    });
    let batch = Packed::new(sequences);
    let found = predictor.features(&batch).unwrap();
    let feature_bd = plain.features(&batch).unwrap().to_vec2::<f32>().unwrap();
    let embedded_pd = plain.hidden_states(&batch).unwrap()[0].to_vec2::<f32>().unwrap();
    let width = feature_bd[0].len();
    for (row, (start, end)) in batch.sequences().enumerate() {
        let own = &found[row * 2 * width..][..2 * width];
        for i in 0..width {
            let sum: f32 = embedded_pd[start..end].iter().map(|line| line[i]).sum();
            assert!((own[i] - sum / (end - start) as f32).abs() < 1e-5, "{row} {i}");
            assert!((own[width + i] - feature_bd[row][i]).abs() < 1e-5, "{row} {i}");
        }
    }
    let distributions = predictor.distributions(&found).unwrap();
    let answers = predictor.predict(&texts, &mut |_| {}).unwrap();
    for ((_, predictive), answer) in distributions.iter().zip(answers) {
        let both = predictive.probability_c.iter().zip(&answer.predictive.probability_c);
        assert!(both.into_iter().all(|(a, b)| (a - b).abs() < 1e-6));
    }
}

#[test]
fn a_wide_layer_says_that_the_last_layer_of_the_folder_is_a_stand_in() {
    for (place, _) in MODELS.iter().filter(|(place, _)| place.is_wide()) {
        let name = place.method.name();
        let source = Source::open(&place.model(), &place.path("runs")).unwrap();
        let config = PublishConfig::default();
        let card = Card { source: &source, config: &config, repo: None }.render(None).unwrap();
        assert!(card.contains("reads the means of hidden states 0"), "{name}: {card}");
        let readme = fs::read_to_string(place.model().join("README.md")).unwrap();
        assert!(readme.contains("stand-in"), "{name}: {readme}");
    }
}

#[test]
fn hidden_states_that_are_not_there_are_refused() {
    let parse = |settings: &[&str]| {
        let settings: Vec<String> = settings.iter().map(|&one| one.to_owned()).collect();
        Experiment::parse("", "test", &settings).map_err(|error| error.to_string())
    };
    let message = parse(&["posterior.method=swag", "posterior.feature_layers=[0]"]).unwrap_err();
    assert!(message.contains("`posterior.feature_layers`"), "{message}");
    let message = parse(&["posterior.feature_layers=[4, 4]"]).unwrap_err();
    assert!(message.contains("twice"), "{message}");
    let place = Place::new(Method::Laplace, &[]);
    let context = RunContext {
        device: &Device::Cpu,
        checkpoints: &place.path("checkpoints"),
        runs: &place.path("runs"),
        stop: &AtomicBool::new(false),
        resume: Resume::Auto,
        first: None,
        saved: &|_, _| {},
    };
    let experiment = place.experiment(&["posterior.feature_layers=[1]"]);
    let message = train(&experiment, &context, &mut |_| {}).unwrap_err().to_string();
    assert!(message.contains("1 is no hidden state before the last layer"), "{message}");
}
