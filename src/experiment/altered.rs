//! Altered copies of training texts: what the passes of a teacher are asked where they need not agree.
//!
//! Half of the copies are the first half of one text and the second half of another; the others are mistyped,
//! lose words, or end early. A copy is a function of the seed, the text, its number and, if it is mixed, the other
//! text. Nobody knows its label.

use crate::compute::{Noise, Purpose};
use crate::data::{Example, is_blank};
use crate::evaluate::shift::Damage;

/// What happens to copies that are not mixed, one as often as another.
const DAMAGES: [&str; 4] = ["typos=0.1", "drop=0.3", "typos=0.15+drop=0.25", "drop=0.6"];

/// So many copies of each text, one copy of all after another.
pub(super) fn altered(rows: &[&Example], copies: usize, noise: &Noise) -> Vec<Example> {
    let damages =
        DAMAGES.map(|damage| damage.parse::<Damage>().expect("a damage as `--shift` has it"));
    let one = |copy: usize, row: &&Example| {
        let mut stream = noise.stream(Purpose::Alter, row.key(), copy as u32);
        if stream.uniform() < 0.5 {
            let other: &&Example = stream.choose(rows);
            mixed(row, other)
        } else {
            let damage = stream.choose(&damages);
            damage.example(row, &Noise::new(u64::from(stream.word())))
        }
    };
    (0..copies).flat_map(|copy| rows.iter().map(move |row| one(copy, row))).collect()
}

/// The first half of one, then the second half of the other; of pairs, both texts are mixed.
fn mixed(one: &Example, other: &Example) -> Example {
    let join = |one: &str, other: &str| {
        let (first, second) = (halves(one).0.trim_end(), halves(other).1.trim_start());
        let gap = if one.contains(char::is_whitespace) { " " } else { "" };
        let both = format!("{first}{gap}{second}");
        if is_blank(&both) { one.to_owned() } else { both }
    };
    let pair = one.pair.as_ref().map(|pair| join(pair, other.pair.as_deref().unwrap_or_default()));
    Example { text: join(&one.text, &other.text), pair, label: one.label }
}

/// Cut at the space that is nearest to the middle; in the middle where there is none.
fn halves(text: &str) -> (&str, &str) {
    let text = text.trim();
    let middle = text.len() / 2;
    let spaces = text.char_indices().filter(|(_, c)| c.is_whitespace()).map(|(place, _)| place);
    let middle_char = || text.char_indices().map(|(place, _)| place).find(|&place| place >= middle);
    let cut = spaces.min_by_key(|place| place.abs_diff(middle)).or_else(middle_char);
    text.split_at(cut.unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example(text: &str, label: u32) -> Example {
        Example { text: text.to_owned(), pair: None, label }
    }

    #[test]
    fn a_mixed_copy_has_a_half_of_each() {
        let mix = |one: &str, other: &str| mixed(&example(one, 1), &example(other, 2)).text;
        assert_eq!(mix("what is my balance today", "play some jazz"), "what is my jazz");
        assert_eq!(mix("悪くない映画", "好い天気です"), "悪くな気です");
        assert_eq!(mix("a", "b"), "b");
        assert_eq!(mix("don’t", "Ж"), "don");
        assert_eq!(mix("a", "Ж"), "a", "no copy is empty");
        let pair =
            |text: &str, pair: &str| Example { pair: Some(pair.to_owned()), ..example(text, 0) };
        let found = mixed(&pair("a b", "c d"), &pair("e f", "g h"));
        assert_eq!((found.text.as_str(), found.pair.as_deref()), ("a f", Some("c h")));
    }

    #[test]
    fn copies_follow_from_the_seed_and_are_no_copies_of_one_another() {
        let rows: Vec<Example> = (0..40)
            .map(|row| example(&format!("please look at case {row} once more today"), row))
            .collect();
        let rows: Vec<&Example> = rows.iter().collect();
        let of = |seed: u64| altered(&rows, 3, &Noise::new(seed));
        let found = of(1);
        assert_eq!((found.len(), &found), (120, &of(1)));
        assert_ne!(found, of(2));
        assert!(found.iter().all(|one| !is_blank(&one.text)));
        let same = |(place, one): (usize, &Example)| one.text == rows[place % 40].text;
        assert!(found.iter().enumerate().filter(|&one| same(one)).count() < 12);
        assert!(altered(&rows, 0, &Noise::new(1)).is_empty());
    }
}
