//! The name of a prediction, which carries all that its label will be compared with, signed: whichever replica has
//! the key can take the label, and keeps nothing until then.
//!
//! `p_` and, in base64 for addresses (RFC 4648, section 5, without padding), in this order and little-endian:
//!
//! | bytes | what |
//! |---|---|
//! | 1 | 1, the version of this layout |
//! | 16 | UUID 7, which begins with the time in milliseconds |
//! | 8 | of the SHA-256 of the model's version |
//! | 8 | of the SHA-256 of its labels and its name |
//! | 8 | a tag of the text |
//! | 4 | the class that was predicted |
//! | 8 | its probability |
//! | 8 | the U of APS and RAPS |
//! | 4 | the coverage of the set, f32; NaN without one |
//! | ⌈c/8⌉ | the set, a bit a class |
//! | 4 c | p(class), f32 |
//! | 16 | HMAC-SHA-256 of all of it |
//!
//! Nothing in it is secret: whoever asked was told it.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use super::mac::{Secret, TAG};
use crate::predict::{Prediction, Predictor};
use crate::serve::request::Sent;

const PREFIX: &str = "p_";
const VERSION: u8 = 1;
/// Bytes before the set.
const FIXED: usize = 1 + 16 + 8 + 8 + 8 + 4 + 8 + 8 + 4;
/// So that a tag of one kind is none of another.
const OF_ID: &[u8] = b"bayes prediction\0";
const OF_TEXT: &[u8] = b"bayes text\0";

/// What is said of a model in a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModelMark {
    pub version: [u8; 8],
    pub labels: [u8; 8],
}

impl ModelMark {
    /// `name` is what requests call it: models of one server may have the same labels.
    pub fn of(predictor: &Predictor, name: &str) -> Self {
        let first = |hash: Sha256| -> [u8; 8] {
            let whole: [u8; 32] = hash.finalize().into();
            std::array::from_fn(|place| whole[place])
        };
        let mut labels = Sha256::new();
        for label in predictor.labels() {
            labels.update((label.len() as u64).to_le_bytes());
            labels.update(label);
        }
        // No label is so long.
        labels.update(u64::MAX.to_le_bytes());
        labels.update(name);
        let version = first(Sha256::new_with_prefix(predictor.version()));
        Self { version, labels: first(labels) }
    }
}

/// What a name says.
#[derive(Clone, Debug, PartialEq)]
pub struct Named {
    /// UUID 7.
    pub uuid: [u8; 16],
    pub model: ModelMark,
    pub text: [u8; 8],
    pub predicted: usize,
    pub confidence: f64,
    pub uniform: f64,
    /// The coverage that was asked for, and for each class whether it is in the set.
    pub set: Option<(f32, Vec<bool>)>,
    pub probability_c: Vec<f32>,
}

impl Named {
    /// When it was given, in milliseconds since 1970.
    pub fn time(&self) -> u64 {
        time_of(self.uuid)
    }
}

/// The time that a UUID 7 begins with.
pub fn time_of(uuid: [u8; 16]) -> u64 {
    let mut bytes = [0; 8];
    bytes[2..].copy_from_slice(&uuid[..6]);
    u64::from_be_bytes(bytes)
}

/// A tag of a text, by which it is known again.
pub fn text_tag(secret: &Secret, sent: &Sent) -> [u8; 8] {
    let length = (sent.text.len() as u64).to_le_bytes();
    let pair = sent.pair.as_deref();
    secret.tag(&[
        OF_TEXT,
        &[u8::from(pair.is_some())],
        &length,
        sent.text.as_bytes(),
        pair.unwrap_or_default().as_bytes(),
    ])
}

/// The name of a prediction.
pub fn name(
    secret: &Secret,
    uuid: [u8; 16],
    mark: ModelMark,
    sent: &Sent,
    prediction: &Prediction,
) -> String {
    let probability_c = &prediction.predictive.probability_c;
    let set = prediction.judgement.set.as_ref();
    let classes = probability_c.len();
    let mut bytes = Vec::with_capacity(FIXED + classes.div_ceil(8) + 4 * classes + TAG);
    bytes.push(VERSION);
    bytes.extend(uuid);
    bytes.extend(mark.version);
    bytes.extend(mark.labels);
    bytes.extend(text_tag(secret, sent));
    bytes.extend((prediction.label as u32).to_le_bytes());
    bytes.extend(prediction.confidence.to_le_bytes());
    bytes.extend(prediction.uniform.to_le_bytes());
    bytes.extend(set.map_or(f32::NAN, |set| set.coverage as f32).to_le_bytes());
    let mut bits = vec![0u8; classes.div_ceil(8)];
    for &class in set.iter().flat_map(|set| &set.classes) {
        bits[class / 8] |= 1 << (class % 8);
    }
    bytes.extend(bits);
    probability_c.iter().for_each(|&p| bytes.extend((p as f32).to_le_bytes()));
    let tag: [u8; TAG] = secret.tag(&[OF_ID, &bytes]);
    bytes.extend(tag);
    PREFIX.to_owned() + &URL_SAFE_NO_PAD.encode(bytes)
}

/// Characters of a name with so many classes.
pub fn length(classes: usize) -> usize {
    PREFIX.len() + (4 * (FIXED + classes.div_ceil(8) + 4 * classes + TAG)).div_ceil(3)
}

/// What a name says that one of these secrets has signed, and the secret; `None` if none has.
pub fn verified<'a>(secrets: &'a [Secret], id: &str) -> Option<(Named, &'a Secret)> {
    let bytes = bytes_of(id)?;
    let (signed, tag) = bytes.split_last_chunk::<TAG>()?;
    // All are tried, whichever fits.
    let mut found = None;
    for secret in secrets {
        if secret.is_tag(&[OF_ID, signed], tag) {
            found = Some(secret);
        }
    }
    Some((read(signed)?, found?))
}

