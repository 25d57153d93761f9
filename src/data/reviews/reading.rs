//! The truth about a generated review: its log-odds, read off the text and nothing but the text.
//!
//! A sentence is read word by word. At each word the longest entry of the tables that begins there
//! is taken:
//!
//! - an adjective, verb or whole verdict adds its grade;
//! - an intensifier, softener or negator multiplies the grade of the entry *directly* after it;
//! - `but` and `yet` halve what the sentence said before and count what follows one and a half
//!   times.
//!
//! Any other word adds nothing. Sentences add up. The sum s, in units of [`UNIT`], is bent towards
//! ±[`LIMIT`]: log-odds = LIMIT tanh(s UNIT / LIMIT), so that no review is quite certain.

use super::grammar::*;
use std::collections::HashMap;
use std::sync::LazyLock;

/// Log-odds of one grade.
const UNIT: f64 = 0.85;

/// No log-odds lie outside ± this: p(positive) stays within 0.018 and 0.982.
const LIMIT: f64 = 4.0;

/// The tables of grades 1, 2 and 3, each with its sign.
const GRADED: [([&[&str]; 3], f64); 6] = [
    (PRAISE, 1.0),
    (PRAISE_VERBS, 1.0),
    (PRAISE_VERDICTS, 1.0),
    (COMPLAINT, -1.0),
    (COMPLAINT_VERBS, -1.0),
    (COMPLAINT_VERDICTS, -1.0),
];

/// What an entry of the tables does to the sum.
#[derive(Clone, Copy, Debug)]
enum Sense {
    Grade(f64),
    /// Multiplies the grade directly after it.
    Factor(f64),
    /// Divides a sentence into what it concedes and its point.
    Contrast,
}

/// Phrases by their first word, each list with the longest first.
type Entries = HashMap<String, Vec<(Vec<String>, Sense)>>;

static ENTRIES: LazyLock<Entries> = LazyLock::new(|| {
    let mut entries = Entries::new();
    let mut add = |phrase: &str, sense| {
        let words = words(phrase);
        entries.entry(words[0].clone()).or_default().push((words, sense));
    };
    for (lists, sign) in GRADED {
        for (list, grade) in lists.iter().zip([1.0, 2.0, 3.0]) {
            list.iter().for_each(|phrase| add(phrase, Sense::Grade(sign * grade)));
        }
    }
    INTENSIFIERS.iter().for_each(|word| add(word, Sense::Factor(INTENSIFIED)));
    STRONG_INTENSIFIERS.iter().for_each(|word| add(word, Sense::Factor(INTENSIFIED)));
    SOFTENERS.iter().for_each(|word| add(word, Sense::Factor(SOFTENED)));
    NEGATORS.iter().for_each(|word| add(word, Sense::Factor(NEGATED)));
    TURNS.iter().for_each(|word| add(word, Sense::Contrast));
    for list in entries.values_mut() {
        list.sort_by_key(|(words, _)| std::cmp::Reverse(words.len()));
    }
    entries
});

/// The log-odds that a review with this text is labelled positive: ln p/(1-p), within ±4.
///
/// Defined for every string; a text that the tables know no word of has log-odds 0.
pub fn log_odds(text: &str) -> f64 {
    let grade: f64 = text.split(['.', '!', '?']).map(|sentence| read(&words(sentence))).sum();
    LIMIT * (grade * UNIT / LIMIT).tanh()
}

/// p(positive | text): the logistic function of [`log_odds`].
pub fn probability(text: &str) -> f64 {
    1.0 / (1.0 + (-log_odds(text)).exp())
}

/// The sum of grades of one sentence.
fn read(words: &[String]) -> f64 {
    let (mut sum, mut side, mut factor) = (0.0, 1.0, 1.0);
    let mut rest = words;
    while let Some(word) = rest.first() {
        let entry = ENTRIES
            .get(word)
            .and_then(|list| list.iter().find(|(phrase, _)| rest.starts_with(phrase)));
        rest = &rest[entry.map_or(1, |(phrase, _)| phrase.len())..];
        match entry.map(|(_, sense)| *sense) {
            Some(Sense::Factor(by)) => {
                factor *= by;
                continue;
            }
            Some(Sense::Grade(grade)) => sum += side * factor * grade,
            Some(Sense::Contrast) => {
                sum *= CONCEDED;
                side = POINT;
            }
            None => {}
        }
        factor = 1.0;
    }
    sum
}

/// The words of a text, in lower case, without punctuation.
pub(super) fn words(text: &str) -> Vec<String> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grade(text: &str) -> f64 {
        read(&words(text))
    }

    #[test]
    fn every_word_and_clause_of_the_tables_reads_as_its_grade() {
        for (lists, sign) in GRADED {
            for (list, size) in lists.iter().zip([1.0, 2.0, 3.0]) {
                list.iter().for_each(|text| assert_eq!(grade(text), sign * size, "`{text}`"));
            }
        }
    }

    #[test]
    fn modifiers_work_on_the_word_directly_after_them() {
        assert_eq!(grade("The acting was good"), 2.0);
        assert_eq!(grade("The acting was very good"), 2.8);
        assert_eq!(grade("The acting was absolutely awful"), -3.0 * 1.4);
        assert_eq!(grade("The acting was rather dull"), -1.2);
        assert_eq!(grade("The acting was not good"), -0.8);
        assert_eq!(grade("The acting was not exactly gripping"), -0.8);
        assert_eq!(grade("I had hardly seen the good ones"), 2.0);
    }

    #[test]
    fn the_later_side_of_a_contrast_weighs_more() {
        assert_eq!(grade("The plot was good, but the jokes were bad"), -2.0);
        assert_eq!(grade("The plot was good, yet the jokes were awful"), -3.5);
        assert_eq!(grade("The plot was superb, but the jokes were thin"), 0.0);
    }

    #[test]
    fn irony_has_the_sign_of_its_meaning_and_not_of_its_words() {
        assert_eq!(grade("What a wonderful way to ruin a weekend"), -3.0);
        assert_eq!(grade("I hated having to leave my seat"), 2.0);
        assert_eq!(grade("I cannot recommend it"), -2.0);
    }

    #[test]
    fn sentences_add_up_and_the_sum_is_bent_towards_its_limit() {
        let text = "The plot was good. The jokes were thin!";
        assert!((log_odds(text) - LIMIT * (UNIT / LIMIT).tanh()).abs() < 1e-12);
        let text = "It was superb. It was superb. It was superb. It was superb. It was superb.";
        assert!(log_odds(text) > 3.9 && log_odds(text) < 4.0);
        assert_eq!(log_odds(""), 0.0);
        assert_eq!(probability("A film."), 0.5);
    }
}
