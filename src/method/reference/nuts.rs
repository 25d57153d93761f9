//! The No-U-Turn sampler: Hoffman and Gelman, "The No-U-Turn sampler: adaptively setting path lengths in
//! Hamiltonian Monte Carlo" (JMLR 15, 2014), with the multinomial choice and the criterion of Betancourt, "A
//! conceptual introduction to Hamiltonian Monte Carlo" (2017), appendix A.4.
//!
//! | papers | here |
//! |---|---|
//! | q, the place | `place` |
//! | p, its momentum, with the identity as the mass matrix | `momentum` |
//! | −ln π(q) and its gradient | what the target gives |
//! | ε, found by dual averaging towards an acceptance δ = 0.8 | `step` |
//! | ρ, the sum of the momenta of a trajectory | `sum` |
//!
//! The mass matrix is not adapted: whoever samples gives a target that is nearly standard normal.

use crate::compute::Stream;

/// −ln π at a place, up to a constant, and its gradient there.
pub type Potential = (f64, Vec<f64>);

/// How long to sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lengths {
    /// Draws that find the step, and are thrown away.
    pub warmup: usize,
    /// Draws that are kept.
    pub draws: usize,
}

/// Draws of one chain.
#[derive(Clone, Debug)]
pub struct Chain {
    /// Each a place.
    pub draws: Vec<Vec<f64>>,
    /// Trajectories that left the energy by more than 1000 nats after the warm-up.
    pub divergences: usize,
    /// The step that was found.
    pub step: f64,
}

/// A trajectory doubles at most so often.
const DEEPEST: u32 = 10;
/// An error of the energy, in nats, at which a trajectory is given up.
const DIVERGED: f64 = 1000.0;
/// The mean acceptance that the step is chosen for.
const TARGET: f64 = 0.8;

/// A place on a trajectory.
#[derive(Clone, Debug)]
struct State {
    place: Vec<f64>,
    momentum: Vec<f64>,
    potential: f64,
    gradient: Vec<f64>,
}

impl State {
    fn energy(&self) -> f64 {
        self.potential + 0.5 * dot(&self.momentum, &self.momentum)
    }

    /// One step of the leapfrog, forwards or backwards in time.
    fn leap<E>(
        &self,
        step: f64,
        target: &mut impl FnMut(&[f64]) -> Result<Potential, E>,
    ) -> Result<Self, E> {
        let half: Vec<f64> =
            self.momentum.iter().zip(&self.gradient).map(|(p, g)| p - 0.5 * step * g).collect();
        let place: Vec<f64> = self.place.iter().zip(&half).map(|(q, p)| q + step * p).collect();
        let (potential, gradient) = target(&place)?;
        let momentum = half.iter().zip(&gradient).map(|(p, g)| p - 0.5 * step * g).collect();
        Ok(Self { place, momentum, potential, gradient })
    }
}

/// A piece of a trajectory, from its first to its last state in time.
struct Piece {
    first: State,
    last: State,
    /// Of its states one, with the probability of its weight.
    chosen: State,
    /// ln Σ exp(−energy).
    log_weight: f64,
    /// ρ.
    sum: Vec<f64>,
    /// Whether it turned back, or diverged.
    ended: bool,
}

/// What a trajectory says of its step.
#[derive(Default)]
struct Acceptance {
    sum: f64,
    steps: usize,
    diverged: bool,
}

/// Draws from a density, from a place on. The error is that of the target.
pub fn sample<E>(
    mut target: impl FnMut(&[f64]) -> Result<Potential, E>,
    start: Vec<f64>,
    lengths: Lengths,
    stream: &mut Stream,
    progress: &mut dyn FnMut(),
) -> Result<Chain, E> {
    let (potential, gradient) = target(&start)?;
    let momentum = vec![0.0; start.len()];
    let mut state = State { place: start, momentum, potential, gradient };
    let first = reasonable(&state, &mut target, stream)?;
    let mut averaging = DualAveraging::new(first);
    let mut chain = Chain { draws: Vec::with_capacity(lengths.draws), divergences: 0, step: first };
    for draw in 0..lengths.warmup + lengths.draws {
        let warming = draw < lengths.warmup;
        let step = if warming { averaging.step() } else { chain.step };
        let acceptance;
        (state, acceptance) = transition(&state, step, &mut target, stream)?;
        if warming {
            averaging.update(acceptance.sum / acceptance.steps.max(1) as f64);
            chain.step = averaging.average();
        } else {
            chain.divergences += usize::from(acceptance.diverged);
            chain.draws.push(state.place.clone());
        }
        progress();
    }
    Ok(chain)
}

