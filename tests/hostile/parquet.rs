//! Parquet files whose numbers are not those of their bytes.

use std::path::Path;
use std::time::Instant;

use bayes::data::table::{self, RowGroups};

use super::craft::{
    Column, dictionary, doubled_row_group, group, leaf, page, plain, row_group, summed_dictionary,
    summed_page, write,
};
use super::home::{Home, text};

const ROWS: i64 = 60;

fn texts() -> Vec<String> {
    (0..ROWS).map(|row| format!("text {row}")).collect()
}

fn labels() -> Vec<String> {
    (0..ROWS).map(|row| ["a", "b"][row as usize % 2].to_owned()).collect()
}

/// A file of two columns in which one thing is changed.
struct Plan {
    columns: Vec<Column>,
    body: Vec<u8>,
    group_rows: i64,
    rows: i64,
    groups: usize,
}

impl Plan {
    fn new() -> Self {
        let (a, b) = (plain(&texts()), plain(&labels()));
        let columns = vec![
            Column::new("text", 4, a.len(), ROWS),
            Column::new("label", 4 + a.len(), b.len(), ROWS),
        ];
        Self { columns, body: [a, b].concat(), group_rows: ROWS, rows: ROWS, groups: 1 }
    }

    /// With other pages in the column of the text.
    fn with_text(pages: Vec<u8>) -> Self {
        let mut plan = Self::new();
        let b = plain(&labels());
        plan.columns[0].size = pages.len() as i64;
        plan.columns[1].offset = 4 + pages.len() as i64;
        plan.body = [pages, b].concat();
        plan
    }

    fn write(&self, path: &Path) {
        let schema = vec![group("schema", 2, true), leaf("text"), leaf("label")];
        let groups = vec![row_group(&self.columns, self.group_rows); self.groups];
        write(path, &schema, self.rows, &groups, &self.body);
    }
}

/// Rows of the file, read in whole.
fn whole(path: &Path) -> Result<usize, String> {
    let rows = table::open(path).map_err(|error| chain(&error))?;
    let mut count = 0;
    for row in rows {
        row.map_err(|error| chain(&error))?;
        count += 1;
    }
    Ok(count)
}

/// Rows of the file, group after group, and of its first column alone.
fn streamed(path: &Path) -> Result<usize, String> {
    let groups = RowGroups::open(&[path.to_str().unwrap()]).map_err(|error| chain(&error))?;
    let mut count = 0;
    for number in 0..groups.sizes().len() {
        count += groups.fetch(number).map_err(|error| chain(&error))?.len();
        groups.column(number, 0).map_err(|error| chain(&error))?;
    }
    Ok(count)
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text += &format!(": {error}");
        source = error.source();
    }
    text
}

/// Both ways refuse the file with these words, at once.
fn refused(path: &Path, words: &str) {
    let began = Instant::now();
    for read in [whole, streamed] {
        let message = read(path).unwrap_err();
        assert!(message.contains(words), "{words}: {message}");
        assert!(message.len() < 600, "{message}");
    }
    assert!(began.elapsed().as_secs() < 5, "{words}: {:?}", began.elapsed());
}

#[test]
fn a_file_that_is_right_is_read_in_both_ways() {
    let home = Home::new();
    let path = home.path("a.parquet");
    Plan::new().write(&path);
    assert_eq!((whole(&path), streamed(&path)), (Ok(60), Ok(60)));
}

