//! What a suite of benchmarks counts of the answers to one of its tasks.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use super::answers::Inside;
use super::report::stream;
use super::{Answer, Answers};
use crate::compute::{Noise, Purpose};
use crate::data::{Example, Score, Suite, find_known};
use crate::metrics::{Interval, RESAMPLES, Summary, bootstrapped, f1_of_class};

/// The scores of a task.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BenchmarkReport {
    pub suite: Suite,
    pub task: &'static str,
    /// What the suite counts, by its key, each on [−1, 1] or [0, 1].
    pub scores: BTreeMap<&'static str, Interval>,
    /// Their mean, which enters the average of the suite.
    pub score: f64,
}

impl BenchmarkReport {
    /// The scores, where the data set is a task of a suite, the model has its classes, and no score lacks rows.
    pub(super) fn of(
        answers: &Answers,
        inside: &Inside<'_>,
        summary: &Summary,
        noise: &Noise,
    ) -> Option<Self> {
        let known = find_known(&answers.dataset)?;
        let suite = known.suite?;
        let classes = answers.classes_of(known)?;
        let rows: Vec<Row<'_>> = inside.rows.iter().copied().zip(inside.labels.clone()).collect();
        let mut stream = noise.stream(Purpose::Bootstrap, 0, stream::BENCHMARK);
        let uniform = &mut || stream.uniform();
        let interval = |score: &Score| -> Option<Interval> {
            match score {
                Score::Accuracy => Some(summary.accuracy),
                Score::MacroF1 => Some(summary.f1),
                Score::Matthews => Some(summary.mcc),
                Score::F1 => Some(f1(classes[1], &rows, uniform)),
                Score::Choices => share(&right_choices(classes[1], &rows), uniform),
                Score::Parity => share(&equal_answers(&rows), uniform),
                Score::ExactMatch => share(&right_questions(&rows), uniform),
            }
        };
        let values: Option<Vec<Interval>> = known.scores.iter().map(interval).collect();
        let values = values?;
        let score = values.iter().map(|one| one.value).sum::<f64>() / values.len() as f64;
        let scores = known.scores.iter().map(|score| score.key()).zip(values).collect();
        Some(Self { suite, task: known.name, scores, score })
    }
}

/// The name of a score for people.
pub fn score_title(key: &str) -> String {
    key.replace('_', " ").replace("f1", "F1")
}

/// The questions that the rows at these places are possible answers to, or all rows if there are no places, where a score
/// of the data set counts questions: rows with the same first text have the same number, from 0. `None` in the place of
/// one of which not all answers are there.
pub(super) fn questions(
    dataset: &str,
    rows: &[&Example],
    places: &[usize],
) -> Option<Vec<Option<usize>>> {
    find_known(dataset).filter(|known| known.scores.contains(&Score::ExactMatch))?;
    let all: Vec<usize> = (0..rows.len()).collect();
    let places = if places.is_empty() { &all } else { places };
    let (mut numbers, mut lacking): (HashMap<&str, usize>, _) = (HashMap::new(), Vec::new());
    for row in rows {
        let next = numbers.len();
        let number = *numbers.entry(&row.text).or_insert(next);
        lacking.resize(numbers.len(), 0);
        lacking[number] += 1;
    }
    let number = |place: &usize| numbers[rows[*place].text.as_str()];
    places.iter().for_each(|place| lacking[number(place)] -= 1);
    Some(places.iter().map(number).map(|number| (lacking[number] == 0).then_some(number)).collect())
}

/// An answer and the label that is true.
type Row<'a> = (&'a Answer, u32);

fn f1(class: usize, rows: &[Row<'_>], uniform: &mut dyn FnMut() -> f64) -> Interval {
    let (predicted, labels): (Vec<usize>, Vec<u32>) =
        rows.iter().map(|(answer, label)| (answer.predicted, *label)).unzip();
    bootstrapped(rows.len(), RESAMPLES, uniform, |times| {
        f1_of_class(class, &predicted, &labels, times)
    })
}

/// The share that is true; `None` of nothing.
fn share(right: &[bool], uniform: &mut dyn FnMut() -> f64) -> Option<Interval> {
    let of = |times: &[u32]| {
        let hits: u32 =
            right.iter().zip(times).map(|(&right, &times)| times * u32::from(right)).sum();
        f64::from(hits) / right.len() as f64
    };
    (!right.is_empty()).then(|| bootstrapped(right.len(), RESAMPLES, uniform, of))
}

/// Of rows that stand two by two, those of which both are there.
fn twos<'a>(rows: &[Row<'a>]) -> Vec<[Row<'a>; 2]> {
    let mut found: BTreeMap<usize, Vec<Row<'_>>> = BTreeMap::new();
    for &(answer, label) in rows {
        found.entry(answer.row / 2).or_default().push((answer, label));
    }
    found.into_values().filter_map(|two| two.try_into().ok()).collect()
}

