use super::super::suspects::Suspects;
use super::*;
use crate::compute::{Noise, Purpose, Stream};

/// Rows of a world that is as the model says: logits of `sharpness`, true classes by their softmax, and labels of
/// which a share is another class, the next one in `near` of the cases.
struct World {
    logit_nc: Vec<f64>,
    labels: Vec<u32>,
    wrong: Vec<bool>,
}

fn draw(stream: &mut Stream, probability_c: &[f64]) -> usize {
    let mut left = stream.uniform();
    let found = probability_c.iter().position(|probability| {
        left -= probability;
        left < 0.0
    });
    found.unwrap_or(probability_c.len() - 1)
}

impl World {
    fn new(rows: usize, classes: usize, sharpness: f64, rate: f64, near: f64) -> Self {
        let mut stream = Noise::new(11).stream(Purpose::Init, 0, 0);
        let (mut logit_nc, mut labels, mut wrong) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rows {
            let z: Vec<f64> = (0..classes).map(|_| sharpness * stream.normal()).collect();
            let total: f64 = z.iter().map(|z| z.exp()).sum();
            let p: Vec<f64> = z.iter().map(|z| z.exp() / total).collect();
            let class = draw(&mut stream, &p);
            let is_wrong = stream.uniform() < rate;
            let step = match stream.uniform() < near {
                true => 1,
                false => 1 + stream.below(classes as u32 - 1) as usize,
            };
            labels.push(if is_wrong { (class + step) % classes } else { class } as u32);
            wrong.push(is_wrong);
            // The classifier is twice as sure as it should be.
            logit_nc.extend(z.into_iter().map(|z| 2.0 * z));
        }
        Self { logit_nc, labels, wrong }
    }

    fn fit(&self) -> LabelNoise {
        let classes = self.logit_nc.len() / self.labels.len();
        LabelNoise::fit(&self.logit_nc, &self.labels, classes).unwrap()
    }
}

#[test]
fn rate_and_temperature_are_those_of_the_world_and_probabilities_are_calibrated() {
    for (classes, rate, near) in [(2, 0.05, 0.0), (5, 0.1, 0.0), (5, 0.1, 1.0), (20, 0.03, 0.5)] {
        let world = World::new(20_000, classes, 4.0, rate, near);
        let noise = world.fit();
        let count = world.wrong.iter().filter(|wrong| **wrong).count() as f64;
        let expected: f64 = noise.wrong_n.iter().sum();
        let deviation = (expected - count) / count;
        assert!(deviation.abs() < 0.12, "{classes} classes: {expected} of {count}");
        assert!((noise.temperature / 2.0).ln().abs() < 0.05, "τ {}", noise.temperature);
        // Of rows of nearly the same probability that share is wrong.
        for (low, high) in [(0.1, 0.4), (0.4, 0.7), (0.7, 1.01)] {
            let bin: Vec<usize> = (0..world.wrong.len())
                .filter(|&row| (low..high).contains(&noise.wrong_n[row]))
                .collect();
            let said: f64 = bin.iter().map(|&row| noise.wrong_n[row]).sum();
            let found = bin.iter().filter(|&&row| world.wrong[row]).count() as f64;
            let spread = 3.5 * (said * (1.0 - said / bin.len() as f64)).sqrt() + 0.1 * said;
            assert!((said - found).abs() < spread, "{classes}, {low}: {said} said, {found} found");
        }
    }
}

#[test]
fn errors_of_one_class_are_found_in_its_line() {
    let world = World::new(20_000, 5, 4.0, 0.1, 1.0);
    let noise = world.fit();
    for class in 0..5 {
        let line = &noise.given_cc[class * 5..][..5];
        assert!((line.iter().sum::<f64>() - 1.0).abs() < 1e-9);
        assert!((line[(class + 1) % 5] - 0.1).abs() < 0.02, "{line:?}");
        assert!(line[(class + 2) % 5] < 0.01, "{line:?}");
    }
}

