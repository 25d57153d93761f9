//! Points that lie far from each other.

use rayon::prelude::*;

use crate::compute::Stream;

/// Draws so many points one after another, each with a chance in proportion to its squared distance from the nearest one
/// that was drawn before (k-means++: Arthur and Vassilvitskii, SODA 2007). `nearest` are the squared distances from what is
/// there already, or all the same. Where all that are left lie on others, they come in their order.
pub(super) fn spread(
    mut nearest: Vec<f64>,
    distance: impl Fn(usize, usize) -> f64 + Sync,
    count: usize,
    draws: &mut Stream,
    progress: &mut dyn FnMut(usize),
) -> Vec<usize> {
    let mut chosen = Vec::new();
    let mut free = vec![true; nearest.len()];
    while chosen.len() < count.min(nearest.len()) {
        let weight = |place: usize| if free[place] { nearest[place].max(0.0) } else { 0.0 };
        let total: f64 = (0..nearest.len()).map(weight).sum();
        let mut left = draws.uniform() * total;
        let drawn = (0..nearest.len()).filter(|&place| free[place]).find(|&place| {
            left -= weight(place);
            left < 0.0
        });
        // Rounding may leave a little, and copies have no weight at all.
        let heaviest = |a: &usize, b: &usize| weight(*a).total_cmp(&weight(*b)).then(b.cmp(a));
        let drawn =
            drawn.or_else(|| (0..nearest.len()).filter(|&place| free[place]).max_by(heaviest));
        let Some(drawn) = drawn else { break };
        free[drawn] = false;
        chosen.push(drawn);
        let closer = |(place, nearest): (usize, &mut f64)| {
            *nearest = nearest.min(distance(place, drawn));
        };
        nearest.par_iter_mut().enumerate().for_each(closer);
        progress(chosen.len());
    }
    chosen
}
