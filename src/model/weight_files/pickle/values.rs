//! What a pickle makes: values in one list, which refer to each other by their places in it.

use safetensors::tensor::Dtype;

use super::global::Global;

/// A place in the list of values.
pub(super) type Id = u32;

/// What a pickle makes.
#[derive(Debug)]
pub(super) enum Value<'a> {
    None,
    Bool(bool),
    Int(i64),
    /// Nothing that is read has one.
    Float,
    Text(&'a str),
    Global(Global),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Storage(Storage<'a>),
    Tensor(Box<View>),
}

/// Numbers that stand elsewhere in the file, under a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Storage<'a> {
    pub key: &'a str,
    pub dtype: Dtype,
    /// How many.
    pub count: usize,
}

/// Which numbers of a storage a tensor consists of.
#[derive(Clone, Debug)]
pub(super) struct View {
    /// A [`Value::Storage`].
    pub storage: Id,
    pub offset: usize,
    pub shape: Vec<usize>,
    pub strides: Vec<usize>,
}

/// All values of a pickle that came to its end.
#[derive(Debug)]
pub(super) struct Values<'a> {
    pub all: Vec<Value<'a>>,
    /// What the pickle is.
    pub root: Id,
    /// Its bytes.
    pub length: usize,
}

impl<'a> Values<'a> {
    pub(super) fn get(&self, id: Id) -> &Value<'a> {
        &self.all[id as usize]
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Value<'a>> {
        self.all.iter()
    }
}