/// A step whose acceptance is about one half: algorithm 4 of Hoffman and Gelman.
fn reasonable<E>(
    start: &State,
    target: &mut impl FnMut(&[f64]) -> Result<Potential, E>,
    stream: &mut Stream,
) -> Result<f64, E> {
    let momentum = normals(start.place.len(), stream);
    let start = State { momentum, ..start.clone() };
    let change = |next: &State| {
        let change = start.energy() - next.energy();
        if change.is_finite() { change } else { f64::NEG_INFINITY }
    };
    let mut step = 1.0;
    let half = 0.5f64.ln();
    let grows = change(&start.leap(step, target)?) > half;
    for _ in 0..100 {
        step *= if grows { 2.0 } else { 0.5 };
        if (change(&start.leap(step, target)?) > half) != grows {
            break;
        }
    }
    Ok(step)
}

/// The next draw.
fn transition<E>(
    state: &State,
    step: f64,
    target: &mut impl FnMut(&[f64]) -> Result<Potential, E>,
    stream: &mut Stream,
) -> Result<(State, Acceptance), E> {
    let start = State { momentum: normals(state.place.len(), stream), ..state.clone() };
    let mut acceptance = Acceptance::default();
    let energy = start.energy();
    let mut whole = Piece {
        first: start.clone(),
        last: start.clone(),
        sum: start.momentum.clone(),
        log_weight: 0.0,
        chosen: start,
        ended: false,
    };
    for depth in 0..DEEPEST {
        let forwards = stream.uniform() < 0.5;
        let from = if forwards { &whole.last } else { &whole.first };
        let signed = if forwards { step } else { -step };
        let grown = build(from, depth, signed, energy, target, stream, &mut acceptance)?;
        if grown.ended {
            break;
        }
        // The newer half is preferred, which moves further (biased progressive sampling).
        let prefer = (grown.log_weight - whole.log_weight).exp();
        let chosen =
            if stream.uniform() < prefer { grown.chosen.clone() } else { whole.chosen.clone() };
        let (before, after) = if forwards { (whole, grown) } else { (grown, whole) };
        whole = join(before, after, chosen);
        if whole.ended {
            break;
        }
    }
    Ok((whole.chosen, acceptance))
}

/// 2^depth states from `from` on, in the direction of the step.
fn build<E>(
    from: &State,
    depth: u32,
    step: f64,
    energy: f64,
    target: &mut impl FnMut(&[f64]) -> Result<Potential, E>,
    stream: &mut Stream,
    acceptance: &mut Acceptance,
) -> Result<Piece, E> {
    if depth == 0 {
        let next = from.leap(step, target)?;
        let gain = energy - next.energy();
        let gain = if gain.is_finite() { gain } else { f64::NEG_INFINITY };
        acceptance.sum += gain.exp().min(1.0);
        acceptance.steps += 1;
        let diverged = gain < -DIVERGED;
        acceptance.diverged |= diverged;
        return Ok(Piece {
            first: next.clone(),
            last: next.clone(),
            sum: next.momentum.clone(),
            chosen: next,
            log_weight: gain,
            ended: diverged,
        });
    }
    let near = build(from, depth - 1, step, energy, target, stream, acceptance)?;
    if near.ended {
        return Ok(near);
    }
    let forwards = step > 0.0;
    let end = if forwards { near.last.clone() } else { near.first.clone() };
    let far = build(&end, depth - 1, step, energy, target, stream, acceptance)?;
    let both = log_sum(near.log_weight, far.log_weight);
    let chosen = match stream.uniform() < (far.log_weight - both).exp() {
        true => far.chosen.clone(),
        false => near.chosen.clone(),
    };
    let ended = far.ended;
    let (before, after) = if forwards { (near, far) } else { (far, near) };
    let joined = join(before, after, chosen);
    Ok(Piece { ended: ended || joined.ended, ..joined })
}

/// Two pieces, one after the other in time. They end where the whole turns back, or one half together with the
/// nearest state of the other does.
fn join(before: Piece, after: Piece, chosen: State) -> Piece {
    let add = |a: &[f64], b: &[f64]| -> Vec<f64> { a.iter().zip(b).map(|(a, b)| a + b).collect() };
    let sum = add(&before.sum, &after.sum);
    let (left, right) = (&before.first.momentum, &after.last.momentum);
    let turned = turns(&sum, left, right)
        || turns(&add(&before.sum, &after.first.momentum), left, &after.first.momentum)
        || turns(&add(&after.sum, &before.last.momentum), &before.last.momentum, right);
    Piece {
        log_weight: log_sum(before.log_weight, after.log_weight),
        first: before.first,
        last: after.last,
        chosen,
        sum,
        ended: turned,
    }
}

/// Whether one of the ends no longer moves away.
fn turns(sum: &[f64], first: &[f64], last: &[f64]) -> bool {
    dot(sum, first) <= 0.0 || dot(sum, last) <= 0.0
}

