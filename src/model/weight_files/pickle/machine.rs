//! The instructions of a pickle, followed without running anything.
//!
//! A pickle is a program for a machine with a stack, and Python's machine calls whatever function the program
//! names. This one knows four names and calls nothing: they make entries of a list. Values stand in one list and
//! refer to each other by their places in it, so that nothing is copied and nothing is walked through, however it
//! is nested; there are at most as many as there are instructions, which are counted.

use std::collections::HashMap;

use super::global::global;
use super::values::{Id, Value, Values};
use super::{Wrong, damaged};

/// Instructions of one file: about 35 for each tensor.
pub(super) const MOST_STEPS: usize = 1 << 19;

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

/// The machine, with all that it has made.
pub(super) struct Machine<'a> {
    input: &'a [u8],
    at: usize,
    pub(super) values: Vec<Value<'a>>,
    pub(super) stack: Vec<Id>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
    pub(super) steps: usize,
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
    pub(super) fn spend(&mut self, steps: usize) -> Result<(), Wrong> {
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

    pub(super) fn push(&mut self, value: Value<'a>) {
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

    pub(super) fn pop(&mut self) -> Result<Id, Wrong> {
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
}

fn protocol(number: u8) -> Wrong {
    Wrong::Unread(format!(
        "it is written in version {number} of the pickle protocol, of which only 2 and 3 are read"
    ))
}
