//! Against scikit-learn, and what holds of the whole.

use serde_json::Value;

use super::grams::blocks;
use super::rows::{Weighting, read};
use super::solver::{Problem, Until, fit};
use super::sparse::padded;
use super::{Baseline, Rival};
use crate::compute::{Noise, Precision};
use crate::data::{Dataset, Example};
use crate::evaluate::{Answer, Answers, Truth};

fn golden() -> Value {
    serde_json::from_str(include_str!("../../../tests/fixtures/baseline.json")).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|one| one.as_f64().unwrap()).collect()
}

fn example(text: &str, pair: Option<&str>, label: u32) -> Example {
    Example { text: text.to_owned(), pair: pair.map(str::to_owned), label }
}

/// `tests/python/golden_baseline.py`.
#[test]
fn n_grams_fall_into_the_buckets_of_the_formula() {
    for (text, expected) in golden()["buckets"].as_object().unwrap() {
        let found = blocks(&example(text, None, 0));
        for (kind, block) in ["words", "characters"].into_iter().zip(&found) {
            let mut expected: Vec<u32> =
                numbers(&expected[kind]).into_iter().map(|bucket| bucket as u32).collect();
            expected.sort_unstable();
            assert!(block.iter().all(|&(_, count)| count == 1.0), "{text}");
            let buckets: Vec<u32> = block.iter().map(|&(bucket, _)| bucket).collect();
            assert_eq!(buckets, expected, "{text}: {kind}");
        }
    }
}

/// `tests/python/golden_baseline.py`: inner products of the rows of two `TfidfVectorizer`.
#[test]
fn rows_are_those_of_scikit_learn_but_for_the_numbers_of_the_features() {
    let golden = golden();
    let texts = golden["texts"].as_array().unwrap();
    let texts: Vec<Example> =
        texts.iter().map(|text| example(text.as_str().unwrap(), None, 0)).collect();
    let counted = read(&texts.iter().collect::<Vec<_>>(), 2, &Noise::new(1));
    assert!(counted.iter().map(|(place, _)| *place).eq(0..texts.len()));
    let weighting = Weighting::of(&counted, 2);
    for (block, kind) in ["words", "characters"].into_iter().enumerate() {
        let row = |blocks: &Vec<_>| weighting.row(&blocks[block..=block]);
        let rows: Vec<_> = counted.iter().map(|(_, blocks)| row(blocks)).collect();
        let expected = numbers(&golden[kind]);
        for (i, expected) in expected.iter().enumerate() {
            let (a, b) = (&rows[i / rows.len()], &rows[i % rows.len()]);
            // Without the constant.
            let products = a[1..].iter().filter_map(|(feature, value)| {
                let other = b[1..].iter().find(|(other, _)| other == feature)?;
                Some(f64::from(value * other.1))
            });
            let found: f64 = products.sum();
            assert!((found - expected).abs() < 1e-5, "{kind} {i}: {found} and {expected}");
        }
    }
}

/// Weights `[f, c]` in f64, without the padding.
fn unpadded(weight_fw: &[f32], classes: usize) -> Vec<f64> {
    let lines = weight_fw.chunks_exact(padded(classes));
    lines.flat_map(|line| line[..classes].iter().copied().map(f64::from)).collect()
}

/// ½‖W‖² + C Σ −ln p and its gradient, by plain loops.
fn objective(problem: &Problem<'_>, cost: f64, weight_fc: &[f64]) -> (f64, Vec<f64>) {
    let classes = problem.classes;
    let mut value = 0.5 * weight_fc.iter().map(|w| w * w).sum::<f64>();
    let mut gradient_fc = weight_fc.to_vec();
    for (row, &label) in problem.rows.iter().zip(problem.labels) {
        let logit = |c: usize| -> f64 {
            row.iter().map(|&(f, x)| f64::from(x) * weight_fc[f as usize * classes + c]).sum()
        };
        let logit_c: Vec<f64> = (0..classes).map(logit).collect();
        let total: f64 = logit_c.iter().map(|z| z.exp()).sum();
        value += cost * (total.ln() - logit_c[label as usize]);
        for (c, z) in logit_c.iter().enumerate() {
            let error = cost * (z.exp() / total - f64::from(u8::from(c == label as usize)));
            for &(f, x) in row {
                gradient_fc[f as usize * classes + c] += error * f64::from(x);
            }
        }
    }
    (value, gradient_fc)
}

