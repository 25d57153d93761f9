//! The sample of a stream: rows from all parts of the files, in which every label has its share.
//!
//! The column of the labels is read of every row group. It says how many rows of a label each group has, so
//! the rows of a label can be numbered over all groups: one is drawn from each of as many equal stretches as
//! there are rows to take.

use std::collections::BTreeMap;

use super::DataError;
use super::table::Row;
use crate::compute::{Noise, Purpose};

/// Row groups that are read for it, besides those with a label that these lack.
const MOST_GROUPS: usize = 64;
/// Rows of a label whose share is smaller, as far as there are any.
const LEAST: u64 = 10;

/// Rows by label as it is written.
pub(super) type Counts = BTreeMap<String, u64>;

/// What is drawn from.
pub(super) struct Drawn<'a> {
    /// Of each row group.
    pub(super) counts: &'a [Counts],
    /// Rows to draw, about.
    pub(super) rows: usize,
    pub(super) noise: Noise,
}

impl Drawn<'_> {
    /// Draws; `fetch` gives the rows of a group, `label` that of a row.
    pub(super) fn draw(
        &self,
        mut fetch: impl FnMut(usize) -> Result<Vec<Row>, DataError>,
        label: impl Fn(&Row) -> Option<String>,
    ) -> Result<Vec<Row>, DataError> {
        let groups = self.groups();
        let wanted = self.wanted(&groups);
        // Of each label: how many rows have been passed, and how many were taken.
        let mut passed: BTreeMap<&str, (u64, usize)> = BTreeMap::new();
        let mut rows = Vec::with_capacity(self.rows);
        for group in groups {
            for row in fetch(group)? {
                let Some(label) = label(&row) else { continue };
                let Some((label, numbers)) = wanted.get_key_value(&label) else { continue };
                let (number, taken) = passed.entry(label).or_default();
                if numbers.get(*taken) == Some(number) {
                    *taken += 1;
                    rows.push(row);
                }
                *number += 1;
            }
        }
        self.noise.stream(Purpose::Sample, 0, 2).shuffle(&mut rows);
        Ok(rows)
    }

    /// The groups to read, ascending: all, or one of each of as many stretches.
    fn groups(&self) -> Vec<usize> {
        let all = self.counts.len();
        if all <= MOST_GROUPS {
            return (0..all).collect();
        }
        let mut stream = self.noise.stream(Purpose::Sample, 0, 3);
        let edge = |stretch: usize| stretch * all / MOST_GROUPS;
        let mut groups: Vec<usize> = (0..MOST_GROUPS)
            .map(|stretch| {
                let (start, end) = (edge(stretch), edge(stretch + 1));
                start + stream.below((end - start) as u32) as usize
            })
            .collect();
        for label in self.whole().keys() {
            let rows = |group: &usize| self.counts[*group].get(label).copied().unwrap_or(0);
            if groups.iter().all(|group| rows(group) == 0) {
                groups.extend((0..all).max_by_key(rows));
            }
        }
        groups.sort_unstable();
        groups
    }

    /// Which rows of each label to take, by their number among those of the label in these groups.
    fn wanted(&self, groups: &[usize]) -> BTreeMap<String, Vec<u64>> {
        let whole = self.whole();
        let all: u64 = whole.values().sum();
        let least = LEAST.min(self.rows as u64 / whole.len().max(1) as u64).max(1);
        let mut stream = self.noise.stream(Purpose::Sample, 0, 4);
        let of_label = |(label, count): (String, u64)| {
            let here = groups.iter().filter_map(|&group| self.counts[group].get(&label)).sum();
            let share = (count as f64 * self.rows as f64 / all as f64).round() as u64;
            let take = share.max(least).min(here);
            let edge =
                |stretch: u64| (u128::from(stretch) * u128::from(here) / u128::from(take)) as u64;
            let one = |stretch: u64| {
                let (start, end) = (edge(stretch), edge(stretch + 1));
                start + u64::from(stream.below(u32::try_from(end - start).unwrap_or(u32::MAX)))
            };
            let numbers: Vec<u64> = (0..take).map(one).collect();
            (label, numbers)
        };
        whole.into_iter().map(of_label).collect()
    }

    fn whole(&self) -> Counts {
        sum(self.counts)
    }
}