#[test]
fn sizes_and_places_that_no_file_has_are_refused() {
    let home = Home::new();
    let path = home.path("a.parquet");
    for number in [-1, i64::MIN, i64::MAX, 1 << 62, 1 << 40, 100_000] {
        for change in [
            (|column: &mut Column, number| column.size = number) as fn(&mut Column, i64),
            |column, number| column.offset = number,
            |column, number| column.dictionary = Some(number),
        ] {
            let mut plan = Plan::new();
            change(&mut plan.columns[1], number);
            plan.write(&path);
            refused(&path, "outside the file");
        }
    }
    let mut plan = Plan::new();
    plan.columns[0].values = -1;
    plan.write(&path);
    refused(&path, "a negative number of values");
    // The place of the pages, where it is that of the dictionary that counts.
    let mut plan = Plan::new();
    (plan.columns[1].dictionary, plan.columns[1].offset) = (Some(plan.columns[1].offset), -1);
    plan.write(&path);
    refused(&path, "outside the file");
    // A page that ends in the column behind its own.
    let mut plan = Plan::new();
    plan.columns[0].size -= 1;
    plan.write(&path);
    refused(&path, "beyond its column");
}

#[test]
fn columns_and_rows_that_do_not_belong_together_are_refused() {
    let home = Home::new();
    let path = home.path("a.parquet");
    Plan { rows: ROWS + 1, ..Plan::new() }.write(&path);
    refused(&path, "hold 60 rows, but the file claims 61");
    let mut plan = Plan::new();
    plan.columns.pop();
    plan.write(&path);
    refused(&path, "columns");
    // The `parquet` crate counts each list of columns by itself.
    let plan = Plan::new();
    let schema = [group("schema", 2, true), leaf("text"), leaf("label")];
    let doubled = doubled_row_group(&plan.columns, ROWS);
    write(&path, &schema, ROWS, &[doubled], &plan.body);
    refused(&path, "a row group has 4 columns, but the file has 2");
    write(&path, &[group("schema", 0, true)], 0, &[], &[]);
    refused(&path, "no columns");
}

/// Only the streamed way fetches a group at once. The file is a hole but for its ends.
#[test]
fn a_row_group_of_gigabytes_is_not_fetched_at_once() {
    use std::io::{Seek, SeekFrom, Write};
    let home = Home::new();
    let path = home.path("a.parquet");
    let mut plan = Plan::new();
    plan.columns[1].size = 5 << 30;
    plan.write(&path);
    let bytes = std::fs::read(&path).unwrap();
    let (body, end) = bytes.split_at(4 + plan.body.len());
    let mut file = std::fs::File::create(&path).unwrap();
    file.write_all(body).unwrap();
    file.seek(SeekFrom::Start(6 << 30)).unwrap();
    file.write_all(end).unwrap();
    drop(file);
    let began = Instant::now();
    let message = streamed(&path).unwrap_err();
    assert!(message.contains("a row group has") && message.contains("at once"), "{message}");
    assert!(began.elapsed().as_secs() < 5, "{:?}", began.elapsed());
}

#[test]
fn a_message_shows_the_beginning_of_what_is_wrong() {
    let home = Home::new();
    let path = home.path("a.parquet");
    let long = [&10_000_u32.to_le_bytes()[..], &[0xff; 10_000]].concat();
    let body = [long, [0; 4].repeat(ROWS as usize - 1)].concat();
    Plan::with_text(page(ROWS, 0, body.len() as i64, &body)).write(&path);
    refused(&path, "255, 255");
}

/// Other letters are texts too: only the checksum of a page tells.
#[test]
fn a_page_that_is_not_what_its_checksum_says_is_refused() {
    let home = Home::new();
    let path = home.path("a.parquet");
    let body = texts().iter().fold(Vec::new(), |body, text| {
        [body, (text.len() as u32).to_le_bytes().to_vec(), text.clone().into_bytes()].concat()
    });
    // Every text is the first of the dictionary: indices of one bit, in one run of sixty.
    let dictionary = summed_dictionary(1, b"\x04\0\0\0text");
    let indices = summed_page(ROWS, 8, &[1, 120, 0]);
    for (pages, by_dictionary) in
        [(summed_page(ROWS, 0, &body), false), ([dictionary, indices].concat(), true)]
    {
        let place = pages.windows(4).position(|four| four == b"text").unwrap();
        for damaged in [false, true] {
            let mut pages = pages.clone();
            if damaged {
                pages[place..place + 4].copy_from_slice(b"test");
            }
            let mut plan = Plan::with_text(pages);
            if by_dictionary {
                plan.columns[0].dictionary = Some(4);
                plan.columns[0].encodings = vec![0, 8];
            }
            plan.write(&path);
            match damaged {
                true => refused(&path, "CRC"),
                false => assert_eq!((whole(&path), streamed(&path)), (Ok(60), Ok(60))),
            }
        }
    }
}

