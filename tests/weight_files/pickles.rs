//! `pytorch_model.bin` from somebody who means harm: a sentence, in little time and memory, and never a panic.

use std::time::{Duration, Instant};

use bayes::compute::allocated_bytes;
use proptest::prelude::*;

use super::craft::{Pickle, Tensor, contiguous, entries, legacy, state, tensors, zip, zip_of};
use super::damage::{Damage, damage, fuzz};
use super::folder::{Folder, assert_close, fixtures};

pub const FILE: &str = "pytorch_model.bin";

pub fn valid() -> Vec<Tensor> {
    tensors(&fixtures().join("plain/model.safetensors"))
}

/// A folder of a classifier whose weights are these bytes.
pub struct Pickled(pub Folder);

impl Pickled {
    pub fn new() -> Self {
        let folder = Folder::of("zip");
        Self(folder)
    }

    pub fn with(&self, bytes: &[u8]) -> Result<(), String> {
        std::fs::write(self.0.path(FILE), bytes).unwrap();
        self.0.load().map(drop).map_err(|error| error.to_string())
    }

    pub fn refused(&self, bytes: &[u8]) -> String {
        let (began, before) = (Instant::now(), allocated_bytes());
        let message = self.with(bytes).expect_err("it is refused");
        // Other tests run beside this one; what is guarded against takes gigabytes.
        let taken = allocated_bytes() - before;
        assert!(taken < 1 << 29, "{taken} bytes: {message}");
        assert!(began.elapsed() < Duration::from_secs(20), "{message}");
        assert!(message.contains(FILE) && message.len() < 700, "{message}");
        message
    }

    /// A file of either form with this pickle and the storages of the valid one; the message of the zip file.
    fn refused_pickle(&self, pickle: Pickle) -> String {
        self.refused(&legacy(&pickle.0, &valid()));
        self.refused(&zip(&entries(pickle.0, &valid())))
    }
}

#[test]
fn both_forms_are_read_and_a_file_that_is_broken_off_anywhere_is_refused() {
    let (folder, tensors) = (Pickled::new(), valid());
    for bytes in [
        zip(&entries(state(&tensors), &tensors)),
        zip_of(&entries(state(&tensors), &tensors), true),
        legacy(&state(&tensors), &tensors),
        std::fs::read(fixtures().join("zip").join(FILE)).unwrap(),
        std::fs::read(fixtures().join("legacy").join(FILE)).unwrap(),
    ] {
        folder.with(&bytes).unwrap();
        assert_close(&folder.0.logits(), "plain", "crafted");
        for length in (0..bytes.len()).step_by(97).chain([bytes.len() - 1]) {
            folder.refused(&bytes[..length]);
        }
        folder.refused(&[&bytes[..], b"more"].concat());
    }
}

#[test]
fn any_other_name_refuses_the_file_by_that_name() {
    let folder = Pickled::new();
    for (module, name) in [
        ("os", "system"),
        ("posix", "system"),
        ("builtins", "eval"),
        ("torch", "load"),
        ("torch._utils", "_rebuild_tensor_v3"),
        ("torch", "QInt8Storage"),
        ("collections", "OrderedDict\u{1}"),
        ("numpy.core.multiarray", "_reconstruct"),
    ] {
        // Even where nothing calls it.
        let unused = Pickle::new().raw(b"}").text("a").global(module, name).raw(b"s.");
        let message = folder.refused_pickle(unused);
        let shown = format!("`{module}.{}`", name.replace('\u{1}', "?"));
        assert!(message.contains(&shown) && message.contains("run any code"), "{message}");
        let called = Pickle::new().global(module, name).raw(b"(").text("touch x").raw(b"tR.");
        assert!(folder.refused_pickle(called).contains(&shown));
    }
    let long = "x".repeat(900);
    let message = folder.refused_pickle(Pickle::new().global("os", &long).raw(b"."));
    assert!(message.len() < 500, "{message}");
    folder.refused_pickle(Pickle::new().global("os", &"x".repeat(1 << 20)).raw(b"."));
}