/// Nesterov's dual averaging of ln ε: section 3.2 of Hoffman and Gelman, with their constants.
struct DualAveraging {
    /// µ = ln (10 ε₁).
    centre: f64,
    /// H̄.
    error: f64,
    log_step: f64,
    log_average: f64,
    count: f64,
}

impl DualAveraging {
    const GAMMA: f64 = 0.05;
    const DELAY: f64 = 10.0;
    const KAPPA: f64 = 0.75;

    fn new(step: f64) -> Self {
        let log_step = step.ln();
        Self { centre: (10.0 * step).ln(), error: 0.0, log_step, log_average: 0.0, count: 0.0 }
    }

    fn step(&self) -> f64 {
        self.log_step.exp()
    }

    fn average(&self) -> f64 {
        self.log_average.exp()
    }

    fn update(&mut self, acceptance: f64) {
        self.count += 1.0;
        let share = (self.count + Self::DELAY).recip();
        self.error += share * (TARGET - acceptance - self.error);
        self.log_step = self.centre - self.count.sqrt() / Self::GAMMA * self.error;
        let weight = self.count.powf(-Self::KAPPA);
        self.log_average += weight * (self.log_step - self.log_average);
    }
}

fn normals(count: usize, stream: &mut Stream) -> Vec<f64> {
    (0..count).map(|_| stream.normal()).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn log_sum(a: f64, b: f64) -> f64 {
    let most = a.max(b);
    if most == f64::NEG_INFINITY { most } else { most + ((a - most).exp() + (b - most).exp()).ln() }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::compute::{Noise, Purpose};

    const LENGTHS: Lengths = Lengths { warmup: 500, draws: 8000 };

    fn draw(target: impl Fn(&[f64]) -> Potential, width: usize, seed: u64) -> Chain {
        let mut stream = Noise::new(seed).stream(Purpose::Reference, 0, 0);
        let found = sample(
            |place: &[f64]| Ok::<_, Infallible>(target(place)),
            vec![0.5; width],
            LENGTHS,
            &mut stream,
            &mut || {},
        );
        let Ok(chain) = found;
        chain
    }

    /// Mean, variance and covariance of a normal density whose axes differ and are turned.
    #[test]
    fn a_normal_density_has_its_moments() {
        let precision = [[2.0, 0.8], [0.8, 0.7]];
        let target = |q: &[f64]| {
            let gradient: Vec<f64> = precision.iter().map(|line| dot(line, q)).collect();
            (0.5 * dot(q, &gradient), gradient)
        };
        let chain = draw(target, 2, 4);
        assert_eq!(chain.divergences, 0);
        let determinant = 2.0 * 0.7 - 0.64;
        let exact: [[f64; 2]; 2] =
            [[0.7 / determinant, -0.8 / determinant], [-0.8 / determinant, 2.0 / determinant]];
        let n = chain.draws.len() as f64;
        for a in 0..2 {
            let mean = chain.draws.iter().map(|q| q[a]).sum::<f64>() / n;
            assert!(mean.abs() < 0.1 * exact[a][a].sqrt(), "{mean}");
            for b in 0..2 {
                let found = chain.draws.iter().map(|q| q[a] * q[b]).sum::<f64>() / n;
                assert!(
                    (found - exact[a][b]).abs() < 0.08 * exact[a][a].max(exact[b][b]),
                    "{found}"
                );
            }
        }
    }

    /// A density that no Gaussian is: the logistic, of variance π²/3 and kurtosis 4.2.
    #[test]
    fn a_logistic_density_has_its_tails() {
        let target = |q: &[f64]| {
            let value = q[0].abs() + 2.0 * (-q[0].abs()).exp().ln_1p();
            (value, vec![(0.5 * q[0]).tanh()])
        };
        let chain = draw(target, 1, 5);
        let n = chain.draws.len() as f64;
        let moment = |k: i32| chain.draws.iter().map(|q| q[0].powi(k)).sum::<f64>() / n;
        let exact = std::f64::consts::PI.powi(2) / 3.0;
        assert!(moment(1).abs() < 0.15, "{}", moment(1));
        assert!((moment(2) / exact - 1.0).abs() < 0.1, "{}", moment(2));
        assert!((moment(4) / (4.2 * exact * exact) - 1.0).abs() < 0.35, "{}", moment(4));
    }

    #[test]
    fn equal_seeds_agree_and_others_do_not() {
        let target = |q: &[f64]| (0.5 * dot(q, q), q.to_vec());
        let last = |seed| draw(target, 3, seed).draws.pop().unwrap();
        assert_eq!(last(1), last(1));
        assert_ne!(last(1), last(2));
    }
}
