//! Numbers of a config that cannot be, refused before anything is allocated.

use super::EncoderConfig;

pub(in crate::model) const MOST_LAYERS: usize = 1 << 10;

pub(in crate::model) fn out_of_range(name: &str, value: usize, most: usize) -> String {
    format!("`{name}` is {value}; use 1 to {most}")
}

impl EncoderConfig {
    /// Refuses sizes that cannot be, before anything is allocated.
    pub(super) fn check(&self) -> Result<(), String> {
        let limits = [
            ("vocab_size", self.vocab_size, 1 << 24),
            ("hidden_size", self.hidden_size, 1 << 14),
            ("num_attention_heads", self.num_attention_heads, 1 << 10),
            ("intermediate_size", self.intermediate_size, 1 << 17),
            ("max_position_embeddings", self.max_position_embeddings, 1 << 20),
            ("type_vocab_size", self.type_vocab_size, 256),
            ("embedding_size", self.embedding_width(), 1 << 14),
        ];
        let key = |name| self.architecture.key(name);
        for (name, value, most) in limits {
            let absent = name == "type_vocab_size" && self.segments().is_none();
            if (value == 0 && !absent) || value > most {
                return Err(out_of_range(key(name), value, most));
            }
        }
        if !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            return Err(format!(
                "`{}` {} is not a multiple of `{}` {}",
                key("hidden_size"),
                self.hidden_size,
                key("num_attention_heads"),
                self.num_attention_heads
            ));
        }
        let rates = [
            ("hidden_dropout_prob", self.hidden_dropout_prob),
            ("attention_probs_dropout_prob", self.attention_probs_dropout_prob),
            ("classifier_dropout", self.classifier_dropout),
        ];
        for (name, rate) in rates {
            if !(0.0..1.0).contains(&rate) {
                let name = key(name);
                return Err(format!("`{name}` is {rate}; use a number from 0 to below 1"));
            }
        }
        if !(self.layer_norm_eps >= 0.0 && self.layer_norm_eps < 1.0) {
            return Err(format!(
                "`{}` is {}; use a number from 0 to below 1: it keeps a layer norm from dividing \
                 by zero, and encoders have 1e-5 or 1e-12",
                key("layer_norm_eps"),
                self.layer_norm_eps
            ));
        }
        if !(self.initializer_range > 0.0 && self.initializer_range <= 1.0) {
            return Err(format!(
                "`{}` is {}; use a number above 0 and at most 1: new weights are drawn with it as \
                 their standard deviation, and encoders have 0.02",
                key("initializer_range"),
                self.initializer_range
            ));
        }
        if self.first_position() >= self.max_position_embeddings {
            return Err(format!(
                "`{}` is {}, but the first token of a text has position {}, behind that of the \
                 padding token; use a higher number, or check `pad_token_id`",
                key("max_position_embeddings"),
                self.max_position_embeddings,
                self.first_position()
            ));
        }
        Ok(())
    }
}
