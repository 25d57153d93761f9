//! A last layer on the feature φ and the means of hidden states, for any method that looks at features.
//!
//! Each part is scaled to a mean variance of one, so that the prior does not depend on the units of hidden
//! states, and the layer is fitted to convergence: the problem is as convex as that on φ alone. The last layer
//! on φ, which other tools see, stays as it was.

use candle_core::Result;

use super::laplace::{FeatureRows, Prior, Problem, Tolerance, usual_scale};
use super::{FitRecord, LastLayer, PosteriorConfig, fit_converged};
use crate::posterior::Posterior;

/// Where the evidence begins.
const FIRST: f64 = 100.0;

/// What scales features that are made of parts, each `width` wide, and the one behind them, `[D]`.
pub fn scale_of(feature_ne: &[f32], width: usize, parts: usize) -> Vec<f64> {
    let mut scale = Vec::with_capacity(parts * width + 1);
    for part in 0..parts {
        let lines = feature_ne.chunks_exact(parts * width);
        let own: Vec<f32> =
            lines.flat_map(|line| &line[part * width..][..width]).copied().collect();
        // That of the one behind them is the same for all parts, and stays only behind the last.
        scale.truncate(part * width);
        scale.extend(usual_scale(&own, width));
    }
    scale
}

/// Fits a last layer on these rows, whose features are made of hidden states and φ, and the method around
/// it. `last` is the layer on φ that other tools see.
pub fn fit_wide(
    config: &PosteriorConfig,
    rows: FeatureRows<'_>,
    last: LastLayer<'_>,
) -> Result<(Posterior, FitRecord)> {
    let states = config.feature_layers;
    let (classes, width) = last.weight_cd.dims2()?;
    let parts = states.len() + 1;
    let problem = Problem::scaled(rows, scale_of(rows.feature_nd, width, parts))?;
    let start_kd = vec![0.0; classes * (parts * width + 1)];
    let how = (Prior::Evidence(FIRST), Tolerance::KEPT);
    let (posterior, record) = fit_converged(config, &problem, &start_kd, how, last.dropout)?;
    Ok((posterior.wide(states, [last.weight_cd.clone(), last.bias_c.clone()]), record))
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device, Tensor};

    use super::*;
    use crate::compute::{Noise, Purpose};
    use crate::method::Method;
    use crate::model::HiddenStates;
    use crate::posterior::LogitDistribution;
    use crate::task::Task;

    const WIDTH: usize = 6;

    /// Three parts: the second says which class a row is of, φ and the first say nothing.
    fn rows_of(n: usize, classes: usize) -> (Vec<f32>, Vec<u32>) {
        let mut stream = Noise::new(5).stream(Purpose::Init, 0, 0);
        let labels: Vec<u32> = (0..n).map(|row| (row % classes) as u32).collect();
        let line = |&label: &u32| -> Vec<f32> {
            let class = |i: usize| if i == WIDTH + label as usize { 2.0 } else { 0.0 };
            (0..3 * WIDTH).map(|i| (class(i) + 0.5 * stream.normal()) as f32).collect()
        };
        (labels.iter().flat_map(line).collect(), labels)
    }

    fn fitted(method: Method, feature_ne: &[f32], labels: &[u32], classes: usize) -> Posterior {
        let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
        let (weight_cd, bias_c) = (zeros(&[classes, WIDTH]), zeros(&[classes]));
        let last = LastLayer { weight_cd: &weight_cd, bias_c: &bias_c, dropout: 0.0 };
        let feature_layers = HiddenStates::new([0, 3]).unwrap();
        let config = PosteriorConfig { feature_layers, ..method.into() };
        let class_weights = &vec![1.0; classes];
        let task = Task::SingleLabel;
        let rows = FeatureRows { task, feature_nd: feature_ne, labels, classes, class_weights };
        fit_wide(&config, rows, last).unwrap().0
    }

    #[test]
    fn every_method_learns_what_a_hidden_state_says() {
        for classes in [2, 3] {
            let (feature_ne, labels) = rows_of(150, classes);
            for method in [Method::Map, Method::Laplace, Method::Sngp, Method::Vbll] {
                let posterior = fitted(method, &feature_ne, &labels, classes);
                assert_eq!((posterior.width(), posterior.states().len()), (WIDTH, 2));
                assert!(
                    posterior.mean_cd.to_vec2::<f32>().unwrap().concat().iter().all(|&w| w == 0.0)
                );
                let logits = posterior.logits(&feature_ne).unwrap();
                let right = logits.iter().zip(&labels).filter(|(one, label)| {
                    let mean_c = one.mean();
                    (0..classes).max_by(|&a, &b| mean_c[a].total_cmp(&mean_c[b])).unwrap()
                        == **label as usize
                });
                let share = right.count() as f64 / labels.len() as f64;
                assert!(share > 0.95, "{} of {classes}: {share}", method.name());
                let varies = !matches!(logits[0], LogitDistribution::Point(_));
                assert_eq!(varies, method != Method::Map);
            }
        }
    }

    /// Hidden states have units of their own, which say nothing.
    #[test]
    fn the_units_of_a_part_do_not_count() {
        let (feature_ne, labels) = rows_of(120, 3);
        let other: Vec<f32> = (feature_ne.iter().enumerate())
            .map(|(place, &x)| if place % (3 * WIDTH) < WIDTH { 64.0 * x } else { x })
            .collect();
        let [one, other] = [&feature_ne, &other].map(|features| {
            let posterior = fitted(Method::Laplace, features, &labels, 3);
            let logits = posterior.logits(features).unwrap();
            logits.iter().map(|one| posterior.predictive(one)).collect::<Vec<_>>()
        });
        for (a, b) in one.iter().zip(&other) {
            let near =
                a.probability_c.iter().zip(&b.probability_c).all(|(a, b)| (a - b).abs() < 1e-4);
            assert!(near && (a.total - b.total).abs() < 1e-4, "{a:?} {b:?}");
        }
    }

    #[test]
    fn one_part_is_scaled_as_usual_and_several_each_by_itself() {
        let (feature_ne, _) = rows_of(40, 2);
        assert_eq!(scale_of(&feature_ne, 3 * WIDTH, 1), usual_scale(&feature_ne, 3 * WIDTH));
        let parts = scale_of(&feature_ne, WIDTH, 3);
        assert_eq!(parts.len(), 3 * WIDTH + 1);
        assert!(parts[0] != parts[WIDTH] && parts[0] == parts[WIDTH - 1]);
    }
}
