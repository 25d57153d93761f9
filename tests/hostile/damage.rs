//! Valid files with something changed, again and again.
//!
//! `BAYES_FUZZ_SECONDS` says how long each target runs (4 in the suite), `BAYES_FUZZ_SEED` where its
//! changes begin; a failure prints the change.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

/// Inputs between two looks at the clock.
const ROUND: u32 = 16;

/// Changes a file and tries it, again and again.
#[expect(clippy::print_stdout, reason = "a long run says how many inputs it tried")]
pub fn fuzz<S: Strategy>(name: &str, strategy: &S, test: impl Fn(&S::Value)) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let limit = Duration::from_secs(number("BAYES_FUZZ_SECONDS").unwrap_or(4));
    let seed = number("BAYES_FUZZ_SEED").unwrap_or(0);
    let (began, mut inputs) = (Instant::now(), 0_u64);
    while began.elapsed() < limit {
        let config = Config {
            cases: ROUND,
            failure_persistence: None,
            max_shrink_iters: 300,
            ..Config::default()
        };
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        bytes[8..16].copy_from_slice(&inputs.to_le_bytes());
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
        let mut runner = TestRunner::new_with_rng(config, rng);
        let outcome = runner.run(strategy, |change| {
            let began = Instant::now();
            test(&change);
            prop_assert!(
                began.elapsed() < Duration::from_secs(20),
                "it took {:?}",
                began.elapsed()
            );
            Ok(())
        });
        if let Err(error) = outcome {
            panic!("{name}, after {inputs} inputs: {error}");
        }
        inputs += u64::from(ROUND);
    }
    println!("{name}: {inputs} inputs");
}

/// What can happen to bytes.
#[derive(Clone, Debug)]
pub enum Damage {
    Flip(prop::sample::Index, u8),
    Set(prop::sample::Index, Vec<u8>),
    Cut(prop::sample::Index),
    Drop(prop::sample::Index, usize),
    Repeat(prop::sample::Index, usize),
}

impl Damage {
    pub fn apply(&self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        let length = bytes.len();
        match self {
            Self::Flip(place, bit) => bytes[place.index(length)] ^= 1 << bit,
            Self::Set(place, new) => {
                let start = place.index(length);
                for (old, new) in bytes[start..].iter_mut().zip(new) {
                    *old = *new;
                }
            }
            Self::Cut(place) => bytes.truncate(place.index(length)),
            Self::Drop(place, size) => {
                let start = place.index(length);
                bytes.drain(start..(start + size).min(length));
            }
            Self::Repeat(place, size) => {
                let start = place.index(length);
                let piece = bytes[start..(start + size).min(length)].to_vec();
                bytes.splice(start..start, piece);
            }
        }
    }
}

pub fn damage() -> impl Strategy<Value = Vec<Damage>> {
    let place = any::<prop::sample::Index>;
    let hostile = prop_oneof![
        Just(vec![0xff; 4]),
        Just(vec![0xff; 8]),
        Just(vec![0; 8]),
        Just(f64::NAN.to_le_bytes().to_vec()),
        Just(1e308_f64.to_le_bytes().to_vec()),
        Just(3e38_f32.to_le_bytes().to_vec()),
        Just(i64::MIN.to_le_bytes().to_vec()),
        Just(vec![0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]),
        prop::collection::vec(any::<u8>(), 1..12),
    ];
    let one = prop_oneof![
        4 => (place(), 0..8_u8).prop_map(|(place, bit)| Damage::Flip(place, bit)),
        4 => (place(), hostile).prop_map(|(place, bytes)| Damage::Set(place, bytes)),
        1 => place().prop_map(Damage::Cut),
        1 => (place(), 1..40_usize).prop_map(|(place, size)| Damage::Drop(place, size)),
        1 => (place(), 1..40_usize).prop_map(|(place, size)| Damage::Repeat(place, size)),
    ];
    prop::collection::vec(one, 1..4)
}
