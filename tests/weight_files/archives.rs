//! What holds the pickle and the numbers: zip files, and what came before them.

use serde_json::json;

use super::craft::{Pickle, entries, legacy, state, zip};
use super::folder::Folder;
use super::pickles::{FILE, Pickled, valid};

#[test]
fn a_zip_file_that_can_be_understood_in_two_ways_is_refused() {
    let (folder, tensors) = (Pickled::new(), valid());
    let all = entries(state(&tensors), &tensors);
    let whole = zip(&all);
    let find = |signature: &[u8]| whole.windows(4).position(|four| four == signature).unwrap();
    let (local, central, end) = (find(b"PK\x03\x04"), find(b"PK\x01\x02"), whole.len() - 22);
    for (what, place, bytes) in [
        ("flag of the first entry", local + 6, &[8][..]),
        ("encryption", central + 8, &[1]),
        ("method where it stands", local + 8, &[8]),
        ("method in the directory", central + 10, &[8]),
        ("size where it stands", local + 18, &[1]),
        ("unpacked size where it stands", local + 22, &[1]),
        ("size in the directory", central + 20, &[0xff; 3]),
        ("both sizes in the directory", central + 20, &[0xff; 8]),
        ("large sizes", central + 20, &[0xfe, 0xff, 0xff, 0xff, 0xfe, 0xff, 0xff, 0xff]),
        ("name where it stands", local + 30, b"n"),
        ("name in the directory", central + 46, b"n"),
        ("length of the name where it stands", local + 26, &[9]),
        ("length of the name in the directory", central + 28, &[0xff; 2]),
        ("length of the comment in the directory", central + 32, &[0xff; 2]),
        ("place", central + 42, &[1]),
        ("a far place", central + 42, &[0xfe, 0xff, 0xff, 0xff]),
        ("a place elsewhere", central + 42, &[0xff; 4]),
        ("disk", end + 4, &[1]),
        ("count", end + 10, &[1]),
        ("a large count", end + 8, &[0xff; 4]),
        ("bytes of the directory", end + 12, &[1]),
        ("place of the directory", end + 16, &[1]),
        ("comment", end + 20, &[1]),
        ("signature of an entry", local, b"QK"),
        ("signature of the directory", central, b"QK"),
    ] {
        let mut bytes_of = whole.clone();
        bytes_of[place..place + bytes.len()].copy_from_slice(bytes);
        assert_ne!(bytes_of, whole, "{what}");
        folder.refused(&bytes_of);
    }
    let with = |name: &str, content: &[u8]| {
        let more = [all.clone(), vec![(name.to_owned(), content.to_vec())]].concat();
        zip(&more)
    };
    for name in ["m/data.pkl", "m/data/0", "n/data.pkl", "data.pkl/data.pkl"] {
        let message = folder.refused(&with(name, b"x"));
        assert!(message.contains("two entries") || message.contains("without one"), "{message}");
    }
    // Names lead nowhere: nothing is unpacked.
    for name in ["../../etc/passwd", "/etc/passwd", "m/../m/data/0", "m\\data\\0", ""] {
        folder.with(&with(name, b"x")).unwrap();
    }
    let changed = |name: &str, content: &[u8]| {
        let mut own = all.clone();
        own.iter_mut().filter(|one| one.0 == name).for_each(|one| one.1 = content.to_vec());
        folder.refused(&zip(&own))
    };
    assert!(changed("m/byteorder", b"big").contains("backwards"));
    assert!(changed("m/data/3", b"1234").contains("storage `3`"));
    assert!(changed("m/data.pkl", &[state(&tensors), b"x".to_vec()].concat()).contains("follows"));
    let missing: Vec<_> = all.iter().filter(|one| one.0 != "m/data/3").cloned().collect();
    assert!(folder.refused(&zip(&missing)).contains("storage `3` is missing"));
    assert!(folder.refused(&zip(&[])).contains(FILE));
}

#[test]
fn old_files_whose_numbers_are_not_those_of_their_pickle_are_refused() {
    let (folder, tensors) = (Pickled::new(), valid());
    let pickle = state(&tensors);
    let whole = legacy(&pickle, &tensors);
    // Storages of a file that has one more, one fewer, or others.
    let more = [tensors.clone(), vec![("x".to_owned(), vec![1], vec![0; 4])]].concat();
    assert!(folder.refused(&legacy(&pickle, &more)).contains("in vain"));
    assert!(folder.refused(&legacy(&pickle, &tensors[1..])).contains("fewer"));
    let mut other = tensors.clone();
    other[0].2.extend([0; 4]);
    assert!(folder.refused(&legacy(&pickle, &other)).contains("as many numbers"));
    let replaced = |from: &[u8], to: &[u8]| {
        let place = whole.windows(from.len()).position(|own| own == from).unwrap();
        let mut bytes = whole.clone();
        bytes.splice(place..place + from.len(), to.iter().copied());
        folder.refused(&bytes)
    };
    assert!(replaced(b"little_endian\x88", b"little_endian\x89").contains("big-endian"));
    assert!(replaced(&1001_i64.to_le_bytes(), &1002_i64.to_le_bytes()).contains("version"));
}

#[test]
fn an_index_adds_up_sizes_that_nothing_stands_behind() {
    let folder = Folder::of("sharded_bin");
    let file = "pytorch_model-00001-of-00002.bin";
    let most = i64::MAX;
    let own = Pickle::new().raw(b"}").text("a").view(("0", 8), 0, &[1 << 60, 1], &[0, 0]);
    let own = own.raw(b"s").text("b").view(("0", 8), 0, &[most, most, 0], &[1, 1, 1]).raw(b"s.");
    let numbers = vec![("a".to_owned(), vec![8], vec![0; 32])];
    std::fs::write(folder.path(file), zip(&entries(own.0, &numbers))).unwrap();
    folder.edit("pytorch_model.bin.index.json", |index| {
        index["weight_map"] = json!({ "a": file, "b": file });
    });
    assert!(folder.refused().contains("has no tensor"), "{}", folder.refused());
}
