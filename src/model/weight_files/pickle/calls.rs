//! The functions that a pickle may name. None is called: what Python would make of the arguments is written down.

use super::Wrong;
use super::damaged;
use super::global::Global;
use super::machine::{MOST_STEPS, Machine};
use super::values::{Id, Storage, Value, View};

/// Axes of a tensor.
const MOST_AXES: usize = 8;

impl Machine<'_> {
    /// The reference to numbers outside the pickle:
    /// `('storage', class, key, device, count)`, in old files with `None` behind it.
    pub(super) fn storage(&mut self) -> Result<(), Wrong> {
        let reference = self.pop()?;
        let Value::Tuple(parts) = &self.values[reference as usize] else {
            return damaged("it refers to numbers without saying which");
        };
        let part = |place: usize| parts.get(place).map(|&id| &self.values[id as usize]);
        let (
            Some(Value::Text("storage")),
            Some(&Value::Global(Global::Storage(dtype))),
            Some(&Value::Text(key)),
            Some(Value::Text(_)),
            Some(&Value::Int(count)),
        ) = (part(0), part(1), part(2), part(3), part(4))
        else {
            return damaged("it refers to numbers in a way that torch does not");
        };
        match (part(5), parts.len()) {
            (None, _) | (Some(Value::None), 6) => {}
            _ => {
                return Err(Wrong::Unread(
                    "storages in it are parts of others, as torch before 0.4 wrote them".to_owned(),
                ));
            }
        }
        let Ok(count) = usize::try_from(count) else {
            return damaged("it refers to fewer than no numbers");
        };
        self.push(Value::Storage(Storage { key, dtype, count }));
        Ok(())
    }

    /// A function of those that are known, whose result is written down.
    pub(super) fn call(&mut self) -> Result<(), Wrong> {
        let (arguments, function) = (self.pop()?, self.pop()?);
        let (Value::Global(global), Value::Tuple(arguments)) =
            (&self.values[function as usize], &self.values[arguments as usize])
        else {
            return damaged("it calls something that is no function");
        };
        let argument = |place: usize| arguments.get(place).copied();
        match global {
            Global::OrderedDict => {
                let pairs = self.pairs(argument(0))?;
                self.spend(pairs.len())?;
                self.push(Value::Dict(pairs));
            }
            Global::Tensor => {
                let view = self.view(arguments)?;
                self.push(Value::Tensor(Box::new(view)));
            }
            Global::Parameter => match argument(0) {
                Some(id) if matches!(self.values[id as usize], Value::Tensor(_)) => {
                    self.stack.push(id);
                }
                _ => return damaged("it has a parameter that is no tensor"),
            },
            Global::Storage(_) => return damaged("it calls something that is no function"),
        }
        Ok(())
    }

    /// The entries that a dictionary begins with: none, or a list of pairs, as Python 2 wrote them.
    fn pairs(&self, list: Option<Id>) -> Result<Vec<(Id, Id)>, Wrong> {
        let Some(list) = list else { return Ok(Vec::new()) };
        let Value::List(items) = &self.values[list as usize] else {
            return damaged("it makes a dictionary of something else");
        };
        if items.len() > MOST_STEPS - self.steps {
            return damaged("it has more instructions than weights need");
        }
        let pair = |&id: &Id| match &self.values[id as usize] {
            Value::List(pair) | Value::Tuple(pair) if pair.len() == 2 => Ok((pair[0], pair[1])),
            _ => damaged("it has a key without a value"),
        };
        items.iter().map(pair).collect()
    }

    /// `_rebuild_tensor_v2(storage, offset, shape, strides, requires_grad, hooks[, metadata])`.
    fn view(&self, arguments: &[Id]) -> Result<View, Wrong> {
        let part = |place: usize| arguments.get(place).map(|&id| &self.values[id as usize]);
        let (
            Some(Value::Storage(_)),
            Some(&Value::Int(offset)),
            Some(Value::Tuple(shape)),
            Some(Value::Tuple(strides)),
        ) = (part(0), part(1), part(2), part(3))
        else {
            return damaged("it has a tensor that torch does not write");
        };
        // Such as that all numbers are to be negated.
        if !matches!(part(6), None | Some(Value::None))
            && !matches!(part(6), Some(Value::Dict(all)) if all.is_empty())
        {
            return Err(Wrong::Unread("a tensor in it has further attributes".to_owned()));
        }
        if shape.len() > MOST_AXES || shape.len() != strides.len() {
            return damaged("it has a tensor with too many axes, or not as many strides");
        }
        let sizes = |ids: &[Id]| -> Result<Vec<usize>, Wrong> {
            let size = |&id: &Id| match self.values[id as usize] {
                Value::Int(size) => usize::try_from(size).ok(),
                _ => None,
            };
            let sizes = ids.iter().map(size).collect::<Option<_>>();
            sizes.map_or_else(|| damaged("it has a tensor of a size that is none"), Ok)
        };
        let Ok(offset) = usize::try_from(offset) else {
            return damaged("it has a tensor that begins before its numbers");
        };
        let storage = arguments[0];
        Ok(View { storage, offset, shape: sizes(shape)?, strides: sizes(strides)? })
    }
}
