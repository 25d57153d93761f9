use candle_core::CpuStorage;
use candle_core::cpu_backend::CpuDevice;

use super::super::host::{by_ptx, in_both_orders};
use super::*;
use crate::compute::ops::device::{AdamW, Softmax};

/// Runs these cases in both types.
fn run(size: Size, wanted: &[&str]) {
    for dtype in [DType::F32, DType::BF16] {
        let on = On::<CpuStorage> { device: &CpuDevice, dtype, size };
        for (kernel, run) in cases::cases::<CpuStorage>() {
            if wanted.contains(&kernel) {
                run(&on).unwrap_or_else(|error| panic!("{kernel}, {dtype:?}, {size:?}: {error}"));
            }
        }
    }
}

#[test]
fn what_a_card_is_checked_with_holds_on_the_host() {
    in_both_orders(|| check_all::<CpuStorage>(&CpuDevice).unwrap());
}

/// Every case but attention's, whose work grows with the square of the width.
const OF_LINES: [&str; 8] =
    ["dropout", "norm", "activate", "add_bias", "segment_sums", "square_sums", "adamw", "rotate"];

/// Widths of one value, of less and more than 16 lanes, 128 counters and four blocks of columns, even and odd, from
/// addresses that four values may and may not be read at.
#[test]
fn kernels_of_lines_give_the_values_of_the_cpu() {
    let widths = [1, 7, 16, 33, 128, 130, 300, 384];
    in_both_orders(|| {
        for (index, width) in widths.into_iter().enumerate() {
            let size = Size { lines: [1, 3, 18, 34][index % 4], width, lead: [0, 1, 4][index % 3] };
            run(size, &OF_LINES);
        }
    });
}

#[test]
fn long_lines_and_many_of_them_give_the_values_of_the_cpu() {
    run(Size { lines: 3, width: 3100, lead: 0 }, &OF_LINES[..5]);
    run(Size { lines: 8300, width: 3, lead: 0 }, &["add_bias"]);
    run(Size { lines: 5, width: 20_001, lead: 1 }, &["square_sums", "adamw"]);
}

#[test]
fn attention_has_the_weights_and_gradients_of_the_plain_form() {
    in_both_orders(|| {
        for (width, lead) in [(1, 0), (7, 1), (16, 0), (33, 4)] {
            run(Size { lines: 1, width, lead }, &["masked_softmax"]);
        }
    });
    run(Size { lines: 1, width: 131, lead: 0 }, &["masked_softmax"]);
}

/// Not only the source is right, but also what the compiler made of it.
#[test]
fn the_ptx_gives_the_values_of_the_cpu() {
    by_ptx(|| {
        check_all::<CpuStorage>(&CpuDevice).unwrap();
        run(Size { lines: 18, width: 1, lead: 1 }, &OF_LINES);
        run(Size { lines: 3, width: 300, lead: 0 }, &OF_LINES);
        run(Size { lines: 1, width: 16_400, lead: 1 }, &["square_sums", "adamw"]);
        run(Size { lines: 34, width: 130, lead: 4 }, &OF_LINES);
        run(Size { lines: 1, width: 7, lead: 1 }, &["masked_softmax"]);
        run(Size { lines: 1, width: 131, lead: 0 }, &["masked_softmax"]);
    });
}

/// The comparison that all of this rests on.
#[test]
fn a_wrong_value_is_found_and_its_kernel_named() {
    let size = Size { lines: 1, width: 2, lead: 0 };
    let on = On::<CpuStorage> { device: &CpuDevice, dtype: DType::F32, size };
    let found = CpuStorage::F32(vec![1.0, 1.000_000_2]);
    assert!(on.compare(&found, &[1.0, 1.000_000_2], 0.0).is_ok());
    assert!(on.compare(&found, &[1.0, 1.0], 1e-6).is_ok());
    let error = on.compare(&found, &[1.0, 1.0], 0.0).unwrap_err();
    assert!(error.to_string().contains("value 1"), "{error}");
    assert!(on.compare(&found, &[1.0; 3], 1.0).is_err());
    assert!(on.compare(&CpuStorage::F32(vec![f32::NAN]), &[1.0], 1.0).is_err());
    let failed = Failed { kernel: "norm", source: error };
    assert!(failed.to_string().starts_with("kernel `norm` fails: value 1"), "{failed}");
}

#[test]
fn a_sum_of_squares_tells_of_values_that_are_not_finite() {
    let size = Size { lines: 1, width: 1, lead: 0 };
    let on = On::<CpuStorage> { device: &CpuDevice, dtype: DType::F32, size };
    let mut x = vec![1.0; 20_000];
    (x[19_000], x[3]) = (f32::INFINITY, f32::NAN);
    let found =
        super::super::square_sums(on.floats(&x, DType::F32).unwrap().operand(), &[5, 10, 19_985]);
    let found = values(&found.unwrap()).unwrap();
    assert!(found[0].is_nan() && found[1] == 10.0 && found[2] == f32::INFINITY, "{found:?}");
}

