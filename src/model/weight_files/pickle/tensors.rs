//! The dictionary of tensors that a pickle is, each held against the numbers that it is a view of.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use safetensors::tensor::Dtype;

use super::Wrong;
use super::values::{Value, Values, View};
use crate::model::weight_files::{TensorInfo, shown};

/// Numbers under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Numbers {
    pub key: String,
    dtype: Dtype,
    count: usize,
}

impl Numbers {
    /// How many.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    pub(super) fn bytes(&self) -> usize {
        // Checked when it was made.
        self.count * size(self.dtype)
    }
}

/// A tensor, and where its numbers are.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub name: String,
    pub info: TensorInfo,
    /// Which storage.
    pub storage: usize,
    offset: usize,
    strides: Vec<usize>,
}

/// All tensors of a file, and all storages that its pickle names.
#[derive(Debug)]
pub(super) struct StateDict {
    pub tensors: Vec<Stored>,
    pub storages: Vec<Numbers>,
}

fn size(dtype: Dtype) -> usize {
    dtype.bitsize() / 8
}

/// Reads the dictionary.
pub(super) fn state_dict(values: &Values<'_>) -> Result<StateDict, Wrong> {
    let Value::Dict(entries) = values.get(values.root) else {
        return Err(Wrong::Unread("it holds no dictionary of tensors".to_owned()));
    };
    let (storages, places) = storages(values)?;
    let (mut tensors, mut names) = (Vec::new(), HashSet::new());
    for &(key, value) in entries {
        let Value::Text(name) = *values.get(key) else {
            return Err(Wrong::Unread("it holds tensors without names".to_owned()));
        };
        let Value::Tensor(view) = values.get(value) else {
            return Err(Wrong::Unread(format!(
                "`{}` in it is no tensor, so it is the state of a training, or a whole model, and no dictionary of \
                 weights",
                shown(name)
            )));
        };
        if !names.insert(name) {
            return Err(Wrong::Damaged(format!("it has tensor `{}` twice", shown(name))));
        }
        let Value::Storage(storage) = values.get(view.storage) else {
            return Err(Wrong::Damaged("it has a tensor without numbers".to_owned()));
        };
        let place = places[storage.key];
        if end(view).is_none_or(|end| end > storage.count) {
            return Err(Wrong::Damaged(format!(
                "tensor `{}` reaches beyond its numbers",
                shown(name)
            )));
        }
        tensors.push(Stored {
            name: name.to_owned(),
            info: TensorInfo { shape: view.shape.clone(), dtype: storage.dtype },
            storage: place,
            offset: view.offset,
            strides: view.strides.clone(),
        });
    }
    Ok(StateDict { tensors, storages })
}

/// Every storage once, and its place by its key.
fn storages<'a>(values: &Values<'a>) -> Result<(Vec<Numbers>, HashMap<&'a str, usize>), Wrong> {
    let mut all: Vec<Numbers> = Vec::new();
    let mut places = HashMap::new();
    for value in values.iter() {
        let Value::Storage(storage) = value else { continue };
        let fits = storage.count.checked_mul(size(storage.dtype)).is_some();
        let &mut place = places.entry(storage.key).or_insert(all.len());
        if place == all.len() {
            let key = storage.key.to_owned();
            all.push(Numbers { key, dtype: storage.dtype, count: storage.count });
        }
        let same = (all[place].dtype, all[place].count) == (storage.dtype, storage.count);
        if !(fits && same) {
            return Err(Wrong::Damaged(format!(
                "its storage `{}` has no size, or two",
                shown(storage.key)
            )));
        }
    }
    Ok((all, places))
}

/// The place behind the last number of a view.
fn end(view: &View) -> Option<usize> {
    if view.shape.contains(&0) {
        return Some(view.offset);
    }
    // How many numbers it has must be a number too.
    view.shape.iter().try_fold(1_usize, |all, &axis| all.checked_mul(axis))?;
    let axes = view.shape.iter().zip(&view.strides);
    let mut last = axes.map(|(&axis, &stride)| (axis - 1).checked_mul(stride));
    let last = last.try_fold(view.offset, |all, one| all.checked_add(one?))?;
    last.checked_add(1)
}

impl Stored {
    /// Its numbers, row by row, out of those of its storage.
    pub(super) fn of<'a>(&self, storage: &'a [u8]) -> Result<Cow<'a, [u8]>, Wrong> {
        let TensorInfo { shape, dtype } = &self.info;
        let size = size(*dtype);
        if shape.contains(&0) {
            return Ok(Cow::Borrowed(&[]));
        }
        let count: usize = shape.iter().product();
        // An axis of one is never stepped along.
        let axes = || shape.iter().zip(&self.strides).filter(|(axis, _)| **axis > 1);
        let mut by_stride: Vec<(usize, usize)> =
            axes().map(|(&axis, &stride)| (stride, axis)).collect();
        let in_order = by_stride.is_sorted_by(|one, next| one.0 >= next.0);
        by_stride.sort_unstable();
        let mut expected = 1;
        for (stride, axis) in by_stride {
            if stride != expected {
                return Err(Wrong::Unread(format!(
                    "tensor `{}` in it is a part of another one with gaps",
                    shown(&self.name)
                )));
            }
            // No more than the storage has.
            expected *= axis;
        }
        let bytes = &storage[self.offset * size..][..count * size];
        if in_order {
            return Ok(Cow::Borrowed(bytes));
        }
        let (mut index, mut place) = (vec![0; shape.len()], 0);
        let mut rows = Vec::with_capacity(bytes.len());
        for _ in 0..count {
            rows.extend_from_slice(&bytes[place * size..][..size]);
            for axis in (0..shape.len()).rev() {
                index[axis] += 1;
                place += self.strides[axis];
                if index[axis] < shape[axis] {
                    break;
                }
                place -= self.strides[axis] * shape[axis];
                index[axis] = 0;
            }
        }
        Ok(Cow::Owned(rows))
    }
}
