//! Rows of a file that does not fit into memory, in an order that is mixed although the file may be
//! sorted, and that is a pure function of seed and epoch.
//!
//! The row groups are divided into as many strata, in the order of the file, as a window holds groups;
//! a window takes one group of each, so that it has of every part of the file what the file has. Inside
//! a window the rows are permuted. Nothing of this depends on threads, shards or where a run began, so
//! the place in the stream is two numbers, and a stream that begins there goes on exactly.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use serde::{Deserialize, Serialize};

use super::table::{Row, RowGroups, TableError};
use crate::compute::{Noise, Purpose};

/// How rows are streamed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StreamConfig {
    /// Rows that are mixed with each other, at least; whole row groups are taken, four or more.
    pub window: usize,
    /// Threads that fetch and decode row groups ahead.
    pub workers: usize,
    /// Of how many processes this is one: row i of the order goes to process i mod `shards`.
    pub shards: usize,
    /// Which of them, from 0.
    pub rank: usize,
}

impl Default for StreamConfig {
    fn default() -> Self {
        Self { window: 100_000, workers: 2, shards: 1, rank: 0 }
    }
}

/// A place in the order, for all shards together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// The epoch.
    pub epoch: u64,
    /// Rows of the epoch that are over.
    pub row: u64,
}

/// Row groups of a window, as far as there are so many. A group may have more rows than a window is to have, and
/// be sorted.
const LEAST_GROUPS: usize = 4;

/// The windows of one epoch: row groups, in the order in which their rows are put together.
pub fn windows(sizes: &[usize], window: usize, noise: &Noise, epoch: u64) -> Vec<Vec<usize>> {
    let rows: usize = sizes.iter().sum();
    let mean = rows.div_ceil(sizes.len().max(1)).max(1);
    let strata = window.div_ceil(mean).max(LEAST_GROUPS).min(sizes.len().max(1));
    let mut columns: Vec<VecDeque<usize>> = Vec::with_capacity(strata);
    for stratum in 0..strata {
        let bounds = [stratum, stratum + 1].map(|edge| edge * sizes.len() / strata);
        let mut groups: Vec<usize> = (bounds[0]..bounds[1]).collect();
        noise.stream(Purpose::Stream, epoch, stratum as u32).shuffle(&mut groups);
        columns.push(groups.into());
    }
    let mut windows = Vec::new();
    loop {
        let next: Vec<usize> = columns.iter_mut().filter_map(VecDeque::pop_front).collect();
        if next.is_empty() {
            return windows;
        }
        windows.push(next);
    }
}

/// An endless stream of rows, epoch after epoch.
pub struct RowStream {
    sizes: Vec<usize>,
    config: StreamConfig,
    noise: Noise,
    place: Place,
    /// The windows of the epoch of `place`.
    windows: Vec<Vec<usize>>,
    /// The window that is being read, its number, and which of its rows comes next.
    current: Option<Window>,
    requests: SyncSender<Vec<usize>>,
    answers: Receiver<Result<Vec<Vec<Row>>, TableError>>,
    /// The epoch and the number of the window that has been asked for.
    requested: Option<(u64, usize)>,
}

struct Window {
    number: usize,
    groups: Vec<Vec<Row>>,
    /// (place of the group, row in it) in the order of the stream.
    order: Vec<(u32, u32)>,
    next: usize,
}

impl RowStream {
    /// A stream that begins at a place.
    pub fn new(groups: Arc<RowGroups>, config: StreamConfig, noise: Noise, place: Place) -> Self {
        let sizes = groups.sizes();
        let (requests, wanted) = sync_channel::<Vec<usize>>(1);
        let (send, answers) = sync_channel(1);
        let workers = config.workers.max(1);
        // It ends when the stream is dropped and nobody asks any more.
        thread::spawn(move || {
            for window in wanted {
                if send.send(fetch(&groups, &window, workers)).is_err() {
                    break;
                }
            }
        });
        let windows = windows(&sizes, config.window, &noise, place.epoch);
        let requested = None;
        Self { sizes, config, noise, place, windows, current: None, requests, answers, requested }
    }

    /// Rows of an epoch.
    pub fn rows(&self) -> u64 {
        self.sizes.iter().map(|&rows| rows as u64).sum()
    }

    /// Where the stream stands: a new one that begins here goes on with the same rows.
    pub fn place(&self) -> Place {
        self.place
    }

