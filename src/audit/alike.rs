//! Texts that are nearly the same: the Jaccard similarity of their runs of five characters.
//!
//! All pairs above a threshold share one of their rarest runs, so only rows under these are compared (prefix
//! filtering: Chaudhuri, Ganti and Kaushik, ICDE 2006; Bayardo, Ma and Srikant, WWW 2007). The result is exact for
//! what is looked at: case, accents and white space are folded, and of a text the first [`CHARACTERS`] count.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

use rayon::prelude::*;

/// Characters of a run.
const RUN: usize = 5;
/// Characters of a text that count.
const CHARACTERS: usize = 2000;
/// Texts are nearly the same from this similarity on.
const SIMILAR: f64 = 0.8;

/// A row whose text is that of an earlier row, or nearly.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Alike {
    pub row: usize,
    /// The first one that was found.
    pub earlier: usize,
    /// 1 where they are the same but for case, accents and white space.
    pub similarity: f64,
}

/// Rows whose text is nearly that of an earlier row. `keys` are equal where texts are the same, and `folded` gives a
/// text as it is compared.
pub fn alike(keys: &[u64], folded: impl Fn(usize) -> String + Sync) -> Vec<Alike> {
    let mut first: HashMap<u64, usize> = HashMap::new();
    let mut found = Vec::new();
    let mut rows = Vec::new();
    for (row, &key) in keys.iter().enumerate() {
        match first.entry(key) {
            Entry::Occupied(earlier) => {
                found.push(Alike { row, earlier: *earlier.get(), similarity: 1.0 });
            }
            Entry::Vacant(place) => {
                place.insert(row);
                rows.push(row);
            }
        }
    }
    let runs: Vec<Vec<u32>> = rows.par_iter().map(|&row| runs(&folded(row))).collect();
    let near = nearly(&runs);
    let row = |(place, earlier, similarity): (usize, usize, f64)| Alike {
        row: rows[place],
        earlier: rows[earlier],
        similarity,
    };
    found.extend(near.into_iter().map(row));
    found.sort_by_key(|one| one.row);
    found
}

/// The runs of a text, by their hashes, ascending and each once. A short text is one run.
fn runs(text: &str) -> Vec<u32> {
    let characters: Vec<char> = text.chars().take(CHARACTERS).collect();
    let windows = characters.windows(RUN.min(characters.len().max(1)));
    let mut runs: Vec<u32> = windows.map(hash).collect();
    runs.sort_unstable();
    runs.dedup();
    runs
}

/// FNV-1a, which is the same everywhere.
fn hash(run: &[char]) -> u32 {
    let bytes = run.iter().flat_map(|&character| u32::from(character).to_le_bytes());
    let mixed = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (mixed ^ (mixed >> 32)) as u32
}

/// Each set that is nearly an earlier one, with the first such and their similarity.
fn nearly(sets: &[Vec<u32>]) -> Vec<(usize, usize, f64)> {
    let mut count: HashMap<u32, u32> = HashMap::new();
    sets.iter().flatten().for_each(|run| *count.entry(*run).or_default() += 1);
    let rarest: Vec<Vec<u32>> = sets.par_iter().map(|set| rarest(set, &count)).collect();
    let mut index: HashMap<u32, Vec<u32>> = HashMap::new();
    for (place, runs) in rarest.iter().enumerate() {
        runs.iter().for_each(|&run| index.entry(run).or_default().push(place as u32));
    }
    let near = |place: usize| {
        let earlier = |run| index[run].iter().copied().take_while(|&one| (one as usize) < place);
        let mut candidates: Vec<u32> = rarest[place].iter().flat_map(earlier).collect();
        candidates.sort_unstable();
        candidates.dedup();
        candidates.into_iter().find_map(|earlier| {
            let similarity = jaccard(&sets[place], &sets[earlier as usize])?;
            Some((place, earlier as usize, similarity))
        })
    };
    (0..sets.len()).into_par_iter().filter_map(near).collect()
}