#[test]
fn numbers_of_rows_that_cannot_be_are_refused() {
    let home = Home::new();
    let path = home.path("a.parquet");
    for rows in [-1, i64::MIN, i64::MAX, 1 << 62, (1 << 40) + 1] {
        let plan = Plan { group_rows: rows, rows, ..Plan::new() };
        plan.write(&path);
        refused(&path, "rows");
        // Two groups whose sum is that of the file by a wrap.
        let plan = Plan { group_rows: rows, rows: rows.wrapping_mul(2), groups: 2, ..Plan::new() };
        plan.write(&path);
        refused(&path, "rows");
    }
}

#[test]
fn row_groups_over_the_same_pages_are_refused() {
    let home = Home::new();
    let path = home.path("a.parquet");
    for groups in [1000, 20_000] {
        Plan { groups, rows: ROWS * groups as i64, ..Plan::new() }.write(&path);
        let length = std::fs::metadata(&path).unwrap().len();
        // A thousand directories are longer than the pages that they share: what counts is the sum.
        let shared = (groups * Plan::new().body.len()) as u64 > length;
        assert!(shared || groups == 1000);
        if shared {
            refused(&path, "share");
        }
    }
}

#[test]
fn a_schema_that_is_nested_too_deep_or_claims_more_than_there_is_is_refused() {
    let home = Home::new();
    let path = home.path("a.parquet");
    let nested = |depth: usize| {
        let a = plain(&texts());
        let mut schema = vec![group("schema", 1, true)];
        schema.extend(vec![group("g", 1, false); depth]);
        schema.push(leaf("text"));
        let mut column = Column::new("text", 4, a.len(), ROWS);
        column.path = vec!["g".to_owned(); depth];
        column.path.push("text".to_owned());
        write(&path, &schema, ROWS, &[row_group(&[column], ROWS)], &a);
    };
    nested(10);
    assert_eq!((whole(&path), streamed(&path)), (Ok(60), Ok(60)));
    for depth in [60, 5000, 15_000] {
        nested(depth);
        refused(&path, "levels are read");
    }
    for children in [-1, 3, i64::from(i32::MAX)] {
        let a = plain(&texts());
        let schema = vec![group("schema", children, true), leaf("text")];
        let column = Column::new("text", 4, a.len(), ROWS);
        write(&path, &schema, ROWS, &[row_group(&[column], ROWS)], &a);
        refused(&path, "inside it");
    }
    let a = plain(&texts());
    let names: Vec<String> = (0..30_000).map(|name| name.to_string()).collect();
    let mut schema = vec![group("schema", 30_000, true)];
    schema.extend(names.iter().map(|name| leaf(name)));
    write(&path, &schema, ROWS, &[], &a);
    refused(&path, "30001 columns");
}

#[test]
fn a_page_that_unpacks_to_gigabytes_is_refused_before_it_does() {
    let home = Home::new();
    let path = home.path("a.parquet");
    const ZSTD: i64 = 6;
    for unpacked in [1 << 29, i64::from(i32::MAX), -1] {
        let mut plan = Plan::with_text(page(ROWS, 0, unpacked, b"a few bytes"));
        plan.columns[0].codec = ZSTD;
        plan.write(&path);
        refused(&path, "unpacks to");
    }
    // Pages of which each is allowed, and all together are not.
    let one = page(ROWS, 0, 200 << 20, &[0; 8]);
    let mut plan = Plan::with_text(one.repeat(100));
    plan.columns[0].codec = ZSTD;
    plan.write(&path);
    refused(&path, "");
}

