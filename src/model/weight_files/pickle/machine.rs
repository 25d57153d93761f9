//! The instructions of a pickle, followed without running anything.
//!
//! A pickle is a program for a machine with a stack, and Python's machine calls whatever function the program
//! names. This one knows four names and calls nothing: they make entries of a list. Values stand in one list and
//! refer to each other by their places in it, so that nothing is copied and nothing is walked through, however it
//! is nested; there are at most as many as there are instructions, which are counted.

use std::collections::HashMap;

use safetensors::tensor::Dtype;

use super::Wrong;
use super::global::{Global, global};

/// Instructions of one file: about 35 for each tensor.
const MOST_STEPS: usize = 1 << 19;
/// Axes of a tensor.
const MOST_AXES: usize = 8;

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
    all: Vec<Value<'a>>,
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

/// Follows the pickle at the beginning of these bytes; more may come behind it.
pub(super) fn run(input: &[u8]) -> Result<Values<'_>, Wrong> {
    let machine = Machine {
        input,
        at: 0,
        values: Vec::new(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        steps: 0,
    };
    machine.run()
}

struct Machine<'a> {
    input: &'a [u8],
    at: usize,
    values: Vec<Value<'a>>,
    stack: Vec<Id>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
    steps: usize,
}

fn damaged<T>(message: &str) -> Result<T, Wrong> {
    Err(Wrong::Damaged(message.to_owned()))
}

