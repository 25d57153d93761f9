//! Texts that are nearly the same: the Jaccard similarity of their runs of five characters, each as often as it occurs.
//!
//! All pairs above a threshold share one of their rarest runs, so only rows under these are compared (prefix
//! filtering: Chaudhuri, Ganti and Kaushik, ICDE 2006; Bayardo, Ma and Srikant, WWW 2007). The result is exact for
//! what is looked at: case, accents and white space are folded, and of a text the first [`CHARACTERS`] count.

use std::cmp::Ordering;
use std::collections::HashMap;

use rayon::prelude::*;

/// Characters of a run.
const RUN: usize = 5;
/// Characters of a text that count.
const CHARACTERS: usize = 2000;
/// Texts are nearly the same from this similarity on.
const SIMILAR: f64 = 0.8;

/// What is known of a row besides its texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Row {
    /// Equal where the texts are the same but for case, accents and white space.
    pub key: u64,
    pub split: usize,
    pub label: u32,
}

/// What a row is to an earlier one with the same text, or nearly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    OtherLabel,
    OtherSplit,
    SameSplit,
}

impl Relation {
    const ALL: [Self; 3] = [Self::OtherLabel, Self::OtherSplit, Self::SameSplit];

    fn of(row: &Row, earlier: &Row) -> Self {
        match (row.label == earlier.label, row.split == earlier.split) {
            (false, _) => Self::OtherLabel,
            (true, false) => Self::OtherSplit,
            (true, true) => Self::SameSplit,
        }
    }
}

/// A row whose text is that of an earlier row, or nearly.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Alike {
    pub row: usize,
    /// The first one of this relation that was found.
    pub earlier: usize,
    pub relation: Relation,
    /// Whether they are the same but for case, accents and white space.
    pub same: bool,
    /// 1 where they are, and where they differ behind what is looked at.
    pub similarity: f64,
}

/// Rows whose texts are those of an earlier row, or nearly, once for each relation. `folded` gives the one or two texts of
/// a row as they are compared.
pub fn alike(rows: &[Row], folded: impl Fn(usize) -> Vec<String> + Sync) -> Vec<Alike> {
    // The first row of each text, split and label stands for those behind it.
    let mut first: HashMap<u64, Vec<usize>> = HashMap::new();
    let (mut found, mut distinct) = (Vec::new(), Vec::new());
    for (row, own) in rows.iter().enumerate() {
        let earlier = first.entry(own.key).or_default();
        for relation in Relation::ALL {
            let is_one = |one: &&usize| Relation::of(own, &rows[**one]) == relation;
            if let Some(&earlier) = earlier.iter().find(is_one) {
                found.push(Alike { row, earlier, relation, same: true, similarity: 1.0 });
            }
        }
        if !earlier.iter().any(|&one| rows[one] == *own) {
            earlier.push(row);
            distinct.push(row);
        }
    }
    let texts: Vec<Vec<Runs>> = distinct
        .par_iter()
        .map(|&row| folded(row).iter().map(|text| runs(text)).collect())
        .collect();
    // Texts that differ behind what is looked at have the same runs: the first one of each stands for those behind it.
    let mut first: HashMap<&[Runs], Vec<usize>> = HashMap::new();
    let mut members = Vec::new();
    for (place, &row) in distinct.iter().enumerate() {
        let earlier = first.entry(&texts[place]).or_default();
        for relation in Relation::ALL {
            let is_one = |one: &&usize| {
                rows[**one].key != rows[row].key
                    && Relation::of(&rows[row], &rows[**one]) == relation
            };
            if let Some(&earlier) = earlier.iter().find(is_one) {
                found.push(Alike { row, earlier, relation, same: false, similarity: 1.0 });
            }
        }
        if !earlier.iter().any(|&one| Relation::of(&rows[row], &rows[one]) == Relation::SameSplit) {
            earlier.push(row);
            members.push(place);
        }
    }
    let of_members: Vec<&[Runs]> = members.iter().map(|&place| texts[place].as_slice()).collect();
    let row_of = |member: usize| distinct[members[member]];
    let relation = |member: usize, earlier: usize| {
        let differs = of_members[member] != of_members[earlier];
        differs.then(|| Relation::of(&rows[row_of(member)], &rows[row_of(earlier)]))
    };
    let near = nearly(&of_members, relation).into_iter();
    found.extend(near.map(|(member, earlier, relation, similarity)| {
        let (row, earlier) = (row_of(member), row_of(earlier));
        Alike { row, earlier, relation, same: false, similarity }
    }));
    found.sort_by_key(|one| one.row);
    found
}