/// The gradient of one embedding row, whose lines stand anywhere in a batch: the CPU's order of additions.
#[test]
fn sums_of_segments_are_the_gradient_of_a_look_up() {
    let size = Size { lines: 1, width: 1, lead: 0 };
    let on = On::<CpuStorage> { device: &CpuDevice, dtype: DType::F32, size };
    let (ids, width) = ([3u32, 1, 3, 0, 3, 1], 5);
    let gradient = on.draw(1, ids.len() * width, DType::F32);
    let mut expected = vec![0.0; 4 * width];
    crate::compute::kernels::embedding::add_rows_backward(&gradient, &ids, width, &mut expected);
    let held = on.floats(&gradient, DType::F32).unwrap().shaped((6, width));
    let [order, starts, rows] = [&[3u32, 1, 5, 0, 2, 4][..], &[0, 1, 3, 6], &[0, 1, 3]]
        .map(|numbers| on.words(numbers).unwrap());
    let (order, starts, rows) = (order.operand(), starts.operand(), rows.operand());
    let found = super::super::segment_sums(held.operand(), order, starts, rows, 4).unwrap();
    on.compare(&found, &expected, 0.0).unwrap();
}

#[test]
fn operands_that_do_not_fit_are_refused() {
    let size = Size { lines: 2, width: 8, lead: 0 };
    let on = On::<CpuStorage> { device: &CpuDevice, dtype: DType::F32, size };
    let x = on.floats(&[1.0; 16], DType::F32).unwrap().shaped((2, 8));
    let narrow = on.floats(&[1.0; 8], DType::BF16).unwrap();
    let words = on.words(&[1; 6]).unwrap();
    let factors = crate::compute::kernels::noise::Factors { key: [1, 2], threshold: 3, kept: 1.0 };
    assert!(super::super::dropout(x.operand(), x.operand(), factors).is_err());
    assert!(super::super::dropout(words.operand(), words.operand(), factors).is_err());
    let error = super::super::add_bias(x.operand(), narrow.operand()).unwrap_err().to_string();
    assert!(error.contains("F32") && error.contains("BF16"), "{error}");
    let turned = x.layout.transpose(0, 1).unwrap();
    let error = super::super::column_sums((&x.storage, &turned)).unwrap_err().to_string();
    assert!(error.contains("contiguous"), "{error}");
    assert!(super::super::square_sums(x.operand(), &[15]).is_err());
    let softmax = Softmax { scale: 1.0, window: None, dropout: None };
    let scores = on.floats(&[1.0; 16], DType::F32).unwrap().shaped((1, 2, 2, 4));
    assert!(super::super::masked_softmax(scores.operand(), words.operand(), softmax).is_err());
    let k = AdamW {
        beta1: 0.9,
        beta2: 0.9,
        epsilon: 1e-8,
        rate: 0.1,
        root: 1.0,
        shrink: 1.0,
        scale: 1.0,
    };
    let mut moments = on.floats(&[1.0; 16], DType::F32).unwrap();
    let moments = (&mut moments.storage, &moments.layout);
    assert!(super::super::adamw_moments(moments, x.operand(), k).is_err());
}

/// `make.sh` writes it, and fails where the PTX itself differs; here no compiler is needed.
#[test]
fn the_ptx_is_that_of_its_source() {
    use sha2::{Digest, Sha256};
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/compute/cuda/source");
    for source in super::super::SOURCES {
        let name = format!("{source}.cu");
        let files = std::fs::read_dir(&folder).unwrap();
        let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
        files.retain(|path| {
            let file = path.file_name().unwrap().to_str().unwrap();
            file == name || file.ends_with(".h") && file != "host.h"
        });
        files.sort();
        let mut hasher = Sha256::new();
        files.iter().for_each(|path| hasher.update(std::fs::read(path).unwrap()));
        let hash: String = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        let ptx = std::fs::read_to_string(folder.join(format!("{source}.ptx"))).unwrap();
        assert!(ptx.starts_with(&format!("// source: {hash}\n")), "{source}: run make.sh");
        assert!(ptx.contains(".version 7.0\n.target sm_80\n"), "{source}");
        // Every operation is rounded once, and none is left to be fused with another.
        for loose in [".approx", ".ftz", "mul.f32", "add.f32", "sub.f32", "mul.f64", "add.f64"] {
            assert!(!ptx.contains(loose), "{source}: {loose}");
        }
    }
}