/// `tests/python/golden_baseline.py`: `LogisticRegression` at the same C.
#[test]
fn the_solution_is_that_of_scikit_learn_and_its_gradient_vanishes() {
    let golden = golden();
    let (tolerance, width) =
        (golden["tolerance"].as_f64().unwrap(), golden["width"].as_u64().unwrap() as usize);
    for case in golden["solutions"].as_array().unwrap() {
        let (classes, cost) = (case["classes"].as_u64().unwrap() as usize, &case["cost"]);
        let cost = cost.as_f64().unwrap();
        let line = |line: &[f64]| -> Vec<(u32, f32)> {
            let all = (0..).zip(line).map(|(f, &x)| (f, x as f32));
            all.filter(|&(_, x)| x != 0.0).collect()
        };
        let rows: Vec<_> = numbers(&case["x"]).chunks_exact(width).map(line).collect();
        let labels: Vec<u32> = numbers(&case["labels"]).into_iter().map(|y| y as u32).collect();
        let chosen: Vec<u32> = (0..rows.len() as u32).collect();
        let problem =
            Problem { rows: &rows, labels: &labels, chosen: &chosen, classes, features: width };
        let until = Until { moved: 1e-7, passes: 2000 };
        let weight_fc = unpadded(&fit(&problem, cost as f32, until, &Noise::new(3)), classes);
        // There `[c, f]`.
        let expected_cf = numbers(&case["weight"]);
        for (i, weight) in weight_fc.iter().enumerate() {
            let expected = expected_cf[i % classes * width + i / classes];
            let close = (weight - expected).abs() < tolerance * (1.0 + expected.abs());
            assert!(close, "{classes} classes, C {cost}: {weight} and {expected}");
        }
        let (value, gradient_fc) = objective(&problem, cost, &weight_fc);
        let largest = gradient_fc.iter().fold(0.0, |most: f64, g| most.max(g.abs()));
        assert!(largest < 1e-3 * cost.max(1.0), "{classes} classes, C {cost}: {largest}");
        // The gradient is that of the objective: away from the solution, by differences.
        let away: Vec<f64> =
            weight_fc.iter().enumerate().map(|(i, w)| w + (i % 3) as f64).collect();
        let (_, gradient_fc) = objective(&problem, cost, &away);
        for i in (0..away.len()).step_by(5) {
            let at = |step: f64| {
                let mut moved = away.clone();
                moved[i] += step;
                objective(&problem, cost, &moved).0
            };
            let difference = (at(1e-5) - at(-1e-5)) / 2e-5;
            assert!((difference - gradient_fc[i]).abs() < 1e-5 * (1.0 + difference.abs()));
            assert!(at(0.0) > value);
        }
    }
}

/// Requests to two departments, some of them in Chinese; one label of ten is wrong, at a place that the
/// number in the text does not tell.
fn requests(rows: u32) -> Vec<Example> {
    let texts = [
        ["please look at my invoice", "the router is slow again"],
        ["我想查一下账单", "路由器又坏了"],
    ];
    let text = |row: u32| {
        let label = row % 2;
        let text = texts[(row / 2 % 2) as usize][label as usize];
        example(&format!("{text} {row}"), None, if wrong(row) { 1 - label } else { label })
    };
    (0..rows).map(text).collect()
}

fn wrong(row: u32) -> bool {
    row % 10 == ((row / 10).wrapping_mul(2_654_435_761) >> 13) % 10
}

fn fitted(examples: &[Example], seed: u64) -> (Baseline, Vec<f64>) {
    let labels: Vec<u32> = examples.iter().map(|example| example.label).collect();
    let examples: Vec<&Example> = examples.iter().collect();
    let baseline = Baseline::fit(&examples, &labels, 2, &Noise::new(seed));
    let probability_nc = baseline.predict(&examples);
    (baseline, probability_nc)
}

#[test]
fn languages_with_and_without_spaces_are_learned_and_noise_in_the_labels_is_not() {
    let all = requests(800);
    let (baseline, _) = fitted(&all[..400], 1);
    // Of rows that it has not seen, whose wrong labels it cannot know.
    let others: Vec<&Example> = all[400..].iter().collect();
    let probability_nc = baseline.predict(&others);
    let (mut hits, mut sum) = (0, 0.0);
    for (row, line) in probability_nc.chunks_exact(2).enumerate() {
        let right = line[row % 2];
        hits += usize::from(right > 0.5);
        sum += right;
        assert!((line[0] + line[1] - 1.0).abs() < 1e-12);
    }
    assert!(hits >= 380, "{hits} of 400");
    assert!((0.7..0.99).contains(&(sum / 400.0)), "mean {}", sum / 400.0);
}

#[test]
fn the_bits_do_not_depend_on_the_number_of_threads() {
    let examples = requests(300);
    let with = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| fitted(&examples, 1).1)
    };
    let one = with(1);
    assert!([2, 5].into_iter().all(|threads| with(threads) == one));
    assert_ne!(fitted(&examples, 2).1, one);
}

