//! Scores of attention that know how far apart two tokens are.

use std::sync::Arc;

use candle_core::{Result, Tensor};

use crate::compute::RelativeRows;

/// What attention has beside the products of queries and keys.
#[derive(Clone, Debug)]
pub enum Relative {
    /// A number for each row and head, `[r, h]`, added after the scale: Raffel et al., "Exploring the
    /// limits of transfer learning" (2020), section 2.1.
    Bias { table_rh: Tensor, rows: Arc<RelativeRows> },
    /// Products of content with relative keys and of relative queries with content, `[r, d]` each.
    Disentangled(Disentangled),
}

/// Disentangled attention: He, Liu, Gao and Chen, "DeBERTa" (ICLR 2021), equation 4. One index serves
/// both terms, that of s − t, as DeBERTa-v2 has it.
#[derive(Clone, Debug)]
pub struct Disentangled {
    /// What content asks for; none where it does not ask for positions.
    pub key_rd: Option<Tensor>,
    /// What positions ask with; none where they do not ask for content.
    pub query_rd: Option<Tensor>,
    /// Terms of a score, that of the content included: the scale is 1/√(terms · k).
    pub terms: usize,
    pub rows: Arc<RelativeRows>,
}

impl Relative {
    /// The scores of one sequence, `[h, s, t]`, from queries and keys, `[h, s, k]` each.
    pub(super) fn scores(&self, q_hsk: &Tensor, k_htk: &Tensor) -> Result<Tensor> {
        let (heads, length, head_width) = q_hsk.dims3()?;
        match self {
            Self::Bias { table_rh, rows } => {
                let content_hst = q_hsk.matmul(&k_htk.t()?)?;
                let scale = 1.0 / (head_width as f64).sqrt();
                let pairs = (0..length).flat_map(|s| (0..length).map(move |t| rows.row(s, t)));
                let rows = Tensor::from_iter(pairs, q_hsk.device())?;
                let bias_sth = table_rh.index_select(&rows, 0)?;
                let bias_hst = bias_sth.reshape((length, length, heads))?.permute((2, 0, 1))?;
                (content_hst * scale)? + bias_hst
            }
            Self::Disentangled(own) => own.scores(q_hsk, k_htk),
        }
    }
}

impl Disentangled {
    fn scores(&self, q_hsk: &Tensor, k_htk: &Tensor) -> Result<Tensor> {
        let (_, _, head_width) = q_hsk.dims3()?;
        let mut score_hst = q_hsk.matmul(&k_htk.t()?)?;
        if let Some(key_rd) = &self.key_rd {
            score_hst = (score_hst + self.chosen(q_hsk, key_rd, |s, t| self.rows.row(s, t))?)?;
        }
        if let Some(query_rd) = &self.query_rd {
            let score_hts = self.chosen(k_htk, query_rd, |t, s| self.rows.row(s, t))?;
            score_hst = (score_hst + score_hts.transpose(1, 2)?)?;
        }
        score_hst * (1.0 / ((self.terms * head_width) as f64).sqrt())
    }

    /// The products of `x_hsk` with the rows that each pair of tokens has: `[h, s, t]`.
    fn chosen(
        &self,
        x_hsk: &Tensor,
        table_rd: &Tensor,
        row: impl Fn(usize, usize) -> u32,
    ) -> Result<Tensor> {
        let (heads, length, head_width) = x_hsk.dims3()?;
        let table_hkr = table_rd.reshape(((), heads, head_width))?.permute((1, 2, 0))?;
        let all_hsr = x_hsk.matmul(&table_hkr.contiguous()?)?;
        let rows = (0..length * length).map(|pair| row(pair / length, pair % length));
        let rows_1st = Tensor::from_iter(rows, x_hsk.device())?.reshape((1, length, length))?;
        all_hsr.gather(&rows_1st.broadcast_as((heads, length, length))?.contiguous()?, 2)
    }
}