#[test]
fn values_that_no_bytes_stand_behind_take_no_memory() {
    let home = Home::new();
    let path = home.path("a.parquet");
    for values in [1000, i64::from(i32::MAX)] {
        let indices = page(ROWS, 8, 2, &[1, 2]);
        let pages = [dictionary(values, b"\x01\0\0\0a"), indices].concat();
        let mut plan = Plan::with_text(pages);
        plan.columns[0].dictionary = Some(4);
        plan.write(&path);
        refused(&path, "more than its bytes hold");
    }
    // Lengths of two thousand million texts, each of no bits; alone, and behind a list of prefixes.
    let lengths = [0x80, 1, 4, 0xff, 0xff, 0xff, 0xff, 7, 0];
    let none = [0x80, 1, 4, 60, 0, 0, 0, 0, 0, 0];
    for (encoding, body) in
        [(6, lengths.to_vec()), (7, lengths.to_vec()), (7, [&none[..], &lengths].concat())]
    {
        let values = i64::from(i32::MAX);
        let mut plan = Plan::with_text(page(values, encoding, body.len() as i64, &body));
        plan.columns[0].encodings = vec![0, encoding];
        plan.write(&path);
        refused(&path, "list of lengths");
    }
    // Numbers where texts are, and more lengths than are unpacked at once, each of which is there.
    let many = 5_000_000_u32;
    let mut there = vec![0x80, 1, 4, 0xc0, 0x96, 0xb1, 2, 0];
    there.extend([0; 5].repeat(many.div_ceil(128) as usize));
    for (encoding, values, body) in
        [(5, i64::from(i32::MAX), &lengths[..]), (6, many.into(), &there)]
    {
        let mut plan = Plan::with_text(page(values, encoding, body.len() as i64, body));
        plan.columns[0].encodings = vec![0, encoding];
        plan.write(&path);
        refused(&path, "list of lengths");
    }
    // An encoding in which a text is made of the one before, where the directory has another.
    let plan = Plan::with_text(page(ROWS, 7, 9, &lengths));
    plan.write(&path);
    refused(&path, "does not announce");
}

#[test]
fn the_end_of_a_file_is_checked_before_it_is_followed() {
    let home = Home::new();
    let path = home.path("a.parquet");
    Plan::new().write(&path);
    let whole_file = std::fs::read(&path).unwrap();
    let end = whole_file.len() - 8;
    for length in [u32::MAX, u32::MAX / 2, whole_file.len() as u32] {
        let mut bytes = whole_file.clone();
        bytes[end..end + 4].copy_from_slice(&length.to_le_bytes());
        std::fs::write(&path, bytes).unwrap();
        refused(&path, "its directory should have");
    }
    let mut bytes = whole_file.clone();
    bytes[end + 4..].copy_from_slice(b"PARE");
    std::fs::write(&path, bytes).unwrap();
    refused(&path, "encrypted");
    for bytes in [&b"PAR1"[..], b"PAR1PAR1", b"PAR1\xff\xff\xff\xffPAR1", b"x"] {
        std::fs::write(&path, bytes).unwrap();
        refused(&path, "");
    }
}

#[test]
fn commands_answer_such_a_file_with_a_sentence() {
    let home = Home::new();
    let path = home.path("a.parquet");
    let mut plan = Plan::new();
    plan.columns[0].size = 1 << 62;
    plan.write(&path);
    let file = path.to_str().unwrap();
    for arguments in [
        &["dataset", "info", file][..],
        &["dataset", "head", file],
        &["train", file, "--dry-run"],
        &["train", file, "--set", "data.streaming=true", "--set", "train.max_steps=2"],
    ] {
        let output = home.run(arguments);
        let message = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {message}");
        assert!(message.contains("outside the file"), "{arguments:?}: {message}");
    }
}
