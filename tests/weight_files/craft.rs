//! Pickles and zip files put together byte by byte, as torch writes them and as it never would.

use std::path::Path;

use safetensors::SafeTensors;

/// Instructions, one after another.
pub struct Pickle(pub Vec<u8>);

impl Pickle {
    pub fn new() -> Self {
        Self(vec![0x80, 2])
    }

    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }

    pub fn text(self, text: &str) -> Self {
        self.raw(b"X").raw(&(text.len() as u32).to_le_bytes()).raw(text.as_bytes())
    }

    pub fn int(self, number: i64) -> Self {
        self.raw(&[0x8a, 8]).raw(&number.to_le_bytes())
    }

    pub fn ints(self, numbers: &[i64]) -> Self {
        numbers.iter().fold(self.raw(b"("), |own, &number| own.int(number)).raw(b"t")
    }

    pub fn global(self, module: &str, name: &str) -> Self {
        self.raw(format!("c{module}\n{name}\n").as_bytes())
    }

    pub fn storage(self, class: &str, key: &str, count: i64) -> Self {
        let own = self.raw(b"(").text("storage").global("torch", class).text(key).text("cpu");
        own.int(count).raw(b"tQ")
    }

    /// A view of a storage of f32.
    pub fn view(
        self,
        (key, count): (&str, i64),
        offset: i64,
        shape: &[i64],
        strides: &[i64],
    ) -> Self {
        let own = self.global("torch._utils", "_rebuild_tensor_v2").raw(b"(");
        let own = own.storage("FloatStorage", key, count).int(offset).ints(shape).ints(strides);
        own.raw(&[0x89]).global("collections", "OrderedDict").raw(b")RtR")
    }
}

/// Name, shape and bytes.
pub type Tensor = (String, Vec<i64>, Vec<u8>);

/// Those of a safetensors file of f32.
pub fn tensors(path: &Path) -> Vec<Tensor> {
    let bytes = std::fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mut all: Vec<Tensor> = file
        .iter()
        .map(|(name, view)| {
            let shape = view.shape().iter().map(|&axis| axis as i64).collect();
            (name.to_owned(), shape, view.data().to_vec())
        })
        .collect();
    all.sort();
    all
}

pub fn contiguous(shape: &[i64]) -> Vec<i64> {
    (0..shape.len()).map(|axis| shape[axis + 1..].iter().product()).collect()
}

/// The dictionary of these tensors, the storage of each under its place.
pub fn state(tensors: &[Tensor]) -> Vec<u8> {
    let begin = Pickle::new().global("collections", "OrderedDict").raw(b")R(");
    let all = tensors.iter().enumerate().fold(begin, |own, (place, (name, shape, bytes))| {
        let numbers = (&*place.to_string(), bytes.len() as i64 / 4);
        own.text(name).view(numbers, 0, shape, &contiguous(shape))
    });
    all.raw(b"u.").0
}

/// The entries of a zip file.
pub fn entries(pickle: Vec<u8>, tensors: &[Tensor]) -> Vec<(String, Vec<u8>)> {
    let numbers = tensors.iter().enumerate();
    let numbers = numbers.map(|(place, (.., bytes))| (format!("m/data/{place}"), bytes.clone()));
    [("m/data.pkl".to_owned(), pickle), ("m/byteorder".to_owned(), b"little".to_vec())]
        .into_iter()
        .chain(numbers)
        .collect()
}

/// A zip file of stored entries, without the records for large files.
pub fn zip(entries: &[(String, Vec<u8>)]) -> Vec<u8> {
    zip_of(entries, false)
}

/// The same; sizes and places stand in the field for large files where that is asked for.
pub fn zip_of(entries: &[(String, Vec<u8>)], large: bool) -> Vec<u8> {
    let mut file = Vec::new();
    let mut directory = Vec::new();
    for (name, content) in entries {
        let (size, place) = (content.len() as u64, file.len() as u64);
        let length = (name.len() as u16).to_le_bytes();
        let small = |number: u64| if large { [0xff; 4] } else { (number as u32).to_le_bytes() };
        let sizes = [[0; 4], small(size), small(size)].concat();
        // An unknown field before it.
        let numbers = [size, size, place].map(u64::to_le_bytes).concat();
        let extra = [&[9, 9, 2, 0, 1, 1, 1, 0, 24, 0][..], &numbers].concat();
        let extra = if large { extra } else { Vec::new() };
        let more = (extra.len() as u16).to_le_bytes();
        file.extend(
            [b"PK\x03\x04", &[0; 10][..], &sizes, &length, &[0; 2], name.as_bytes()].concat(),
        );
        file.extend(content);
        let head = [b"PK\x01\x02", &[0; 12][..], &sizes, &length, &more, &[0; 10], &small(place)];
        directory.extend([&head.concat()[..], name.as_bytes(), &extra].concat());
    }
    let count = (entries.len() as u16).to_le_bytes();
    let sizes = [directory.len() as u32, file.len() as u32].map(u32::to_le_bytes).concat();
    let end = [b"PK\x05\x06", &[0; 4][..], &count, &count, &sizes, &[0; 2]].concat();
    [file, directory, end].concat()
}

/// The form before torch 1.6.
pub fn legacy(pickle: &[u8], tensors: &[Tensor]) -> Vec<u8> {
    let magic = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.".to_vec();
    let version = Pickle::new().int(1001).raw(b".").0;
    let system = Pickle::new().raw(b"}").text("little_endian").raw(&[0x88]).raw(b"s.").0;
    let keys = (0..tensors.len())
        .fold(Pickle::new().raw(b"]("), |own, place| own.text(&place.to_string()))
        .raw(b"e.");
    let numbers = tensors.iter().flat_map(|(.., bytes)| {
        [(bytes.len() as u64 / 4).to_le_bytes().to_vec(), bytes.clone()].concat()
    });
    let numbers = numbers.collect();
    [magic, version, system, pickle.to_vec(), keys.0, numbers].concat()
}
