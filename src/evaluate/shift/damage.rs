//! How texts are damaged: what `--shift` names, and what it does to a text.
//!
//! A damage is a pure function of (seed, text): the same text is damaged alike wherever it stands, on every
//! machine and with any number of threads.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use super::{typos, words};
use crate::compute::{Key, Noise, Purpose};
use crate::data::split::text_key;
use crate::data::{Example, clean, is_blank};
use crate::suggest::nearest;

/// Damages that are applied one after another; usually one.
#[derive(Clone, Debug, PartialEq)]
pub struct Damage(Vec<Step>);

/// One kind of damage.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    /// This share of the letters is mistyped.
    Typos(f64),
    /// So many words are left.
    Truncate(usize),
    /// This share of the words is left out.
    Drop(f64),
}

const KINDS: [&str; 3] = ["typos", "truncate", "drop"];

/// Why a damage is none.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum DamageError {
    #[error(
        "`{0}` is not a damage; write `typos=SHARE`, `truncate=WORDS` or `drop=SHARE`, for example \
         `typos=0.05`"
    )]
    Syntax(String),
    #[error("unknown damage `{name}`{hint}; use typos, truncate or drop")]
    Unknown {
        name: String,
        /// `; did you mean …?`, or empty.
        hint: String,
    },
    #[error("`{0}`: use a share above 0 and at most 1, for example 0.05")]
    Share(String),
    #[error("`{0}`: use a number of words of at least 1, for example 64")]
    Words(String),
}

impl FromStr for Step {
    type Err = DamageError;

    fn from_str(text: &str) -> Result<Self, DamageError> {
        let (name, value) =
            text.split_once('=').ok_or_else(|| DamageError::Syntax(text.to_owned()))?;
        let share = || {
            let share = value.trim().parse().ok().filter(|share| *share > 0.0 && *share <= 1.0);
            share.ok_or_else(|| DamageError::Share(text.to_owned()))
        };
        match name.trim() {
            "typos" => share().map(Self::Typos),
            "drop" => share().map(Self::Drop),
            "truncate" => {
                let words = value.trim().parse().ok().filter(|words| *words > 0);
                words.map(Self::Truncate).ok_or_else(|| DamageError::Words(text.to_owned()))
            }
            name => {
                let near = nearest(name, KINDS);
                let hint = near.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
                Err(DamageError::Unknown { name: name.to_owned(), hint })
            }
        }
    }
}

impl FromStr for Damage {
    type Err = DamageError;

    /// `typos=0.05`, or `typos=0.05+truncate=64` for one after the other.
    fn from_str(text: &str) -> Result<Self, DamageError> {
        text.split('+').map(|step| step.trim().parse()).collect::<Result<_, _>>().map(Self)
    }
}

impl fmt::Display for Step {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Typos(share) => write!(out, "typos={share}"),
            Self::Truncate(words) => write!(out, "truncate={words}"),
            Self::Drop(share) => write!(out, "drop={share}"),
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, step) in self.0.iter().enumerate() {
            write!(out, "{}{step}", if place > 0 { "+" } else { "" })?;
        }
        Ok(())
    }
}

impl Damage {
    /// What it does, in words.
    pub fn words(&self) -> String {
        let step = |step: &Step| {
            let percent = |share: f64| (1e4 * share).round() / 100.0;
            match step {
                Step::Typos(share) => format!("{} % of the letters mistyped", percent(*share)),
                Step::Truncate(1) => "the first word".to_owned(),
                Step::Truncate(words) => format!("the first {words} words"),
                Step::Drop(share) => format!("{} % of the words left out", percent(*share)),
            }
        };
        self.0.iter().map(step).collect::<Vec<_>>().join(", then ")
    }

    /// The damaged copy of a row; of a pair, both texts are damaged. The label stays.
    pub fn example(&self, example: &Example, noise: &Noise) -> Example {
        let text = |text: &str| self.text(text, noise).into_owned();
        Example {
            text: text(&example.text),
            pair: example.pair.as_deref().map(text),
            label: example.label,
        }
    }