#[test]
fn another_protocol_is_said() {
    let folder = Pickled::new();
    for number in [0, 1, 4, 5, 255] {
        let mut pickle = Pickle::new().raw(b"}.");
        pickle.0[1] = number;
        let message = folder.refused_pickle(pickle);
        assert!(message.contains("pickle protocol") && message.contains("2 and 3"), "{message}");
    }
    // MEMOIZE, SHORT_BINUNICODE, STACK_GLOBAL, FRAME.
    for instruction in [0x94, 0x8c, 0x93, 0x95] {
        let message = folder.refused_pickle(Pickle::new().raw(b"}").raw(&[instruction, 0]));
        assert!(message.contains("version 4"), "{message}");
    }
}

#[test]
fn bombs_are_small() {
    let folder = Pickled::new();
    // Each list holds the one before it twice.
    let doubling = (0..1000_u32).fold(Pickle::new().raw(b"]r\0\0\0\0"), |own, place| {
        let (before, next) = (place.to_le_bytes(), (place + 1).to_le_bytes());
        own.raw(b"](j").raw(&before).raw(b"j").raw(&before).raw(b"er").raw(&next)
    });
    folder.refused_pickle(doubling.raw(b"."));
    let deep = |open: &[u8], close: &[u8]| {
        Pickle::new().raw(&open.repeat(200_000)).raw(&close.repeat(200_000)).raw(b".")
    };
    folder.refused_pickle(deep(b"]", b"a"));
    folder.refused_pickle(deep(b"(", b"t"));
    folder.refused_pickle(deep(b"}N", b"s"));
    folder.refused_pickle(Pickle::new().raw(&vec![b']'; 15 << 20]));
    folder.refused_pickle(Pickle::new().raw(&vec![b'('; 1 << 19]).raw(b"."));
    // A list and a dictionary in themselves.
    folder.refused_pickle(Pickle::new().raw(b"]q\0h\0a."));
    folder.refused_pickle(Pickle::new().raw(b"}q\0").text("a").raw(b"h\0s."));
    folder.refused_pickle(Pickle::new().raw(b"(q\0t."));
    // One long list made into a dictionary many times.
    let list = (0..50_000).fold(Pickle::new().raw(b"]q\0("), |own, _| own.raw(b"NN\x86"));
    let call = Pickle(Vec::new()).global("collections", "OrderedDict").raw(b"h\0\x85R").0;
    folder.refused_pickle(list.raw(b"e").raw(&call.repeat(20_000)).raw(b"."));
    // One long shape in many tensors.
    let shape = Pickle::new().raw(b"(").raw(&b"K\x01".repeat(100_000)).raw(b"tq\0");
    let view = Pickle(Vec::new()).global("torch._utils", "_rebuild_tensor_v2").raw(b"(");
    let view = view.storage("FloatStorage", "0", 8).int(0).raw(b"h\0h\0NNtR").0;
    folder.refused_pickle(shape.raw(&view.repeat(2000)).raw(b"."));
    // Places of the memo are no sizes.
    folder.refused_pickle(Pickle::new().raw(b"}r\xff\xff\xff\xff."));
}

