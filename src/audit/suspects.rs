//! Which rows a person should look at for a wrong label.

use super::noise::LabelNoise;

/// A label that is less likely wrong than this is not shown: four in five of them would be looked at for nothing.
const LEAST: f64 = 0.2;
/// A class of which a larger share seems to be wrong was not learned: no label of it is doubted.
const UNLEARNED: f64 = 0.5;

/// Rows whose label is likely wrong.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Suspects {
    /// The most certain first.
    pub rows: Vec<usize>,
    /// How many of them can be expected to be right.
    pub expected_false: f64,
    /// How many labels can be expected to be wrong in all.
    pub expected_wrong: f64,
    /// Classes that the classifier has not learned, ascending.
    pub unlearned: Vec<u32>,
}

impl Suspects {
    /// As many of the most certain rows as have the best balance of found errors and false alarms: the largest
    /// expected F1, 2 Σ_found p / (found + Σ_all p).
    pub fn new(noise: &LabelNoise, labels: &[u32], classes: usize) -> Self {
        let (mut wrong_c, mut count_c) = (vec![0.0; classes], vec![0u32; classes]);
        for (wrong, &label) in noise.wrong_n.iter().zip(labels) {
            wrong_c[label as usize] += wrong;
            count_c[label as usize] += 1;
        }
        let unlearned: Vec<u32> = (0..classes as u32)
            .filter(|&class| {
                let (wrong, count) = (wrong_c[class as usize], count_c[class as usize]);
                wrong > UNLEARNED * f64::from(count)
            })
            .collect();
        let learned = |row: &usize| unlearned.binary_search(&labels[*row]).is_err();
        let wrong = |row: usize| noise.wrong_n[row];
        let mut rows: Vec<usize> = (0..labels.len()).filter(learned).collect();
        let expected_wrong: f64 = rows.iter().map(|&row| wrong(row)).sum();
        rows.retain(|&row| wrong(row) >= LEAST);
        rows.sort_by(|&a, &b| wrong(b).total_cmp(&wrong(a)).then(a.cmp(&b)));
        let (mut found, mut best) = (0.0, (0.0, 0));
        for (place, &row) in rows.iter().enumerate() {
            found += wrong(row);
            let f1 = 2.0 * found / ((place + 1) as f64 + expected_wrong);
            if f1 > best.0 {
                best = (f1, place + 1);
            }
        }
        rows.truncate(best.1);
        let expected_false = rows.iter().map(|&row| 1.0 - wrong(row)).sum();
        Self { rows, expected_false, expected_wrong, unlearned }
    }
}
