//! Scores of held-out rows, apart by length.

/// Scores of held-out rows, group by group.
#[derive(Clone, Debug, PartialEq)]
pub struct LengthGroups {
    /// The least tokens of each group but the first, ascending.
    bounds: Vec<u32>,
    /// The scores of each group, ascending: one group more than there are bounds.
    scores: Vec<Vec<f64>>,
}

impl LengthGroups {
    /// Rows of all lengths in one group.
    pub fn one(mut scores: Vec<f64>) -> Self {
        scores.sort_by(f64::total_cmp);
        Self { bounds: Vec::new(), scores: vec![scores] }
    }

    /// Divides scores of rows of so many tokens at these bounds.
    pub fn new(scores: &[f64], tokens: &[u32], bounds: Vec<u32>) -> Self {
        let mut groups = vec![Vec::new(); bounds.len() + 1];
        for (row, &score) in scores.iter().enumerate() {
            groups[group(&bounds, tokens[row])].push(score);
        }
        groups.iter_mut().for_each(|scores| scores.sort_by(f64::total_cmp));
        Self { bounds, scores: groups }
    }

    /// From what a file holds; `None` if bounds do not ascend, there is not one group more than bounds,
    /// or a group's scores are not finite and ascending.
    pub fn from_parts(bounds: Vec<u32>, scores: Vec<Vec<f64>>) -> Option<Self> {
        let ascending = bounds.is_sorted_by(|a, b| a < b);
        let fit =
            |scores: &Vec<f64>| scores.iter().all(|score| score.is_finite()) && scores.is_sorted();
        let fits = ascending && scores.len() == bounds.len() + 1 && scores.iter().all(fit);
        fits.then_some(Self { bounds, scores })
    }

    /// Bounds of groups that hold at least `least` of `rows` rows each, in expectation, by the lengths of
    /// other rows of the same kind: the promise of a p-value needs bounds that the rows behind it did not
    /// choose.
    pub fn bounds(others: &[u32], rows: usize, least: usize) -> Vec<u32> {
        let mut sorted = others.to_vec();
        sorted.sort_unstable();
        let needed = (least * sorted.len()).div_ceil(rows.max(1)).max(1);
        let mut bounds = Vec::new();
        let mut start = 0;
        for (place, pair) in sorted.windows(2).enumerate() {
            let next = place + 1;
            let enough = next - start >= needed && sorted.len() - next >= needed;
            if pair[0] < pair[1] && enough {
                bounds.push(pair[1]);
                start = next;
            }
        }
        bounds
    }

    /// The least tokens of each group but the first.
    pub fn between(&self) -> &[u32] {
        &self.bounds
    }

    /// The scores of each group.
    pub fn groups(&self) -> &[Vec<f64>] {
        &self.scores
    }

    /// The scores that a text of so many tokens is compared with, ascending.
    pub fn of(&self, tokens: u32) -> &[f64] {
        &self.scores[group(&self.bounds, tokens)]
    }

    /// The rows of the smallest group.
    pub fn fewest(&self) -> usize {
        self.scores.iter().map(Vec::len).min().unwrap_or(0)
    }
}

fn group(bounds: &[u32], tokens: u32) -> usize {
    bounds.partition_point(|&bound| bound <= tokens)
}
