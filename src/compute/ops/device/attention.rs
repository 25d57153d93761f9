//! Attention of a batch whose sequences are padded to those of like length, in products of all of them.
//!
//! Its backward pass makes the weights again, as that of the CPU engine does: between the two nothing is kept but
//! queries, keys and values. Candle's own would keep scores, exponentials and weights of every layer.

use std::sync::{Arc, Mutex};

#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Storage, Tensor, bail};

use super::batch::{Grid, Group};
use super::{Lines, Softmax};

/// How the tokens of a batch attend to each other.
#[derive(Clone, Debug)]
pub(super) struct Attention {
    pub grid: Grid,
    pub heads: usize,
    /// With the scale of the products.
    pub softmax: Softmax,
    /// Which line of a table of biases each pair of tokens reads, by group.
    pub pairs: Vec<Arc<Lines>>,
}

impl Attention {
    /// Of `qkv_pe`, `[p, 3d]`, with what a table `[r, h]` adds to scores by distance: `[p, d]`.
    pub fn apply(self, qkv_pe: &Tensor, table_rh: Option<&Tensor>) -> Result<Tensor> {
        let detached = table_rh.map(Tensor::detach);
        let mixed_pd = self.mixed(&qkv_pe.detach(), detached.as_ref())?;
        let op = Attend { attention: self, result: Mutex::new(Some(mixed_pd)) };
        match table_rh {
            Some(table_rh) => qkv_pe.apply_op2(table_rh, op),
            None => qkv_pe.apply_op1(op),
        }
    }

    fn mixed(&self, qkv_pe: &Tensor, table_rh: Option<&Tensor>) -> Result<Tensor> {
        let mut results = Vec::with_capacity(self.grid.groups.len());
        for (index, group) in self.grid.groups.iter().enumerate() {
            let [query, key, value] = self.parts(group, qkv_pe)?;
            let score = self.scores(index, &query, &key, table_rh)?;
            let weights = self.softmax().weights(&score, group)?;
            results.push(self.lines(group, &weights.matmul(&value)?)?);
        }
        Tensor::cat(&results, 0)?.index_select(&self.grid.cell_of_p, 0)
    }

    /// Gradients of queries, keys and values, and of the table.
    fn backward(
        &self,
        qkv_pe: &Tensor,
        table_rh: Option<&Tensor>,
        gradient_pd: &Tensor,
    ) -> Result<(Tensor, Option<Tensor>)> {
        let (mut results, mut of_table) = (Vec::new(), None);
        for (index, group) in self.grid.groups.iter().enumerate() {
            let [query, key, value] = self.parts(group, qkv_pe)?;
            let score = self.scores(index, &query, &key, table_rh)?;
            let [of_mixed] = self.heads(group, gradient_pd)?;
            let softmax = self.softmax();
            let of_weights = of_mixed.matmul(&value.t()?)?;
            let of_value = softmax.weights(&score, group)?.t()?.matmul(&of_mixed)?;
            let mut of_score = softmax.backward(&score, &of_weights, group)?;
            if table_rh.is_some() {
                let own = self.table_gradient(index, &of_score)?;
                of_table = Some(match of_table {
                    Some(sum) => (sum + own)?,
                    None => own,
                });
                of_score = (of_score * f64::from(self.softmax.scale))?;
            }
            let (of_query, of_key) = (of_score.matmul(&key)?, of_score.t()?.matmul(&query)?);
            results.push(self.lines_of_all(group, &[of_query, of_key, of_value])?);
        }
        Ok((Tensor::cat(&results, 0)?.index_select(&self.grid.cell_of_p, 0)?, of_table))
    }
}

/// A tensor of one group of sequences by head: `[b · h, s, k]` or `[b · h, s, t]`.
type ByHead = Tensor;

impl Attention {
    /// What is left to the softmax: where biases are added to scores, these are scaled before.
    fn softmax(&self) -> InGroup {
        let scale = if self.pairs.is_empty() { self.softmax.scale } else { 1.0 };
        InGroup { softmax: Softmax { scale, ..self.softmax }, heads: self.heads }
    }

    /// The lines of a group by head, of as many tensors as stand side by side in `x`.
    fn heads<const N: usize>(&self, group: &Group, x: &Tensor) -> Result<[ByHead; N]> {
        let Group { count, longest, line_of, .. } = group;
        let width = x.dim(1)? / N / self.heads;
        let grid = x.index_select(line_of, 0)?;
        let grid = grid.reshape((*count, *longest, N, self.heads, width))?;
        let all = grid.permute((2, 0, 3, 1, 4))?.contiguous()?;
        let all = all.reshape((N, count * self.heads, *longest, width))?;
        let parts = (0..N).map(|part| all.get(part)).collect::<Result<Vec<_>>>()?;
        Ok(parts.try_into().expect("there are N"))
    }

    fn parts(&self, group: &Group, qkv_pe: &Tensor) -> Result<[ByHead; 3]> {
        self.heads(group, qkv_pe)
    }

