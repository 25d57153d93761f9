//! What the newest labels say of the model in service.
//!
//! The figures are those that `bayes eval` gives for the same rows: accuracy, ECE over 15 bins with its noise floor,
//! the Brier score, and for each coverage that was asked for the share of sets that hold the label, with the band in
//! which that share is 95 times of 100 where the rows are like those of the calibration.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;
use utoipa::ToSchema;

use super::id::{ModelMark, Named};
use super::record::Rank;
use crate::calibrate::conformal::exchange::miss_band;
use crate::calibrate::conformal::{Conformal, Groups};
use crate::compute::{Noise, Purpose};
use crate::metrics::{BINS, FLOOR_RESAMPLES, top_label_ece, top_label_floor};

/// Coverages that are reported: those that most labels are for.
const MOST_TARGETS: usize = 8;
/// Fewer labels say nothing.
pub const FEWEST: usize = 50;
/// The share of draws that a band holds.
const LEVEL: f64 = 0.95;

/// A label beside what was predicted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Labelled {
    /// Of the model that predicted.
    pub model: [u8; 8],
    pub class: u32,
    pub hit: bool,
    confidence: f64,
    brier: f64,
    /// The coverage of the set, and whether it holds the label.
    set: Option<(f32, bool)>,
}

impl Labelled {
    /// `None` for a class that the prediction does not have.
    pub fn new(named: &Named, class: u32) -> Option<Self> {
        let place = class as usize;
        let target = |other: usize| if other == place { 1.0 } else { 0.0 };
        let p = named.probability_c.iter().enumerate();
        let held = |(coverage, set): &(f32, Vec<bool>)| Some((*coverage, *set.get(place)?));
        (place < named.probability_c.len()).then(|| Self {
            model: named.model.version,
            class,
            hit: named.predicted == place,
            confidence: named.confidence,
            brier: p.map(|(other, &p)| (f64::from(p) - target(other)).powi(2)).sum(),
            set: named.set.as_ref().and_then(held),
        })
    }
}

/// The newest labels of all models that were in service, each prediction once. What is in it does not depend on the
/// order in which labels are added, so it is the same at all replicas that have heard of all of them.
#[derive(Debug)]
pub struct Window {
    /// By the time at which the label came, and the prediction's UUID.
    rows: BTreeMap<(u64, [u8; 16]), Labelled>,
    /// The time of each prediction's label.
    times: HashMap<[u8; 16], u64>,
    /// The newest that there was no room for.
    left: (u64, [u8; 16]),
    most: usize,
    /// Counts changes.
    version: u64,
    computed: Option<(u64, ModelMark, Option<Figures>)>,
}

/// What the labels in the window say.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Figures {
    /// Number of labels.
    pub labels: usize,
    /// Share of them that the model predicted.
    pub accuracy: f64,
    /// Expected calibration error, 15 bins.
    pub ece: f64,
    /// What it would be by chance if the model were perfectly calibrated.
    pub ece_floor: f64,
    /// Mean squared distance of the probabilities from the label.
    pub brier: f64,
    /// Of prediction sets, by the coverage that was asked for.
    pub coverage: Vec<Coverage>,
}

/// How sets of one coverage kept their promise.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Coverage {
    /// The coverage that was asked for.
    pub target: f64,
    /// Number of labels.
    pub labels: usize,
    /// Share of sets that contain the label.
    pub share: f64,
    /// Where that share lies in 95 of 100 cases if the texts are like the calibration rows: from this
    pub low: Option<f64>,
    /// to this; `null` without calibration rows.
    pub high: Option<f64>,
}

impl Window {
    /// Of so many labels.
    pub fn new(most: usize) -> Self {
        let (rows, times) = (BTreeMap::new(), HashMap::new());
        Self { rows, times, left: (0, [0; 16]), most, version: 0, computed: None }
    }

    /// A label came at a time for a prediction; whether it is the first that is heard of. Of several of one
    /// prediction the first by time stands.
    pub fn add(&mut self, at: u64, uuid: [u8; 16], row: Labelled) -> bool {
        if let Some(own) = self.known(uuid) {
            if (at, row.class) < own {
                self.rows.remove(&(own.0, uuid));
                self.put(at, uuid, row);
            }
            return false;
        }
        if (at, uuid) <= self.left {
            return false;
        }
        self.put(at, uuid, row);
        if self.rows.len() > self.most
            && let Some((oldest, _)) = self.rows.pop_first()
        {
            self.times.remove(&oldest.1);
            self.left = oldest.max(self.left);
        }
        true
    }

