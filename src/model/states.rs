//! Which hidden states of an encoder are looked at.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Some of the hidden states, by the numbers that transformers has for them: 0 is what the embeddings give
/// to the first layer, and i is what layer i of the file, counted from one, gives to the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HiddenStates(u64);

impl HiddenStates {
    /// Numbers up to this one are known.
    pub const MOST: usize = 63;

    /// These; the error names one that cannot be.
    pub fn new(numbers: impl IntoIterator<Item = usize>) -> Result<Self, String> {
        let mut all = 0;
        for number in numbers {
            if number > Self::MOST {
                return Err(format!("{number} is no hidden state; use 0 to {}", Self::MOST));
            }
            if all >> number & 1 == 1 {
                return Err(format!("{number} is there twice"));
            }
            all |= 1 << number;
        }
        Ok(Self(all))
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// The numbers, in ascending order.
    pub fn numbers(self) -> impl Iterator<Item = usize> {
        (0..=Self::MOST).filter(move |number| self.0 >> number & 1 == 1)
    }

    /// Of how many of the last of so many layers the input is asked for.
    pub fn inputs(self, layers: usize) -> usize {
        self.numbers().next().map_or(0, |first| layers.saturating_sub(first))
    }

    /// Refuses what an encoder of so many layers does not have. What leaves the last layer is not among
    /// them: the feature φ is made of it.
    pub fn check(self, layers: usize) -> Result<(), String> {
        match self.numbers().find(|&number| number >= layers) {
            None => Ok(()),
            Some(number) => Err(format!(
                "{number} is no hidden state before the last layer of an encoder of {layers} layers; \
                 use 0 (the embeddings) to {}",
                layers.saturating_sub(1)
            )),
        }
    }

    /// As a person writes them.
    pub fn words(self) -> String {
        let numbers: Vec<String> = self.numbers().map(|number| number.to_string()).collect();
        match numbers.split_last() {
            Some((last, [])) => last.clone(),
            Some((last, others)) => format!("{} and {last}", others.join(", ")),
            None => "none".to_owned(),
        }
    }
}

impl Serialize for HiddenStates {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.numbers())
    }
}

impl<'de> Deserialize<'de> for HiddenStates {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(Vec::<usize>::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_written_and_read_in_order() {
        let states = HiddenStates::new([5, 0, 4]).unwrap();
        assert_eq!(states.numbers().collect::<Vec<_>>(), [0, 4, 5]);
        assert_eq!((states.len(), states.inputs(6)), (3, 6));
        assert_eq!(serde_json::to_string(&states).unwrap(), "[0,4,5]");
        assert_eq!(serde_json::from_str::<HiddenStates>("[4, 5, 0]").unwrap(), states);
        assert_eq!(states.words(), "0, 4 and 5");
        assert_eq!(HiddenStates::default().inputs(6), 0);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (text, words) in [("[64]", "64"), ("[1, 1]", "twice"), ("[-1]", "-1"), ("4", "4")] {
            let message = serde_json::from_str::<HiddenStates>(text).unwrap_err().to_string();
            assert!(message.contains(words), "{message}");
        }
        let states = HiddenStates::new([2, 5]).unwrap();
        assert!(states.check(6).is_ok());
        assert!(states.check(5).unwrap_err().starts_with("5 is no hidden state"));
    }
}
