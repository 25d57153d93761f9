//! Rotary positions on packed tokens.

use candle_core::{DType, Result, Tensor};

use crate::compute::kernels::rotary::Rotation;

/// Turns queries and keys of `qkv_pe`, `[p, 3d]`, by the places of their tokens, and leaves values as
/// they are: for [`attention`](super::attention). Su et al., "RoFormer" (2021), equation 34, with the
/// halves of a head as pairs.
pub fn rotate(qkv_pe: &Tensor, places: &[u32], heads: usize, theta: f64) -> Result<Tensor> {
    let (tokens, stacked) = qkv_pe.dims2()?;
    let pairs = stacked / 3 / heads / 2;
    let mut rotation = Rotation::new(theta, 2 * pairs);
    rotation.reach(places.iter().max().map_or(0, |&last| last as usize + 1));
    let (mut cos, mut sin) = (Vec::new(), Vec::new());
    for &place in places {
        let of_place = rotation.at(place);
        cos.extend_from_slice(of_place.0);
        sin.extend_from_slice(of_place.1);
    }
    let on_all_heads = |values: Vec<f32>, dtype: DType| {
        Tensor::from_vec(values, (tokens, 1, pairs), qkv_pe.device())?.to_dtype(dtype)
    };
    let cos_p1k = on_all_heads(cos, qkv_pe.dtype())?;
    let sin_p1k = on_all_heads(sin, qkv_pe.dtype())?;
    let qkv_phk = qkv_pe.reshape((tokens, 3 * heads, 2 * pairs))?;
    let turned_phk = qkv_phk.narrow(1, 0, 2 * heads)?;
    let first = turned_phk.narrow(2, 0, pairs)?.contiguous()?;
    let second = turned_phk.narrow(2, pairs, pairs)?.contiguous()?;
    let along = (first.broadcast_mul(&cos_p1k)? - second.broadcast_mul(&sin_p1k)?)?;
    let across = (second.broadcast_mul(&cos_p1k)? + first.broadcast_mul(&sin_p1k)?)?;
    let turned_phk = Tensor::cat(&[&along, &across], 2)?;
    let values_phk = qkv_phk.narrow(1, 2 * heads, heads)?.contiguous()?;
    Tensor::cat(&[&turned_phk, &values_phk], 1)?.reshape((tokens, stacked))
}

#[cfg(test)]
mod tests {
    use super::super::gradient_check::{assert_gradients, sample};
    use super::*;
    use crate::compute::kernels::rotary::Lines;

    #[test]
    fn gradients_agree_with_finite_differences() {
        let places = [0, 0, 1, 2, 3];
        assert_gradients(&[sample(&[5, 24], 1)], |x| rotate(&x[0], &places, 2, 50.0));
    }

    /// Two pairs of one head at place 2, written out.
    #[test]
    fn halves_of_a_head_are_turned_by_their_angle() {
        let x = sample(&[3, 12], 4);
        let turned = rotate(&x, &[0, 1, 2], 1, 100.0).unwrap();
        let (x, turned) = (x.to_vec2::<f64>().unwrap(), turned.to_vec2::<f64>().unwrap());
        assert_eq!((&x[0], &x[2][8..]), (&turned[0], &turned[2][8..]), "place 0, and values");
        for part in [0, 4] {
            for (pair, angle) in [(0, 2.0f64), (1, 0.2)] {
                let (a, b) = (x[2][part + pair], x[2][part + 2 + pair]);
                let expected =
                    (a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin());
                let found = (turned[2][part + pair], turned[2][part + 2 + pair]);
                assert!((found.0 - expected.0).abs() < 1e-6, "{found:?} {expected:?}");
                assert!((found.1 - expected.1).abs() < 1e-6, "{found:?} {expected:?}");
            }
        }
    }

    /// In f32, and back again.
    #[test]
    fn the_kernel_turns_as_the_plain_operation_does() {
        let (heads, width) = (3, 3 * 20);
        let places: Vec<u32> = [0..1, 0..70, 0..33].into_iter().flatten().collect();
        let x = sample(&[104, 3 * width], 2).to_dtype(DType::F32).unwrap();
        let mut rotation = Rotation::new(160_000.0, 20);
        let expected = rotate(&x, &places, heads, 160_000.0).unwrap();
        let before: Vec<f32> = x.flatten_all().unwrap().to_vec1().unwrap();
        let mut found = before.clone();
        rotation.reach(50);
        rotation.reach(70);
        let places: Vec<(u64, u32)> = places.iter().map(|&place| (7, place)).collect();
        // Queries and keys are heads beside one another.
        let lines = Lines { stride: 3 * width, width: 2 * width, places: &places };
        rotation.turn(&mut found, lines);
        assert_eq!(found, expected.flatten_all().unwrap().to_vec1::<f32>().unwrap());
        rotation.turn_back(&mut found, lines);
        let far = found.iter().zip(&before).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(far < 1e-6, "{far}");
    }
}
