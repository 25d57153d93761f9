//! Embedding lookup.

use candle_core::{Result, Tensor};

/// Rows of a table `[v, d]` by id: `[p, d]`. The caller has checked that every id is below `v`.
pub fn embed(table_vd: &Tensor, ids_p: &[u32]) -> Result<Tensor> {
    let ids = Tensor::new(ids_p, table_vd.device())?;
    table_vd.index_select(&ids, 0)
}

#[cfg(test)]
mod tests {
    use super::super::gradient_check::{assert_gradients, sample};
    use super::*;

    #[test]
    fn gradients_agree_with_finite_differences() {
        // Row 2 occurs twice: its gradient is a sum. Row 1 does not occur: its gradient is zero.
        assert_gradients(&[sample(&[4, 3], 1)], |x| embed(&x[0], &[2, 0, 2, 3]));
    }
}
