//! A sequential test of p-values: see the table of [`super`].

/// The exponents ε of bets ε p^{ε − 1} on small p-values, and on large ones.
const EXPONENTS: [f64; 5] = [0.5, 0.7, 0.8, 0.9, 0.95];
/// No p-value is taken to be nearer to 0 or 1: a smaller bet is a fair one too.
const NEAREST: f64 = 1e-12;
/// Bets on the places where p-values fell of late: into so many places, remembering about so many p-values, beside so
/// many that fell everywhere alike.
const HISTOGRAMS: [(usize, f64, f64); 3] = [(4, 128.0, 32.0), (16, 64.0, 64.0), (16, 256.0, 128.0)];
/// The most places.
const PLACES: usize = 16;
/// The number of bets.
const BETS: usize = 2 * EXPONENTS.len() + HISTOGRAMS.len();

/// The densities f_k. Each is one of the p-value that comes, whatever came before.
#[derive(Clone, Debug)]
pub struct Bets {
    /// How often p-values fell into each place; what is older counts less.
    weights: [[f64; PLACES]; HISTOGRAMS.len()],
    sums: [f64; HISTOGRAMS.len()],
}

impl Default for Bets {
    fn default() -> Self {
        Self { weights: [[0.0; PLACES]; HISTOGRAMS.len()], sums: [0.0; HISTOGRAMS.len()] }
    }
}

impl Bets {
    /// f_k(p), and remembers p.
    fn see(&mut self, p: f64) -> [f64; BETS] {
        let mut bets = [0.0; BETS];
        let logarithms = [p, 1.0 - p].map(|side| side.max(NEAREST).ln());
        for (place, exponent) in EXPONENTS.into_iter().enumerate() {
            for (side, ln_p) in logarithms.into_iter().enumerate() {
                bets[2 * place + side] = exponent * ((exponent - 1.0) * ln_p).exp();
            }
        }
        for (k, (places, memory, prior)) in HISTOGRAMS.into_iter().enumerate() {
            let (weights, sum) = (&mut self.weights[k][..places], &mut self.sums[k]);
            let place = ((p * places as f64) as usize).min(places - 1);
            // The predictive density of Dirichlet's rule.
            let share = (weights[place] + prior / places as f64) / (*sum + prior);
            bets[2 * EXPONENTS.len() + k] = places as f64 * share;
            let stays = 1.0 - 1.0 / memory;
            weights.iter_mut().for_each(|weight| *weight *= stays);
            weights[place] += 1.0;
            *sum = *sum * stays + 1.0;
        }
        bets
    }
}

/// The test of one series of p-values. It stays at its first alarm.
#[derive(Clone, Debug)]
pub struct Detector {
    bets: Bets,
    /// R_k.
    statistics: [f64; BETS],
    /// c.
    threshold: f64,
    seen: u64,
    alarm: Option<u64>,
}

impl Detector {
    /// Alarms at this statistic: among n p-values that are uniform and independent with a chance of n/threshold at
    /// most.
    pub fn new(threshold: f64) -> Self {
        let (bets, statistics) = (Bets::default(), [0.0; BETS]);
        Self { bets, statistics, threshold, seen: 0, alarm: None }
    }

    /// Takes the next p-value; true if it is the one that alarms.
    pub fn see(&mut self, p: f64) -> bool {
        self.seen += 1;
        if self.alarm.is_some() {
            return false;
        }
        let bets = self.bets.see(p);
        for (statistic, bet) in self.statistics.iter_mut().zip(bets) {
            *statistic = (1.0 + *statistic) * bet;
        }
        if self.statistic() >= self.threshold {
            self.alarm = Some(self.seen);
        }
        self.alarm.is_some()
    }

    /// R, or what it was at the alarm.
    pub fn statistic(&self) -> f64 {
        self.statistics.iter().sum::<f64>() / BETS as f64
    }

    /// How many p-values there were.
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// The number of the p-value that alarmed, from 1.
    pub fn alarm(&self) -> Option<u64> {
        self.alarm
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::{Noise, Purpose, Stream};

    fn stream(seed: u64) -> Stream {
        Noise::new(seed).stream(Purpose::Drift, 0, 0)
    }

    /// The mean of each bet over uniform p-values is 1, after any past.
    #[test]
    fn bets_are_fair() {
        let mut stream = stream(1);
        let mut bets = Bets::default();
        for _ in 0..300 {
            bets.see(stream.uniform().powi(3));
        }
        let count = 200_000;
        let mut sums = [0.0; BETS];
        for place in 0..count {
            let p = (f64::from(place) + 0.5) / f64::from(count);
            for (sum, bet) in sums.iter_mut().zip(bets.clone().see(p)) {
                *sum += bet / f64::from(count);
            }
        }
        // The midpoint rule leaves out a little of what is infinite at 0.
        assert!(sums.iter().all(|mean| *mean < 1.0 + 1e-9 && *mean > 0.995), "{sums:?}");
    }

    /// At c = 2,000 and 500 p-values the chance is at most 1/4; of 2,000 runs, four standard errors above that.
    #[test]
    fn false_alarms_are_as_rare_as_promised() {
        let (runs, length, threshold) = (2000, 500, 2000.0);
        let mut stream = stream(2);
        let mut alarms = 0;
        for _ in 0..runs {
            let mut detector = Detector::new(threshold);
            alarms += u32::from((0..length).any(|_| detector.see(stream.uniform())));
        }
        let (share, most) = (f64::from(alarms) / f64::from(runs), f64::from(length) / threshold);
        let error = (most * (1.0 - most) / f64::from(runs)).sqrt();
        assert!(share <= most + 4.0 * error, "{share} of at most {most}");
        // It is a test, and not silent.
        assert!(share > 0.02, "{share}");
    }

    /// After 10,000 quiet p-values, changes of several kinds are seen within so many more.
    #[test]
    fn a_change_after_a_long_quiet_time_is_seen_soon() {
        type Change = fn(&mut Stream) -> f64;
        let changes: [(&str, usize, Change); 4] = [
            ("small", 60, |stream| stream.uniform().powi(4)),
            ("large", 60, |stream| 1.0 - stream.uniform().powi(4)),
            ("in the middle", 250, |stream| 0.3 + 0.4 * stream.uniform()),
            ("mostly below a half", 300, |stream| {
                let low = stream.uniform() < 0.8;
                0.5 * stream.uniform() + if low { 0.0 } else { 0.5 }
            }),
        ];
        for (what, most, change) in changes {
            let mut stream = stream(3);
            for run in 0..20 {
                let mut detector = Detector::new(6e8);
                assert!(!(0..10_000).any(|_| detector.see(stream.uniform())), "{what}");
                let seen = (1..=most).find(|_| detector.see(change(&mut stream)));
                assert!(seen.is_some(), "{what}, run {run}: {:e}", detector.statistic());
                assert_eq!(detector.alarm(), seen.map(|seen| 10_000 + seen as u64));
                assert!(!detector.see(0.0), "it alarms once");
            }
        }
    }
}
