//! `reviews`: a generated data set of short film reviews whose label probabilities are known.
//!
//! The quick start needs no network, and calibration can be checked against the truth. A text is
//! written first, from a grammar (`writing`, with its words in `grammar`). Then its log-odds are
//! read off the finished text (`reading`), and the label is one Bernoulli draw with that
//! probability.
//!
//! Hence `positive` is p(label = positive | text) exactly. Given the text, the label depends on
//! nothing else that was drawn: `reading` sees only the text, and the label's own draw is
//! independent of all draws before it. Two derivations that happen to give the same text get the
//! same log-odds, since these are a function of the string.
//!
//! The best possible accuracy on a set of texts is therefore the mean of max(p, 1-p), which
//! [`best_accuracy`] gives, and a perfect model still errs that often.

mod expand;
mod grammar;
mod other_topics;
mod reading;
mod writing;

pub use reading::{log_odds, probability};

use crate::compute::{Noise, Purpose, Stream};

/// Version of the generator: raised whenever a text, a probability or a label changes.
pub const VERSION: u32 = 1;

/// The seed of the data set of this name.
pub const SEED: u64 = 2026;

/// Names of the labels: index 0 and 1.
pub const LABELS: [&str; 2] = ["negative", "positive"];

/// Splits from this number on are kept for [`ambiguous`] and [`out_of_domain`].
const FIRST_KEPT_SPLIT: u64 = AMBIGUOUS_SPLIT;
const AMBIGUOUS_SPLIT: u64 = u64::MAX - 1;
const OUT_OF_DOMAIN_SPLIT: u64 = u64::MAX;

/// One generated review.
#[derive(Clone, Debug, PartialEq)]
pub struct Review {
    /// English, 8 to 40 words.
    pub text: String,
    /// Index into [`LABELS`], drawn with probability `positive` of being 1.
    pub label: u32,
    /// p(label = positive | text), exactly; equal to [`probability`] of the text.
    pub positive: f64,
}

/// Row `row` of split `split`: a pure function of the seed and these two.
///
/// # Panics
///
/// If `split` is one of the last two numbers of `u64`, which other texts use.
pub fn review(noise: &Noise, split: u64, row: u32) -> Review {
    assert!(split < FIRST_KEPT_SPLIT, "splits {FIRST_KEPT_SPLIT} and above are kept");
    let mut stream = noise.stream(Purpose::Generate, split, row);
    let text = writing::review(&mut stream);
    labelled(&mut stream, text)
}

/// A review whose probability is 0.5 but for rounding: plot talk without an opinion, or praise and
/// complaint that cancel. It uses the words of [`review`].
pub fn ambiguous(noise: &Noise, row: u32) -> Review {
    let mut stream = noise.stream(Purpose::Generate, AMBIGUOUS_SPLIT, row);
    let text = writing::ambiguous(&mut stream);
    labelled(&mut stream, text)
}

/// A short text that is not about a film: recipes, weather, banking, football and eight topics
/// more. Neither label is right for it.
pub fn out_of_domain(noise: &Noise, row: u32) -> String {
    other_topics::text(&mut noise.stream(Purpose::Generate, OUT_OF_DOMAIN_SPLIT, row))
}

/// The accuracy of the best possible classifier on these texts, in expectation over their labels:
/// the mean of max(p, 1-p). Not a number for no reviews.
pub fn best_accuracy(reviews: &[Review]) -> f64 {
    let best = reviews.iter().map(|review| review.positive.max(1.0 - review.positive));
    best.sum::<f64>() / reviews.len() as f64
}