    fn scores(
        &self,
        index: usize,
        query: &ByHead,
        key: &ByHead,
        table_rh: Option<&Tensor>,
    ) -> Result<ByHead> {
        let score = query.matmul(&key.t()?)?;
        let Some(table_rh) = table_rh else { return Ok(score) };
        let (both, longest, _) = score.dims3()?;
        let bias_sth = self.pairs[index].gather(table_rh)?;
        let bias_sth = bias_sth.reshape((longest, longest, self.heads))?;
        let bias_hst = bias_sth.permute((2, 0, 1))?.contiguous()?.to_dtype(score.dtype())?;
        let score = (score * f64::from(self.softmax.scale))?;
        let score = score.reshape((both / self.heads, self.heads, longest, longest))?;
        score.broadcast_add(&bias_hst)?.reshape((both, longest, longest))
    }

    fn table_gradient(&self, index: usize, of_score: &ByHead) -> Result<Tensor> {
        let (both, longest, _) = of_score.dims3()?;
        let by_sequence = of_score.reshape((both / self.heads, self.heads, longest * longest))?;
        let by_head = by_sequence.to_dtype(candle_core::DType::F32)?.sum(0)?;
        self.pairs[index].sum(&by_head.t()?)
    }

    /// Heads side by side again: `[b · s, d]`.
    fn lines(&self, group: &Group, x: &ByHead) -> Result<Tensor> {
        let width = x.dim(2)?;
        let x = x.reshape((group.count, self.heads, group.longest, width))?;
        let x = x.transpose(1, 2)?.contiguous()?;
        x.reshape((group.count * group.longest, self.heads * width))
    }

    fn lines_of_all(&self, group: &Group, all: &[ByHead; 3]) -> Result<Tensor> {
        let width = all[0].dim(2)?;
        let x = Tensor::stack(all, 0)?;
        let x = x.reshape((3, group.count, self.heads, group.longest, width))?;
        let x = x.permute((1, 3, 0, 2, 4))?.contiguous()?;
        x.reshape((group.count * group.longest, 3 * self.heads * width))
    }
}

/// The softmax of the scores of one group.
struct InGroup {
    softmax: Softmax,
    heads: usize,
}

impl InGroup {
    fn weights(&self, score: &ByHead, group: &Group) -> Result<ByHead> {
        let by_sequence = self.by_sequence(score, group)?;
        self.softmax.weights(&by_sequence, &group.sequences_b3)?.reshape(score.shape())
    }

    fn backward(&self, score: &ByHead, gradient: &ByHead, group: &Group) -> Result<ByHead> {
        let [by_sequence, gradient] =
            [self.by_sequence(score, group)?, self.by_sequence(gradient, group)?];
        self.softmax.backward(&by_sequence, &gradient, &group.sequences_b3)?.reshape(score.shape())
    }

    fn by_sequence(&self, x: &ByHead, group: &Group) -> Result<Tensor> {
        x.reshape((group.count, self.heads, group.longest, group.longest))
    }
}

/// [`Attention`] as a node of Candle's graph: its result is made before, out of operations that have no place there.
struct Attend {
    attention: Attention,
    result: Mutex<Option<Tensor>>,
}

impl Attend {
    fn take(&self) -> Result<Tensor> {
        let result = self.result.lock().expect("nothing panics while it holds the result").take();
        match result {
            Some(result) => result.contiguous(),
            None => bail!("attention: a node has one result"),
        }
    }

    fn on_cpu(&self) -> Result<(CpuStorage, Shape)> {
        let result = self.take()?;
        match &*result.storage_and_layout().0 {
            Storage::Cpu(storage) => {
                Ok((storage.try_clone(result.layout())?, result.shape().clone()))
            }
            _ => bail!("attention: all is on one device"),
        }
    }

    #[cfg(feature = "cuda")]
    fn on_cuda(&self) -> Result<(CudaStorage, Shape)> {
        let result = self.take()?;
        match &*result.storage_and_layout().0 {
            Storage::Cuda(storage) => {
                Ok((storage.try_clone(result.layout())?, result.shape().clone()))
            }
            _ => bail!("attention: all is on one device"),
        }
    }
}

impl CustomOp1 for Attend {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        self.on_cpu()
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, _: &CudaStorage, _: &Layout) -> Result<(CudaStorage, Shape)> {
        self.on_cuda()
    }

    fn bwd(&self, qkv_pe: &Tensor, _: &Tensor, gradient_pd: &Tensor) -> Result<Option<Tensor>> {
        let (of_qkv, _) =
            self.attention.backward(&qkv_pe.detach(), None, &gradient_pd.contiguous()?)?;
        Ok(Some(of_qkv))
    }
}

impl CustomOp2 for Attend {
    fn name(&self) -> &'static str {
        "attention_with_bias"
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.on_cpu()
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        _: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        self.on_cuda()
    }

    fn bwd(
        &self,
        qkv_pe: &Tensor,
        table_rh: &Tensor,
        _: &Tensor,
        gradient_pd: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (qkv_pe, table_rh) = (qkv_pe.detach(), table_rh.detach());
        let gradient_pd = gradient_pd.contiguous()?;
        let (of_qkv, of_table) = self.attention.backward(&qkv_pe, Some(&table_rh), &gradient_pd)?;
        Ok((Some(of_qkv), of_table))
    }
}