/// The rarest runs of a set: whatever is similar to it has one of these. A run that no other set has leads nowhere.
fn rarest(set: &[u32], count: &HashMap<u32, u32>) -> Vec<u32> {
    let shared = (SIMILAR * set.len() as f64).ceil() as usize;
    let mut rarest: Vec<(u32, u32)> = set.iter().map(|run| (count[run], *run)).collect();
    rarest.sort_unstable();
    rarest.truncate(set.len() + 1 - shared.max(1));
    rarest.into_iter().filter(|(count, _)| *count > 1).map(|(_, run)| run).collect()
}

/// |a ∩ b| / |a ∪ b| of sets that are sorted, where that is [`SIMILAR`] or more. Most pairs are far from it, which
/// shows after a few of their elements.
fn jaccard(a: &[u32], b: &[u32]) -> Option<f64> {
    let total = a.len() + b.len();
    // The least |a ∩ b| that is enough; one less, so that rounding loses no pair.
    let least = (SIMILAR / (1.0 + SIMILAR) * total as f64) as usize;
    let (mut i, mut j, mut both) = (0, 0, 0usize);
    while i < a.len() && j < b.len() && both + (a.len() - i).min(b.len() - j) >= least {
        match a[i].cmp(&b[j]) {
            Ordering::Less => i += 1,
            Ordering::Greater => j += 1,
            Ordering::Equal => (i, j, both) = (i + 1, j + 1, both + 1),
        }
    }
    let similarity = both as f64 / (total - both) as f64;
    (similarity >= SIMILAR).then_some(similarity)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::{Noise, Purpose};

    fn found(texts: &[&str]) -> Vec<(usize, usize)> {
        let keys: Vec<u64> = texts
            .iter()
            .map(|text| text.bytes().fold(7u64, |a, b| a.wrapping_mul(31) + u64::from(b)))
            .collect();
        let all = alike(&keys, |row| texts[row].to_owned());
        all.into_iter().map(|one| (one.row, one.earlier)).collect()
    }

    #[test]
    fn a_word_more_is_nearly_the_same_and_another_text_is_not() {
        let text = "please send the parcel to my new address in the old town of the city";
        let more = "please send the parcel to my new address in the old town of the city now";
        let other = "the parcel never came and nobody answers the telephone at the shop";
        assert_eq!(found(&[text, other, more, text]), [(2, 0), (3, 0)]);
        assert_eq!(found(&["a", "b", "ab", "abc"]), []);
        assert_eq!(found(&["", "x"]), []);
        assert_eq!(found(&[]), []);
    }

    /// Against all pairs, on sets that are copies of each other with holes.
    #[test]
    fn nothing_is_lost_by_looking_at_the_rarest_runs_alone() {
        let mut stream = Noise::new(3).stream(Purpose::Init, 0, 0);
        let mut sets: Vec<Vec<u32>> = Vec::new();
        for place in 0..400 {
            let mut set: Vec<u32> = match place % 4 {
                0 => (0..1 + stream.below(60)).map(|_| stream.below(300)).collect(),
                _ => sets[stream.below(place) as usize].clone(),
            };
            for _ in 0..stream.below(8) {
                set.push(stream.below(300));
                let hole = stream.below(set.len() as u32) as usize;
                set.swap_remove(hole);
            }
            set.sort_unstable();
            set.dedup();
            sets.push(set);
        }
        let plain: Vec<(usize, usize)> = (0..sets.len())
            .filter_map(|place| {
                let near = |&earlier: &usize| {
                    let (a, b) = (&sets[place], &sets[earlier]);
                    let both = a.iter().filter(|run| b.contains(run)).count();
                    both as f64 >= SIMILAR * (a.len() + b.len() - both) as f64 && both > 0
                };
                (0..place).find(near).map(|earlier| (place, earlier))
            })
            .collect();
        let fast: Vec<(usize, usize)> =
            nearly(&sets).into_iter().map(|(place, earlier, _)| (place, earlier)).collect();
        assert!(plain.len() > 100, "{}", plain.len());
        assert_eq!(fast, plain);
    }
}
