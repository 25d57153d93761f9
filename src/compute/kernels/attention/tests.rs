//! The kernels against the plain operation: results, and gradients of everything that is given.

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::{Device, Tensor, Var};

use super::*;
use crate::compute::ops::{self, Dropout};
use crate::compute::{Noise, Packed, Precision, Purpose, RelativeRows, Sequence};

/// Sizes of one attention.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    heads: usize,
    wide: usize,
}

impl Sizes {
    fn width(self) -> usize {
        self.heads * self.wide
    }
}

/// What is added by distance, as tensors by their names.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Added {
    Nothing,
    Bias,
    /// Whether there are relative keys, and whether queries.
    Disentangled([bool; 2]),
}

const ALL: [Added; 5] = [
    Added::Nothing,
    Added::Bias,
    Added::Disentangled([true, true]),
    Added::Disentangled([true, false]),
    Added::Disentangled([false, true]),
];

/// More rows than some of the distances have of their own, as in the models that there are.
const ROWS: usize = 12;

fn row(distance: i64) -> u32 {
    (6 + if distance.abs() < 4 { distance } else { distance.signum() * (3 + distance.abs() / 20) })
        .clamp(0, ROWS as i64 - 1) as u32
}

fn sample(size: usize, seed: u64) -> Vec<f32> {
    let mut stream = Noise::new(seed).stream(Purpose::Init, 0, 0);
    (0..size).map(|_| stream.normal() as f32).collect()
}

fn batch(lengths: &[usize]) -> Packed {
    Packed::new(lengths.iter().enumerate().map(|(row, &length)| Sequence {
        ids: vec![0; length],
        type_ids: vec![],
        row: 100 + row as u64,
    }))
}

/// Results and gradients by name, of a result whose gradient is `outer`.
type Found = BTreeMap<&'static str, Vec<f32>>;

struct Case {
    sizes: Sizes,
    added: Added,
    lengths: Vec<usize>,
    /// Places on each side that a token attends to.
    window: Option<usize>,
    dropout: Option<Dropout>,
    /// Whether only the first token of each sequence asks.
    first: bool,
    precision: Precision,
}

impl Case {
    fn in_bf16(&self) -> bool {
        self.precision != Precision::F32 && Precision::Bf16.check().is_ok()
    }

    fn tokens(&self) -> usize {
        self.lengths.iter().sum()
    }