pub(super) fn sum<'a>(counts: impl IntoIterator<Item = &'a Counts>) -> Counts {
    let mut whole = Counts::new();
    for (label, count) in counts.into_iter().flatten() {
        *whole.entry(label.clone()).or_default() += count;
    }
    whole
}

/// How far the labels of a window of groups are from those of all: the share of its rows that would have
/// to have another label.
pub(super) fn distance(window: &Counts, whole: &Counts) -> f64 {
    let rows = |counts: &Counts| counts.values().sum::<u64>().max(1) as f64;
    let (own, all) = (rows(window), rows(whole));
    let share = |label: &String| window.get(label).copied().unwrap_or(0) as f64 / own;
    whole.iter().map(|(label, count)| (share(label) - *count as f64 / all).abs()).sum::<f64>() / 2.0
}

/// About how far they are where the window is a sample: by the standard error of each share.
pub(super) fn by_chance(window: &Counts, whole: &Counts) -> f64 {
    let rows = window.values().sum::<u64>().max(1) as f64;
    0.5 * (whole.len() as f64 / rows).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::table::Value;

    /// Groups of 100 rows, by label.
    fn counts(groups: &[&[(&str, u64)]]) -> Vec<Counts> {
        let one = |group: &&[(&str, u64)]| {
            group.iter().map(|(label, count)| ((*label).to_owned(), *count)).collect()
        };
        groups.iter().map(one).collect()
    }

    fn drawn(counts: &[Counts], rows: usize) -> (Vec<Row>, Vec<usize>) {
        let mut fetched = Vec::new();
        let fetch = |group: usize| {
            fetched.push(group);
            let of_label =
                |(label, count): (&String, &u64)| vec![Value::Text(label.clone()); *count as usize];
            let values = counts[group].iter().flat_map(of_label).enumerate();
            let row = |(place, value): (usize, Value)| Row {
                line: (group * 100 + place) as u64,
                values: vec![value],
            };
            Ok(values.map(row).collect())
        };
        let label = |row: &Row| row.values[0].as_text().map(|text| text.into_owned());
        let sample = Drawn { counts, rows, noise: Noise::new(0) }.draw(fetch, label).unwrap();
        (sample, fetched)
    }

    fn by_label(rows: &[Row]) -> Counts {
        let mut counts = Counts::new();
        for row in rows {
            *counts.entry(row.values[0].written().into_owned()).or_default() += 1;
        }
        counts
    }

    #[test]
    fn a_sorted_file_gives_rows_of_every_label_and_every_part() {
        let sorted = counts(&[
            &[("a", 100)],
            &[("a", 100)],
            &[("a", 50), ("b", 50)],
            &[("b", 90), ("c", 10)],
        ]);
        let (rows, _) = drawn(&sorted, 40);
        assert_eq!(by_label(&rows), counts(&[&[("a", 25), ("b", 14), ("c", 10)]])[0]);
        for group in 0..4 {
            let own = rows.iter().filter(|row| row.line / 100 == group).count();
            assert!((8..20).contains(&own), "{own} rows of group {group}");
        }
        assert_ne!(rows, {
            let mut rows = rows.clone();
            rows.sort_by_key(|row| row.line);
            rows
        });
        let mut lines: Vec<u64> = drawn(&sorted, 400).0.iter().map(|row| row.line).collect();
        lines.sort_unstable();
        assert!(lines.into_iter().eq(0..400), "all rows, each once");
    }

    #[test]
    fn of_many_groups_some_are_read_and_all_that_a_label_needs() {
        let mut many = counts(&vec![&[("a", 60), ("b", 40)][..]; 1000]);
        many[777] = counts(&[&[("a", 95), ("rare", 5)]]).remove(0);
        let (rows, fetched) = drawn(&many, 500);
        assert!(fetched.len() <= MOST_GROUPS + 1 && fetched.contains(&777));
        let found = by_label(&rows);
        assert_eq!((found["a"], found["b"], found["rare"]), (300, 200, 5));
    }

    #[test]
    fn the_distance_is_the_share_of_rows_with_another_label() {
        let all = counts(&[&[("a", 100), ("b", 100)], &[("a", 10)], &[("a", 3), ("b", 1)]]);
        assert_eq!([0, 1, 2].map(|one| distance(&all[one], &all[0])), [0.0, 0.5, 0.25]);
    }
}
