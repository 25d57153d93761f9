use candle_core::Device;

use super::*;
use crate::method::PosteriorConfig;
use crate::train::{AdamW, Gradients, Group, TrainConfig};

const WIDTH: usize = 3;
const CLASSES: usize = 4;

/// What a teacher would say that is a Gaussian whose mean and logarithm of the variance are lines of the feature.
struct Lines {
    mean_kd: Vec<f64>,
    log_variance_ki: Vec<f64>,
}

impl Lines {
    fn new() -> Self {
        let mut stream = Noise::new(3).stream(Purpose::Init, 0, 0);
        let mut normal = |count: usize, size: f64| -> Vec<f64> {
            (0..count).map(|_| size * stream.normal()).collect()
        };
        Self {
            mean_kd: normal(CLASSES * WIDTH, 1.0),
            log_variance_ki: normal(CLASSES * (WIDTH + 1), 0.7),
        }
    }

    fn mean(&self, class: usize, x: &[f64]) -> f64 {
        self.mean_kd[class * WIDTH..][..WIDTH].iter().zip(x).map(|(w, x)| w * x).sum()
    }

    fn log_variance(&self, class: usize, x: &[f64]) -> f64 {
        let line = &self.log_variance_ki[class * (WIDTH + 1)..][..=WIDTH];
        line[..WIDTH].iter().zip(x).map(|(w, x)| w * x).sum::<f64>() + line[WIDTH]
    }
}

fn rows(lines: &Lines, rows: usize, passes: usize) -> (Vec<f32>, TeacherLogits) {
    let mut stream = Noise::new(4).stream(Purpose::Bootstrap, 0, 0);
    let (mut feature_nd, mut logit_nmc) = (Vec::new(), Vec::new());
    for _ in 0..rows {
        let x: Vec<f64> = (0..WIDTH).map(|_| stream.normal()).collect();
        for _ in 0..passes {
            // What no link sees.
            let shift = 20.0 * stream.normal();
            for class in 0..CLASSES {
                let deviation = (0.5 * lines.log_variance(class, &x)).exp();
                let logit = lines.mean(class, &x) + deviation * stream.normal() + shift;
                logit_nmc.push(logit as f32);
            }
        }
        feature_nd.extend(x.iter().map(|&x| x as f32));
    }
    let (classes, width) = (CLASSES, WIDTH);
    (feature_nd, TeacherLogits { logit_nmc, passes, classes, labelled: 0, width, seed: 1 })
}

/// Trains a last layer and the variances alone, on features that do not change.
fn learn(feature_nd: &[f32], teacher: &TeacherLogits) -> BTreeMap<String, Var> {
    let objective = Distillation::new(Distil::default(), teacher);
    let rows = teacher.rows();
    let device = &Device::Cpu;
    let feature_bd = Tensor::from_slice(feature_nd, (rows, WIDTH), device).unwrap();
    let mut variables = BTreeMap::new();
    for OwnParameter { name, shape, start, .. } in objective.parameters() {
        let tensor = Tensor::from_vec(start, shape, device).unwrap();
        variables.insert(name, Var::from_tensor(&tensor).unwrap());
    }
    let last = Tensor::zeros((CLASSES, WIDTH), candle_core::DType::F32, device).unwrap();
    variables.insert("classifier.weight".to_owned(), Var::from_tensor(&last).unwrap());
    let group = Group { decays: false, rate: 1.0 };
    let groups: BTreeMap<String, Group> =
        variables.keys().map(|name| (name.clone(), group)).collect();
    let places: Vec<u32> = (0..rows as u32).collect();
    let (labels, weights) = (vec![0; rows], vec![1.0; rows]);
    let (mut optimizer, config) = (AdamW::default(), TrainConfig::default());
    for pass in 0..400 {
        let last = variables["classifier.weight"].as_tensor();
        let logit_bc = feature_bd.matmul(&last.t().unwrap()).unwrap();
        let answers = Answers {
            feature_bd: &feature_bd,
            logit_bc: &logit_bc,
            rows: &places,
            labels: &labels,
            weights: &weights,
            step_rows: rows,
            pass,
        };
        let loss = objective.loss(&answers, &variables).unwrap();
        let mut gradients = Gradients::default();
        gradients.add(&variables, &loss.backward().unwrap()).unwrap();
        let rate = 0.05 * (1.0 - pass as f64 / 400.0);
        optimizer.step(&variables, &groups, &gradients, &config, rate, 1.0).unwrap();
    }
    variables
}

