//! PTX by an interpreter: what a compiler made of the source, run on the host with the addresses of the host. It knows the
//! instructions that our kernels have, and refuses others.

#![expect(unsafe_code, reason = "kernels are given addresses")]

use std::collections::HashMap;

/// Where in memory a kernel reads and writes.
#[derive(Clone, Copy, PartialEq)]
enum Space {
    Parameter,
    Shared,
    Global,
}

#[derive(Clone, Debug)]
enum Value {
    Register(usize),
    Bits(u64),
    Thread,
    Threads,
    Block([bool; 2]),
    /// [register + bytes], or [bytes].
    Address(Option<usize>, u64),
    /// {…}, or the two results of an exchange.
    Many(Vec<Value>),
    Label(String),
}

struct Instruction<'a> {
    guard: Option<(usize, bool)>,
    name: &'a str,
    /// What stands between the dots of the name.
    parts: Vec<&'a str>,
    operands: Vec<Value>,
}

struct Program<'a> {
    instructions: Vec<Instruction<'a>>,
    labels: HashMap<String, usize>,
    registers: HashMap<String, usize>,
}

/// One thread: where it is, its registers, and whether it is done.
struct Thread {
    next: usize,
    registers: Vec<u64>,
    done: bool,
}

/// A block of threads.
struct Block<'a> {
    parameter: &'a [u8],
    shared: Vec<u8>,
    grid: [u32; 2],
    index: [u32; 2],
    threads: u32,
}

/// Runs a grid of blocks of a kernel with the bytes of its parameter.
pub fn launch(ptx: &str, kernel: &str, parameter: &[u8], grid: [u32; 2], threads: u32) {
    let program = Program::parse(ptx, kernel);
    for y in 0..grid[1] {
        for x in 0..grid[0] {
            let shared = vec![0xff; 48 * 1024];
            Block { parameter, shared, grid, index: [x, y], threads }.run(&program);
        }
    }
}

impl<'a> Program<'a> {
    fn parse(ptx: &'a str, kernel: &str) -> Self {
        let start = ptx.find(&format!(".entry {kernel}(")).expect("the PTX has the kernel");
        let body = &ptx[start + ptx[start..].find('{').expect("a body")..];
        let body = &body[..body.find("\n}").expect("an end")];
        let mut program =
            Self { instructions: vec![], labels: HashMap::new(), registers: HashMap::new() };
        for line in body.lines().map(str::trim) {
            if let Some(label) = line.strip_suffix(':') {
                program.labels.insert(label.to_owned(), program.instructions.len());
            } else if let Some(line) = line.strip_suffix(';').filter(|line| !line.starts_with('.'))
            {
                let instruction = program.instruction(line);
                program.instructions.push(instruction);
            }
        }
        program
    }

