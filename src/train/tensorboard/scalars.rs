//! Event files with nothing but their scalars: what may be shown to others.
//!
//! Records are read field by field here, by the numbers of TensorFlow's `event.proto` and
//! `summary.proto`; the protobuf crate's parser is not used, and nothing nests.

use std::fs;
use std::io::{self, Cursor};
use std::path::Path;

use protobuf::Message;
use tensorboard_rs::masked_crc32c::masked_crc32c;
use tensorboard_rs::record_writer::RecordWriter;

use super::message;

/// A scalar of a run.
#[derive(Clone, Debug, PartialEq)]
struct Point {
    seconds: f64,
    step: i64,
    tag: String,
    value: f32,
}

/// One record, as far as it is looked at.
#[derive(Default)]
struct Read {
    seconds: f64,
    step: i64,
    /// A process began here: what was written of this step and later ones is void.
    started: bool,
    scalars: Vec<(String, f32)>,
}

/// An event file with the scalars of a run folder, and the second that it begins with. Texts, pictures,
/// histograms and graphs are left out, and so is what a later process took back. `None` without a
/// scalar.
///
/// # Errors
/// A file cannot be read. What a running process has written in part ends its file.
pub fn scalars(run: &Path) -> io::Result<Option<(u64, Vec<u8>)>> {
    let mut files: Vec<_> = fs::read_dir(run)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            path.file_name().is_some_and(|name| name.to_string_lossy().contains("tfevents"))
        })
        .collect();
    files.sort();
    let mut points: Vec<Point> = Vec::new();
    for file in files {
        collect(&fs::read(file)?, &mut points);
    }
    let Some(first) = points.first() else { return Ok(None) };
    let began = first.seconds;
    let mut bytes = Vec::new();
    let mut writer = RecordWriter::new(Cursor::new(&mut bytes));
    let version = message::version(began);
    let records = points.into_iter().map(|point| {
        let value = message::scalar(&point.tag, f64::from(point.value));
        message::summary(point.seconds, point.step.max(0) as u64, vec![value])
    });
    for record in [version].into_iter().chain(records) {
        writer.write(&record.write_to_bytes().map_err(io::Error::other)?)?;
    }
    Ok(Some((began as u64, bytes)))
}

fn collect(bytes: &[u8], points: &mut Vec<Point>) {
    let mut rest = bytes;
    while let Some((data, behind)) = record(rest) {
        rest = behind;
        let Some(read) = event(data) else { continue };
        if read.started {
            points.retain(|point| point.step < read.step);
        }
        let Read { seconds, step, scalars, .. } = read;
        points.extend(scalars.into_iter().map(|(tag, value)| Point { seconds, step, tag, value }));
    }
}

/// The first record and what follows; `None` where it is not whole.
fn record(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = u64::from_le_bytes(bytes.get(..8)?.try_into().ok()?);
    let end = usize::try_from(length).ok()?.checked_add(12)?;
    let data = bytes.get(12..end)?;
    let sum = u32::from_le_bytes(bytes.get(end..end.checked_add(4)?)?.try_into().ok()?);
    (sum == masked_crc32c(data)).then_some((data, &bytes[end + 4..]))
}

/// The value of a field.
enum Field<'a> {
    Number(u64),
    Fixed64([u8; 8]),
    Bytes(&'a [u8]),
    Fixed32([u8; 4]),
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for place in 0..10 {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 127) << (7 * place);
        if byte < 128 {
            return Some(value);
        }
    }
    None
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

/// Takes the first field off, with its number.
fn field<'a>(bytes: &mut &'a [u8]) -> Option<(u64, Field<'a>)> {
    let key = varint(bytes)?;
    let field = match key & 7 {
        0 => Field::Number(varint(bytes)?),
        1 => Field::Fixed64(take(bytes, 8)?.try_into().ok()?),
        2 => {
            let length = usize::try_from(varint(bytes)?).ok()?;
            Field::Bytes(take(bytes, length)?)
        }
        5 => Field::Fixed32(take(bytes, 4)?.try_into().ok()?),
        _ => return None,
    };
    Some((key >> 3, field))
}