impl<'a> Machine<'a> {
    fn run(mut self) -> Result<Values<'a>, Wrong> {
        match self.bytes(2)? {
            [0x80, 2 | 3] => {}
            [0x80, other] => return Err(protocol(*other)),
            _ => return damaged("it does not begin as a pickle of torch does"),
        }
        loop {
            self.spend(1)?;
            let [instruction] = self.fixed()?;
            if instruction == b'.' {
                let root = self.pop()?;
                return Ok(Values { all: self.values, root, length: self.at });
            }
            self.step(instruction)?;
        }
    }

    /// Counts the work: what is made is bounded by it.
    fn spend(&mut self, steps: usize) -> Result<(), Wrong> {
        self.steps = self.steps.saturating_add(steps);
        match self.steps > MOST_STEPS {
            true => damaged("it has more instructions than weights need"),
            false => Ok(()),
        }
    }

    fn step(&mut self, instruction: u8) -> Result<(), Wrong> {
        match instruction {
            b'N' => self.push(Value::None),
            0x88 => self.push(Value::Bool(true)),
            0x89 => self.push(Value::Bool(false)),
            b'K' => {
                let [byte] = self.fixed()?;
                self.push(Value::Int(byte.into()));
            }
            b'M' => {
                let number = u16::from_le_bytes(self.fixed()?);
                self.push(Value::Int(number.into()));
            }
            b'J' => {
                let number = i32::from_le_bytes(self.fixed()?);
                self.push(Value::Int(number.into()));
            }
            0x8a => self.long()?,
            b'G' => {
                self.bytes(8)?;
                self.push(Value::Float);
            }
            b'X' => {
                let length = u32::from_le_bytes(self.fixed()?);
                self.text(length as usize)?;
            }
            // As Python 2 wrote them.
            b'T' => {
                let length = u32::from_le_bytes(self.fixed()?);
                self.text(length as usize)?;
            }
            b'U' => {
                let [length] = self.fixed()?;
                self.text(length.into())?;
            }
            b'c' => self.global()?,
            b')' => self.push(Value::Tuple(Vec::new())),
            b']' => self.push(Value::List(Vec::new())),
            b'}' => self.push(Value::Dict(Vec::new())),
            b'(' => self.marks.push(self.stack.len()),
            b't' => {
                let items = self.pop_mark()?;
                self.push(Value::Tuple(items));
            }
            count @ 0x85..=0x87 => {
                let mut items = Vec::with_capacity(3);
                for _ in 0..count - 0x84 {
                    items.insert(0, self.pop()?);
                }
                self.push(Value::Tuple(items));
            }
            b'a' => {
                let item = self.pop()?;
                self.append(&[item])?;
            }
            b'e' => {
                let items = self.pop_mark()?;
                self.append(&items)?;
            }
            b's' => {
                let value = self.pop()?;
                let key = self.pop()?;
                self.set(&[key, value])?;
            }
            b'u' => {
                let items = self.pop_mark()?;
                self.set(&items)?;
            }
            b'q' => {
                let [place] = self.fixed()?;
                self.memorize(place.into())?;
            }
            b'r' => {
                let place = u32::from_le_bytes(self.fixed()?);
                self.memorize(place)?;
            }
            b'h' => {
                let [place] = self.fixed()?;
                self.recall(place.into())?;
            }
            b'j' => {
                let place = u32::from_le_bytes(self.fixed()?);
                self.recall(place)?;
            }
            b'Q' => self.storage()?,
            b'R' => self.call()?,
            // What a dictionary has besides its entries, such as `_metadata`: no weights.
            b'b' => {
                self.pop()?;
                let object = self.top()?;
                if !matches!(self.values[object as usize], Value::Dict(_)) {
                    return damaged("it gives attributes to something that has none");
                }
            }
            0x8c | 0x8d | 0x8e | 0x93 | 0x94 | 0x95 => return Err(protocol(4)),
            other => {
                return Err(Wrong::Damaged(format!(
                    "it has the instruction {other:#04x} at byte {}, which weights do not need",
                    self.at - 1
                )));
            }
        }
        Ok(())
    }

    fn bytes(&mut self, count: usize) -> Result<&'a [u8], Wrong> {
        let end = self.at.checked_add(count).filter(|&end| end <= self.input.len());
        let Some(end) = end else { return damaged("it ends in the middle of an instruction") };
        let bytes = &self.input[self.at..end];
        self.at = end;
        Ok(bytes)
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Wrong> {
        Ok(self.bytes(N)?.try_into().expect("as many as were asked for"))
    }

    fn push(&mut self, value: Value<'a>) {
        // No more values than steps, which fit.
        self.stack.push(self.values.len() as Id);
        self.values.push(value);
    }

    fn top(&self) -> Result<Id, Wrong> {
        match self.stack.last() {
            Some(&id) if self.stack.len() > self.floor() => Ok(id),
            _ => damaged("it takes a value that it has not made"),
        }
    }

    /// What lies below the last mark is not touched.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn pop(&mut self) -> Result<Id, Wrong> {
        let id = self.top()?;
        self.stack.pop();
        Ok(id)
    }

    fn pop_mark(&mut self) -> Result<Vec<Id>, Wrong> {
        match self.marks.pop() {
            Some(height) => Ok(self.stack.split_off(height)),
            None => damaged("it ends a group that it has not begun"),
        }
    }

    /// A whole number of up to eight bytes.
    fn long(&mut self) -> Result<(), Wrong> {
        let [count] = self.fixed()?;
        if count > 8 {
            return damaged("it has a number that is larger than any size");
        }
        let bytes = self.bytes(count.into())?;
        let sign = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
        let mut eight = [if sign { 0xff } else { 0 }; 8];
        eight[..bytes.len()].copy_from_slice(bytes);
        self.push(Value::Int(i64::from_le_bytes(eight)));
        Ok(())
    }

    fn text(&mut self, length: usize) -> Result<(), Wrong> {
        match std::str::from_utf8(self.bytes(length)?) {
            Ok(text) => self.push(Value::Text(text)),
            Err(_) => return damaged("it has a text that is not UTF-8"),
        }
        Ok(())
    }

    fn line(&mut self) -> Result<&'a str, Wrong> {
        let rest = &self.input[self.at..];
        let end = rest.iter().take(1000).position(|&byte| byte == b'\n');
        let line = end.and_then(|end| std::str::from_utf8(&rest[..end]).ok());
        let Some(line) = line else { return damaged("it has a name that is none") };
        self.at += line.len() + 1;
        Ok(line)
    }

    fn global(&mut self) -> Result<(), Wrong> {
        let (module, name) = (self.line()?, self.line()?);
        let global = global(module, name)?;
        self.push(Value::Global(global));
        Ok(())
    }

    fn append(&mut self, items: &[Id]) -> Result<(), Wrong> {
        let list = self.top()?;
        match &mut self.values[list as usize] {
            Value::List(all) => all.extend(items),
            _ => return damaged("it appends to something that is no list"),
        }
        Ok(())
    }

    fn set(&mut self, items: &[Id]) -> Result<(), Wrong> {
        let dictionary = self.top()?;
        let (pairs, []) = items.as_chunks::<2>() else {
            return damaged("it has a key without a value");
        };
        match &mut self.values[dictionary as usize] {
            Value::Dict(all) => all.extend(pairs.iter().map(|&[key, value]| (key, value))),
            _ => return damaged("it puts entries into something that has none"),
        }
        Ok(())
    }

    fn memorize(&mut self, place: u32) -> Result<(), Wrong> {
        let top = self.top()?;
        self.memo.insert(place, top);
        Ok(())
    }

    fn recall(&mut self, place: u32) -> Result<(), Wrong> {
        match self.memo.get(&place) {
            Some(&id) => self.stack.push(id),
            None => return damaged("it refers to a value that it has not made"),
        }
        Ok(())
    }

    /// The reference to numbers outside the pickle:
    /// `('storage', class, key, device, count)`, in old files with `None` behind it.
    fn storage(&mut self) -> Result<(), Wrong> {
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
    fn call(&mut self) -> Result<(), Wrong> {
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

fn protocol(number: u8) -> Wrong {
    Wrong::Unread(format!(
        "it is written in version {number} of the pickle protocol, of which only 2 and 3 are read"
    ))
}
