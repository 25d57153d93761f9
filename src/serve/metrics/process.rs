//! `process_*`: what Linux tells of this process under `/proc`; nothing elsewhere.

use std::fmt::Error;
use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::compute::{Stat, memory};

/// Clock ticks a second in `/proc`: fixed in the interface of Linux.
const TICKS: f64 = 100.0;

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
        gauge("process_resident_memory_bytes", "Resident memory", resident())?;
        gauge("process_open_fds", "Open files", open_files())?;
        gauge("process_start_time_seconds", "Start time of the process", start())?;
        if let Some(seconds) = cpu_seconds() {
            let counter = ConstCounter::new(seconds);
            let (name, help) = ("process_cpu_seconds", "CPU time of all threads");
            let metric = encoder.encode_descriptor(name, help, None, counter.metric_type())?;
            counter.encode(metric)?;
        }
        Ok(())
    }
}

fn open_files() -> Option<f64> {
    // One of them is the folder that is being read.
    Some(fs::read_dir("/proc/self/fd").ok()?.count() as f64 - 1.0)
}

fn resident() -> Option<f64> {
    Some(memory()?.resident_mb * 1024.0 * 1024.0)
}

fn cpu_seconds() -> Option<f64> {
    let stat = Stat::read()?;
    Some((stat.field(14)? + stat.field(15)?) as f64 / TICKS)
}

fn start() -> Option<f64> {
    let ticks = Stat::read()?.field(22)? as f64;
    let boot = fs::read_to_string("/proc/stat").ok()?;
    let boot = boot.lines().find_map(|line| line.strip_prefix("btime "))?;
    Some(boot.trim().parse::<f64>().ok()? + ticks / TICKS)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_time_and_a_beginning() {
        assert!(resident().unwrap() > 1024.0 * 1024.0);
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