#[test]
fn instructions_without_what_they_need_are_refused() {
    let folder = Pickled::new();
    let ordered = Pickle(Vec::new()).global("collections", "OrderedDict").0;
    let tensor = Pickle(Vec::new()).global("torch._utils", "_rebuild_tensor_v2").0;
    let parameter = Pickle(Vec::new()).global("torch._utils", "_rebuild_parameter").0;
    let storage = Pickle(Vec::new()).global("torch", "FloatStorage").0;
    let bodies: Vec<Vec<u8>> = [
        &b""[..],
        b".",
        b"a.",
        b"e.",
        b"s.",
        b"u.",
        b"t.",
        b"\x85.",
        b"\x87.",
        b"q\0.",
        b"h\0.",
        b"Q.",
        b"R.",
        b"b.",
        b"NNa.",
        b"NNNs.",
        b"N(Nu.",
        b"](Nu.",
        b"}(Nu.",
        b"}N.b",
        b"NNb.",
        b"]NNb.",
        b"NQ.",
        b")Q.",
        b"NNR.",
        b"))R.",
        b"N)R.",
        b"(N.",
        b"N(s.",
        b"NN(s.",
        b"N(R.",
        b"X\xff\xff\xff\xff.",
        b"T\xff\xff\xff\xff.",
        b"U\xff.",
        b"U\x01\xff.",
        b"\x8a\xff.",
        b"\x8a\x09123456789.",
        b"\x8a\x08.",
        b"J.",
        b"M.",
        b"K",
        b"G\0.",
        b"c",
        b"cos",
        b"cos\n",
        b"cos\nsystem",
        b"B\0\0\0\0.",
        b"V\n.",
        b"i.",
        b"o.",
        b"\x81.",
        b"\x82\x01.",
        b"P1\n.",
        b"0.",
        b"1.",
        b"2.",
    ]
    .map(<[u8]>::to_vec)
    .into_iter()
    .chain([&ordered, &tensor, &parameter, &storage].map(|name| [&name[..], b")R."].concat()))
    .chain([&ordered, &tensor, &parameter, &storage].map(|name| [&name[..], b"N\x85R."].concat()))
    .chain([&tensor, &parameter].map(|name| [&name[..], b"(NNNNNNtR."].concat()))
    .chain([[&ordered[..], b"]N\x86a\x85R."].concat(), [&ordered[..], b"."].concat()])
    .collect();
    for body in bodies {
        folder.refused_pickle(Pickle::new().raw(&body));
    }
    for parts in [&b"N"[..], b"(t", b"(NNNNNt", b"(X\x07\0\0\0storageNNNNt"] {
        folder.refused_pickle(Pickle::new().raw(parts).raw(b"Q."));
    }
}

#[test]
fn sizes_that_no_bytes_stand_behind_are_refused() {
    let folder = Pickled::new();
    let (name, shape, bytes) = valid().remove(0);
    let count = bytes.len() as i64 / 4;
    let strides = contiguous(&shape);
    let one = |numbers: (&str, i64), offset: i64, shape: &[i64], strides: &[i64]| {
        let begin = Pickle::new().raw(b"}").text(&name);
        folder.refused_pickle(begin.view(numbers, offset, shape, strides).raw(b"s."))
    };
    let most = i64::MAX;
    for numbers in [
        ("0", most),
        ("0", most / 2),
        ("0", -1),
        ("0", count + 1),
        ("0", count - 1),
        ("0", 0),
        ("nowhere", count),
        ("../data.pkl", count),
        ("", count),
    ] {
        one(numbers, 0, &shape, &strides);
    }
    for offset in [1, most, -1, most - count] {
        one(("0", count), offset, &shape, &strides);
    }
    for (shape, strides) in [
        (vec![most, most], vec![1, 1]),
        (vec![most, 1], vec![1, most]),
        (vec![1 << 32, 1 << 32], vec![0, 0]),
        (vec![most], vec![0]),
        (vec![2, 2], vec![most, most]),
        (vec![-1], vec![1]),
        (vec![1], vec![-1]),
        (vec![count + 1], vec![1]),
        (vec![2, count], vec![1, 1]),
        (vec![most, most, 0], vec![most, most, most]),
        (vec![1, 1], vec![1]),
        (vec![1; 9], vec![1; 9]),
        (vec![], vec![]),
    ] {
        one(("0", count), 0, &shape, &strides);
    }
    // The shape of the config, over fewer numbers than it has.
    for strides in [vec![0; shape.len()], vec![1; shape.len()]] {
        let all = valid();
        let begin = Pickle::new().raw(b"}(");
        let pickle = all.iter().enumerate().fold(begin, |own, (place, (name, shape, bytes))| {
            let own = own.text(name);
            let numbers = (&*place.to_string(), bytes.len() as i64 / 4);
            let gaps = shape.len() == 2;
            let strides = if gaps { strides.repeat(2)[..2].to_vec() } else { contiguous(shape) };
            own.view(numbers, 0, shape, &strides)
        });
        let message = folder.refused_pickle(pickle.raw(b"u."));
        assert!(message.contains("with gaps"), "{message}");
    }
    // One storage of two sizes, and one name twice.
    let twice = |other: i64, name_of_other: &str| {
        let own = Pickle::new().raw(b"}").text(&name).view(("0", count), 0, &shape, &strides);
        let own = own.raw(b"s").text(name_of_other).view(("0", other), 0, &[1], &[1]);
        folder.refused_pickle(own.raw(b"s."))
    };
    assert!(twice(count / 2, "b").contains("or two"));
    assert!(twice(count, &name).contains("twice"));
}

