//! The one source of randomness: a counter-based generator.
//!
//! A draw is a pure function of (seed, purpose, place), so nothing has to be saved to resume a run,
//! and neither the number of threads nor the order of the work can change it.
//!
//! The block function is Philox4x32-10 of Salmon, Moraes, Dror and Shaw, "Parallel random numbers:
//! as easy as 1, 2, 3" (SC 2011), section 3.3.

/// What a draw is for. Two purposes never share numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Purpose {
    /// Initial weights; `a` numbers the parameter.
    Init = 1,
    /// Order of the training rows; `a` is the epoch.
    Shuffle = 2,
    /// Division of a data set into splits.
    Split = 3,
    /// A sample of rows (`--limit`, `train_limit`).
    Sample = 4,
    /// Dropout; `a` is the step, `b` the place in the network.
    Dropout = 5,
    /// Resampling for confidence intervals and noise floors.
    Bootstrap = 6,
    /// The generated data set; `a` is the split, `b` the row.
    Generate = 7,
    /// The fixed draws that logits of a posterior are averaged over.
    Link = 8,
    /// Order of the row groups of a stream; `a` is the epoch, `b` the stratum of the file.
    Stream = 9,
    /// Order of the rows in a window of a stream; `a` is the epoch, `b` the window.
    StreamWindow = 10,
    /// The baseline's rows: `b` is 0 for which of them are read, 1 for the order of pass `a`.
    Baseline = 11,
    /// Draws of weights that methods are compared with; `a` is the chain.
    Reference = 12,
    /// Random Fourier features; `a` is 0 for the frequencies, 1 for the phases.
    Fourier = 13,
    /// Seeds of the networks of an ensemble after the first; `a` numbers the network.
    Member = 14,
    /// Damaged texts (`--shift`): `a` is the text's key, `b` the step of the damage.
    Damage = 15,
    /// Samples of weights that a model predicts with; `a` is the sample, `b` the parameter.
    Weights = 16,
    /// Samples of weights that training takes gradients at; `a` is the step, `b` the parameter.
    Variational = 17,
    /// Labels that a model gives to rows itself; `a` is the row.
    Labels = 18,
    /// Draws for the mean of a student that is distilled; `a` is the forward pass.
    Student = 19,
    /// Altered copies of training texts: `a` is the row, `b` the copy.
    Alter = 20,
    /// Ties of conformal p-values in service; `a` numbers the test.
    Drift = 21,
    /// Texts that are chosen for labelling.
    Select = 22,
}

pub(super) const MULTIPLIER_0: u32 = 0xD251_1F53;
pub(super) const MULTIPLIER_1: u32 = 0xCD9E_8D57;
const WEYL_0: u32 = 0x9E37_79B9;
const WEYL_1: u32 = 0xBB67_AE85;

/// What the two words of the key have gained in each round.
pub(super) const ROUND_KEYS: [[u32; 2]; 10] = {
    let mut keys = [[0; 2]; 10];
    let mut round = 1;
    while round < 10 {
        let last: [u32; 2] = keys[round - 1];
        keys[round] = [last[0].wrapping_add(WEYL_0), last[1].wrapping_add(WEYL_1)];
        round += 1;
    }
    keys
};

/// One Philox4x32-10 block: four words from a 128-bit counter and a 64-bit key.
pub fn philox(mut counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    for round in ROUND_KEYS {
        let product_0 = u64::from(MULTIPLIER_0) * u64::from(counter[0]);
        let product_1 = u64::from(MULTIPLIER_1) * u64::from(counter[2]);
        counter = [
            (product_1 >> 32) as u32 ^ counter[1] ^ key[0].wrapping_add(round[0]),
            product_1 as u32,
            (product_0 >> 32) as u32 ^ counter[3] ^ key[1].wrapping_add(round[1]),
            product_0 as u32,
        ];
    }
    counter
}

/// All randomness of one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Noise {
    seed: u64,
}

impl Noise {
    /// The source of a run with this seed.
    pub fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// The key of one (purpose, a, b): what stays fixed over a whole tensor or list.
    pub fn key(&self, purpose: Purpose, a: u64, b: u32) -> Key {
        let seed = [self.seed as u32, (self.seed >> 32) as u32];
        let block = philox([purpose as u32, a as u32, (a >> 32) as u32, b], seed);
        Key([block[0], block[1]])
    }

