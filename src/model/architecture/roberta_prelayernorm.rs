//! RoBERTa with layer norms before the blocks: Ott et al., "fairseq" (2019), `--encoder-normalize-before`;
//! Xiong et al., "On layer normalization in the Transformer architecture" (ICML 2020).

use super::roberta::ROBERTA;
use super::{Architecture, Block, Design, Positions, Tensors};

pub(super) const ROBERTA_PRELAYERNORM: Architecture = Architecture {
    model_type: "roberta-prelayernorm",
    class: "RobertaPreLayerNorm",
    name: "RoBERTa with pre-norm",
    design: |_| {
        let block = Block { pre_norm: true, ..Design::BERT.block };
        Ok(Design { positions: Some(Positions::AfterPadding(None)), block, ..Design::BERT })
    },
    // Two of them from scratch; RoBERTa's tokenizer gives zeros anyway.
    segments_given: true,
    tensors: Tensors {
        prefix: "roberta_prelayernorm",
        attention: ["attention.output.dense", "attention.LayerNorm"],
        feed_forward: ["intermediate.dense", "output.dense", "intermediate.LayerNorm"],
        last_norm: "LayerNorm",
        ..ROBERTA.tensors
    },
    ..ROBERTA
};