fn labelled(stream: &mut Stream, text: String) -> Review {
    let positive = probability(&text);
    Review { label: u32::from(stream.uniform() < positive), text, positive }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{HashMap, HashSet};

    fn reviews(seed: u64, split: u64, rows: u32) -> Vec<Review> {
        let noise = Noise::new(seed);
        (0..rows).map(|row| review(&noise, split, row)).collect()
    }

    #[test]
    fn a_review_is_a_pure_function_of_seed_split_and_row() {
        let backwards: Vec<Review> =
            (0..200).rev().map(|row| review(&Noise::new(1), 3, row)).collect();
        let forwards = reviews(1, 3, 200);
        assert!(forwards.iter().eq(backwards.iter().rev()));
        assert_ne!(forwards, reviews(2, 3, 200));
        assert_ne!(forwards, reviews(1, 4, 200));
        assert_eq!(ambiguous(&Noise::new(1), 7), ambiguous(&Noise::new(1), 7));
        assert_eq!(out_of_domain(&Noise::new(1), 7), out_of_domain(&Noise::new(1), 7));
    }

    #[test]
    fn labels_are_as_frequent_as_their_probability_in_ten_bins() {
        let reviews = reviews(11, 0, 20_000);
        for bin in 0..10 {
            let inside: Vec<&Review> =
                reviews.iter().filter(|r| (r.positive * 10.0) as usize == bin).collect();
            assert!(inside.len() >= 50, "bin {bin} has {} texts", inside.len());
            let excess: f64 = inside.iter().map(|r| f64::from(r.label) - r.positive).sum();
            let variance: f64 = inside.iter().map(|r| r.positive * (1.0 - r.positive)).sum();
            assert!(excess.abs() < 5.0 * variance.sqrt(), "bin {bin}: {excess} off");
        }
    }

    /// True by construction; this fails if the label or its probability ever comes from elsewhere.
    #[test]
    fn the_text_determines_the_probability() {
        let mut seen: HashMap<String, f64> = HashMap::new();
        for (split, seed) in [(0, 1), (1, 1), (0, 2)] {
            for review in reviews(seed, split, 20_000) {
                assert_eq!(review.positive, probability(&review.text));
                let known = *seen.entry(review.text).or_insert(review.positive);
                assert_eq!(known, review.positive);
            }
        }
        assert!(seen.len() < 60_000, "no repeat was met, so nothing was compared");
    }

    #[test]
    fn classes_balance_and_the_best_accuracy_lies_in_its_band() {
        let reviews = reviews(12, 0, 20_000);
        let share = |keep: fn(&Review) -> bool| {
            reviews.iter().filter(|review| keep(review)).count() as f64 / 20_000.0
        };
        assert!((0.48..0.52).contains(&share(|review| review.label == 1)));
        assert!((0.48..0.52).contains(&share(|review| review.positive > 0.5)));
        let best = best_accuracy(&reviews);
        assert!((0.90..0.93).contains(&best), "{best}");
        let middle = share(|review| (0.2..0.8).contains(&review.positive));
        assert!((0.10..0.30).contains(&middle), "{middle}");
        assert!(reviews.iter().any(|review| review.positive > 0.97));
        assert!(reviews.iter().all(|review| (0.018..0.983).contains(&review.positive)));
    }

    #[test]
    fn texts_have_eight_to_forty_words_and_hardly_repeat() {
        let reviews = reviews(13, 0, 10_000);
        for review in &reviews {
            let words = reading::words(&review.text).len();
            assert!((8..=40).contains(&words), "{words} words: `{}`", review.text);
        }
        let distinct: HashSet<&str> = reviews.iter().map(|review| review.text.as_str()).collect();
        assert!(distinct.len() > 9_800, "{} distinct of 10,000", distinct.len());
        let vocabulary: HashSet<String> =
            reviews.iter().flat_map(|review| reading::words(&review.text)).collect();
        assert!((250..800).contains(&vocabulary.len()), "{} words", vocabulary.len());
    }

    #[test]
    fn ambiguous_texts_lie_at_one_half_and_use_only_words_of_reviews() {
        let known: HashSet<String> =
            reviews(14, 0, 10_000).iter().flat_map(|review| reading::words(&review.text)).collect();
        let mut positive = 0;
        for row in 0..2_000 {
            let review = ambiguous(&Noise::new(14), row);
            assert!((review.positive - 0.5).abs() < 1e-9, "{}: {}", review.positive, review.text);
            positive += review.label;
            for word in reading::words(&review.text) {
                assert!(known.contains(&word), "`{word}` is new in `{}`", review.text);
            }
        }
        assert!((900..1_100).contains(&positive), "{positive} of 2,000 are positive");
    }

    #[test]
    fn out_of_domain_texts_share_no_aspect_word_and_no_opinion() {
        let aspects = grammar::SINGULAR_ASPECTS.iter().chain(grammar::PLURAL_ASPECTS);
        let mut banned: HashSet<String> = aspects.flat_map(|text| reading::words(text)).collect();
        banned.remove("the");
        banned.extend(["film", "movie", "cinema", "actor", "audience"].map(str::to_owned));
        let mut seen = HashSet::new();
        for row in 0..5_000 {
            let text = out_of_domain(&Noise::new(15), row);
            let words = reading::words(&text);
            assert!((8..=40).contains(&words.len()), "`{text}`");
            assert!(words.iter().all(|word| !banned.contains(word)), "`{text}`");
            assert_eq!(log_odds(&text), 0.0, "`{text}`");
            seen.insert(text);
        }
        assert!(seen.len() > 4_000, "{} distinct of 5,000", seen.len());
    }

    #[test]
    #[should_panic(expected = "are kept")]
    fn a_kept_split_is_refused() {
        review(&Noise::new(1), AMBIGUOUS_SPLIT, 0);
    }

    /// If this fails, texts or labels have changed: raise `VERSION` and take the new ones.
    #[test]
    fn version_1_gives_these_texts_and_labels_for_seed_42() {
        assert_eq!(VERSION, 1);
        let first = review(&Noise::new(42), 0, 0);
        assert_eq!(
            first.text,
            "The romance was decent. Edgar Castell was ordinary as a retired detective. The \
             ending felt both forgettable and likeable to me. I am glad that I went."
        );
        assert!((first.positive - 0.697924232908674).abs() < 1e-12, "{}", first.positive);
        let reviews = reviews(42, 0, 2_000);
        let bytes: usize = reviews.iter().map(|review| review.text.len()).sum();
        let labels: u32 = reviews.iter().map(|review| review.label).sum();
        let positive: f64 = reviews.iter().map(|review| review.positive).sum();
        assert_eq!((bytes, labels), (259_848, 1_002));
        assert!((positive - 1030.110955501).abs() < 1e-6, "{positive}");
    }
}