    fn inputs(&self) -> BTreeMap<&'static str, (Vec<f32>, [usize; 2])> {
        let (tokens, width) = (self.tokens(), self.sizes.width());
        let mut inputs =
            BTreeMap::from([("qkv", (sample(tokens * 3 * width, 1), [tokens, 3 * width]))]);
        if self.added == Added::Bias {
            let heads = self.sizes.heads;
            inputs.insert("bias", (sample(ROWS * heads, 2), [ROWS, heads]));
        }
        if let Added::Disentangled(has) = self.added {
            for (name, _) in [("keys", 3), ("queries", 4)].into_iter().zip(has).filter(|one| one.1)
            {
                inputs.insert(name.0, (sample(ROWS * width, name.1), [ROWS, width]));
            }
        }
        inputs
    }

    /// Of every token, zero where a token does not ask.
    fn outer(&self) -> Vec<f32> {
        let width = self.sizes.width();
        let mut outer = sample(self.tokens() * width, 5);
        if self.first {
            let places = batch(&self.lengths).places();
            for (line, (_, place)) in outer.chunks_exact_mut(width).zip(places) {
                if place > 0 {
                    line.fill(0.0);
                }
            }
        }
        outer
    }

    /// The lines of the tokens that ask.
    fn asking(&self, lines: &[f32]) -> Vec<f32> {
        let width = self.sizes.width();
        let asks = |place: u32| !self.first || place == 0;
        let places = batch(&self.lengths).places();
        let lines = lines.chunks_exact(width).zip(places);
        lines.filter(|(_, (_, place))| asks(*place)).flat_map(|(line, _)| line.to_vec()).collect()
    }

    fn rows(&self) -> Arc<RelativeRows> {
        // A reach beyond the longest sequence changes nothing.
        Arc::new(RelativeRows::new(self.lengths.iter().max().unwrap() + 3, row))
    }

    fn plain(&self) -> Found {
        let variable = |(values, shape): &(Vec<f32>, [usize; 2])| {
            Var::from_tensor(&Tensor::from_slice(values, shape.as_slice(), &Device::Cpu).unwrap())
                .unwrap()
        };
        let inputs: BTreeMap<_, _> =
            self.inputs().iter().map(|(&name, input)| (name, variable(input))).collect();
        let tensor = |name: &str| inputs[name].as_tensor().clone();
        let relative = match self.added {
            Added::Nothing => None,
            Added::Bias => {
                Some(ops::Relative::Bias { table_rh: tensor("bias"), rows: self.rows() })
            }
            Added::Disentangled([keys, queries]) => {
                Some(ops::Relative::Disentangled(ops::Disentangled {
                    key_rd: keys.then(|| tensor("keys")),
                    query_rd: queries.then(|| tensor("queries")),
                    terms: 3,
                    rows: self.rows(),
                }))
            }
        };
        let batch = batch(&self.lengths);
        let (heads, qkv, window) = (self.sizes.heads, tensor("qkv"), self.window);
        let attending = ops::Attending { heads, window, relative: relative.as_ref() };
        let result = ops::attention(&qkv, &batch, attending, self.dropout).unwrap();
        let outer = Tensor::from_vec(self.outer(), result.shape(), &Device::Cpu).unwrap();
        let gradients = (&result * outer).unwrap().sum_all().unwrap().backward().unwrap();
        let values = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let mut found = Found::from([("result", self.asking(&values(&result)))]);
        for (name, input) in &inputs {
            found.insert(name, values(gradients.get(input.as_tensor()).unwrap()));
        }
        let width = self.sizes.width();
        let qkv = found.remove("qkv").unwrap();
        let columns = |from: usize, to: usize| -> Vec<f32> {
            qkv.chunks_exact(3 * width)
                .flat_map(|line| line[from * width..to * width].to_vec())
                .collect()
        };
        found.insert("q", self.asking(&columns(0, 1)));
        found.insert("kv", columns(1, 3));
        found
    }

    fn spans(&self) -> Vec<Span> {
        let batch = batch(&self.lengths);
        let rows = batch.sequences().zip(batch.rows()).enumerate();
        rows.map(|(index, ((start, end), &row))| Span {
            queries: if self.first { index..index + 1 } else { start..end },
            keys: start..end,
            row,
        })
        .collect()
    }

    fn kernel(&self) -> Found {
        let inputs = self.inputs();
        let width = self.sizes.width();
        let lines = inputs["qkv"].0.chunks_exact(3 * width);
        let q: Vec<f32> = lines.clone().flat_map(|line| line[..width].to_vec()).collect();
        let q = self.asking(&q);
        let kv: Vec<f32> = lines.flat_map(|line| line[width..].to_vec()).collect();
        let (spans, rows, heads) = (self.spans(), self.rows(), self.sizes.heads);
        let mut bias = DistanceBias::default();
        let mut disentangled = Disentangled::default();
        let relative = match self.added {
            Added::Nothing => None,
            Added::Bias => {
                bias.take(&inputs["bias"].0, heads, &rows);
                Some(Relative::Bias(&bias))
            }
            Added::Disentangled(_) => {
                let table = |name| inputs.get(name).map(|input| &input.0[..]);
                let mut projections = RelativeProjections::default();
                projections.take([table("keys"), table("queries")], width, heads, 3);
                disentangled.take(&projections, &rows, true);
                Some(Relative::Disentangled(&disentangled))
            }
        };
        let attention = Attention {
            spans: &spans,
            heads,
            width,
            window: self.window,
            relative,
            dropout: self.dropout.and_then(Dropout::factors),
            precision: self.precision,
        };
        let mut result = vec![0.0; q.len()];
        let mut log_sums = vec![0.0; q.len() / width * heads];
        attention.forward(&q, &kv, &mut result, &mut log_sums);
        let outer = self.asking(&self.outer());
        let (mut q_gradient, mut kv_gradient) = (vec![9.0; q.len()], vec![9.0; kv.len()]);
        let mut relative = RelativeGradient::default();
        // Twice: what stands in the buffers must not be seen.
        for _ in 0..2 {
            attention.backward(
                &q,
                &kv,
                &result,
                &log_sums,
                &outer,
                &mut q_gradient,
                &mut kv_gradient,
                &mut relative,
            );
        }
        let mut found = Found::from([("result", result), ("q", q_gradient), ("kv", kv_gradient)]);
        match self.added {
            Added::Nothing => {}
            Added::Bias => {
                let mut table = vec![0.0; ROWS * heads];
                relative.add_to_bias(heads, &rows, &mut table);
                found.insert("bias", table);
            }
            Added::Disentangled([has_keys, has_queries]) => {
                let (mut keys, mut queries) = (vec![0.0; ROWS * width], vec![0.0; ROWS * width]);
                relative.add_to_projections(&attention, &rows, [&mut keys, &mut queries]);
                found.extend(has_keys.then_some(("keys", keys)));
                found.extend(has_queries.then_some(("queries", queries)));
            }
        }
        found
    }
}

/// The least size that a difference is a share of: that of the terms which cancel where a gradient
/// is nothing but rounding, as that of a query which sees only itself.
const TERMS: f32 = 0.25;

/// The largest difference, in shares of the largest value.
fn difference(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    let size = expected.iter().fold(TERMS, |size, value| size.max(value.abs()));
    let pairs = found.iter().zip(expected);
    pairs.fold(0.0f32, |worst, (a, b)| worst.max((a - b).abs())) / size
}