    fn instruction(&mut self, line: &'a str) -> Instruction<'a> {
        let (guard, line) = match line.strip_prefix('@') {
            Some(rest) => {
                let (guard, line) = rest.split_once(' ').expect("what is guarded");
                let register = guard.trim_start_matches('!');
                (Some((self.register(register), !guard.starts_with('!'))), line.trim())
            }
            None => (None, line),
        };
        let (name, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let mut operands = Vec::new();
        let mut rest = rest.trim();
        while !rest.is_empty() {
            let end = match rest.strip_prefix('{') {
                Some(_) => rest.find('}').expect("an end of a list") + 1,
                None => rest.find(',').unwrap_or(rest.len()),
            };
            operands.push(self.value(rest[..end].trim()));
            rest = rest[end..].trim_start_matches(',').trim();
        }
        Instruction { guard, name, parts: name.split('.').collect(), operands }
    }

    fn register(&mut self, name: &str) -> usize {
        let next = self.registers.len();
        *self.registers.entry(name.to_owned()).or_insert(next)
    }

    fn value(&mut self, text: &str) -> Value {
        if let Some(list) = text.strip_prefix('{') {
            let list = list.trim_end_matches('}').split(',');
            return Value::Many(list.map(|one| self.value(one.trim())).collect());
        }
        if let Some((value, predicate)) = text.split_once('|') {
            return Value::Many(vec![self.value(value), self.value(predicate)]);
        }
        if let Some(place) = text.strip_prefix('[') {
            let place = place.trim_end_matches(']');
            let (base, bytes) = place.split_once('+').unwrap_or((place, "0"));
            let bytes = bytes.parse::<i64>().expect("bytes").cast_unsigned();
            // Other names are those of the parameter and of shared memory, which begin at 0.
            let base = base.starts_with('%').then(|| self.register(base));
            return Value::Address(base, bytes);
        }
        match text {
            "%tid.x" => return Value::Thread,
            "%ntid.x" => return Value::Threads,
            "%ctaid.x" => return Value::Block([false, false]),
            "%ctaid.y" => return Value::Block([false, true]),
            "%nctaid.y" => return Value::Block([true, true]),
            _ => {}
        }
        if text.starts_with('%') {
            return Value::Register(self.register(text));
        }
        for prefix in ["0f", "0d"] {
            if let Some(bits) = text.strip_prefix(prefix) {
                return Value::Bits(u64::from_str_radix(bits, 16).expect("bits of a float"));
            }
        }
        match text.parse::<i128>() {
            Ok(number) => Value::Bits(number as u64),
            Err(_) if text.starts_with('$') => Value::Label(text.to_owned()),
            Err(_) => Value::Bits(0),
        }
    }
}

impl Block<'_> {
    fn run(mut self, program: &Program<'_>) {
        let new = || Thread { next: 0, registers: vec![0; program.registers.len()], done: false };
        let mut threads: Vec<Thread> = (0..self.threads).map(|_| new()).collect();
        loop {
            for (index, thread) in threads.iter_mut().enumerate().filter(|(_, one)| !one.done) {
                while !thread.done && !waits(program, thread) {
                    self.step(program, thread, index as u32);
                }
            }
            if threads.iter().all(|thread| thread.done) {
                return;
            }
            assert!(self.meet(program, &mut threads), "threads wait for each other");
        }
    }

    /// Lets threads go on that have all come to where they wait; whether there were some.
    fn meet(&self, program: &Program<'_>, threads: &mut [Thread]) -> bool {
        let running: Vec<usize> = (0..threads.len()).filter(|&one| !threads[one].done).collect();
        if running.iter().all(|&one| program.instructions[threads[one].next].name == "bar.sync") {
            running.iter().for_each(|&one| threads[one].next += 1);
            return true;
        }
        let mut met = false;
        for first in running {
            let place = threads[first].next;
            let instruction = &program.instructions[place];
            if instruction.name != "shfl.sync.bfly.b32" {
                continue;
            }
            let operand = |thread: &Thread, index: usize, of: usize| {
                self.get(&instruction.operands[index], thread, of as u32) as usize
            };
            let mask = operand(&threads[first], 4, first);
            let warp = first / 32 * 32;
            let members: Vec<usize> =
                (warp..warp + 32).filter(|one| mask >> (one % 32) & 1 == 1).collect();
            assert!(members.contains(&first), "a thread exchanges with others only");
            let here = |&one: &usize| !threads[one].done && threads[one].next == place;
            if !members.iter().all(here) {
                continue;
            }
            let other = |&one: &usize| {
                assert_eq!(operand(&threads[one], 4, one), mask, "one mask for all");
                let other = one ^ operand(&threads[one], 2, one);
                operand(&threads[other], 1, other) as u64
            };
            let values: Vec<u64> = members.iter().map(other).collect();
            let Value::Many(results) = &instruction.operands[0] else { panic!("two results") };
            for (one, value) in members.into_iter().zip(values) {
                set(&results[0], &mut threads[one], value);
                set(&results[1], &mut threads[one], 1);
                threads[one].next += 1;
            }
            met = true;
        }
        met
    }

    fn get(&self, value: &Value, thread: &Thread, index: u32) -> u64 {
        match value {
            Value::Register(register) => thread.registers[*register],
            Value::Bits(bits) => *bits,
            Value::Thread => index.into(),
            Value::Threads => self.threads.into(),
            Value::Block([count, second]) => {
                let of = if *count { self.grid } else { self.index };
                of[usize::from(*second)].into()
            }
            other => panic!("{other:?} is no value"),
        }
    }

    fn step(&mut self, program: &Program<'_>, thread: &mut Thread, index: u32) {
        let Instruction { guard, parts, operands, .. } = &program.instructions[thread.next];
        thread.next += 1;
        if guard.is_some_and(|(register, wanted)| (thread.registers[register] == 1) != wanted) {
            return;
        }
        let kind = *parts.last().expect("a name");
        match parts[0] {
            "ret" => thread.done = true,
            "bra" => {
                let Value::Label(label) = &operands[0] else { panic!("no label") };
                thread.next = program.labels[label];
            }
            "ld" | "st" => self.transfer(parts, operands, thread, index),
            _ => {
                let values = operands[1..].iter().map(|one| self.get(one, thread, index));
                let result = computed(parts, kind, &values.collect::<Vec<_>>());
                set(&operands[0], thread, result);
            }
        }
    }

    /// Loads or stores one or more values.
    fn transfer(&mut self, parts: &[&str], operands: &[Value], thread: &mut Thread, index: u32) {
        let bytes = bits(parts[parts.len() - 1]) / 8;
        let space = match parts[1] {
            "param" => Space::Parameter,
            "shared" => Space::Shared,
            "global" => Space::Global,
            other => panic!("memory of {other}"),
        };
        let load = parts[0] == "ld";
        let (place, values) =
            if load { (&operands[1], &operands[0]) } else { (&operands[0], &operands[1]) };
        let Value::Address(base, offset) = place else { panic!("no address") };
        let base = base.map_or(0, |register| thread.registers[register]);
        let start = base.wrapping_add(*offset);
        let values = match values {
            Value::Many(values) => values.as_slice(),
            one => std::slice::from_ref(one),
        };
        assert_eq!(start % (bytes * values.len()) as u64, 0, "{parts:?} at {start}");
        for (number, value) in values.iter().enumerate() {
            let place = start + (number * bytes) as u64;
            let mut own = [0; 8];
            if load {
                self.memory(space, place, |memory| own[..bytes].copy_from_slice(memory), bytes);
                set(value, thread, u64::from_le_bytes(own));
            } else {
                own = self.get(value, thread, index).to_le_bytes();
                self.memory(space, place, |memory| memory.copy_from_slice(&own[..bytes]), bytes);
            }
        }
    }

    fn memory(&mut self, space: Space, place: u64, work: impl FnOnce(&mut [u8]), bytes: usize) {
        let start = place as usize;
        match space {
            Space::Parameter => work(&mut self.parameter[start..start + bytes].to_vec()),
            Space::Shared => work(&mut self.shared[start..start + bytes]),
            // SAFETY: as for a card, the caller holds storages where its kernel reads and writes.
            Space::Global => {
                work(unsafe { std::slice::from_raw_parts_mut(place as *mut u8, bytes) });
            }
        }
    }
}

fn waits(program: &Program<'_>, thread: &Thread) -> bool {
    matches!(program.instructions[thread.next].name, "bar.sync" | "shfl.sync.bfly.b32")
}

fn set(value: &Value, thread: &mut Thread, bits: u64) {
    let Value::Register(register) = value else { panic!("{value:?} cannot be set") };
    thread.registers[*register] = bits;
}

fn bits(kind: &str) -> usize {
    match kind {
        "pred" => 1,
        _ => kind[1..].parse().expect("a type ends in its bits"),
    }
}

/// The result of an instruction, in the bits of its type.
fn computed(parts: &[&str], kind: &str, values: &[u64]) -> u64 {
    let f32_of = |index: usize| f32::from_bits(values[index] as u32);
    let f64_of = |index: usize| f64::from_bits(values[index]);
    let mask = |kind: &str| u64::MAX >> (64 - bits(kind));
    // As numbers without a sign, and with it.
    let whole = |index: usize| values[index] & mask(kind);
    let single = |x: f32| u64::from(x.to_bits());
    let result = match (parts[0], kind) {
        ("mov" | "cvta", _) => values[0],
        ("setp", "f32") => compared(parts[1], f32_of(0).partial_cmp(&f32_of(1))),
        ("setp", _) => match kind.strip_prefix('s') {
            Some(width) => {
                let far = 64 - width.parse::<u32>().expect("bits");
                let signed = |index: usize| (values[index] << far).cast_signed();
                compared(parts[1], Some(signed(0).cmp(&signed(1))))
            }
            None => compared(parts[1], Some(whole(0).cmp(&whole(1)))),
        },
        ("selp", _) => values[usize::from(values[2] != 1)],
        ("fma", "f32") => single(f32_of(0).mul_add(f32_of(1), f32_of(2))),
        ("mul", "f32") => single(f32_of(0) * f32_of(1)),
        ("add", "f32") => single(f32_of(0) + f32_of(1)),
        ("sub", "f32") => single(f32_of(0) - f32_of(1)),
        ("div", "f32") => single(f32_of(0) / f32_of(1)),
        ("rcp", "f32") => single(1.0 / f32_of(0)),
        ("sqrt", "f32") => single(f32_of(0).sqrt()),
        ("neg", "f32") => single(-f32_of(0)),
        ("max", "f32") => single(f32_of(0).max(f32_of(1))),
        ("mul", "f64") => (f64_of(0) * f64_of(1)).to_bits(),
        ("add", "f64") => (f64_of(0) + f64_of(1)).to_bits(),
        ("cvt", "f32") if parts[1] == "f64" => f64::from(f32_of(0)).to_bits(),
        ("cvt", "u32") if parts[2] == "f32" => single(whole(0) as f32),
        ("cvt", _) => whole(0) & mask(parts[1]),
        ("mul", _) if parts[1] == "wide" => whole(0).wrapping_mul(whole(1)),
        ("mul", _) => whole(0).wrapping_mul(whole(1)) & mask(kind),
        ("mad", _) => whole(0).wrapping_mul(whole(1)).wrapping_add(whole(2)) & mask(kind),
        ("add", _) => whole(0).wrapping_add(whole(1)) & mask(kind),
        ("sub", _) => whole(0).wrapping_sub(whole(1)) & mask(kind),
        ("div", "u32" | "u64") => whole(0) / whole(1),
        ("rem", "u32" | "u64") => whole(0) % whole(1),
        ("min", "u32" | "u64") => whole(0).min(whole(1)),
        ("max", "u32" | "u64") => whole(0).max(whole(1)),
        ("neg", _) => whole(0).wrapping_neg() & mask(kind),
        ("not", _) => !values[0] & mask(kind),
        ("and", _) => whole(0) & whole(1),
        ("or", _) => whole(0) | whole(1),
        ("xor", _) => whole(0) ^ whole(1),
        ("shl", _) => whole(0).checked_shl(values[1] as u32).unwrap_or(0) & mask(kind),
        ("shr", "u32" | "u64") => whole(0).checked_shr(values[1] as u32).unwrap_or(0),
        _ => panic!("the interpreter does not know {parts:?}"),
    };
    // The only instructions whose result is wider than their type.
    let wide = parts[0] == "cvt" || parts[0] == "cvta" || parts[1..].contains(&"wide");
    assert!(wide || parts[0] == "setp" || result <= mask(kind), "{parts:?} gives {result:x}");
    result
}

fn compared(how: &str, order: Option<std::cmp::Ordering>) -> u64 {
    u64::from(order.is_some_and(|order| match how {
        "eq" => order.is_eq(),
        "ne" => order.is_ne(),
        "lt" => order.is_lt(),
        "le" => order.is_le(),
        "gt" => order.is_gt(),
        "ge" => order.is_ge(),
        other => panic!("a comparison {other}"),
    }))
}
