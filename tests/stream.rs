//! A label-sorted Parquet file of a million rows, streamed over HTTP and from disk. The only test of
//! this process, since it measures the process's memory.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test fails by panic")]

mod ranges;

use std::sync::Arc;

use bayes::compute::{Noise, memory};
use bayes::data::stream::{Place, RowStream, StreamConfig};
use bayes::data::table::{Reading, Row, RowGroups, Value};
use bayes::data::{Head, head};
use bayes::store::sha256;
use ranges::{Server, write_file};

const ROWS: u64 = 1_000_000;
const GROUPS: u64 = 200;
/// Rows of a window: 20 row groups.
const WINDOW: usize = 100_000;

/// Half of the rows are positive, and they come last.
fn label(row: u64) -> i64 {
    i64::from(row >= ROWS / 2)
}

fn stream(place: &str, config: StreamConfig, from: Place) -> RowStream {
    let groups = Arc::new(RowGroups::open(&[place]).unwrap());
    RowStream::new(groups, config, Noise::new(7), from)
}

fn take(stream: &mut RowStream, rows: usize) -> Vec<Row> {
    (0..rows).map(|_| stream.next_row().unwrap()).collect()
}

fn positives(rows: &[Row]) -> usize {
    rows.iter().filter(|row| row.values[1] == Value::Integer(1)).count()
}

#[test]
fn a_million_sorted_rows_are_streamed_mixed_and_within_memory() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("train.parquet");
    let row = |row| (format!("the review of film {row} was short"), label(row));
    write_file(&path, ROWS, GROUPS, row);
    let server = Server::start(path.clone());
    let disk = path.to_str().unwrap();
    let config = StreamConfig { window: WINDOW, workers: 2, ..StreamConfig::default() };

    let before = memory().unwrap().resident_mb;
    let mut remote = stream(&server.address, config, Place::default());
    assert_eq!(server.ranges(), 1, "the directory");
    let mut rows = take(&mut remote, 1000);
    let window_groups = WINDOW / (ROWS / GROUPS) as usize;
    assert_eq!(server.ranges(), 1 + window_groups, "the groups of one window");

    let share: f64 = 0.5;
    let most = 5.0 * (share * (1.0 - share) / 1000.0).sqrt();
    let mut seen = vec![false; ROWS as usize];
    let (mut resumed, mut hashes) = (None, Vec::new());
    for part in 0..ROWS / 1000 {
        rows.extend(take(&mut remote, 1000 - rows.len()));
        hashes.push(sha256(format!("{rows:?}").as_bytes()));
        let found = positives(&rows) as f64 / 1000.0;
        assert!((found - share).abs() < most, "part {part}: {found} of the rows are positive");
        for row in rows.drain(..) {
            assert!(!std::mem::replace(&mut seen[row.line as usize - 1], true));
            assert_eq!(row.values[1], Value::Integer(label(row.line - 1)));
        }
        if part == 333 {
            resumed = Some(remote.place());
        }
    }
    assert!(seen.iter().all(|&seen| seen), "an epoch has every row");
    let grown = memory().unwrap().peak_mb - before;
    assert!(grown < 200.0, "the process has grown by {grown} MiB");
    // The directory, every group once, and the piece that was cut.
    assert_eq!(server.ranges(), 1 + GROUPS as usize + 1);

    // From disk, and with another number of threads, the rows are the same.
    let mut local = stream(disk, StreamConfig { workers: 1, ..config }, Place::default());
    let mut expected = Vec::new();
    for (part, hash) in hashes.iter().enumerate() {
        let rows = take(&mut local, 1000);
        assert_eq!(sha256(format!("{rows:?}").as_bytes()), *hash, "part {part}");
        if part == 334 {
            expected = rows[..50].to_vec();
        }
    }
    // A stream that begins at the place goes on with the same rows; shards share them out.
    let place = resumed.unwrap();
    assert_eq!(take(&mut stream(&server.address, config, place), 50), expected);
    let mut shards: Vec<Vec<Row>> = (0..2)
        .map(|rank| {
            let config = StreamConfig { shards: 2, rank, ..config };
            take(&mut stream(disk, config, place), 25)
        })
        .collect();
    let odd = shards.pop().unwrap();
    let together: Vec<Row> =
        shards.pop().unwrap().into_iter().zip(odd).flat_map(|(even, odd)| [even, odd]).collect();
    assert_eq!(together, expected);
    // The next epoch has another order.
    let next = take(&mut stream(disk, config, Place { epoch: 1, row: 0 }), 50);
    assert_ne!(next, take(&mut stream(disk, config, Place::default()), 50));
    assert_eq!(take(&mut remote, 50), next, "and comes by itself");

    // A look at five rows fetches one group.
    let before = server.ranges();
    let Head { columns, rows, .. } = head(&server.address, 5, None, &Reading::default()).unwrap();
    assert_eq!(columns, ["text", "label"]);
    assert_eq!(rows.iter().map(|row| row.line).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    assert_eq!(server.ranges() - before, 2);
}
