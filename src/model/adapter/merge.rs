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
        let known = self.targets.contain(module).map_err(|why| self.unmerged(&why))?;
        if known == Some(false) {
            return Err(self.apart(&format!(
                "leaves out `{module}` (by `target_modules` and what limits it), but the weights have a product for it"
            )));
        }
        let stated = self.targets.rank(module).map_err(|why| self.unmerged(&why))?;
        if stated != rank {
            return Err(self.apart(&format!(
                "says that `{module}` has rank {stated}, but in the weights it has rank {rank}"
            )));
        }
        let divisor = if self.rank_stabilised() { (rank as f64).sqrt() } else { rank as f64 };
        let scale = self.alpha(module)? / divisor;
        Ok(Some(Delta { a, b, scale, rank }))
    }
}

/// A tensor of the base, before anything is read.
#[derive(Debug)]
pub(in crate::model) struct Place {
    /// The names that it may have, the usual one first.
    pub spellings: Vec<String>,
    pub axes: usize,
    /// Whether it belongs to the head.
    pub head: bool,
}

impl Adapter {
    /// The module that should have a product by the config and has none: there the base stays as it is.
    ///
    /// # Errors
    /// The config says that the tensor is saved whole, and the adapter, whose names `has` knows, lacks it.
    pub(in crate::model) fn lacks(
        &self,
        place: &Place,
        has: &dyn Fn(&str) -> bool,
    ) -> Result<Option<String>, ModelError> {
        let there = place.spellings.iter().any(|name| has(name));
        let Some(name) = place.spellings.first().filter(|_| !there) else { return Ok(None) };
        let Some((module, kind)) = name.rsplit_once('.') else { return Ok(None) };
        if let Some(saved) = self.targets.saved(module) {
            return Err(self.apart(&format!(
                "says that `{saved}` is saved whole (`modules_to_save`), but the weights have no `{name}`"
            )));
        }
        // PEFT saves the classifier of a classifier whole, and another model has another head.
        if kind != "weight" || place.axes != 2 || (place.head && !self.is_classifier()) {
            return Ok(None);
        }
        let mut aimed = false;
        for module in place.spellings.iter().filter_map(|name| name.strip_suffix(".weight")) {
            if ["A", "B"].iter().any(|factor| has(&format!("{module}.lora_{factor}.weight"))) {
                return Ok(None);
            }
            let own = self.targets.contain(module).map_err(|why| self.unmerged(&why))?;
            aimed |= own == Some(true);
        }
        let is_last = place.head && module.split('.').any(|part| part == "classifier");
        Ok((aimed && !is_last).then(|| module.to_owned()))
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