#[test]
fn what_is_no_dictionary_of_tensors_is_said() {
    let folder = Pickled::new();
    for (pickle, words) in [
        (Pickle::new().raw(b"]."), "no dictionary"),
        (Pickle::new().raw(b"}").text("epoch").int(3).raw(b"s."), "`epoch`"),
        (Pickle::new().raw(b"}").text("state_dict").raw(b"}s."), "state of a training"),
        (Pickle::new().raw(b"}").int(1).int(3).raw(b"s."), "without names"),
    ] {
        let message = folder.refused_pickle(pickle);
        assert!(message.contains(words) && message.contains("save_pretrained"), "{message}");
    }
    assert!(folder.refused(b"not a file of torch at all").contains("no file that torch writes"));
}

/// A changed pickle inside of a file that is otherwise whole, or any change of the whole file.
#[test]
fn changed_pickles_are_weights_or_a_refusal() {
    let (folder, tensors) = (Pickled::new(), valid());
    let pickle = state(&tensors);
    let files = [
        zip(&entries(pickle.clone(), &tensors)),
        legacy(&pickle, &tensors),
        std::fs::read(fixtures().join("zip").join(FILE)).unwrap(),
        std::fs::read(fixtures().join("legacy").join(FILE)).unwrap(),
        std::fs::read(fixtures().join("mixed").join(FILE)).unwrap(),
    ];
    let strategy = (any::<prop::sample::Index>(), damage(), 0..3_u8);
    fuzz("pickle", &strategy, |(which, all, what): &(_, Vec<Damage>, u8)| {
        let change = |bytes: &[u8]| {
            let mut changed = bytes.to_vec();
            all.iter().for_each(|one| one.apply(&mut changed));
            changed
        };
        let bytes = match what {
            0 => change(&files[which.index(files.len())]),
            1 => zip(&entries(change(&pickle), &tensors)),
            _ => legacy(&change(&pickle), &tensors),
        };
        let before = allocated_bytes();
        let _ = folder.with(&bytes);
        let taken = allocated_bytes() - before;
        assert!(taken < 1 << 29, "{taken} bytes");
    });
}

/// Instructions in any order, which are hardly ever a state of anything.
#[test]
fn instructions_in_any_order_are_a_refusal() {
    let folder = Pickled::new();
    let pieces: Vec<Vec<u8>> = [
        &b"}"[..],
        b"]",
        b")",
        b"(",
        b"t",
        b"\x85",
        b"\x86",
        b"\x87",
        b"a",
        b"e",
        b"s",
        b"u",
        b"N",
        b"\x88",
        b"q\0",
        b"q\x01",
        b"h\0",
        b"h\x01",
        b"R",
        b"Q",
        b"b",
        b"K\x01",
        b"K\x08",
        b"J\xff\xff\xff\xff",
        b"X\x01\0\0\0a",
        b"X\x01\0\0\x000",
        b"X\x07\0\0\0storage",
        b"X\x03\0\0\0cpu",
        b"ccollections\nOrderedDict\n",
        b"ctorch._utils\n_rebuild_tensor_v2\n",
        b"ctorch._utils\n_rebuild_parameter\n",
        b"ctorch\nFloatStorage\n",
        b"ctorch\nLongStorage\n",
        b".",
    ]
    .map(<[u8]>::to_vec)
    .to_vec();
    let whole = [
        Pickle(Vec::new()).storage("FloatStorage", "0", 8).0,
        Pickle(Vec::new()).view(("0", 8), 0, &[2, 4], &[4, 1]).0,
        Pickle(Vec::new()).view(("1", 8), 3, &[1], &[1]).0,
    ];
    let piece = prop::sample::select([pieces, whole.to_vec()].concat());
    let strategy = prop::collection::vec(piece, 1..60);
    let tensors: Vec<Tensor> =
        (0..2).map(|place| (place.to_string(), vec![8], vec![0; 32])).collect();
    fuzz("instructions", &strategy, |body| {
        let pickle = Pickle::new().raw(&body.concat()).raw(b".").0;
        assert!(folder.with(&zip(&entries(pickle.clone(), &tensors))).is_err());
        assert!(folder.with(&legacy(&pickle, &tensors)).is_err());
    });
}