    /// A sequence of draws for one (purpose, a, b).
    pub fn stream(&self, purpose: Purpose, a: u64, b: u32) -> Stream {
        Stream { key: self.key(purpose, a, b), index: 0, block: [0; 4] }
    }
}

/// A key under which any place can be asked for its four words directly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key(pub(super) [u32; 2]);

impl Key {
    /// The four words at (row, token, group of four features).
    #[inline]
    pub fn at(&self, row: u64, token: u32, group: u32) -> [u32; 4] {
        philox([row as u32, (row >> 32) as u32, token, group], self.0)
    }
}

/// Draws in order. Cheap to make; it holds a position and no state that would need saving.
#[derive(Clone, Debug)]
pub struct Stream {
    key: Key,
    index: u64,
    block: [u32; 4],
}

impl Stream {
    /// The next word, uniform over all of `u32`.
    #[inline]
    pub fn word(&mut self) -> u32 {
        let lane = (self.index % 4) as usize;
        if lane == 0 {
            self.block = self.key.at(self.index / 4, 0, 0);
        }
        self.index += 1;
        self.block[lane]
    }

    /// Uniform on [0, 1) with 53 bits.
    pub fn uniform(&mut self) -> f64 {
        let high = u64::from(self.word()) << 32;
        ((high | u64::from(self.word())) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Uniform on `0..n` without bias (Lemire's multiply and reject). `n` must not be zero.
    pub fn below(&mut self, n: u32) -> u32 {
        assert!(n > 0, "`below` needs a range that is not empty");
        let threshold = n.wrapping_neg() % n;
        loop {
            let product = u64::from(self.word()) * u64::from(n);
            if product as u32 >= threshold {
                return (product >> 32) as u32;
            }
        }
    }

    /// Standard normal, by Box and Muller's transform; the second of the pair is not kept, so that
    /// the position in the stream is a function of the number of calls.
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// A uniformly chosen element. The slice must not be empty.
    pub fn choose<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len() as u32) as usize]
    }

    /// Fisher and Yates's shuffle.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i as u32 + 1) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The known answers of the Random123 distribution (`tests/kat_vectors`, philox4x32 10).
    #[test]
    fn philox_gives_the_published_words() {
        assert_eq!(philox([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(
            philox([u32::MAX; 4], [u32::MAX; 2]),
            [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]
        );
        assert_eq!(
            philox(
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0]
            ),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }

    #[test]
    fn equal_seeds_agree_and_different_seeds_differ() {
        let draw = |seed, a| -> Vec<u32> {
            let mut stream = Noise::new(seed).stream(Purpose::Shuffle, a, 0);
            (0..9).map(|_| stream.word()).collect()
        };
        assert_eq!(draw(1, 0), draw(1, 0));
        assert_ne!(draw(1, 0), draw(2, 0));
        assert_ne!(draw(1, 0), draw(1, 1));
    }

    /// Means and variances of 100,000 draws, each within five standard errors.
    #[test]
    fn moments_are_those_of_the_distributions() {
        let n = 100_000;
        let mut stream = Noise::new(3).stream(Purpose::Bootstrap, 0, 0);
        let mean = (0..n).map(|_| stream.uniform()).sum::<f64>() / f64::from(n);
        assert!((mean - 0.5).abs() < 5.0 * (1.0f64 / 12.0 / f64::from(n)).sqrt(), "{mean}");
        let normals: Vec<f64> = (0..n).map(|_| stream.normal()).collect();
        let mean = normals.iter().sum::<f64>() / f64::from(n);
        let variance = normals.iter().map(|x| x * x).sum::<f64>() / f64::from(n);
        assert!(mean.abs() < 5.0 / f64::from(n).sqrt(), "{mean}");
        assert!((variance - 1.0).abs() < 5.0 * (2.0 / f64::from(n)).sqrt(), "{variance}");
    }

    #[test]
    fn a_shuffle_is_a_permutation() {
        let mut items: Vec<u32> = (0..1000).collect();
        Noise::new(7).stream(Purpose::Shuffle, 0, 0).shuffle(&mut items);
        assert_ne!(items, (0..1000).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..1000).collect::<Vec<_>>());
    }
}
