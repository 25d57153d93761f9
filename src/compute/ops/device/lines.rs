//! Lines of a table by number, and the sum of lines by number: each is the backward pass of the other.
//!
//! Candle's own gradient of a look-up adds line by line, and a GPU has one thread a column for it. Here the lines are
//! sorted by number on the host, where the numbers are, and a GPU has one thread a column and [`SEGMENT`] lines.

use std::sync::Arc;

#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp1, Device, Layout, Result, Shape, Storage, Tensor, bail};

use super::storage::{floats, words};
#[cfg(feature = "cuda")]
use crate::compute::cuda::kernels;

/// Lines that are summed one after another. More of one number are summed in parts, and then the parts.
const SEGMENT: usize = 32;

/// Which line of a table each of `m` lines is.
#[derive(Clone, Debug)]
pub struct Lines {
    ids_m: Tensor,
    /// From the sums of lines to sums of sums.
    levels: Vec<Level>,
    /// Lines of the table.
    table: usize,
}

/// Sums of lines: `order` has the numbers of what is summed, `starts` where each sum begins there, and at last its
/// length, and `rows` which line of the result each sum is.
#[derive(Clone, Debug)]
struct Level {
    order: Tensor,
    starts: Tensor,
    rows: Tensor,
    results: usize,
}

impl Lines {
    /// The line of a table of so many lines that each line is; every number is below that.
    pub fn new(ids: &[u32], table: usize, device: &Device) -> Result<Self> {
        let mut order: Vec<u32> = (0..ids.len() as u32).collect();
        order.sort_by_key(|&line| ids[line as usize]);
        let mut numbers: Vec<u32> = order.iter().map(|&line| ids[line as usize]).collect();
        let mut levels = Vec::new();
        loop {
            let (mut starts, mut sums) = (Vec::new(), Vec::new());
            let mut start = 0;
            for run in numbers.chunk_by(|a, b| a == b) {
                for part in run.chunks(SEGMENT) {
                    starts.push(start);
                    sums.push(part[0]);
                    start += part.len() as u32;
                }
            }
            starts.push(start);
            let done = sums.windows(2).all(|pair| pair[0] != pair[1]);
            let rows = if done { sums.clone() } else { (0..sums.len() as u32).collect() };
            levels.push(Level {
                order: Tensor::new(order, device)?,
                starts: Tensor::new(starts, device)?,
                rows: Tensor::new(rows, device)?,
                results: if done { table } else { sums.len() },
            });
            if done {
                return Ok(Self { ids_m: Tensor::new(ids, device)?, levels, table });
            }
            order = (0..sums.len() as u32).collect();
            numbers = sums;
        }
    }

    /// These lines of a table, `[n, d]`: `[m, d]`.
    pub fn gather(self: &Arc<Self>, table_nd: &Tensor) -> Result<Tensor> {
        table_nd.apply_op1(Gather(self.clone()))
    }

    /// The sums of the lines of `x_md` that have a number, for each number: `[n, d]`, f32.
    pub fn sum(self: &Arc<Self>, x_md: &Tensor) -> Result<Tensor> {
        x_md.contiguous()?.apply_op1(Sum(self.clone()))
    }
}

struct Gather(Arc<Lines>);

impl Gather {
    fn of<S: BackendStorage>(&self, x: &S, layout: &Layout, ids: &S) -> Result<(S, Shape)> {
        let (_, width) = layout.shape().dims2()?;
        let ids_layout = self.0.ids_m.layout();
        let lines = ids_layout.shape().dims1()?;
        Ok((x.index_select(ids, layout, ids_layout, 0)?, (lines, width).into()))
    }
}

impl CustomOp1 for Gather {
    fn name(&self) -> &'static str {
        "gather"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        match &*self.0.ids_m.storage_and_layout().0 {
            Storage::Cpu(ids) => self.of(x, layout, ids),
            _ => bail!("gather: table and numbers are on one device"),
        }
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        match &*self.0.ids_m.storage_and_layout().0 {
            Storage::Cuda(ids) => self.of(x, layout, ids),
            _ => bail!("gather: table and numbers are on one device"),
        }
    }

    fn bwd(&self, table: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let sums = gradient.contiguous()?.apply_op1_no_bwd(&Sum(self.0.clone()))?;
        sums.to_dtype(table.dtype()).map(Some)
    }
}

struct Sum(Arc<Lines>);

impl CustomOp1 for Sum {
    fn name(&self) -> &'static str {
        "segment_sums"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (_, width) = layout.shape().dims2()?;
        let mut values = floats((x, layout))?.into_owned();
        for level in &self.0.levels {
            values = level.sums(&values, width)?;
        }
        Ok((CpuStorage::F32(values), (self.0.table, width).into()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        let (_, width) = layout.shape().dims2()?;
        let mut sums: Option<(CudaStorage, Layout)> = None;
        for Level { order, starts, rows, results } in &self.0.levels {
            let (order, order_layout) = order.storage_and_layout();
            let (starts, starts_layout) = starts.storage_and_layout();
            let (rows, rows_layout) = rows.storage_and_layout();
            let (Storage::Cuda(order), Storage::Cuda(starts), Storage::Cuda(rows)) =
                (&*order, &*starts, &*rows)
            else {
                bail!("segment_sums: lines and numbers are on one device");
            };
            let of = sums.as_ref().map_or((x, layout), |(sums, layout)| (sums, layout));
            let (order, starts) = ((order, order_layout), (starts, starts_layout));
            let next = kernels::segment_sums(of, order, starts, (rows, rows_layout), *results)?;
            sums = Some((next, Layout::contiguous((*results, width))));
        }
        let (sums, layout) = sums.expect("there is one level at least");
        Ok((sums, layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let lines = gradient.contiguous()?.apply_op1_no_bwd(&Gather(self.0.clone()))?;
        lines.to_dtype(x.dtype()).map(Some)
    }
}

impl Level {
    fn sums(&self, values: &[f32], width: usize) -> Result<Vec<f32>> {
        let of = |tensor: &Tensor| -> Result<Vec<u32>> {
            let (storage, layout) = tensor.storage_and_layout();
            match &*storage {
                Storage::Cpu(storage) => Ok(words((storage, layout))?.to_vec()),
                _ => bail!("segment_sums: lines and numbers are on one device"),
            }
        };
        let (order, starts, rows) = (of(&self.order)?, of(&self.starts)?, of(&self.rows)?);
        let mut results = vec![0.0; self.results * width];
        for (bounds, row) in starts.windows(2).zip(rows) {
            let result = &mut results[row as usize * width..][..width];
            for &line in &order[bounds[0] as usize..bounds[1] as usize] {
                let line = &values[line as usize * width..][..width];
                result.iter_mut().zip(line).for_each(|(sum, value)| *sum += value);
            }
        }
        Ok(results)
    }
}