/// Whether the choice that is likelier to be right is; of equal ones the first is taken.
fn right_choices(right: usize, rows: &[Row<'_>]) -> Vec<bool> {
    let p = |(answer, _): Row<'_>| answer.probability_c[right];
    let is_right = |[first, second]: [Row<'_>; 2]| {
        let (_, label) = if p(second) > p(first) { second } else { first };
        label as usize == right
    };
    twos(rows).into_iter().map(is_right).collect()
}

/// Whether both rows of a two are answered alike.
fn equal_answers(rows: &[Row<'_>]) -> Vec<bool> {
    let alike = |[(one, _), (other, _)]: [Row<'_>; 2]| one.predicted == other.predicted;
    twos(rows).into_iter().map(alike).collect()
}

/// Whether all rows of a question are answered right, of questions that are there whole.
fn right_questions(rows: &[Row<'_>]) -> Vec<bool> {
    let mut all_right: BTreeMap<usize, bool> = BTreeMap::new();
    for (answer, label) in rows {
        let Some(question) = answer.question else { continue };
        *all_right.entry(question).or_insert(true) &= answer.predicted == *label as usize;
    }
    all_right.into_values().collect()
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::super::{Truth, evaluate};
    use super::*;
    use crate::data::all_known;
    use crate::metrics::argmax;

    /// What scikit-learn and the definitions of the suites say: `tests/python/golden_benchmarks.py`.
    #[derive(Deserialize)]
    struct Golden {
        cases: Vec<Case>,
    }

    #[derive(Deserialize)]
    struct Case {
        task: String,
        labels: Vec<String>,
        hundredths: Vec<Vec<u32>>,
        label: Vec<usize>,
        question: Vec<usize>,
        expected: BTreeMap<String, f64>,
    }

    fn golden() -> Vec<Case> {
        let golden: Golden =
            serde_json::from_str(include_str!("../../tests/fixtures/benchmarks.json")).unwrap();
        golden.cases
    }

    /// The answers of a model that has the classes in this order.
    fn answers(case: &Case, order: &[usize]) -> Answers {
        let of_tests = super::super::answers::tests::answers();
        let place = |class: usize| order.iter().position(|&one| one == class).unwrap();
        let row = |row: usize| {
            let p = |&class: &usize| f64::from(case.hundredths[row][class]) / 100.0;
            let probability_c: Vec<f64> = order.iter().map(p).collect();
            let label = place(case.label[row]) as u32;
            // Of equal ones the golden file takes the first of its own order.
            let own: Vec<f64> = (0..order.len()).map(|class| p(&class)).collect();
            Answer {
                truth: Truth::Label { label, probability_c: None, seen: false },
                row,
                predicted: place(argmax(&own)),
                logit_c: probability_c.iter().map(|p| p.max(1e-3).ln()).collect(),
                probability_c,
                set: None,
                question: Some(case.question[row]),
                ..of_tests.rows[0].clone()
            }
        };
        Answers {
            dataset: case.task.clone(),
            labels: order.iter().map(|&class| case.labels[class].clone()).collect(),
            rows: (0..case.label.len()).map(row).collect(),
            ..of_tests
        }
    }

    fn report(answers: &Answers) -> Option<BenchmarkReport> {
        evaluate(answers, &Noise::new(1)).unwrap().benchmark
    }

    #[test]
    fn every_task_is_scored_as_its_suite_does() {
        let cases = golden();
        let tasks: Vec<&str> = cases.iter().map(|case| case.task.as_str()).collect();
        let known = all_known().filter(|known| known.suite.is_some()).map(|known| known.name);
        assert_eq!(tasks, known.collect::<Vec<_>>());
        for case in &cases {
            let own: Vec<usize> = (0..case.labels.len()).collect();
            let ties = case.hundredths.iter().any(|row| {
                let most = row.iter().max();
                row.iter().filter(|one| Some(*one) == most).count() > 1
            });
            let turned: Vec<usize> = own.iter().rev().copied().collect();
            for order in [&own, &turned] {
                // In another order another one of equal classes is the first.
                if ties && order != &own {
                    continue;
                }
                let found = report(&answers(case, order)).unwrap();
                assert_eq!(found.task, case.task);
                assert_eq!(found.scores.len(), case.expected.len(), "{}", case.task);
                for (key, expected) in &case.expected {
                    let Interval { value, low, high } = found.scores[key.as_str()];
                    assert!((value - expected).abs() < 1e-9, "{} {key}: {value}", case.task);
                    assert!(low <= value && value <= high && low < high, "{} {key}", case.task);
                }
                let mean = case.expected.values().sum::<f64>() / case.expected.len() as f64;
                assert!((found.score - mean).abs() < 1e-9, "{}", case.task);
            }
        }
    }

    #[test]
    fn no_score_is_made_of_other_classes_or_of_rows_that_lack() {
        let cases = golden();
        let of = |task: &str| {
            let case = cases.iter().find(|case| case.task == task).unwrap();
            answers(case, &(0..case.labels.len()).collect::<Vec<_>>())
        };
        let mut other = of("mrpc");
        other.labels[1] = "alike".to_owned();
        assert_eq!(report(&other), None);
        let unknown = Answers { dataset: "./mrpc".to_owned(), ..of("mrpc") };
        assert_eq!(report(&unknown), None);
        // Of each two choices one was asked.
        let mut half = of("super_glue/copa");
        half.rows.retain(|row| row.row.is_multiple_of(2));
        assert_eq!(report(&half), None);
        let mut unasked = of("super_glue/multirc");
        unasked.rows.iter_mut().for_each(|row| row.question = None);
        assert_eq!(report(&unasked), None);
    }

    #[test]
    fn rows_with_one_first_text_belong_to_one_question() {
        let example = |text: &str, pair: &str| Example {
            text: text.to_owned(),
            pair: Some(pair.to_owned()),
            label: 0,
        };
        let rows = [example("a b?", "x"), example("c d?", "x"), example("a b?", "y")];
        let rows: Vec<&Example> = rows.iter().collect();
        let of = |places: &[usize]| questions("super_glue/multirc", &rows, places);
        assert_eq!(of(&[]), Some(vec![Some(0), Some(1), Some(0)]));
        assert_eq!(of(&[1, 2]), Some(vec![Some(1), None]), "an answer to the first was not asked");
        assert_eq!(of(&[2, 0]), Some(vec![Some(0), Some(0)]));
        assert_eq!(questions("mrpc", &rows, &[]), None);
    }
}
