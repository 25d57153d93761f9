//! Slips of the hand: letters that are replaced by a neighbour, left out, swapped with the next one, or doubled.
//!
//! | kind, equally often | what it does to `letter` | where it cannot be |
//! |---|---|---|
//! | replaced | `lettwr`: a key beside it, or for other scripts a letter beside it in Unicode | doubled |
//! | left out | `leter` | alone in its word: replaced |
//! | swapped | `lettre` | before no letter: replaced |
//! | doubled | `lettter` | |
//!
//! These are the four edits of Damerau ("A technique for computer detection and correction of spelling errors",
//! CACM 1964), which make up most misspellings.

use crate::compute::Key;

/// The keys of the letters from a to z, row by row; each row stands half a key further to the right.
const ROWS: [&str; 3] = ["qwertyuiop", "asdfghjkl", "zxcvbnm"];

/// The text with a share of its letters mistyped. `key` is asked for the place of each letter.
pub(super) fn mistyped(text: &str, share: f64, key: &Key) -> String {
    let letters: Vec<char> = text.chars().collect();
    let is_letter = |place: Option<usize>| {
        place.and_then(|place| letters.get(place)).is_some_and(|letter| letter.is_alphabetic())
    };
    let mut typed = String::with_capacity(text.len());
    let mut place = 0;
    while let Some(&letter) = letters.get(place) {
        let [whether, kind, which, _] = key.at(place as u64, 0, 0);
        place += 1;
        if !letter.is_alphabetic() || f64::from(whether) >= share * 2f64.powi(32) {
            typed.push(letter);
            continue;
        }
        let followed = is_letter(Some(place));
        let alone = !followed && !is_letter(place.checked_sub(2));
        match kind % 4 {
            1 if !alone => {}
            2 if followed => {
                typed.extend([letters[place], letter]);
                place += 1;
            }
            3 => typed.extend([letter, letter]),
            _ => match beside(letter, which) {
                Some(other) => typed.push(other),
                None => typed.extend([letter, letter]),
            },
        }
    }
    typed
}

/// A letter that a hand may hit instead, in the same case.
fn beside(letter: char, which: u32) -> Option<char> {
    let lower = letter.to_ascii_lowercase();
    let found: Vec<char> = match lower.is_ascii_lowercase() {
        true => keys_beside(lower).collect(),
        false => letters_beside(letter).collect(),
    };
    let other = *found.get(which as usize % found.len().max(1))?;
    Some(if letter.is_ascii_uppercase() { other.to_ascii_uppercase() } else { other })
}

fn keys_beside(letter: char) -> impl Iterator<Item = char> {
    // In half keys.
    let keys = ROWS.iter().enumerate().flat_map(|(row, keys)| {
        keys.chars().enumerate().map(move |(place, key)| (key, row, 2 * place + row))
    });
    let own = keys.clone().find(|(key, ..)| *key == letter);
    keys.filter(move |&(key, row, place)| {
        own.is_some_and(|(_, own_row, own_place)| {
            let (rows, places) = (row.abs_diff(own_row), place.abs_diff(own_place));
            key != letter && (rows == 0 && places == 2 || rows == 1 && places == 1)
        })
    })
    .map(|(key, ..)| key)
}

/// Letters of the same case at most two places away in Unicode, which sorts them by script.
fn letters_beside(letter: char) -> impl Iterator<Item = char> {
    let code = u32::from(letter);
    let near = [code.wrapping_sub(2), code.wrapping_sub(1), code + 1, code + 2];
    near.into_iter().filter_map(char::from_u32).filter(move |other| {
        other.is_alphabetic()
            && (other.is_lowercase(), other.is_uppercase())
                == (letter.is_lowercase(), letter.is_uppercase())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::{Noise, Purpose};

    fn key(seed: u64) -> Key {
        Noise::new(seed).key(Purpose::Damage, 7, 0)
    }

    #[test]
    fn neighbours_are_those_of_a_keyboard_or_an_alphabet() {
        let keys = |letter| keys_beside(letter).collect::<String>();
        assert_eq!([keys('q'), keys('g'), keys('p')], ["wa", "tyfhvb", "ol"]);
        assert_eq!([keys('m'), keys('z')], ["jkn", "asx"]);
        assert_eq!(letters_beside('ж').collect::<String>(), "дези");
        assert!(beside('G', 0).unwrap().is_ascii_uppercase());
        assert!(beside('映', 3).is_some_and(char::is_alphabetic));
    }

    /// 10,000 letters: the share within four standard errors, and all four kinds.
    #[test]
    fn as_many_letters_are_hit_as_was_said_and_all_else_stays() {
        let text = "word, ".repeat(2500);
        let share = 0.05;
        let typed = mistyped(&text, share, &key(1));
        let words: Vec<&str> = typed.split(", ").filter(|word| !word.is_empty()).collect();
        assert_eq!(words.len(), 2500, "no word is lost or joined to another");
        let count =
            |wanted: &dyn Fn(&str) -> bool| words.iter().filter(|word| wanted(word)).count();
        let hit = count(&|word| word != "word") as f64 / 2500.0;
        let expected = 1.0 - (1.0 - share).powi(4);
        let error = (expected * (1.0 - expected) / 2500.0).sqrt();
        assert!((hit - expected).abs() < 4.0 * error + 0.005, "{hit} and {expected}");
        let sorted = |word: &str| {
            let mut letters: Vec<char> = word.chars().collect();
            letters.sort_unstable();
            letters
        };
        let swapped = count(&|word| word != "word" && sorted(word) == sorted("word"));
        let (shorter, longer) = (count(&|word| word.len() < 4), count(&|word| word.len() > 4));
        let replaced = count(&|word| word.len() == 4 && sorted(word) != sorted("word"));
        assert!([swapped, shorter, longer, replaced].iter().all(|&n| n > 60), "{words:?}");
    }

    #[test]
    fn what_is_no_letter_is_left_alone() {
        let text = "42 + 17 = 59; 🙂 …!";
        assert_eq!(mistyped(text, 1.0, &key(3)), text);
    }
}