#[test]
fn the_two_texts_of_a_pair_are_not_taken_for_one_another() {
    let row = |row: u32| {
        let (a, b) =
            [("yes of course", "no never"), ("no never", "yes of course")][row as usize % 2];
        example(a, Some(&format!("{b} {row}")), row % 2)
    };
    let (_, probability_nc) = fitted(&(0..60).map(row).collect::<Vec<_>>(), 1);
    let lines = probability_nc.chunks_exact(2).enumerate();
    lines.for_each(|(row, line)| assert!(line[row % 2] > 0.9, "{line:?}"));
}

#[test]
fn odd_rows_are_survived() {
    let long = "word ".repeat(100_000);
    for examples in [
        vec![],
        vec![example("alone", None, 1)],
        vec![example("?", None, 0), example("!", None, 1)],
        vec![example("same", None, 0); 3],
        vec![example(&long, None, 0), example("\u{1F600}\u{0301}", Some(""), 1)],
        (0..30).map(|row| example("one text, two labels", None, row % 2)).collect(),
    ] {
        let (_, probability_nc) = fitted(&examples, 1);
        assert_eq!(probability_nc.len(), 2 * examples.len());
        assert!(probability_nc.iter().all(|p| p.is_finite()), "{probability_nc:?}");
    }
    let same =
        (0..30).map(|row| example("one text, two labels", None, row % 2)).collect::<Vec<_>>();
    let (_, probability_nc) = fitted(&same, 1);
    assert!(probability_nc.iter().all(|p| (p - 0.5).abs() < 0.02), "{probability_nc:?}");
}

/// A model that knows the labels, and one that guesses, on the rows of [`requests`].
#[test]
fn a_model_is_set_beside_it_on_the_same_rows() {
    let (train, test) = (requests(200), requests(120));
    // The model has the classes in another order than the data.
    let names = |names: [&str; 2]| names.map(str::to_owned).to_vec();
    let dataset = Dataset {
        name: "requests".to_owned(),
        task: crate::task::Task::SingleLabel,
        labels: names(["billing", "technical"]),
        splits: std::collections::BTreeMap::new(),
        out_of_scope: std::collections::BTreeMap::new(),
        columns: String::new(),
        column_names: Default::default(),
        header: Vec::new(),
        written: String::new(),
        remarks: Vec::new(),
        generated: false,
        terms: None,
        file_labels: Default::default(),
        files: Vec::new(),
        places: Default::default(),
        hidden: Vec::new(),
        reported: None,
        stream: None,
    };
    let answers = |sure: f64| {
        let row = |(row, example): (usize, &Example)| {
            let label = 1 - example.label;
            let mut probability_c = vec![1.0 - sure; 2];
            probability_c[label as usize] = sure;
            Answer {
                truth: Truth::Label { label, probability_c: None, seen: false },
                row,
                predicted: label as usize,
                logit_c: probability_c.iter().map(|p| p.ln()).collect(),
                probability_c,
                total: 0.1,
                aleatoric: None,
                epistemic: None,
                set: None,
                novelty: None,
                truncated: false,
                question: None,
            }
        };
        Answers {
            model: "model".to_owned(),
            dataset: "requests".to_owned(),
            split: "test".to_owned(),
            seed: 1,
            precision: Precision::F32,
            temperature: 1.0,
            link: None,
            set_method: None,
            alpha: None,
            bound_rows: None,
            task: dataset.task,
            labels: names(["technical", "billing"]),
            renamed: std::collections::BTreeMap::new(),
            rows: test.iter().enumerate().map(row).collect(),
        }
    };
    let (train, test): (Vec<_>, Vec<_>) = (train.iter().collect(), test.iter().collect());
    let rival = Rival::new(&dataset, &train, &test, &answers(0.9)).unwrap();
    let knows = rival.beside(&answers(0.99)).unwrap().unwrap();
    assert!(knows.accuracy.value < 1.0 && knows.better, "{knows:?}");
    // The model is always right.
    let missed = 1.0 - knows.accuracy.value;
    assert!((knows.difference.accuracy.value - missed).abs() < 1e-9 && knows.warning().is_none());
    assert_eq!((knows.rows, knows.of_rows, knows.test_rows), (200, 200, 120));
    let guesses = rival.beside(&answers(0.501)).unwrap().unwrap();
    let worse = guesses.difference.nll.unwrap().low > 0.0;
    assert!(worse && !guesses.better && guesses.warning().is_some(), "{guesses:?}");
    let mut fewer = answers(0.9);
    fewer.rows.pop();
    assert_eq!(rival.beside(&fewer).unwrap(), None);
}
