//! L-BFGS with a preconditioner: Nocedal and Wright, "Numerical optimization" (2nd edition), algorithms 7.4
//! and 7.5.

use std::collections::VecDeque;

use candle_core::Result;

/// Where a search ended.
pub struct Minimum {
    pub at: Vec<f64>,
    pub steps: usize,
    /// Whether it came to rest, and did not run out of steps.
    pub converged: bool,
}

/// When a search ends.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// At rest is where the gradient is this short, as the preconditioner measures it.
    pub short: f64,
    pub steps: usize,
}

/// Pairs of steps and changes of the gradient that are kept.
const MEMORY: usize = 20;

/// Minimises a function whose value and gradient are given, from `start` on. `precondition` is near the
/// inverse of its curvature, everywhere.
pub fn minimise(
    start: Vec<f64>,
    patience: Patience,
    mut value: impl FnMut(&[f64]) -> Result<(f64, Vec<f64>)>,
    precondition: impl Fn(&[f64]) -> Vec<f64>,
) -> Result<Minimum> {
    let mut at = start;
    let (mut now, mut gradient) = value(&at)?;
    let mut pairs: VecDeque<Pair> = VecDeque::new();
    for steps in 0..patience.steps {
        if dot(&gradient, &precondition(&gradient)).sqrt() < patience.short {
            return Ok(Minimum { at, steps, converged: true });
        }
        let mut direction = downhill(&gradient, &pairs, &precondition);
        let mut slope = dot(&gradient, &direction);
        if slope >= 0.0 {
            pairs.clear();
            direction = downhill(&gradient, &pairs, &precondition);
            slope = dot(&gradient, &direction);
        }
        let mut length = 1.0;
        let (next, found) = loop {
            let next: Vec<f64> = at.iter().zip(&direction).map(|(x, d)| x + length * d).collect();
            let found = value(&next)?;
            if found.0 <= now + 1e-4 * length * slope {
                break (next, found);
            }
            length *= 0.5;
            if length < 1e-10 {
                // Only rounding is left.
                return Ok(Minimum { at, steps, converged: false });
            }
        };
        let step = difference(&next, &at);
        let change = difference(&found.1, &gradient);
        let curvature = dot(&step, &change);
        if curvature > 1e-12 * dot(&step, &step).sqrt() * dot(&change, &change).sqrt() {
            if pairs.len() == MEMORY {
                pairs.pop_front();
            }
            pairs.push_back(Pair { step, change, curvature });
        }
        at = next;
        (now, gradient) = found;
    }
    Ok(Minimum { at, steps: patience.steps, converged: false })
}

/// A step, the change of the gradient along it, and their product.
struct Pair {
    step: Vec<f64>,
    change: Vec<f64>,
    curvature: f64,
}

/// The two loops of algorithm 7.4.
fn downhill(
    gradient: &[f64],
    pairs: &VecDeque<Pair>,
    precondition: &impl Fn(&[f64]) -> Vec<f64>,
) -> Vec<f64> {
    let mut rest: Vec<f64> = gradient.iter().map(|value| -value).collect();
    let mut shares = Vec::with_capacity(pairs.len());
    for Pair { step, change, curvature } in pairs.iter().rev() {
        let share = dot(step, &rest) / curvature;
        add(&mut rest, -share, change);
        shares.push(share);
    }
    let mut direction = precondition(&rest);
    for (Pair { step, change, curvature }, share) in pairs.iter().zip(shares.iter().rev()) {
        let own = dot(change, &direction) / curvature;
        add(&mut direction, share - own, step);
    }
    direction
}

fn difference(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn add(sum: &mut [f64], factor: f64, values: &[f64]) {
    sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += factor * value);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rosenbrock's valley in two pairs of variables, with and without a preconditioner.
    #[test]
    fn it_finds_the_end_of_a_curved_valley() {
        let value = |x: &[f64]| {
            let (mut sum, mut gradient) = (0.0, Vec::new());
            for pair in x.chunks_exact(2) {
                let (a, b) = (1.0 - pair[0], pair[1] - pair[0] * pair[0]);
                sum += a * a + 100.0 * b * b;
                gradient.extend([-2.0 * a - 400.0 * pair[0] * b, 200.0 * b]);
            }
            Ok((sum, gradient))
        };
        for scale in [1.0, 1e-3] {
            let patience = Patience { short: 1e-9, steps: 500 };
            let precondition = |g: &[f64]| g.iter().map(|g| scale * g).collect::<Vec<_>>();
            let found =
                minimise(vec![-1.2, 1.0, 2.0, -1.0], patience, value, precondition).unwrap();
            assert!(found.converged && found.steps < 200, "{}", found.steps);
            assert!(found.at.iter().all(|x| (x - 1.0).abs() < 1e-7), "{:?}", found.at);
            let short = Patience { steps: 3, ..patience };
            assert!(!minimise(vec![-1.2, 1.0], short, value, precondition).unwrap().converged);
        }
    }
}
