//! Parquet files put together byte by byte: the writers of libraries refuse to write them.

use std::path::Path;

/// Bytes of a structure in Thrift's compact protocol.
#[derive(Default)]
pub struct Struct {
    bytes: Vec<u8>,
    last: u8,
}

fn varint(mut value: u64, bytes: &mut Vec<u8>) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63) as u64
}

impl Struct {
    fn field(mut self, number: u8, kind: u8) -> Self {
        self.bytes.push((number - self.last) << 4 | kind);
        self.last = number;
        self
    }

    pub fn i32(self, number: u8, value: i64) -> Self {
        let mut own = self.field(number, 5);
        varint(zigzag(value), &mut own.bytes);
        own
    }

    pub fn i64(self, number: u8, value: i64) -> Self {
        let mut own = self.field(number, 6);
        varint(zigzag(value), &mut own.bytes);
        own
    }

    pub fn text(self, number: u8, text: &str) -> Self {
        let mut own = self.field(number, 8);
        varint(text.len() as u64, &mut own.bytes);
        own.bytes.extend(text.as_bytes());
        own
    }

    pub fn inner(self, number: u8, inner: Self) -> Self {
        let mut own = self.field(number, 12);
        own.bytes.extend(inner.end());
        own
    }

    pub fn list(self, number: u8, kind: u8, items: &[Vec<u8>]) -> Self {
        let mut own = self.field(number, 9);
        own.bytes.push(0xf0 | kind);
        varint(items.len() as u64, &mut own.bytes);
        own.bytes.extend(items.concat());
        own
    }

    /// The last field, a list, once more: its number stands in full, since it grows by nothing.
    pub fn list_again(mut self, kind: u8, items: &[Vec<u8>]) -> Self {
        self.bytes.push(9);
        varint(zigzag(self.last.into()), &mut self.bytes);
        self.bytes.push(0xf0 | kind);
        varint(items.len() as u64, &mut self.bytes);
        self.bytes.extend(items.concat());
        self
    }

    pub fn end(mut self) -> Vec<u8> {
        self.bytes.push(0);
        self.bytes
    }
}

/// A group of columns with that many of them; the root where nothing is said of repetition.
pub fn group(name: &str, children: i64, root: bool) -> Vec<u8> {
    let element = Struct::default();
    let element = if root { element } else { element.i32(3, 0) };
    element.text(4, name).i32(5, children).end()
}

/// A column of texts that are always there.
pub fn leaf(name: &str) -> Vec<u8> {
    Struct::default().i32(1, 6).i32(3, 0).text(4, name).i32(6, 0).end()
}

/// What the directory says of one column of a row group.
#[derive(Clone)]
pub struct Column {
    pub path: Vec<String>,
    pub offset: i64,
    pub size: i64,
    pub values: i64,
    pub codec: i64,
    pub dictionary: Option<i64>,
    pub encodings: Vec<i64>,
}

impl Column {
    pub fn new(name: &str, offset: usize, size: usize, values: i64) -> Self {
        Self {
            path: vec![name.to_owned()],
            offset: offset as i64,
            size: size as i64,
            values,
            codec: 0,
            dictionary: None,
            encodings: vec![0],
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let number = |&value: &i64| {
            let mut bytes = Vec::new();
            varint(zigzag(value), &mut bytes);
            bytes
        };
        let text = |text: &String| {
            let mut bytes = Vec::new();
            varint(text.len() as u64, &mut bytes);
            bytes.extend(text.as_bytes());
            bytes
        };
        let own = Struct::default()
            .i32(1, 6)
            .list(2, 5, &self.encodings.iter().map(number).collect::<Vec<_>>())
            .list(3, 8, &self.path.iter().map(text).collect::<Vec<_>>())
            .i32(4, self.codec)
            .i64(5, self.values)
            .i64(6, self.size)
            .i64(7, self.size)
            .i64(9, self.offset);
        let own = match self.dictionary {
            Some(offset) => own.i64(11, offset),
            None => own,
        };
        Struct::default().i64(2, self.offset).inner(3, own).end()
    }
}

/// A page of texts, each with its length before it.
pub fn plain(texts: &[String]) -> Vec<u8> {
    let body: Vec<u8> = texts
        .iter()
        .flat_map(|text| [&(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat())
        .collect();
    page(texts.len() as i64, 0, body.len() as i64, &body)
}

/// A data page that says this of itself.
pub fn page(values: i64, encoding: i64, unpacked: i64, body: &[u8]) -> Vec<u8> {
    let page = Struct::default().i32(1, 0).i32(2, unpacked).i32(3, body.len() as i64);
    [page.inner(5, data_header(values, encoding)).end(), body.to_vec()].concat()
}

fn data_header(values: i64, encoding: i64) -> Struct {
    Struct::default().i32(1, values).i32(2, encoding).i32(3, 3).i32(4, 3)
}

/// A page with a dictionary of that many texts.
pub fn dictionary(values: i64, body: &[u8]) -> Vec<u8> {
    let page = Struct::default().i32(1, 2).i32(2, body.len() as i64).i32(3, body.len() as i64);
    [page.inner(7, dictionary_header(values)).end(), body.to_vec()].concat()
}

fn dictionary_header(values: i64) -> Struct {
    Struct::default().i32(1, values).i32(2, 0)
}

/// The CRC-32 of a body, as a page has it.
fn sum(body: &[u8]) -> i64 {
    let mut sum = flate2::Crc::new();
    sum.update(body);
    i64::from(sum.sum() as i32)
}

/// A data page with a checksum.
pub fn summed_page(values: i64, encoding: i64, body: &[u8]) -> Vec<u8> {
    let length = body.len() as i64;
    let page = Struct::default().i32(1, 0).i32(2, length).i32(3, length).i32(4, sum(body));
    [page.inner(5, data_header(values, encoding)).end(), body.to_vec()].concat()
}

/// A dictionary with a checksum.
pub fn summed_dictionary(values: i64, body: &[u8]) -> Vec<u8> {
    let length = body.len() as i64;
    let page = Struct::default().i32(1, 2).i32(2, length).i32(3, length).i32(4, sum(body));
    [page.inner(7, dictionary_header(values)).end(), body.to_vec()].concat()
}

/// A row group of columns with that many rows.
pub fn row_group(columns: &[Column], rows: i64) -> Vec<u8> {
    let columns: Vec<_> = columns.iter().map(Column::bytes).collect();
    Struct::default().list(1, 12, &columns).i64(2, 9).i64(3, rows).end()
}

/// A row group that has its list of columns twice.
pub fn doubled_row_group(columns: &[Column], rows: i64) -> Vec<u8> {
    let columns: Vec<_> = columns.iter().map(Column::bytes).collect();
    let group = Struct::default().list(1, 12, &columns).list_again(12, &columns);
    group.i64(2, 9).i64(3, rows).end()
}

/// Writes a file with this schema, these rows, these groups, and this between its beginning and its
/// directory.
pub fn write(path: &Path, schema: &[Vec<u8>], rows: i64, groups: &[Vec<u8>], body: &[u8]) {
    let footer =
        Struct::default().i32(1, 1).list(2, 12, schema).i64(3, rows).list(4, 12, groups).end();
    let length = (footer.len() as u32).to_le_bytes();
    std::fs::write(path, [b"PAR1", body, &footer, &length[..], b"PAR1"].concat()).unwrap();
}