#[test]
fn rows_that_are_chosen_balance_errors_and_false_alarms() {
    let world = World::new(20_000, 5, 4.0, 0.1, 0.0);
    let noise = world.fit();
    let suspects = Suspects::new(&noise, &world.labels, 5);
    let f1 = |rows: &[usize]| {
        let right = rows.iter().filter(|&&row| world.wrong[row]).count() as f64;
        2.0 * right / (rows.len() + world.wrong.iter().filter(|wrong| **wrong).count()) as f64
    };
    let mut all: Vec<usize> = (0..world.labels.len()).collect();
    all.sort_by(|&a, &b| noise.wrong_n[b].total_cmp(&noise.wrong_n[a]));
    let best = (1..4000).map(|count| f1(&all[..count])).fold(0.0, f64::max);
    assert!(f1(&suspects.rows) > best - 0.02, "{} of {best}", f1(&suspects.rows));
    let wrongly = suspects.rows.iter().filter(|&&row| !world.wrong[row]).count() as f64;
    let said = suspects.expected_false;
    assert!((said - wrongly).abs() < 0.2 * wrongly, "{said} said, {wrongly} found");
    assert!(suspects.unlearned.is_empty());
}

/// Two classes that overlap: a label that is more likely right than wrong can still be worth a look.
#[test]
fn classes_that_overlap_lose_no_suspects_between_a_fifth_and_a_half() {
    let world = World::new(20_000, 2, 1.5, 0.1, 0.0);
    let noise = world.fit();
    let suspects = Suspects::new(&noise, &world.labels, 2);
    let found = |rows: &[usize]| rows.iter().filter(|&&row| world.wrong[row]).count() as f64;
    let all = world.wrong.iter().filter(|wrong| **wrong).count() as f64;
    let f1 = |rows: &[usize]| 2.0 * found(rows) / (rows.len() as f64 + all);
    let sure: Vec<usize> =
        suspects.rows.iter().copied().filter(|&row| noise.wrong_n[row] > 0.5).collect();
    assert!(sure.len() < suspects.rows.len());
    assert!(f1(&suspects.rows) > f1(&sure) + 0.01, "{} {}", f1(&suspects.rows), f1(&sure));
    assert!(suspects.rows.iter().all(|&row| noise.instead_n[row] != world.labels[row]));
}

/// Of what is not wrong 1 in 200 is doubted at most.
#[test]
fn labels_that_are_right_are_left_alone() {
    for classes in [2, 5, 20] {
        let world = World::new(10_000, classes, 4.0, 0.0, 0.0);
        let suspects = Suspects::new(&world.fit(), &world.labels, classes);
        assert!(suspects.rows.len() <= 50, "{classes}: {}", suspects.rows.len());
    }
}

/// Logits that say nothing of one class of three.
#[test]
fn labels_of_a_class_that_was_not_learned_are_not_doubted() {
    let labels: Vec<u32> = (0..600).map(|row| if row < 12 { 2 } else { row % 2 }).collect();
    let logit_nc: Vec<f64> = (0..600)
        .flat_map(|row| if row % 2 == 0 { [9.0, 0.0, 0.0] } else { [0.0, 9.0, 0.0] })
        .collect();
    let noise = LabelNoise::fit(&logit_nc, &labels, 3).unwrap();
    let suspects = Suspects::new(&noise, &labels, 3);
    assert_eq!((suspects.unlearned, suspects.rows), (vec![2], Vec::new()));
}

#[test]
fn every_row_right_few_rows_and_no_row_give_numbers() {
    assert_eq!(LabelNoise::fit(&[], &[], 3), None);
    let one = LabelNoise::fit(&[1.0, 0.0], &[0], 2).unwrap();
    assert!(one.wrong_n[0].is_finite() && one.temperature.is_finite());
    let labels: Vec<u32> = (0..100).map(|row| row % 2).collect();
    let sure: Vec<f64> = labels
        .iter()
        .flat_map(|&label| [1.0, -1.0].map(|z| if label == 0 { z } else { -z }))
        .collect();
    let noise = LabelNoise::fit(&sure, &labels, 2).unwrap();
    assert!(noise.wrong_n.iter().all(|wrong| *wrong < 0.01), "{:?}", noise.wrong_n);
    // Logits beyond what exp can take.
    let huge = LabelNoise::fit(&[1e5, -1e5, 1e5, -1e5], &[0, 1], 2).unwrap();
    assert!(huge.wrong_n.iter().all(|wrong| wrong.is_finite()), "{huge:?}");
}
