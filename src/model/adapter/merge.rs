//! The product that an adapter adds to a weight.

use super::super::ModelError;
use super::super::weight_files::TensorInfo;
use super::Adapter;

/// s·B·A for one tensor.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::model) struct Delta {
    /// The name of A `[r, in]`.
    pub a: String,
    /// The name of B `[out, r]`.
    pub b: String,
    scale: f64,
    rank: usize,
}

impl Adapter {
    /// What it adds to the tensor with one of these names and this shape.
    ///
    /// # Errors
    /// Its factors do not fit.
    pub(in crate::model) fn delta<'a>(
        &self,
        spellings: &[String],
        shape: &[usize],
        info: &dyn Fn(&str) -> Option<&'a TensorInfo>,
    ) -> Result<Option<Delta>, ModelError> {
        let modules = spellings.iter().filter_map(|name| name.strip_suffix(".weight"));
        let found = modules.filter_map(|module| {
            let [a, b] = ["A", "B"].map(|factor| format!("{module}.lora_{factor}.weight"));
            (info(&a).is_some() || info(&b).is_some()).then_some((module, a, b))
        });
        let Some((module, a, b)) = found.into_iter().next() else { return Ok(None) };
        let shape_of = |name: &str| info(name).map(|info| info.shape.as_slice());
        let (Some(&[rank, inputs]), Some(&[outputs, same])) = (shape_of(&a), shape_of(&b)) else {
            return Err(self.unmerged(&format!("`{module}` in it has not both of two matrices")));
        };
        if rank == 0 || rank != same || *shape != [outputs, inputs] {
            return Err(self.unmerged(&format!(
                "the product for `{module}` in it is {outputs} by {inputs}, of rank {rank} and {same}, but the \
                 weight is {shape:?}"
            )));
        }
        let divisor = if self.rank_stabilised() { (rank as f64).sqrt() } else { rank as f64 };
        let scale = self.alpha(module)? / divisor;
        Ok(Some(Delta { a, b, scale, rank }))
    }
}

impl Delta {
    /// Adds it to a weight `[out, in]`.
    pub(in crate::model) fn add(&self, weight: &mut [f32], a: &[f32], b: &[f32]) {
        let inputs = a.len() / self.rank;
        for (row, b) in weight.chunks_exact_mut(inputs).zip(b.chunks_exact(self.rank)) {
            let mut sum = vec![0.0; inputs];
            for (&b, a) in b.iter().zip(a.chunks_exact(inputs)) {
                sum.iter_mut().zip(a).for_each(|(sum, &a)| *sum += f64::from(b) * f64::from(a));
            }
            row.iter_mut()
                .zip(sum)
                .for_each(|(own, sum)| *own = (f64::from(*own) + self.scale * sum) as f32);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_product_is_added_row_by_row() {
        let delta = Delta { a: String::new(), b: String::new(), scale: 0.5, rank: 2 };
        let mut weight = [1.0, 1.0, 1.0, 2.0, 2.0, 2.0];
        // B·A = [[1, 2], [0, 1]] · [[1, 0, 2], [0, 1, 3]]
        delta.add(&mut weight, &[1.0, 0.0, 2.0, 0.0, 1.0, 3.0], &[1.0, 2.0, 0.0, 1.0]);
        assert_eq!(weight, [1.5, 2.0, 5.0, 2.0, 2.5, 3.5]);
    }
}
