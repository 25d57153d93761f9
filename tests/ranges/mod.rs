//! A Parquet file in row groups, and a server that gives ranges of it.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use parquet::basic::{Compression, Encoding};
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

/// Writes `rows` rows of text and label in `groups` row groups of one size.
pub fn write_file(path: &Path, rows: u64, groups: u64, row: impl Fn(u64) -> (String, i64)) {
    let schema = "message rows { required binary text (UTF8); required int64 label; }";
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_dictionary_enabled(false)
        .set_encoding(Encoding::PLAIN)
        .build();
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let file = File::create(path).unwrap();
    let mut writer = SerializedFileWriter::new(file, schema, Arc::new(properties)).unwrap();
    for group in 0..groups {
        let rows = (group * rows / groups..(group + 1) * rows / groups).map(&row);
        let (texts, labels): (Vec<String>, Vec<i64>) = rows.unzip();
        let texts: Vec<ByteArray> = texts.into_iter().map(|t| t.into_bytes().into()).collect();
        let mut writer = writer.next_row_group().unwrap();
        let mut column = writer.next_column().unwrap().unwrap();
        column.typed::<ByteArrayType>().write_batch(&texts, None, None).unwrap();
        column.close().unwrap();
        let mut column = writer.next_column().unwrap().unwrap();
        column.typed::<Int64Type>().write_batch(&labels, None, None).unwrap();
        column.close().unwrap();
        writer.close().unwrap();
    }
    writer.close().unwrap();
}

/// A server that gives ranges of one file, counts them, and cuts one line in the middle.
pub struct Server {
    pub address: String,
    ranges: Arc<AtomicUsize>,
}

/// What an answer says of the version of the file, by its number.
pub type Validator = fn(usize) -> String;

impl Server {
    pub fn start(path: PathBuf) -> Self {
        Self::with_validator(path, |_| String::new())
    }

    /// With a header in each answer, such as `ETag: "a"` and a line break.
    pub fn with_validator(path: PathBuf, validator: Validator) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}/train.parquet", listener.local_addr().unwrap());
        let ranges = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&ranges);
        let file = Arc::new(Mutex::new(File::open(path).unwrap()));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (file, counter) = (Arc::clone(&file), Arc::clone(&counter));
                std::thread::spawn(move || while answer(&stream, &file, &counter, validator) {});
            }
        });
        Self { address, ranges }
    }

    pub fn ranges(&self) -> usize {
        self.ranges.load(Ordering::SeqCst)
    }
}

/// Answers one request; false when the line is closed.
fn answer(
    stream: &std::io::Result<TcpStream>,
    file: &Mutex<File>,
    counter: &AtomicUsize,
    validator: Validator,
) -> bool {
    let Ok(mut stream) = stream.as_ref() else { return false };
    let mut range = None;
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return false;
        }
        if let Some(value) = line.to_lowercase().strip_prefix("range: bytes=") {
            range = Some(value.trim().to_owned());
        }
        if line == "\r\n" {
            break;
        }
    }
    let mut file = file.lock().unwrap();
    let length = file.metadata().unwrap().len();
    let range = range.unwrap();
    let (start, end) = match range.split_once('-').unwrap() {
        ("", last) => (length - last.parse::<u64>().unwrap(), length - 1),
        (start, end) => (start.parse().unwrap(), end.parse().unwrap()),
    };
    let mut bytes = vec![0; (end - start + 1) as usize];
    file.seek(SeekFrom::Start(start)).unwrap();
    file.read_exact(&mut bytes).unwrap();
    let number = counter.fetch_add(1, Ordering::SeqCst);
    let header = format!(
        "HTTP/1.1 206 Partial Content\r\nContent-Length: {}\r\n{}Content-Range: bytes \
         {start}-{end}/{length}\r\n\r\n",
        bytes.len(),
        validator(number)
    );
    stream.write_all(header.as_bytes()).unwrap();
    if number == 50 {
        stream.write_all(&bytes[..bytes.len() / 2]).unwrap();
        stream.shutdown(std::net::Shutdown::Both).unwrap();
        return false;
    }
    stream.write_all(&bytes).is_ok()
}