    /// The damaged text. Line breaks of HTML are spaces in it, as in what a model reads. A text that nothing
    /// would be left of stays as it is.
    pub fn text<'a>(&self, text: &'a str, noise: &Noise) -> Cow<'a, str> {
        let mut damaged = clean(text);
        let hash = text_key(text, None);
        for (place, step) in (0..).zip(&self.0) {
            // Two steps of one kind do not meet the same letters.
            let key: Key = noise.key(Purpose::Damage, hash, place);
            let next = match *step {
                Step::Typos(share) => typos::mistyped(&damaged, share, &key),
                Step::Truncate(count) => words::first(&damaged, count).to_owned(),
                Step::Drop(share) => words::without(&damaged, share, &key),
            };
            if !is_blank(&next) {
                damaged = Cow::Owned(next);
            }
        }
        damaged
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn damaged(damage: &str, text: &str, seed: u64) -> String {
        damage.parse::<Damage>().unwrap().text(text, &Noise::new(seed)).into_owned()
    }

    #[test]
    fn a_damage_is_written_as_it_is_read_and_nonsense_is_refused() {
        for text in ["typos=0.05", "truncate=64", "drop=1", "typos=0.05+truncate=64+typos=0.1"] {
            assert_eq!(text.parse::<Damage>().unwrap().to_string(), text);
        }
        assert_eq!(" drop = 0.10 ".parse::<Damage>().unwrap().to_string(), "drop=0.1");
        let refused = |text: &str| text.parse::<Damage>().unwrap_err().to_string();
        assert!(refused("typo=0.1").contains("did you mean `typos`?"), "{}", refused("typo=0.1"));
        assert!(refused("typos").contains("is not a damage"), "{}", refused("typos"));
        for text in ["typos=0", "drop=1.5", "typos=nan", "typos=x", "drop=-1"] {
            assert!(refused(text).contains("a share above 0"), "{text}");
        }
        for text in ["truncate=0", "truncate=0.5", "truncate=-3"] {
            assert!(refused(text).contains("a number of words"), "{text}");
        }
    }

    #[test]
    fn equal_seeds_agree_and_different_seeds_and_texts_differ() {
        let text = "a slow film about a quiet river and the people who live beside it";
        for damage in ["typos=0.3", "drop=0.3", "typos=0.2+drop=0.2"] {
            assert_eq!(damaged(damage, text, 1), damaged(damage, text, 1));
            assert_ne!(damaged(damage, text, 1), damaged(damage, text, 2));
            assert_ne!(damaged(damage, text, 1), text);
        }
        // Two steps are not one done twice in the same places.
        assert_ne!(damaged("drop=0.5+drop=0.5", text, 1), damaged("drop=0.5", text, 1));
        // The same bytes on every machine, and in every later version.
        assert_eq!(
            damaged("typos=0.2", text, 1),
            "q slos flin ablyt a qiet tiver and the people who live neside it"
        );
    }

    #[test]
    fn no_text_becomes_empty_in_any_script() {
        let texts = [
            "a",
            "I",
            "!!!",
            "42",
            "ok?",
            "не очень",
            "悪くない映画でした",
            "좋아요",
            "ดีมาก",
            "مرحبا",
            "🙂",
            "<br />fine<br />",
            "x\u{301}",
        ];
        for text in texts {
            for damage in ["typos=1", "typos=1+typos=1", "drop=1", "truncate=1", "drop=1+typos=1"] {
                for seed in 0..20 {
                    let found = damaged(damage, text, seed);
                    assert!(!is_blank(&found), "{text:?} {damage} {found:?}");
                }
            }
        }
    }

    #[test]
    fn both_texts_of_a_pair_are_damaged_and_the_label_stays() {
        let example = Example {
            text: "one two three".to_owned(),
            pair: Some("four five six".to_owned()),
            label: 3,
        };
        let cut = "truncate=2".parse::<Damage>().unwrap().example(&example, &Noise::new(1));
        assert_eq!((cut.text.as_str(), cut.pair.as_deref()), ("one two", Some("four five")));
        assert_eq!(cut.label, 3);
    }
}