/// 2,000 rows of 6 passes: the standard error of a coefficient of ln v is about √(2 / (2000 · 5)) = 0.014, and of one
/// of μ about 0.01. The few draws of the other term, the mean, pull a little besides.
#[test]
fn a_teacher_whose_variance_follows_the_feature_is_recovered() {
    let lines = Lines::new();
    let (feature_nd, teacher) = rows(&lines, 2000, 6);
    let found = learn(&feature_nd, &teacher);
    let values = |name: &str| -> Vec<f32> { found[name].flatten_all().unwrap().to_vec1().unwrap() };
    let (weight, bias, last) = (values(WEIGHT), values(BIAS), values("classifier.weight"));
    for class in 0..CLASSES {
        for i in 0..WIDTH {
            let exact = lines.log_variance_ki[class * (WIDTH + 1) + i];
            let found = f64::from(weight[class * WIDTH + i]);
            assert!((found - exact).abs() < 0.15, "class {class}, {i}: {found} {exact}");
            // Up to a shift of all classes.
            let difference = |of: &dyn Fn(usize) -> f64| of(class) - of(0);
            let exact = difference(&|class| lines.mean_kd[class * WIDTH + i]);
            let found = difference(&|class| f64::from(last[class * WIDTH + i]));
            assert!((found - exact).abs() < 0.1, "mean of {class}, {i}: {found} {exact}");
        }
        let exact = lines.log_variance_ki[class * (WIDTH + 1) + WIDTH];
        let found = f64::from(bias[class]);
        assert!((found - exact).abs() < 0.1, "class {class}: {found} {exact}");
    }
}

#[test]
fn the_first_variances_are_those_of_all_rows_and_passes_that_agree_have_the_least() {
    let lines =
        Lines { mean_kd: vec![0.0; 12], log_variance_ki: [[0.0, 0.0, 0.0, 0.4]; 4].concat() };
    let (_, teacher) = rows(&lines, 2000, 6);
    let usual = Distillation::new(Distil::default(), &teacher).usual_log_variances();
    assert!(usual.iter().all(|log| (log - 0.4).abs() < 0.06), "{usual:?}");
    let one = TeacherLogits { logit_nmc: vec![1.0; 2 * 3 * CLASSES], passes: 3, ..teacher };
    let usual = Distillation::new(Distil::default(), &one).usual_log_variances();
    assert!(usual.iter().all(|log| (f64::from(*log) - LEAST_VARIANCE.ln()).abs() < 1e-5));
}

#[test]
fn labels_count_for_the_rows_that_have_one() {
    let logit_nmc = vec![0.0; 2 * 2 * CLASSES];
    let teacher =
        TeacherLogits { logit_nmc, passes: 2, classes: CLASSES, labelled: 1, width: 1, seed: 0 };
    let objective = Distillation::new(Distil { label_weight: 2.0, ..Distil::default() }, &teacher);
    let tensor = Tensor::zeros((2, 1), candle_core::DType::F32, &Device::Cpu).unwrap();
    let answers = Answers {
        feature_bd: &tensor,
        logit_bc: &tensor,
        rows: &[1, 0],
        labels: &[3, 3],
        weights: &[1.0, 0.5],
        step_rows: 2,
        pass: 0,
    };
    let (target_bc, constant) = objective.targets(&answers);
    assert_eq!(target_bc, [0.25, 0.25, 0.25, 0.25, 0.25, 0.25, 0.25, 1.25]);
    assert!((constant + 2.0 * 4f64.ln()).abs() < 1e-6);
}

#[test]
fn numbers_that_cannot_be_are_refused_by_their_key() {
    let own = Distil::default();
    assert!(PosteriorConfig::from(Method::Distil).check().is_ok());
    for (wrong, key) in [
        (Distil { altered_copies: 1000, ..own }, "altered_copies"),
        (Distil { label_weight: -1.0, ..own }, "label_weight"),
        (Distil { label_weight: f64::NAN, ..own }, "label_weight"),
        (Distil { density_weight: 0.0, ..own }, "density_weight"),
    ] {
        let message = wrong.check().unwrap_err();
        assert!(message.starts_with(&format!("`posterior.{key}` is ")), "{message}");
    }
}
