//! Elementary functions without branches, so that loops over them become vector code.

use std::f32::consts::{FRAC_1_SQRT_2, LOG2_E};

/// eˣ with a relative error below 2e-7 for -87 ≤ x ≤ 88; below that range e⁻⁸⁷, above it e⁸⁸.
///
/// x = n ln 2 + r with ln 2 in two parts (Cody and Waite); Taylor's polynomial of degree 7 in r.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    // Adding and taking away 1.5 · 2²³ rounds to the nearest integer, which then stands in the bits.
    const ROUND: f32 = 12_582_912.0;
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let x = x.clamp(-87.0, 88.0);
    let shifted = x.mul_add(LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = n.mul_add(-LN_2_LOW, n.mul_add(-LN_2_HIGH, x));
    let mut p = 1.0 / 5040.0;
    for coefficient in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        p = r.mul_add(p, coefficient);
    }
    let power = (shifted.to_bits().wrapping_sub(ROUND.to_bits())).wrapping_add(127) << 23;
    p * f32::from_bits(power)
}

/// Where [`erf`] rounds to ±1.
const ERF_LIMIT: f32 = 3.92;

/// Powers of (x² - c) / c with c = 3.92² / 2, by `tests/python/fit_erf.py`.
const ERF: [f32; 16] = [
    0.360_736_82,
    -0.180_108_64,
    0.134_084_27,
    -0.109_178_5,
    0.090_602_31,
    -0.074_030_17,
    0.058_358_494,
    -0.043_374_684,
    0.029_820_837,
    -0.020_180_436,
    0.014_004_89,
    -0.007_371_947,
    0.002_087_124_9,
    -0.001_618_694_7,
    0.002_045_765_3,
    -0.000_775_411_43,
];

/// The error function with an absolute error below 3e-7.
#[inline(always)]
pub fn erf(x: f32) -> f32 {
    const CENTRE: f32 = ERF_LIMIT * ERF_LIMIT / 2.0;
    let x = x.clamp(-ERF_LIMIT, ERF_LIMIT);
    let t = (x * x).mul_add(1.0 / CENTRE, -1.0);
    let mut p = ERF[15];
    for coefficient in ERF.iter().rev().skip(1) {
        p = t.mul_add(p, *coefficient);
    }
    x * p
}

/// The hyperbolic tangent with an absolute error below 3e-7.
#[inline(always)]
pub fn tanh(x: f32) -> f32 {
    1.0 - 2.0 / (exp(2.0 * x) + 1.0)
}

/// Φ(x), the standard normal distribution function, with an absolute error below 2e-7.
#[inline(always)]
pub fn normal(x: f32) -> f32 {
    erf(x * FRAC_1_SQRT_2).mul_add(0.5, 0.5)
}

/// The standard normal density.
#[inline(always)]
pub fn normal_density(x: f32) -> f32 {
    const SCALE: f32 = 0.398_942_3;
    SCALE * exp(-0.5 * x * x)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every 997th float of the range, against the f64 functions.
    fn largest(
        low: f32,
        high: f32,
        f: impl Fn(f32) -> f32,
        exact: impl Fn(f64) -> f64,
        relative: bool,
    ) -> f64 {
        let mut worst = 0.0f64;
        for bits in (0..u32::MAX).step_by(997) {
            let x = f32::from_bits(bits);
            if !(low..=high).contains(&x) {
                continue;
            }
            let exact = exact(f64::from(x));
            let error = (f64::from(f(x)) - exact).abs();
            worst = worst.max(if relative { error / exact } else { error });
        }
        worst
    }

    #[test]
    fn functions_keep_their_stated_errors_over_their_whole_range() {
        let worst = largest(-87.0, 88.0, exp, f64::exp, true);
        assert!(worst < 2e-7, "exp {worst}");
        let everything = (f32::MIN, f32::MAX);
        let erf_exact = candle_core::cpu::erf::erf_f64;
        let worst = largest(everything.0, everything.1, erf, erf_exact, false);
        assert!(worst < 3e-7, "erf {worst}");
        let worst = largest(everything.0, everything.1, tanh, f64::tanh, false);
        assert!(worst < 3e-7, "tanh {worst}");
        let exact = |x: f64| 0.5 * (1.0 + erf_exact(x / 2f64.sqrt()));
        let worst = largest(everything.0, everything.1, normal, exact, false);
        assert!(worst < 2e-7, "normal {worst}");
        let exact = |x: f64| (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt();
        let worst = largest(everything.0, everything.1, normal_density, exact, false);
        assert!(worst < 2e-7, "density {worst}");
    }
}