    /// The next row of this shard.
    pub fn next_row(&mut self) -> Result<Row, TableError> {
        loop {
            let row = self.advance()?;
            // `advance` has stepped over it already.
            let index = self.place.row - 1;
            if index % self.config.shards as u64 == self.config.rank as u64 {
                return Ok(row);
            }
        }
    }

    fn advance(&mut self) -> Result<Row, TableError> {
        if self.place.row == self.rows() {
            self.place = Place { epoch: self.place.epoch + 1, row: 0 };
            self.windows = windows(&self.sizes, self.config.window, &self.noise, self.place.epoch);
            self.current = None;
        }
        if self.current.as_ref().is_none_or(|window| window.next == window.order.len()) {
            self.open()?;
        }
        let window = self.current.as_mut().expect("a window was opened");
        let (group, row) = window.order[window.next];
        window.next += 1;
        let row = std::mem::replace(
            &mut window.groups[group as usize][row as usize],
            Row { line: 0, values: Vec::new() },
        );
        let ahead = (window.next >= window.order.len() / 8).then_some(window.number + 1);
        self.place.row += 1;
        if let Some(number) = ahead {
            self.ask_for(number);
        }
        Ok(row)
    }

    /// Opens the window that the place is in.
    fn open(&mut self) -> Result<(), TableError> {
        let mut before = 0;
        let size =
            |groups: &Vec<usize>| groups.iter().map(|&group| self.sizes[group]).sum::<usize>();
        let mut number = 0;
        while before + size(&self.windows[number]) as u64 <= self.place.row {
            before += size(&self.windows[number]) as u64;
            number += 1;
        }
        let own = (self.place.epoch, number);
        if self.requested != Some(own) {
            self.request(own);
        }
        self.requested = None;
        let groups = self.answers.recv().expect("the worker answers until it is dropped")?;
        let mut order: Vec<(u32, u32)> = (0u32..)
            .zip(&groups)
            .flat_map(|(group, rows)| (0..rows.len() as u32).map(move |row| (group, row)))
            .collect();
        let mut stream = self.noise.stream(Purpose::StreamWindow, self.place.epoch, number as u32);
        stream.shuffle(&mut order);
        let next = (self.place.row - before) as usize;
        self.current = Some(Window { number, groups, order, next });
        Ok(())
    }

    /// Has a window fetched while the one before it is read. That begins with the first eighth of that
    /// one, so that whoever only wants the first rows does not pay for two windows.
    fn ask_for(&mut self, number: usize) {
        let next = (self.place.epoch, number);
        if self.requested.is_none() && next.1 < self.windows.len() {
            self.request(next);
        }
    }

    fn request(&mut self, wanted: (u64, usize)) {
        let groups = self.windows[wanted.1].clone();
        self.requests.send(groups).expect("the worker listens until it is dropped");
        self.requested = Some(wanted);
    }
}

/// The rows of some groups, in their order, fetched by several threads.
fn fetch(
    groups: &RowGroups,
    window: &[usize],
    workers: usize,
) -> Result<Vec<Vec<Row>>, TableError> {
    let share = window.len().div_ceil(workers).max(1);
    thread::scope(|scope| {
        let one = |part: &[usize]| {
            let part = part.to_vec();
            scope.spawn(move || {
                part.iter().map(|&group| groups.fetch(group)).collect::<Result<Vec<_>, _>>()
            })
        };
        let threads: Vec<_> = window.chunks(share).map(one).collect();
        let mut all = Vec::with_capacity(window.len());
        for thread in threads {
            all.extend(thread.join().expect("a reader answers damage with an error")?);
        }
        Ok(all)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_has_groups_of_several_parts_however_large_they_are() {
        let noise = Noise::new(1);
        let all = windows(&[122_880; 8], 50_000, &noise, 0);
        assert_eq!(all.len(), 2);
        for window in &all {
            let parts: Vec<usize> = window.iter().map(|group| group / 2).collect();
            assert_eq!(parts, [0, 1, 2, 3], "{window:?}");
        }
        assert_eq!(windows(&[122_880; 3], 50_000, &noise, 0), [[0, 1, 2]]);
        // Small ones are as many as a window has rows.
        assert_eq!(windows(&[100; 20], 1000, &noise, 0)[0].len(), 10);
    }
}