fn event(mut bytes: &[u8]) -> Option<Read> {
    let mut read = Read::default();
    while !bytes.is_empty() {
        match field(&mut bytes)? {
            (1, Field::Fixed64(number)) => read.seconds = f64::from_le_bytes(number),
            (2, Field::Number(step)) => read.step = step as i64,
            (5, Field::Bytes(summary)) => values(summary, &mut read.scalars)?,
            (7, Field::Bytes(mut log)) => {
                while !log.is_empty() {
                    read.started |= matches!(field(&mut log)?, (1, Field::Number(1)));
                }
            }
            _ => {}
        }
    }
    Some(read)
}

fn values(mut summary: &[u8], scalars: &mut Vec<(String, f32)>) -> Option<()> {
    while !summary.is_empty() {
        let (1, Field::Bytes(mut value)) = field(&mut summary)? else { continue };
        let (mut tag, mut number) = (None, None);
        while !value.is_empty() {
            match field(&mut value)? {
                (1, Field::Bytes(name)) => tag = String::from_utf8(name.to_vec()).ok(),
                (2, Field::Fixed32(bits)) => number = Some(f32::from_le_bytes(bits)),
                _ => {}
            }
        }
        scalars.extend(tag.zip(number));
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tensorboard_proto::event::Event;

    fn file(records: &[Event]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut writer = RecordWriter::new(Cursor::new(&mut bytes));
        for record in records {
            writer.write(&record.write_to_bytes().unwrap()).unwrap();
        }
        bytes
    }

    fn loss(step: u64, value: f64) -> Event {
        message::summary(100.5, step, vec![message::scalar("Loss/train", value)])
    }

    #[test]
    fn only_scalars_are_left_and_what_was_taken_back_is_gone() {
        let run = tempfile::tempdir().unwrap();
        let text = message::text("config", "a secret");
        let mixed = vec![message::scalar("Epoch", 1.0), text];
        let first = [
            message::version(100.0),
            message::session_start(100.0, 1),
            message::graph(100.0, b"secret".to_vec()),
            loss(1, 3.0),
            message::summary(100.5, 1, mixed),
            loss(2, 2.0),
            loss(3, 1.0),
        ];
        let second = [message::version(200.0), message::session_start(200.0, 3), loss(3, 1.5)];
        fs::write(run.path().join("events.out.tfevents.0000000100.host.1.0"), file(&first))
            .unwrap();
        let mut second = file(&second);
        second.extend_from_slice(&[7; 11]);
        fs::write(run.path().join("events.out.tfevents.0000000200.host.2.0"), second).unwrap();
        let (seconds, bytes) = scalars(run.path()).unwrap().unwrap();
        assert_eq!(seconds, 100);
        assert!(!bytes.windows(6).any(|window| window == b"secret"));
        let mut points = Vec::new();
        collect(&bytes, &mut points);
        let found: Vec<(i64, &str, f32)> =
            points.iter().map(|point| (point.step, point.tag.as_str(), point.value)).collect();
        let train = "Loss/train";
        assert_eq!(found, [(1, train, 3.0), (1, "Epoch", 1.0), (2, train, 2.0), (3, train, 1.5)]);
        let version = Event::parse_from_bytes(record(&bytes).unwrap().0).unwrap();
        assert_eq!(version.get_file_version(), "brain.Event:2");
    }

    #[test]
    fn a_run_without_scalars_has_no_file() {
        let run = tempfile::tempdir().unwrap();
        assert!(scalars(run.path()).unwrap().is_none());
        fs::write(run.path().join("events.out.tfevents.1.x"), b"not a record").unwrap();
        assert!(scalars(run.path()).unwrap().is_none());
    }
}
