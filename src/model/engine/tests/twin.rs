//! The device engine on the CPU against the CPU engine and the plain graph, for every kind of encoder.

use super::kinds::kinds;
use super::*;
use crate::compute::fetch;

/// Loss gradients of the twin, of those variables that are not frozen.
fn twin_gradients(
    config: &EncoderConfig,
    lengths: &[usize],
    every: usize,
    frozen: usize,
) -> GradientMap {
    let drawn = kinds::parameters(config, 1).on(&Backend::TWIN).unwrap();
    let mut used = specifications(config);
    if frozen > 0 {
        used.retain(|one| crate::model::is_above(&one.name, config.weights_of(frozen)));
    }
    let (variables, parameters) = drawn.variables(&used).unwrap();
    let classifier = Classifier::new(config, &parameters);
    let (batch, source) = (batch(lengths), source());
    let pass = classifier.segments(&batch, &source, every).unwrap();
    let feature_bd = classifier.segments_feature(&pass, &source).unwrap();
    let logits_bc = classifier.feature_logits(&feature_bd).unwrap();
    let found = loss(&logits_bc, lengths.len()).backward().unwrap();
    let mut all = GradientMap::new();
    let mut gather = |found: &candle_core::backprop::GradStore| {
        for (name, variable) in &variables {
            let Some(own) = found.get(variable.as_tensor()) else { continue };
            let own = fetch::<f32>(own)?;
            match all.get_mut(name) {
                None => drop(all.insert(name.clone(), own)),
                Some(sum) => sum.iter_mut().zip(own).for_each(|(sum, own)| *sum += own),
            }
        }
        Ok(())
    };
    pass.backward(&found, &mut gather).unwrap();
    assert!(all.keys().eq(variables.keys()), "every variable has a gradient");
    all
}

#[test]
fn logits_are_those_of_the_engine() {
    for (kind, config) in kinds() {
        let (parameters, batch) = (kinds::parameters(&config, 5), batch(&[1, 7, 40, 4]));
        let [engine, twin] = [Backend::Cpu, Backend::TWIN].map(|backend| {
            let own = Classifier::packed(&config, &parameters.on(&backend).unwrap()).unwrap();
            let logits = own.feature_logits(&own.features(&batch).unwrap()).unwrap();
            fetch::<f32>(&logits).unwrap()
        });
        for (twin, engine) in twin.iter().zip(&engine) {
            assert!(
                (twin - engine).abs() <= 1e-5 * engine.abs().max(1.0),
                "{kind}: {twin} {engine}"
            );
        }
    }
}

#[test]
fn several_passes_and_inputs_of_layers_are_those_of_the_engine() {
    for (kind, config) in kinds() {
        let (parameters, batch) = (kinds::parameters(&config, 5), batch(&[1, 7, 40, 4]));
        let passes = DropoutPasses { samples: 2, layers: 1, noise: Noise::new(3) };
        let [engine, twin] = [Backend::Cpu, Backend::TWIN].map(|backend| {
            let own = Classifier::packed(&config, &parameters.on(&backend).unwrap()).unwrap();
            let mut all = fetch::<f32>(&own.sampled(&batch, &passes).unwrap()).unwrap();
            all.extend(own.trunk(&batch, 2).unwrap().input_be);
            all.extend(fetch::<f32>(&own.hidden(&batch).unwrap()).unwrap());
            all
        });
        assert_close(&twin, &engine, 2e-5, kind);
    }
}

#[test]
fn gradients_are_those_of_the_plain_graph_whatever_is_computed_again() {
    for (kind, config) in kinds() {
        let lengths = [1, 7, 40, 4];
        let (plain, _) = gradients_above(&config, &lengths, 0, 0);
        for every in [0, 1, 2] {
            let twin = twin_gradients(&config, &lengths, every, 0);
            for (name, plain) in &plain {
                assert_close(&twin[name], plain, 2e-4, &format!("{kind}, {every}: {name}"));
            }
        }
    }
}

#[test]
fn what_is_frozen_has_no_graph_and_the_rest_the_same_gradients() {
    let config = config(24, 3, Pooling::Mean, Activation::Gelu);
    let all = twin_gradients(&config, &[4, 40], 0, 0);
    for every in [0, 1] {
        let above = twin_gradients(&config, &[4, 40], every, 1);
        assert!(above.len() < all.len() && above.keys().all(|name| all.contains_key(name)));
        for (name, own) in above {
            assert_close(&own, &all[&name], 1e-6, &name);
        }
    }
}
