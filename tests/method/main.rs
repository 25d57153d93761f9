//! The contract of the Bayesian methods: each that is in the list passes, on texts of three classes that
//! words tell apart.

#![expect(clippy::unwrap_used, reason = "a test fails by panic")]

mod networks;
mod student;
mod wide;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bayes::artifact::{self, Artifact};
use bayes::compute::{Backend, Noise, Packed, Purpose, Sequence};
use bayes::data::{Encoded, Example};
use bayes::evaluate::{Origin, OriginError, own_parts};
use bayes::experiment::{
    Ended, Experiment, ExperimentError, Resume, RunContext, TrainReport, train,
};
use bayes::method::Method;
use bayes::model::Classifier;
use bayes::posterior::{LogitCovariance, LogitDistribution, OwnDoubt, Posterior, softmax};
use bayes::predict::Predictor;
use bayes::publish::{Card, PublishConfig, Source, Wanted, collect};

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
            device: &Backend::Cpu,
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
        let loaded = artifact::load(&place.model(), &Backend::Cpu).unwrap();
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
        let predictor = Predictor::load(&place.model(), &Backend::Cpu).unwrap();
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
        let predictor = Predictor::load(&place.model(), &Backend::Cpu).unwrap();
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
        let artifact = artifact::load(&place.model(), &Backend::Cpu).unwrap();
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
