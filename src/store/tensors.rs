//! Named tensors in a safetensors file, which is little-endian.

use std::collections::{BTreeMap, HashMap};

use safetensors::tensor::{Dtype, SafeTensors, TensorView};

/// Tensors on their way into a file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tensors(BTreeMap<String, Stored>);

#[derive(Clone, Debug, PartialEq)]
struct Stored {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Tensors {
    /// Numbers in a row.
    pub fn put_f64(&mut self, name: &str, values: &[f64]) {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.put(name, Dtype::F64, &[values.len()], bytes);
    }

    /// Numbers of a shape.
    pub fn put_f32(&mut self, name: &str, shape: &[usize], values: &[f32]) {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.put(name, Dtype::F32, shape, bytes);
    }

    /// Counts in a row.
    pub fn put_i64(&mut self, name: &str, values: &[i64]) {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.put(name, Dtype::I64, &[values.len()], bytes);
    }

    /// Bytes of a type and a shape.
    pub fn put(&mut self, name: &str, dtype: Dtype, shape: &[usize], bytes: Vec<u8>) {
        self.0.insert(name.to_owned(), Stored { dtype, shape: shape.to_vec(), bytes });
    }

    /// The file: the same tensors, the same bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let views = self.0.iter().map(|(name, Stored { dtype, shape, bytes })| {
            let view = TensorView::new(*dtype, shape.clone(), bytes);
            (name, view.expect("the shape is that of the values"))
        });
        // One entry: two would be written in the order of their hashes.
        let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
        safetensors::serialize(views, Some(metadata)).expect("names are unique, tensors valid")
    }
}

/// A file that is being read. Errors are words that name the tensor.
#[derive(Debug)]
pub struct TensorFile<'a>(SafeTensors<'a>);

impl<'a> TensorFile<'a> {
    pub fn parse(bytes: &'a [u8]) -> Result<Self, String> {
        SafeTensors::deserialize(bytes).map(Self).map_err(|error| error.to_string())
    }

    /// Whether there is a tensor of this name.
    pub fn has(&self, name: &str) -> bool {
        self.0.tensor(name).is_ok()
    }

    /// All names, in order.
    pub fn names(&self) -> Vec<&str> {
        let mut names = self.0.names();
        names.sort_unstable();
        names
    }

    /// The shape of a tensor, and its values of `N` bytes each.
    pub fn values<const N: usize>(
        &self,
        name: &str,
        dtype: Dtype,
    ) -> Result<(Vec<usize>, Vec<[u8; N]>), String> {
        let tensor = self.0.tensor(name).map_err(|_| format!("`{name}` is missing"))?;
        if tensor.dtype() != dtype {
            return Err(format!("`{name}` is {:?}, not {dtype:?}", tensor.dtype()));
        }
        Ok((tensor.shape().to_vec(), tensor.data().as_chunks::<N>().0.to_vec()))
    }

    /// All numbers of a tensor, which may be anything.
    pub fn f64(&self, name: &str) -> Result<Vec<f64>, String> {
        let (_, values) = self.values(name, Dtype::F64)?;
        Ok(values.into_iter().map(f64::from_le_bytes).collect())
    }

    /// So many numbers, which may be anything.
    pub fn f64s<const N: usize>(&self, name: &str) -> Result<[f64; N], String> {
        self.f64(name)?.try_into().map_err(|_| format!("`{name}` does not have {N} numbers"))
    }

    /// So many finite numbers.
    pub fn finite_f64(&self, name: &str, count: usize) -> Result<Vec<f64>, String> {
        let numbers = self.f64(name)?;
        match numbers.len() == count && numbers.iter().all(|number| number.is_finite()) {
            true => Ok(numbers),
            false => Err(format!("`{name}` is not f64 [{count}] of finite numbers")),
        }
    }

    /// Finite numbers, and their shape.
    pub fn finite_f32(&self, name: &str) -> Result<(Vec<usize>, Vec<f32>), String> {
        let (shape, values) = self.values(name, Dtype::F32)?;
        let numbers: Vec<f32> = values.into_iter().map(f32::from_le_bytes).collect();
        match numbers.iter().all(|number| number.is_finite()) {
            true => Ok((shape, numbers)),
            false => Err(format!("`{name}` holds a value that is not finite")),
        }
    }

    /// A matrix of this shape; any number of rows but zero for `None`.
    pub fn matrix(
        &self,
        name: &str,
        rows: Option<usize>,
        columns: usize,
    ) -> Result<Vec<f32>, String> {
        let (shape, numbers) = self.finite_f32(name)?;
        let fits = shape.len() == 2 && shape[1] == columns && shape[0] > 0;
        if !fits || rows.is_some_and(|rows| rows != shape[0]) {
            let rows = rows.map_or("n".to_owned(), |rows| rows.to_string());
            return Err(format!("`{name}` is not f32 [{rows}, {columns}]"));
        }
        Ok(numbers)
    }

    /// A number that counts something, at most `most`.
    pub fn count(&self, name: &str, most: usize) -> Result<usize, String> {
        let [number] = self.f64s(name)?;
        let fits = number.fract() == 0.0 && (0.0..=most as f64).contains(&number);
        if fits { Ok(number as usize) } else { Err(format!("`{name}` is not 0 to {most}")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_is_read_and_what_does_not_fit_is_named() {
        let mut tensors = Tensors::default();
        tensors.put_f64("t", &[1.5, f64::NAN]);
        tensors.put_f32("m", &[2, 3], &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        tensors.put_i64("n", &[-7]);
        tensors.put_f64("k", &[3.0]);
        let bytes = tensors.to_bytes();
        assert_eq!(bytes, tensors.to_bytes());
        let file = TensorFile::parse(&bytes).unwrap();
        assert_eq!(file.names(), ["k", "m", "n", "t"]);
        assert!(file.has("m") && !file.has("x"));
        assert_eq!(file.matrix("m", Some(2), 3).unwrap()[5], 5.0);
        assert_eq!(file.matrix("m", None, 3).unwrap().len(), 6);
        assert_eq!(file.f64("t").unwrap()[0], 1.5);
        let (_, counts) = file.values("n", Dtype::I64).unwrap();
        assert_eq!(counts.into_iter().map(i64::from_le_bytes).collect::<Vec<_>>(), [-7]);
        assert_eq!(file.count("k", 3).unwrap(), 3);
        for (error, words) in [
            (file.matrix("m", Some(3), 2).unwrap_err(), "`m` is not f32 [3, 2]"),
            (file.matrix("t", None, 2).unwrap_err(), "`t` is F64, not F32"),
            (file.finite_f64("t", 2).unwrap_err(), "`t` is not f64 [2] of finite numbers"),
            (file.f64s::<3>("t").unwrap_err(), "`t` does not have 3 numbers"),
            (file.count("k", 2).unwrap_err(), "`k` is not 0 to 2"),
            (file.f64("x").unwrap_err(), "`x` is missing"),
        ] {
            assert_eq!(error, words);
        }
    }
}
