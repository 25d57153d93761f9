//! MPNet: Song, Tan, Qin, Lu and Liu, "MPNet: masked and permuted pre-training for language understanding"
//! (NeurIPS 2020). BERT with a bias on scores by head and distance, which all layers share.

use serde::Deserialize;
use serde_json::{Value, json};

use super::bert::BERT;
use super::roberta::ROBERTA;
use super::{Architecture, AttentionKind, Design, Keys, Positions, Tensors, own};

/// Rows of the table of biases.
const BUCKETS: usize = 32;

/// The row of a query that stands this many places behind a key: one for each of the next 8 places, then
/// eight that grow up to a distance of 128, on either side. Raffel et al., "Exploring the limits of transfer
/// learning" (2020), section 2.1, without the rounding of its logarithm.
pub(super) fn bucket(behind: i64) -> u32 {
    const EXACT: u64 = 8;
    let side = if behind < 0 { 16 } else { 0 };
    let far = behind.unsigned_abs().min(128);
    if far < EXACT {
        return side + far as u32;
    }
    // 8 · ln(n / 8) / ln 16 ≥ i is n⁸ ≥ 8⁸ · 16ⁱ.
    let reached = |i: &u32| far.pow(8) >= EXACT.pow(8) << (4 * i);
    side + 8 + (1..=7).take_while(reached).count() as u32
}

#[derive(Deserialize)]
struct Own {
    relative_attention_num_buckets: usize,
}

pub(super) const MPNET: Architecture = Architecture {
    model_type: "mpnet",
    class: "MPNet",
    name: "MPNet",
    keys: Keys {
        defaults: || {
            json!({
                "vocab_size": 30_527,
                "pad_token_id": 1,
                "relative_attention_num_buckets": BUCKETS,
            })
        },
        // Its head has the dropout of the layers.
        constants: || json!({ "type_vocab_size": 0, "classifier_dropout": Value::Null }),
        ..Keys::BERT
    },
    design: |keys| {
        let Own { relative_attention_num_buckets: buckets } = own(keys)?;
        if buckets != BUCKETS {
            return Err(format!(
                "`relative_attention_num_buckets` is {buckets}, but distances are divided into {BUCKETS}"
            ));
        }
        Ok(Design {
            positions: Some(Positions::AfterPadding(Some(1))),
            segments: false,
            attention: AttentionKind::DistanceBias { buckets },
            ..Design::BERT
        })
    },
    segments_given: false,
    tensors: Tensors {
        prefix: "mpnet",
        qkv: &["attention.attn.q", "attention.attn.k", "attention.attn.v"],
        attention: ["attention.attn.o", "attention.LayerNorm"],
        relative: "encoder.relative_attention_bias",
        ..BERT.tensors
    },
    head: ROBERTA.head,
    special_tokens: ["[UNK]", "</s>", "<pad>", "<s>", "<mask>"],
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_fall_into_their_buckets() {
        let first = [0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 23, 32, 46, 64, 91];
        for (row, &distance) in (0..).zip(&first) {
            assert_eq!((bucket(distance), bucket(-distance) % 16), (row, row), "{distance}");
            if distance > 0 {
                assert_eq!((bucket(distance - 1), bucket(-distance)), (row - 1, row + 16));
            }
        }
        assert_eq!((bucket(600), bucket(-600)), (15, 31));
        // As f64 has it.
        for far in 8..600i64 {
            let logarithm = (far as f64 / 8.0).ln() / 16f64.ln() * 8.0;
            assert_eq!(bucket(far), 15.min(8 + logarithm as u32), "{far}");
        }
    }
}