    /// The label of a prediction, as far as it is here.
    pub fn known(&self, uuid: [u8; 16]) -> Option<Rank> {
        let time = *self.times.get(&uuid)?;
        Some((time, self.rows.get(&(time, uuid))?.class))
    }

    fn put(&mut self, at: u64, uuid: [u8; 16], row: Labelled) {
        self.rows.insert((at, uuid), row);
        self.times.insert(uuid, at);
        self.version += 1;
    }

    /// What the labels of this model say, or those that it is to be computed from.
    pub fn asked(&self, mark: ModelMark) -> Asked {
        match &self.computed {
            Some((version, of, figures)) if (*version, *of) == (self.version, mark) => {
                Asked::Known(figures.clone())
            }
            _ => {
                let rows = self.rows.values().filter(|row| row.model == mark.version);
                Asked::New(rows.copied().collect(), self.version)
            }
        }
    }

    /// Keeps what was computed from a version.
    pub fn keep(&mut self, mark: ModelMark, version: u64, figures: Option<Figures>) {
        self.computed = Some((version, mark, figures));
    }
}

/// What is known of the labels of a model.
pub enum Asked {
    Known(Option<Figures>),
    /// The labels, and the version of them.
    New(Vec<Labelled>, u64),
}

/// `None` where the labels are too few.
pub fn figures(rows: &[Labelled], conformal: Option<&Conformal>) -> Option<Figures> {
    if rows.len() < FEWEST {
        return None;
    }
    let count = rows.len() as f64;
    let top: Vec<(f64, bool)> = rows.iter().map(|row| (row.confidence, row.hit)).collect();
    let mut stream = Noise::new(0).stream(Purpose::Bootstrap, 0, 0);
    let floor = top_label_floor(&top, BINS, FLOOR_RESAMPLES, &mut || stream.uniform());
    let mut by_target: BTreeMap<u32, Vec<(u32, bool)>> = BTreeMap::new();
    for row in rows {
        if let Some((target, held)) = row.set {
            // Numbers between 0 and 1 are ordered as their bits are.
            by_target.entry(target.to_bits()).or_default().push((row.class, held));
        }
    }
    // Clients choose them, and each is a series of its own.
    let mut enough: Vec<(u32, Vec<(u32, bool)>)> =
        by_target.into_iter().filter(|(_, rows)| rows.len() >= FEWEST).collect();
    enough.sort_by_key(|(_, rows)| std::cmp::Reverse(rows.len()));
    enough.truncate(MOST_TARGETS);
    enough.sort_by_key(|(target, _)| *target);
    Some(Figures {
        labels: rows.len(),
        accuracy: rows.iter().filter(|row| row.hit).count() as f64 / count,
        ece: top_label_ece(&top, BINS),
        ece_floor: floor.mean,
        brier: rows.iter().map(|row| row.brier).sum::<f64>() / count,
        coverage: enough
            .into_iter()
            .map(|(target, rows)| coverage(f32::from_bits(target), &rows, conformal))
            .collect(),
    })
}

