//! What a model makes of rows that it has not seen, by which it is chosen.

use serde::Serialize;

use crate::posterior::Predictive;
use crate::task::Task;

/// Rows that a candidate has not seen, ascending, with what it makes of each.
#[derive(Default)]
pub(super) struct Judged(Vec<(usize, Verdict)>);

#[derive(Clone, Copy)]
struct Verdict {
    nll: f64,
    hit: bool,
}

/// How good a candidate is on held-out rows.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct HeldOutScores {
    pub rows: usize,
    /// The share of right answers.
    pub accuracy: f64,
    /// Mean −ln p(label), in nats.
    pub nll: f64,
}

impl Judged {
    pub(super) fn new(
        task: Task,
        rows: &[usize],
        labels: &[u32],
        predictive: &[Predictive],
    ) -> Self {
        let verdict = |(label, one): (&u32, &Predictive)| {
            let p = one.probability_c[*label as usize];
            let hit = task.is_right(&one.probability_c, *label);
            Verdict { nll: -p.max(f64::MIN_POSITIVE).ln(), hit }
        };
        let verdicts = labels.iter().zip(predictive).map(verdict);
        let mut all: Vec<(usize, Verdict)> = rows.iter().copied().zip(verdicts).collect();
        all.sort_by_key(|(row, _)| *row);
        Self(all)
    }

    /// The rows, the easiest of them first.
    pub(super) fn by_difficulty(&self) -> Vec<usize> {
        let mut all: Vec<&(usize, Verdict)> = self.0.iter().collect();
        all.sort_by(|(_, one), (_, other)| one.nll.total_cmp(&other.nll));
        all.into_iter().map(|(row, _)| *row).collect()
    }

    /// Of the rows that are also judged by another; `None` for no rows.
    pub(super) fn scores(&self, other: &Self) -> Option<HeldOutScores> {
        let shared = |row: &usize| other.0.binary_search_by_key(row, |(row, _)| *row).is_ok();
        let own: Vec<Verdict> =
            self.0.iter().filter(|(row, _)| shared(row)).map(|(_, verdict)| *verdict).collect();
        let rows = own.len();
        let mean = |sum: f64| sum / rows as f64;
        (rows > 0).then(|| HeldOutScores {
            rows,
            accuracy: mean(own.iter().filter(|one| one.hit).count() as f64),
            nll: mean(own.iter().map(|one| one.nll).sum()),
        })
    }
}