/// The runs of a text, by their hashes, ascending. A run that occurs again is another one, and a short text is one run.
type Runs = Vec<u32>;

fn runs(text: &str) -> Runs {
    let characters: Vec<char> = text.chars().take(CHARACTERS).collect();
    let windows = characters.windows(RUN.min(characters.len().max(1)));
    let mut runs: Runs = windows.map(|run| hash(run.iter().map(|&c| u32::from(c)))).collect();
    runs.sort_unstable();
    let mut again = 0;
    let numbered = (0..runs.len()).map(|place| {
        again = if place > 0 && runs[place] == runs[place - 1] { again + 1 } else { 0 };
        if again == 0 { runs[place] } else { hash([runs[place], again]) }
    });
    let mut numbered: Runs = numbered.collect();
    numbered.sort_unstable();
    numbered.dedup();
    numbered
}

/// FNV-1a, which is the same everywhere.
fn hash(words: impl IntoIterator<Item = u32>) -> u32 {
    let bytes = words.into_iter().flat_map(u32::to_le_bytes);
    let mixed = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (mixed ^ (mixed >> 32)) as u32
}

/// Each row whose texts are nearly those of an earlier one, with the first such of each relation and their similarity,
/// the smaller one of two texts. A pair without a relation is left out.
fn nearly(
    texts: &[&[Runs]],
    relation: impl Fn(usize, usize) -> Option<Relation> + Sync,
) -> Vec<(usize, usize, Relation, f64)> {
    // Of all texts of a row together: where each is similar, so are all together.
    let own = |part: u32, run: u32| if part == 0 { run } else { hash([run, part]) };
    let together = |texts: &&[Runs]| -> Runs {
        let parts = (0..).zip(texts.iter());
        parts.flat_map(|(part, runs)| runs.iter().map(move |&run| own(part, run))).collect()
    };
    let sets: Vec<Runs> = texts.par_iter().map(together).collect();
    let mut count: HashMap<u32, u32> = HashMap::new();
    sets.iter().flatten().for_each(|run| *count.entry(*run).or_default() += 1);
    let rarest: Vec<Runs> = sets.par_iter().map(|set| rarest(set, &count)).collect();
    let mut index: HashMap<u32, Vec<u32>> = HashMap::new();
    for (place, runs) in rarest.iter().enumerate() {
        runs.iter().for_each(|&run| index.entry(run).or_default().push(place as u32));
    }
    let near = |place: usize| {
        let earlier = |run| index[run].iter().copied().take_while(|&one| (one as usize) < place);
        let mut candidates: Vec<u32> = rarest[place].iter().flat_map(earlier).collect();
        candidates.sort_unstable();
        candidates.dedup();
        let mut found: Vec<(usize, usize, Relation, f64)> = Vec::new();
        for earlier in candidates.into_iter().map(|one| one as usize) {
            let Some(relation) = relation(place, earlier) else { continue };
            if found.iter().any(|(_, _, known, _)| *known == relation) {
                continue;
            }
            let similarity = least(texts[place], texts[earlier]);
            found.extend(similarity.map(|similarity| (place, earlier, relation, similarity)));
        }
        found
    };
    (0..sets.len()).into_par_iter().flat_map_iter(near).collect()
}

