//! The loop with the device engine on the CPU: the weights of the CPU engine, one read a step, and the same bytes when
//! it goes on from the middle.

use bayes::compute::{fetch, reads};

use super::*;

/// What a run has saved last.
#[derive(Debug, PartialEq)]
struct Saved {
    weights: BTreeMap<String, Vec<f32>>,
    optimizer: Vec<u8>,
    counters: Counters,
}

#[derive(Debug)]
struct Ran {
    saved: Saved,
    losses: Vec<f64>,
    warnings: Vec<String>,
    /// Reads from a device between two steps.
    reads: Vec<u64>,
}

impl Saved {
    fn state(&self, like: &Parameters) -> State {
        let parameters = like.with_values(&self.weights).unwrap();
        let (best, gathered) = (None, BTreeMap::new());
        State::resumed(parameters, best, self.counters.clone(), &self.optimizer, gathered).unwrap()
    }
}

/// Runs until the end, or until it is stopped after so many steps.
fn run(bench: &Bench, config: &TrainConfig, state: State, stop: u64) -> Ran {
    let job = Job {
        encoder: &bench.encoder,
        config,
        train: &bench.train,
        stream: None,
        validation: &bench.validation,
        objective: None,
        calibrated_nll,
    };
    let (mut saved, mut losses, mut warnings) = (None, Vec::new(), Vec::new());
    let (mut all, mut before) = (Vec::new(), reads());
    fit(&job, state, None, &mut |event| {
        let mut control = Control::Continue;
        match event {
            Event::Save(snapshot) => {
                let values = |(name, tensor): (&String, &Tensor)| {
                    (name.clone(), tensor.flatten_all().unwrap().to_vec1().unwrap())
                };
                let mut counters = snapshot.counters.clone();
                counters.seconds = 0.0;
                saved = Some(Saved {
                    weights: snapshot.parameters.iter().map(values).collect(),
                    optimizer: snapshot.optimizer_file(),
                    counters,
                });
            }
            Event::Warning(text) => warnings.push(text),
            Event::Step { step, loss, .. } => {
                losses.push(loss);
                all.push(reads() - before);
                before = reads();
                if step == stop {
                    control = Control::Stop;
                }
            }
            _ => {}
        }
        Ok(control)
    })
    .unwrap();
    Ran { saved: saved.unwrap(), losses, warnings, reads: all }
}

fn steps(more: TrainConfig) -> TrainConfig {
    TrainConfig {
        max_steps: 20,
        per_device_train_batch_size: 4,
        eval_steps: Steps::Number(100),
        histogram_steps: 0,
        ..more
    }
}

fn start(bench: &Bench, backend: &Backend) -> State {
    State::new(bench.parameters.on(backend).unwrap())
}

/// The largest difference of two weights. That of key biases is left out: they have no gradient but for rounding, which
/// the optimizer scales to the size of all others.
fn apart(a: &Saved, b: &Saved) -> f32 {
    let mut most = 0.0f32;
    for (name, a) in &a.weights {
        let bias = name.ends_with("qkv.bias");
        let third = a.len() / 3;
        for (place, (a, b)) in a.iter().zip(&b.weights[name]).enumerate() {
            if !(bias && place / third == 1) {
                most = most.max((a - b).abs());
            }
        }
    }
    most
}

/// The averages that a file has beside the moments.
fn has_average(saved: &Saved) -> bool {
    saved.optimizer.windows(8).any(|bytes| bytes == b"average.")
}

fn everything() -> TrainConfig {
    steps(TrainConfig {
        gradient_accumulation_steps: 3,
        max_grad_norm: 0.5,
        ema_decay: 0.9,
        weight_decay: 0.1,
        activation_checkpointing: 2,
        label_smoothing_factor: 0.1,
        layer_lr_decay: 0.9,
        ..TrainConfig::default()
    })
}

#[test]
fn weights_after_twenty_steps_are_those_of_the_cpu_engine() {
    let bench = Bench::new();
    let frozen = steps(TrainConfig { frozen_layers: 1, ..TrainConfig::default() });
    for config in [steps(TrainConfig::default()), everything(), frozen] {
        let [cpu, twin] = [Backend::Cpu, Backend::TWIN]
            .map(|backend| run(&bench, &config, start(&bench, &backend), 0));
        let moved = bench.parameters.get("layer.0001.feed_forward.norm");
        assert_ne!(
            fetch::<f32>(moved).unwrap(),
            twin.saved.weights["layer.0001.feed_forward.norm"]
        );
        assert!(apart(&cpu.saved, &twin.saved) <= 1e-4, "{}", apart(&cpu.saved, &twin.saved));
        for (cpu, twin) in cpu.losses.iter().zip(&twin.losses) {
            assert!((cpu - twin).abs() <= 1e-5, "{cpu} {twin}");
        }
        assert_eq!(cpu.losses.len(), 20);
        assert_eq!(cpu.warnings, twin.warnings);
        assert_eq!(cpu.saved.counters.silent, twin.saved.counters.silent);
        assert_eq!(has_average(&twin.saved), config.ema_decay > 0.0);
    }
}

#[test]
fn a_step_reads_from_the_device_once() {
    let bench = Bench::new();
    let ran = run(&bench, &everything(), start(&bench, &Backend::TWIN), 0);
    assert_eq!(ran.reads[1..], [1; 19]);
}

#[test]
fn a_run_that_goes_on_from_the_middle_comes_to_the_same_bytes() {
    let bench = Bench::new();
    let config = everything();
    let whole = run(&bench, &config, start(&bench, &Backend::TWIN), 0);
    let half = run(&bench, &config, start(&bench, &Backend::TWIN), 9).saved;
    assert_eq!(half.counters.step, 9);
    let like = bench.parameters.on(&Backend::TWIN).unwrap();
    let rest = run(&bench, &config, half.state(&like), 0);
    assert_eq!(rest.saved.weights, whole.saved.weights);
    assert!(rest.saved.optimizer == whole.saved.optimizer, "the moments have other bytes");
    assert_eq!(rest.losses[..], whole.losses[9..]);
}

/// Products that read bf16 lead elsewhere, but not far.
#[test]
fn bf16_trains_beside_f32() {
    let bench = Bench::new();
    let [f32, bf16] = [false, true].map(|bf16| {
        let config = steps(TrainConfig { bf16, learning_rate: 1e-3, ..TrainConfig::default() });
        run(&bench, &config, start(&bench, &Backend::TWIN), 0)
    });
    assert_ne!(f32.saved.weights, bf16.saved.weights);
    for (f32, bf16) in f32.losses.iter().zip(&bf16.losses) {
        assert!((f32 - bf16).abs() < 0.02, "{f32} {bf16}");
    }
    assert!(bf16.losses[19] < bf16.losses[0]);
}

#[test]
fn what_is_not_finite_is_named_as_on_the_cpu() {
    let bench = Bench::new();
    let place = bench.rare as usize * 16;
    let poisoned = bench.with("embeddings.word", |values| values[place] = f32::NAN);
    let [cpu, twin] = [Backend::Cpu, Backend::TWIN].map(|backend| {
        let (ended, saved, _) = bench.run(&config(), poisoned.on(&backend).unwrap());
        (ended.unwrap_err().to_string(), saved.last().map(|counters| counters.step))
    });
    assert_eq!(cpu, twin);
}