fn assert_equal(case: &Case) {
    let (plain, kernel) = (case.plain(), case.kernel());
    assert!(plain.keys().eq(kernel.keys()));
    for (name, expected) in plain {
        let worst = difference(&kernel[name], &expected);
        let Case { sizes, added, lengths, window, .. } = case;
        assert!(worst < 2e-5, "{name} of {added:?} {sizes:?} {lengths:?} {window:?}: {worst}");
    }
}

/// Lengths below, at and above a block of queries, a tile of keys and a chunk of noise.
#[test]
fn windows_equal_those_of_the_plain_operation() {
    let noise = Some(Dropout::new(&Noise::new(1), 0, 0, 0.3));
    for window in [0, 1, 4, 30, 64, usize::MAX] {
        for (dropout, first) in [(None, false), (noise, false), (noise, true)] {
            assert_equal(&Case {
                sizes: Sizes { heads: 2, wide: 20 },
                added: Added::Nothing,
                lengths: vec![1, 2, 31, 32, 33, 75, 290],
                window: Some(window),
                dropout,
                first,
                precision: Precision::F32,
            });
        }
    }
}

#[test]
fn a_window_that_reaches_everything_changes_no_bit() {
    let run = |window| {
        let case = Case {
            sizes: Sizes { heads: 2, wide: 20 },
            added: Added::Nothing,
            lengths: vec![75, 3],
            window,
            dropout: None,
            first: false,
            precision: Precision::F32,
        };
        case.kernel()
    };
    assert_eq!(run(None), run(Some(74)));
    assert_ne!(run(None), run(Some(73)));
}

#[test]
fn results_and_gradients_equal_those_of_the_plain_operation() {
    let noise = Some(Dropout::new(&Noise::new(7), 2, 1, 0.25));
    for added in ALL {
        for (heads, wide, lengths) in [
            (3, 8, &[1, 5, 40][..]),
            (2, 33, &[130, 2, 32, 31, 33]),
            (1, 5, &[64, 65]),
            (2, 16, &[3; 40]),
        ] {
            for (dropout, first) in [(None, false), (noise, false), (noise, true)] {
                let sizes = Sizes { heads, wide };
                let lengths = lengths.to_vec();
                let (window, precision) = (None, Precision::F32);
                assert_equal(&Case { sizes, added, lengths, window, dropout, first, precision });
            }
        }
    }
}

/// A sequence has the same bits alone, where the reach is another, and beside longer ones.
#[test]
fn batch_mates_and_threads_change_no_bit() {
    let windowed = [(Added::Nothing, Some(9))];
    let kinds = ALL.map(|added| (added, None)).into_iter().chain(windowed);
    for ((added, window), precision) in
        kinds.flat_map(|kind| Precision::available().map(move |precision| (kind, precision)))
    {
        let sizes = Sizes { heads: 2, wide: 24 };
        let case = |lengths: &[usize]| Case {
            sizes,
            added,
            lengths: lengths.to_vec(),
            window,
            dropout: Some(Dropout::new(&Noise::new(7), 2, 1, 0.25)),
            first: false,
            precision,
        };
        let (alone, both) = (case(&[37]).kernel(), case(&[37, 120]).kernel());
        for (name, lines) in [("result", 24 * 2), ("q", 24 * 2), ("kv", 24 * 4)] {
            assert_eq!(alone[name], both[name][..37 * lines], "{name} of {added:?}");
        }
        let many = case(&[9; 50]);
        let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let found = pool(1).install(|| many.kernel());
        assert_eq!(found, pool(5).install(|| many.kernel()), "{added:?} {precision}");
    }
}

/// Weights, which add up to 1, and values have relative errors below 2⁻⁹. Those of queries and keys move the scores,
/// of up to 8 here, by up to about 0.02.
#[test]
fn in_bf16_results_are_those_in_f32_within_the_error_of_rounding() {
    let noise = Some(Dropout::new(&Noise::new(7), 2, 1, 0.25));
    let windowed = [(Added::Nothing, Some(4)), (Added::Nothing, Some(40))];
    for (added, window) in ALL.map(|added| (added, None)).into_iter().chain(windowed) {
        for (heads, wide, lengths) in [
            (3, 8, &[1, 2, 5, 40][..]),
            (2, 33, &[130, 2, 32, 31, 33]),
            (1, 5, &[64, 65]),
            (2, 64, &[12, 290]),
        ] {
            for (dropout, first) in [(None, false), (noise, false), (noise, true)] {
                let case = |precision| Case {
                    sizes: Sizes { heads, wide },
                    added,
                    lengths: lengths.to_vec(),
                    window,
                    dropout,
                    first,
                    precision,
                };
                let plain = &case(Precision::F32).kernel()["result"];
                for precision in Precision::available() {
                    let worst = difference(&case(precision).kernel()["result"], plain);
                    assert!(worst < 2e-2, "{added:?} {heads} {wide} {window:?}: {worst}");
                    let same = worst == 0.0;
                    assert_eq!(same, !case(precision).in_bf16(), "{added:?} {heads} {wide}");
                }
            }
        }
    }
}
