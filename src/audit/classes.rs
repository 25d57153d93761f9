//! Classes that are too small to be learned, and pairs that a classifier cannot tell apart.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::metrics::argmax;
use crate::train::class_counts;

/// Fewer rows than this are few to learn a class from, and to test it with.
pub const FEW: u64 = 10;
/// From this share on, pairs of classes are named.
const SHARE: f64 = 0.1;
/// Fewer rows than this may be chance.
const ROWS: u64 = 5;

/// A class with few rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RareClass {
    pub label: String,
    pub rows: u64,
}

/// Two classes of which many rows are taken for the other one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Confused {
    pub labels: [String; 2],
    /// Rows with one of the two labels.
    pub rows: u64,
    /// Those among them that the classifier takes for the other one of the two.
    pub taken: u64,
    pub share: f64,
}

/// Classes with fewer than [`FEW`] rows, the smallest first.
pub fn rare(labels: &[u32], names: &[String]) -> Vec<RareClass> {
    let counts = class_counts(labels, names.len());
    let all = names.iter().zip(counts).filter(|(_, rows)| *rows < FEW);
    let mut rare: Vec<RareClass> =
        all.map(|(label, rows)| RareClass { label: label.clone(), rows }).collect();
    rare.sort_by_key(|class| class.rows);
    rare
}

/// Pairs of classes by logits `[n, c]` of a classifier that has not seen the rows, the largest share first.
pub fn confused(logit_nc: &[f64], labels: &[u32], names: &[String]) -> Vec<Confused> {
    let counts = class_counts(labels, names.len());
    let mut taken: BTreeMap<[u32; 2], u64> = BTreeMap::new();
    for (logit_c, &label) in logit_nc.chunks_exact(names.len()).zip(labels) {
        let said = argmax(logit_c) as u32;
        if said != label {
            *taken.entry([said.min(label), said.max(label)]).or_default() += 1;
        }
    }
    let pair = |([a, b], taken): ([u32; 2], u64)| {
        let (a, b) = (a as usize, b as usize);
        let rows = counts[a] + counts[b];
        let share = taken as f64 / rows as f64;
        let labels = [names[a].clone(), names[b].clone()];
        (taken >= ROWS && share >= SHARE).then_some(Confused { labels, rows, taken, share })
    };
    let mut found: Vec<Confused> = taken.into_iter().filter_map(pair).collect();
    found.sort_by(|a, b| b.share.total_cmp(&a.share));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_classes_and_pairs_that_are_mixed_up_are_named() {
        let names = ["a", "b", "c"].map(str::to_owned);
        let labels: Vec<u32> = (0..50).map(|row| if row < 3 { 2 } else { row % 2 }).collect();
        let rare = rare(&labels, &names);
        assert_eq!(rare, [RareClass { label: "c".to_owned(), rows: 3 }]);
        // The last ten rows are taken for the other class of the first two.
        let said = |row: u32| if row < 3 { 2 } else { (row + u32::from(row >= 40)) % 2 };
        let logit_nc: Vec<f64> = (0..50)
            .flat_map(|row| (0..3).map(move |c| f64::from(u8::from(c == said(row)))))
            .collect();
        let found = confused(&logit_nc, &labels, &names);
        let [one] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!((one.rows, one.taken), (47, 10));
        assert_eq!(one.labels, ["a", "b"]);
    }
}
