//! Texts of no class: by which score can they be told from the others?

use std::collections::BTreeMap;

use serde::Serialize;

use super::report::{stream, uncertainty};
use super::{Answer, Uncertainty};
use crate::compute::{Noise, Purpose};
use crate::metrics::{Detection, MetricsError, RESAMPLES, detect};

/// Bars of a histogram.
const BARS: usize = 30;
/// Share of the rows at each end that the outermost bars take together, however far away.
const TAIL: f64 = 0.005;

/// How well texts of one source are told from the labelled ones.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OutOfScope {
    pub rows: usize,
    /// Rows that were truncated.
    pub truncated: usize,
    /// The score behind the figures beside: `novelty` where the model has it, else `confidence`.
    pub score: &'static str,
    /// How well it tells them apart.
    #[serde(flatten)]
    pub detection: Detection,
    /// The same for every score that the model has: `confidence` (1 − p of the predicted class),
    /// `entropy`, `mutual_information`, `novelty`.
    pub by_score: BTreeMap<&'static str, Detection>,
    /// Mean uncertainty of these texts.
    pub uncertainty: Option<Uncertainty>,
    /// The score of these texts and of the labelled ones.
    pub histogram: Histogram,
}

/// Two groups of rows by score, in bars of equal width.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Histogram {
    /// Where the first bar begins; it holds what is lower too.
    pub from: f64,
    /// Where the last bar ends; it holds what is higher too.
    pub to: f64,
    /// Labelled texts in each bar.
    pub inside: Vec<usize>,
    /// Texts of no class in each bar.
    pub outside: Vec<usize>,
}

/// Every score in which higher means stranger, if all rows have it.
fn scores(rows: &[&Answer]) -> BTreeMap<&'static str, Vec<f64>> {
    let all = |value: &dyn Fn(&Answer) -> Option<f64>| -> Option<Vec<f64>> {
        rows.iter().map(|one| value(one)).collect()
    };
    [
        ("confidence", all(&|one| Some(1.0 - one.confidence()))),
        ("entropy", all(&|one| Some(one.total))),
        ("mutual_information", all(&|one| one.epistemic)),
        ("novelty", all(&|one| one.novelty.map(|novelty| novelty.score))),
    ]
    .into_iter()
    .filter_map(|(name, values)| Some((name, values?)))
    .collect()
}

pub(super) fn outside(
    inside: &[&Answer],
    sources: &BTreeMap<&str, Vec<&Answer>>,
    noise: &Noise,
) -> Result<BTreeMap<String, OutOfScope>, MetricsError> {
    let inside = scores(inside);
    let mut reports = BTreeMap::new();
    for (number, (source, rows)) in sources.iter().enumerate() {
        let mut stream = noise.stream(Purpose::Bootstrap, number as u64, stream::OUTSIDE);
        let mut outside = scores(rows);
        outside.retain(|name, _| inside.contains_key(name));
        let pairs: Vec<(Vec<f64>, Vec<f64>)> =
            outside.iter().map(|(name, values)| (inside[name].clone(), values.clone())).collect();
        let found = detect(&pairs, RESAMPLES, &mut || stream.uniform())?;
        let by_score: BTreeMap<&'static str, Detection> =
            outside.keys().copied().zip(found).collect();
        let score = if by_score.contains_key("novelty") { "novelty" } else { "confidence" };
        reports.insert(
            (*source).to_owned(),
            OutOfScope {
                rows: rows.len(),
                truncated: rows.iter().filter(|one| one.truncated).count(),
                score,
                detection: by_score[score],
                by_score,
                uncertainty: uncertainty(rows),
                histogram: Histogram::new(&inside[score], &outside[score]),
            },
        );
    }
    Ok(reports)
}

impl Histogram {
    /// Of two lists of which one at least has an element.
    fn new(inside: &[f64], outside: &[f64]) -> Self {
        let mut all = [inside, outside].concat();
        all.sort_unstable_by(f64::total_cmp);
        let cut = (TAIL * all.len() as f64) as usize;
        let (from, to) = (all[cut], all[all.len() - 1 - cut]);
        let bar = |value: f64| {
            let place = if to > from { (value - from) / (to - from) * BARS as f64 } else { 0.0 };
            (place.max(0.0) as usize).min(BARS - 1)
        };
        let count = |values: &[f64]| {
            let mut counts = vec![0; BARS];
            values.iter().for_each(|&value| counts[bar(value)] += 1);
            counts
        };
        Self { from, to, inside: count(inside), outside: count(outside) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_counts_every_row_and_an_outlier_does_not_stretch_it() {
        let inside: Vec<f64> = (0..1000).map(|i| f64::from(i) / 1000.0).collect();
        let histogram = Histogram::new(&inside, &[0.5, 1e9, -1e9]);
        assert_eq!(histogram.inside.iter().sum::<usize>(), 1000);
        assert_eq!(histogram.outside.iter().sum::<usize>(), 3);
        assert_eq!((histogram.outside[0], histogram.outside[15], histogram.outside[29]), (1, 1, 1));
        assert!(histogram.from >= 0.0 && histogram.to < 1.0);
        let flat = Histogram::new(&[0.25; 4], &[0.25]);
        assert_eq!((flat.inside[0], flat.outside[0]), (4, 1));
    }
}