/// The smallest similarity of the texts of two rows, where each is [`SIMILAR`] or more.
fn least(a: &[Runs], b: &[Runs]) -> Option<f64> {
    if a.len() != b.len() {
        return None;
    }
    a.iter().zip(b).try_fold(1.0, |least: f64, (a, b)| Some(least.min(jaccard(a, b)?)))
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

    fn rows<const N: usize>(keys: [u64; N]) -> [Row; N] {
        keys.map(|key| Row { key, split: 0, label: 0 })
    }

    fn found(texts: &[&str]) -> Vec<(usize, usize)> {
        let row = |text: &&str| Row {
            key: text.bytes().fold(7u64, |a, b| a.wrapping_mul(31) + u64::from(b)),
            split: 0,
            label: 0,
        };
        let rows: Vec<Row> = texts.iter().map(row).collect();
        let all = alike(&rows, |row| vec![texts[row].to_owned()]);
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

    /// Neither repeats of a word nor what stands behind the first characters make texts the same, and a second text
    /// counts however long the first one is.
    #[test]
    fn texts_that_are_like_another_are_not_it() {
        let long = "a passage that goes on about a river and a town ".repeat(60);
        let other = format!("{long}with another end");
        let laughs = ["ha".repeat(5), "ha".repeat(9)];
        let ones =
            [vec![long.clone()], vec![other], vec![laughs[0].clone()], vec![laughs[1].clone()]];
        let found = alike(&rows([1, 2, 3, 4]), |row| ones[row].clone());
        let relation = Relation::SameSplit;
        let one = Alike { row: 1, earlier: 0, relation, same: false, similarity: 1.0 };
        assert_eq!(found, [one]);
        let asked = ["who lives there, and since when?", "what is the name of the river?"];
        let pairs = asked.map(|question| vec!["a town on a river".to_owned(), question.to_owned()]);
        assert_eq!(alike(&rows([1, 2]), |row| pairs[row].clone()), []);
        // However long what they have in common is.
        let passage = "a passage that goes on about a river and a town ".repeat(12);
        let pairs = asked.map(|question| vec![passage.clone(), question.to_owned()]);
        assert_eq!(alike(&rows([1, 2]), |row| pairs[row].clone()), []);
        let asked = "who lives in the old house by the river, and since when has he been there?";
        let again = [asked.to_owned(), asked.replace(',', "")];
        let pairs = again.map(|question| vec![passage.clone(), question.to_owned()]);
        let found = alike(&rows([1, 2]), |row| pairs[row].clone());
        assert!(found.len() == 1 && found[0].similarity < 1.0, "{found:?}");
        // The texts of one in another order are another row.
        let turned = [vec!["one text here", "another one"], vec!["another one", "one text here"]];
        let turned = turned.map(|texts| texts.into_iter().map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(alike(&rows([1, 2]), |row| turned[row].clone()), []);
    }

    /// A text under two labels in one split, again under one of them in another split, and a copy of it there.
    #[test]
    fn a_row_is_compared_with_earlier_ones_of_each_label_and_split() {
        let text = "please send the parcel to my new address in the old town of the city";
        let copy = format!("{text} now");
        let row = |key, split, label| Row { key, split, label };
        let rows = [row(1, 0, 0), row(1, 0, 1), row(1, 1, 1), row(1, 1, 1), row(2, 1, 1)];
        let texts = [text, text, text, text, &copy];
        let found = alike(&rows, |row| vec![texts[row].to_owned()]);
        let found: Vec<(usize, usize, Relation, bool)> =
            found.iter().map(|one| (one.row, one.earlier, one.relation, one.same)).collect();
        use Relation::{OtherLabel, OtherSplit, SameSplit};
        assert_eq!(
            found,
            [
                (1, 0, OtherLabel, true),
                (2, 0, OtherLabel, true),
                (2, 1, OtherSplit, true),
                (3, 0, OtherLabel, true),
                (3, 1, OtherSplit, true),
                (3, 2, SameSplit, true),
                (4, 0, OtherLabel, false),
                (4, 1, OtherSplit, false),
                (4, 2, SameSplit, false),
            ]
        );
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
        let texts: Vec<&[Runs]> = sets.iter().map(std::slice::from_ref).collect();
        let fast: Vec<(usize, usize)> = nearly(&texts, |_, _| Some(Relation::SameSplit))
            .into_iter()
            .map(|(place, earlier, ..)| (place, earlier))
            .collect();
        assert!(plain.len() > 100, "{}", plain.len());
        assert_eq!(fast, plain);
    }
}
