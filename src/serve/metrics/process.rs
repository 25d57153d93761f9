//! `process_*`: what Linux tells of this process under `/proc`; nothing elsewhere.

use std::fmt::Error;
use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// Clock ticks a second in `/proc`: fixed in the interface of Linux.
const TICKS: f64 = 100.0;
/// Bytes a page, which `statm` counts in.
const PAGE: u64 = 4096;

/// Reads `/proc` when it is asked.
#[derive(Debug)]
pub struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let mut gauge = |name: &str, help: &str, value: Option<f64>| match value {
            Some(value) => {
                let gauge = ConstGauge::new(value);
                gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)
            }
            None => Ok(()),
        };
        let resident = resident().map(|bytes| bytes as f64);
        gauge("process_resident_memory_bytes", "Resident memory", resident)?;
        gauge("process_open_fds", "Open files", open_files())?;
        gauge("process_start_time_seconds", "When the process began", start())?;
        if let Some(seconds) = cpu_seconds() {
            let counter = ConstCounter::new(seconds);
            let (name, help) = ("process_cpu_seconds", "Time of all threads on processors");
            let metric = encoder.encode_descriptor(name, help, None, counter.metric_type())?;
            counter.encode(metric)?;
        }
        Ok(())
    }
}

fn resident() -> Option<u64> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    Some(statm.split_whitespace().nth(1)?.parse::<u64>().ok()? * PAGE)
}

fn open_files() -> Option<f64> {
    // One of them is the folder that is being read.
    Some(fs::read_dir("/proc/self/fd").ok()?.count() as f64 - 1.0)
}

/// The fields of `stat` from the third on; the second, a name, may have blanks in it.
fn stat() -> Option<Vec<f64>> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let fields = stat.rsplit_once(')')?.1.split_whitespace().skip(1);
    Some(fields.map_while(|field| field.parse().ok()).collect())
}

fn cpu_seconds() -> Option<f64> {
    // Fields 14 and 15 counted from 1, of which `stat` leaves out three.
    let fields = stat()?;
    Some((fields.get(10)? + fields.get(11)?) / TICKS)
}

fn start() -> Option<f64> {
    let ticks = *stat()?.get(18)?;
    let boot = fs::read_to_string("/proc/stat").ok()?;
    let boot = boot.lines().find_map(|line| line.strip_prefix("btime "))?;
    Some(boot.trim().parse::<f64>().ok()? + ticks / TICKS)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_time_and_a_beginning() {
        assert!(resident().unwrap() > 1 << 20);
        assert!(open_files().unwrap() >= 3.0);
        let began = std::time::Instant::now();
        let before = cpu_seconds().unwrap();
        while began.elapsed().as_millis() < 60 {
            std::hint::spin_loop();
        }
        assert!(cpu_seconds().unwrap() > before);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let age = now.as_secs_f64() - start().unwrap();
        assert!((-2.0..86_400.0).contains(&age), "{age}");
    }
}
