//! Gradients in bf16 against those in f32.

use super::*;

fn in_bf16(config: &EncoderConfig, lengths: &[usize], every: usize, frozen: usize) -> GradientMap {
    gradients_at(Precision::Bf16, config, lengths, every, frozen)
}

/// Relative error in the Euclidean norm, and the cosine of the angle between both.
fn apart(found: &[f32], exact: &[f32]) -> (f64, f64) {
    let error: Vec<f32> = found.iter().zip(exact).map(|(found, exact)| found - exact).collect();
    (size(&error) / size(exact), dot(found, exact) / size(exact) / size(found))
}

fn dot(one: &[f32], other: &[f32]) -> f64 {
    one.iter().zip(other).map(|(&one, &other)| f64::from(one) * f64::from(other)).sum()
}

fn size(values: &[f32]) -> f64 {
    dot(values, values).sqrt()
}

/// A number that is rounded is off by 2⁻⁹ of it at most, and dozens of such errors add up on the way.
#[test]
fn gradients_in_bf16_are_near_those_in_f32_for_every_kind() {
    if Precision::Bf16.check().is_err() {
        return;
    }
    let mut all = kinds();
    all.push(("wide", config(128, 2, Pooling::Cls, Activation::Gelu)));
    for (kind, config) in all {
        // DistilBERT's head cuts features off at 0: another one than in f32.
        let most = if kind == "distilbert" { 0.15 } else { 0.04 };
        for lengths in [&[1, 5, 40][..], &[280, 270, 260]] {
            let exact = gradients_at(Precision::F32, &config, lengths, 0, 0);
            let found = in_bf16(&config, lengths, 0, 0);
            assert!(found.keys().eq(exact.keys()), "{kind}: the same have gradients");
            // A bias of relative keys moves all scores alike, so nothing but rounding is in its gradient.
            let largest = exact.values().map(|exact| size(exact)).fold(0.0, f64::max);
            for (name, exact) in exact.iter().filter(|(_, exact)| size(exact) > 1e-5 * largest) {
                let (error, cosine) = apart(&found[name], exact);
                assert!(error < most, "{kind}: {name}: {error}");
                assert!(cosine > 1.0 - most * most, "{kind}: {name}: {cosine}");
            }
            let weight = "layer.0000.feed_forward.inner.weight";
            assert_ne!(found[weight], exact[weight], "{kind}: it is not f32");
        }
    }
}

#[test]
fn in_bf16_no_bit_depends_on_threads_on_checkpointing_or_on_frozen_layers() {
    if Precision::Bf16.check().is_err() {
        return;
    }
    for (kind, config) in kinds() {
        let lengths = [280, 7, 270, 260];
        let found = in_bf16(&config, &lengths, 0, 0);
        for threads in [1, 2, 3] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            assert_eq!(pool.install(|| in_bf16(&config, &lengths, 0, 0)), found, "{kind}");
        }
        assert_eq!(in_bf16(&config, &lengths, 1, 0), found, "{kind}");
        if config.divides_at(1) {
            let above = in_bf16(&config, &lengths, 0, 1);
            assert!(above.iter().all(|(name, own)| *own == found[name]), "{kind}");
        }
    }
}
