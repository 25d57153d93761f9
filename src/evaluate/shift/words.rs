//! Words that are cut off or left out.
//!
//! A word is a segment of Unicode's rules (UAX #29, section 4) that has a letter or a digit: `isn't` is one, and a
//! dash is none. Where a script puts no space between words these rules know none either, and each character (of
//! Chinese or Thai) counts as a word.

use unicode_segmentation::UnicodeSegmentation;

use crate::compute::Key;

/// The text up to the end of its `count`-th word.
pub(super) fn first(text: &str, count: usize) -> &str {
    let last = text.unicode_word_indices().nth(count - 1);
    match last {
        // Fewer words, or no more than these: with what stands behind the last.
        Some((start, word)) if text[start + word.len()..].unicode_words().next().is_some() => {
            &text[..start + word.len()]
        }
        _ => text,
    }
}

/// The text without a share of its words, each with the white space behind it; one word at least stays.
/// `key` is asked for the place of each word.
pub(super) fn without(text: &str, share: f64, key: &Key) -> String {
    let draw = |place: usize| key.at(place as u64, 0, 0)[0];
    let drops = |place: usize| f64::from(draw(place)) < share * 2f64.powi(32);
    let words = text.unicode_words().count();
    // Where all would go, the one that was drawn last stays.
    let spared = match (0..words).all(drops) {
        true => (0..words).max_by_key(|&place| draw(place)),
        false => None,
    };
    let mut left = String::with_capacity(text.len());
    let (mut place, mut end) = (0, 0);
    for (start, word) in text.unicode_word_indices() {
        if drops(place) && Some(place) != spared {
            left.push_str(&text[end..start]);
            let rest = &text[start + word.len()..];
            end = text.len() - rest.trim_start().len();
        } else {
            left.push_str(&text[end..start + word.len()]);
            end = start + word.len();
        }
        place += 1;
    }
    left.push_str(&text[end..]);
    left.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::{Noise, Purpose};

    fn key(seed: u64) -> Key {
        Noise::new(seed).key(Purpose::Damage, 7, 0)
    }

    #[test]
    fn the_first_words_of_any_script_are_counted() {
        let text = "It isn't (really) good – at all!";
        for (count, expected) in [
            (1, "It"),
            (2, "It isn't"),
            (3, "It isn't (really"),
            (5, "It isn't (really) good – at"),
            (6, text),
            (99, text),
        ] {
            assert_eq!(first(text, count), expected);
        }
        assert_eq!(first("悪くない映画", 2), "悪く");
        assert_eq!(first("не очень хорошо", 2), "не очень");
        assert_eq!(first("!!!", 1), "!!!");
    }

    #[test]
    fn words_are_left_out_with_the_space_behind_them_and_one_stays() {
        let words: Vec<String> = (0..4000).map(|place| format!("w{place}")).collect();
        let text = words.join(" ");
        let left = without(&text, 0.1, &key(1));
        let kept: Vec<&str> = left.split(' ').collect();
        assert!(kept.iter().all(|word| word.starts_with('w')), "no double spaces");
        let share = 1.0 - kept.len() as f64 / 4000.0;
        assert!((share - 0.1).abs() < 4.0 * (0.09f64 / 4000.0).sqrt(), "{share}");
        // In their order.
        let numbers: Vec<u32> = kept.iter().map(|word| word[1..].parse().unwrap()).collect();
        assert!(numbers.is_sorted());
        for seed in 0..50 {
            let one = without("good, bad, ugly", 1.0, &key(seed));
            assert_eq!(one.unicode_words().count(), 1, "{one}");
        }
        assert_eq!(without("- !", 1.0, &key(1)), "- !");
    }
}
