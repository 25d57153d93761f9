//! Long texts: what ModernBERT takes in memory grows with the length, and not with its square.

#![expect(clippy::unwrap_used, reason = "a test fails by panic")]

use bayes::compute::{Allocator, Backend, Noise, Packed, Sequence, allocated_bytes};
use bayes::model::{
    DropoutSource, EncoderConfig, Engine, GradientMap, Parameters, Tape, TrainingPass,
};
use candle_core::{DType, Device, Tensor};
use serde_json::{Value, json};

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

/// Local and global layers, a last one that is global.
fn config() -> EncoderConfig {
    let file = json!({
        "model_type": "modernbert", "vocab_size": 100, "hidden_size": 32, "num_hidden_layers": 4,
        "num_attention_heads": 4, "intermediate_size": 48, "attention_dropout": 0.1,
        "mlp_dropout": 0.1, "id2label": { "0": "a", "1": "b" },
    });
    let Value::Object(file) = file else { unreachable!("the literal is an object") };
    EncoderConfig::from_json(file).unwrap()
}

fn text(length: usize) -> Packed {
    let ids = (0..length).map(|token| (token * 7 % 100) as u32).collect();
    Packed::new([Sequence { ids, type_ids: vec![], row: 0 }])
}

/// What `work` asks for, on one thread: others would bring buffers of their own.
fn bytes(work: impl FnOnce() + Send) -> u64 {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let before = allocated_bytes();
    pool.install(work);
    allocated_bytes() - before
}

/// One test, since what another one asks for meanwhile would be counted too.
#[test]
fn twice_the_tokens_take_twice_the_memory() {
    let config = config();
    assert_eq!(config.longest_sequence(), 8192);
    let parameters = Parameters::fresh(&config, &Noise::new(1), &Backend::Cpu).unwrap();
    let forward = |length: usize| {
        let engine = Engine::new(&config, &parameters).unwrap().unwrap();
        bytes(|| {
            let (pooled, _) = engine.pooled(&text(length), 0).unwrap();
            assert_eq!(pooled.dims(), [1, 32]);
        })
    };
    let step = |length: usize| {
        let engine = Engine::new(&config, &parameters).unwrap().unwrap();
        let (batch, source) = (text(length), DropoutSource { noise: Noise::new(2), step: 1 });
        bytes(|| {
            let (mut tape, mut gradients) = (Tape::default(), GradientMap::new());
            let source = Some(&source);
            let pass = TrainingPass { batch: &batch, source, checkpointing: 1, frozen: 0 };
            engine.pooled_with_tape(&pass, &mut tape).unwrap();
            let gradient = Tensor::ones((1, 32), DType::F32, &Device::Cpu).unwrap();
            engine.backward(&parameters, &pass, &mut tape, &gradient, &mut gradients).unwrap();
        })
    };
    let works: [(&str, &dyn Fn(usize) -> u64); 2] = [("forward", &forward), ("step", &step)];
    for (name, work) in works {
        let (short, long) = (work(1500), work(3000));
        println!("{name}: {short} bytes for 1500 tokens, {long} for 3000");
        assert!(long as f64 <= 2.1 * short as f64, "{name}: {short}, then {long}");
    }
}