fn coverage(target: f32, rows: &[(u32, bool)], conformal: Option<&Conformal>) -> Coverage {
    // As it was asked for, and not as the nearest f32.
    let target: f64 = target.to_string().parse().unwrap_or(f64::from(target));
    let count = rows.len() as f64;
    let band = conformal.and_then(|conformal| {
        let Groups { group_c, scores } = conformal.groups(1.0 - target);
        let mut groups: Vec<(usize, usize)> =
            scores.iter().map(|scores| (scores.len(), 0)).collect();
        for (class, _) in rows {
            groups[*group_c.get(*class as usize)?].1 += 1;
        }
        let (low, high) = miss_band(&groups, 1.0 - target, LEVEL);
        Some((1.0 - high as f64 / count, 1.0 - low as f64 / count))
    });
    let (low, high) = band.unzip();
    let held = rows.iter().filter(|(_, held)| *held).count();
    Coverage { target, labels: rows.len(), share: held as f64 / count, low, high }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Scored, brier, ece};

    fn named(probability_c: &[f32], model: u8) -> Named {
        let most = probability_c.iter().copied().fold(0.0, f32::max);
        Named {
            uuid: [0; 16],
            model: ModelMark { version: [model; 8], labels: [0; 8] },
            text: [0; 8],
            predicted: probability_c.iter().position(|&p| p >= most).unwrap(),
            confidence: f64::from(most),
            uniform: 0.0,
            set: Some((0.9, vec![true, false, true])),
            probability_c: probability_c.to_vec(),
        }
    }

    fn uuid(row: u32) -> [u8; 16] {
        u128::from(row).to_be_bytes()
    }

    fn of(window: &Window, model: u8) -> Option<Figures> {
        match window.asked(ModelMark { version: [model; 8], labels: [0; 8] }) {
            Asked::Known(figures) => figures,
            Asked::New(rows, _) => figures(&rows, None),
        }
    }

    #[test]
    fn the_figures_are_those_of_the_newest_labels_of_the_model() {
        let mut window = Window::new(100);
        let (mut p_nc, mut labels) = (Vec::new(), Vec::new());
        for row in 0..150u32 {
            let p = 0.4 + 0.5 * (row % 7) as f32 / 7.0;
            let probability_c = [p, (1.0 - p) * 0.75, (1.0 - p) * 0.25];
            let class = row % 3;
            let labelled = Labelled::new(&named(&probability_c, 1), class).unwrap();
            assert!(window.add(u64::from(row) + 1, uuid(row), labelled));
            if row >= 50 {
                p_nc.extend(probability_c.map(f64::from));
                labels.push(class);
            }
            assert_eq!(of(&window, 1).is_some(), row + 1 >= FEWEST as u32, "{row}");
        }
        let found = of(&window, 1).unwrap();
        let scored = Scored::new(&p_nc, 3, &labels).unwrap();
        assert!((found.ece - ece(&scored, BINS)).abs() < 1e-12);
        assert!((found.brier - brier(&scored)).abs() < 1e-12);
        assert_eq!((found.labels, of(&window, 2)), (100, None));
        let [sets] = &found.coverage[..] else { panic!("{found:?}") };
        assert_eq!((sets.target, sets.labels, sets.low), (0.9, 100, None));
        assert!((sets.share - 2.0 / 3.0).abs() < 0.01);
        assert_eq!(Labelled::new(&named(&[1.0], 1), 1), None);
    }

    /// Also where a prediction has several labels, and some come again and again.
    #[test]
    fn the_order_in_which_labels_are_heard_of_changes_nothing() {
        let rows: Vec<(u64, [u8; 16], Labelled)> = (0..200u32)
            .map(|row| {
                // Every fourth prediction has two labels, which differ.
                let prediction = if row % 4 == 3 { row - 1 } else { row };
                let p = (prediction % 10) as f32 / 10.0;
                let labelled = Labelled::new(&named(&[p, 1.0 - p], 1), row % 2).unwrap();
                (u64::from(row) + 1, uuid(prediction), labelled)
            })
            .collect();
        let heard = |order: &mut dyn Iterator<Item = usize>, most| {
            let mut window = Window::new(most);
            let mut new = 0;
            for place in order {
                let (at, uuid, row) = rows[place];
                new += usize::from(window.add(at, uuid, row));
            }
            (window.rows, new)
        };
        let all = heard(&mut (0..200), 1000);
        assert_eq!((all.0.len(), all.1), (150, 150));
        assert_eq!(heard(&mut (0..200).rev(), 1000), all);
        assert_eq!(heard(&mut (0..600).map(|place| (place * 7) % 200), 1000), all);
        // The newest stay, and what was there comes in no more.
        let newest = heard(&mut (0..200), 61);
        assert_eq!((newest.0.len(), newest.1), (61, 150));
        assert_eq!(newest.0.keys().next(), all.0.keys().nth(89));
        assert_eq!(heard(&mut (0..200).chain(0..200), 61), newest);
    }

    #[test]
    fn what_was_computed_is_kept_until_a_label_comes() {
        let mut window = Window::new(100);
        let mark = ModelMark { version: [1; 8], labels: [0; 8] };
        let row = Labelled::new(&named(&[0.5, 0.5], 1), 0).unwrap();
        window.add(1, uuid(1), row);
        let Asked::New(rows, version) = window.asked(mark) else { panic!() };
        window.add(1, uuid(2), row);
        window.keep(mark, version, None);
        assert!(matches!(window.asked(mark), Asked::New(..)), "a label came meanwhile");
        window.keep(mark, version + 1, None);
        assert!(matches!(window.asked(mark), Asked::Known(None)));
        assert_eq!(rows.len(), 1);
    }
}