/// What a name says, whoever signed it: for those that were verified when they came.
pub fn trusted(id: &str) -> Option<Named> {
    read(bytes_of(id)?.split_last_chunk::<TAG>()?.0)
}

fn bytes_of(id: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(id.strip_prefix(PREFIX)?).ok()
}

fn read(bytes: &[u8]) -> Option<Named> {
    let mut rest = bytes;
    fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
        let (first, others) = rest.split_first_chunk::<N>()?;
        *rest = others;
        Some(*first)
    }
    if take::<1>(&mut rest)? != [VERSION] {
        return None;
    }
    let uuid = take(&mut rest)?;
    let model = ModelMark { version: take(&mut rest)?, labels: take(&mut rest)? };
    let text = take(&mut rest)?;
    let predicted = u32::from_le_bytes(take(&mut rest)?) as usize;
    let confidence = f64::from_le_bytes(take(&mut rest)?);
    let uniform = f64::from_le_bytes(take(&mut rest)?);
    let coverage = f32::from_le_bytes(take(&mut rest)?);
    // c classes have ⌈c/8⌉ + 4 c bytes, a different number for each c.
    let classes = (8 * rest.len()) / 33;
    let (bits, numbers) = rest.split_at_checked(classes.div_ceil(8))?;
    if numbers.len() != 4 * classes || predicted >= classes {
        return None;
    }
    let member = |class: usize| bits[class / 8] & (1 << (class % 8)) != 0;
    let numbers = numbers.as_chunks::<4>().0.iter();
    Some(Named {
        uuid,
        model,
        text,
        predicted,
        confidence,
        uniform,
        set: (!coverage.is_nan()).then(|| (coverage, (0..classes).map(member).collect())),
        probability_c: numbers.map(|four| f32::from_le_bytes(*four)).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibrate::{Judgement, PredictionSet};
    use crate::posterior::{LogitDistribution, Predictive};

    fn prediction(classes: usize) -> Prediction {
        let p = 1.0 / classes as f64;
        let set = PredictionSet {
            classes: (0..classes).filter(|class| class % 3 == 0).collect(),
            coverage: 0.95,
            calibration_size: 100,
        };
        Prediction {
            label: classes - 1,
            confidence: p,
            predictive: Predictive {
                probability_c: vec![p; classes],
                total: 0.1,
                aleatoric: None,
                epistemic: None,
            },
            logits: LogitDistribution::Point(vec![0.0; classes]),
            judgement: Judgement { set: Some(set), ..Judgement::default() },
            uniform: 0.25,
            num_tokens: 3,
            truncated: false,
        }
    }

    fn named(secret: &Secret, classes: usize) -> String {
        let mark = ModelMark { version: [1; 8], labels: [2; 8] };
        let sent = Sent { text: "a text".into(), pair: None };
        let uuid = *uuid::Uuid::now_v7().as_bytes();
        name(secret, uuid, mark, &sent, &prediction(classes))
    }

    #[test]
    fn a_name_says_what_was_predicted_for_any_number_of_classes() {
        let secrets = [Secret::new(&[7; 32]), Secret::new(&[8; 32])];
        for classes in (1..70).chain([150, 1000]) {
            let id = named(&secrets[1], classes);
            assert_eq!(id.len(), length(classes), "{classes}");
            let (found, _) = verified(&secrets, &id).unwrap();
            let expected = prediction(classes);
            assert_eq!((found.predicted, found.confidence), (expected.label, expected.confidence));
            let (coverage, set) = found.set.unwrap();
            assert_eq!((coverage, set.len(), found.uniform), (0.95, classes, 0.25));
            assert!(set.iter().enumerate().all(|(class, &held)| held == (class % 3 == 0)));
            assert_eq!(found.probability_c, vec![1.0 / classes as f32; classes]);
            assert_eq!(found.model, ModelMark { version: [1; 8], labels: [2; 8] });
            let age = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
            let age = age.as_millis() as u64 - time_of(found.uuid);
            assert!(age < 60_000, "{age}");
        }
    }

    #[test]
    fn a_name_that_was_changed_anywhere_or_signed_by_another_is_none() {
        let secret = Secret::new(&[7; 32]);
        let id = named(&secret, 3);
        let ours = std::slice::from_ref(&secret);
        assert!(verified(ours, &id).is_some());
        assert!(verified(&[Secret::new(&[9; 32])], &id).is_none() && verified(&[], &id).is_none());
        for place in 0..id.len() {
            for other in ["A", "b", "-", "=", "é", ""] {
                let changed = format!("{}{other}{}", &id[..place], &id[place + 1..]);
                assert!(changed == id || verified(ours, &changed).is_none(), "{place} {other}");
            }
            assert!(verified(ours, &id[..place]).is_none());
        }
        for wrong in ["", "p_", "p_AA", "q_AA", &format!("{id}A"), &format!(" {id}")] {
            assert!(verified(ours, wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn a_text_is_known_again_and_no_pair_is_another_text() {
        let secret = Secret::new(&[7; 32]);
        let tag = |text: &str, pair: Option<&str>| {
            text_tag(&secret, &Sent { text: text.into(), pair: pair.map(Into::into) })
        };
        assert_eq!(tag("a b", None), tag("a b", None));
        let all =
            [tag("a b", None), tag("a b", Some("")), tag("a", Some(" b")), tag("a ", Some("b"))];
        for (place, one) in all.iter().enumerate() {
            assert!(all[place + 1..].iter().all(|other| other != one));
        }
    }
}
