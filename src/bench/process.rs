//! What the system tells of this process and this machine. Linux writes it under `/proc`; elsewhere
//! most of it stays unknown.

use std::fs;

use serde::Serialize;

use crate::compute::{self, Stat, kilobytes};

/// Lets the peak begin anew. Where that is not allowed the peak is that of the whole process.
pub fn forget_peak() {
    let _ = fs::write("/proc/self/clear_refs", "5");
}

/// Page faults of all threads since the process began.
pub fn page_faults() -> Option<u64> {
    let stat = Stat::read()?;
    Some(stat.field(10)? + stat.field(12)?)
}

/// Where it was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    pub cpu: Option<String>,
    /// Cores that this process may use.
    pub cores: usize,
    /// Threads that it does use.
    pub threads: usize,
    /// Vector instructions that the kernels look for.
    pub cpu_features: Vec<&'static str>,
    /// All memory, in units of 2^30 bytes.
    pub memory_gb: Option<f64>,
    /// System, version and architecture.
    pub os: String,
    /// Version of this tool.
    pub bayes: &'static str,
}

pub fn machine() -> Machine {
    let read = |path: &str| fs::read_to_string(path).ok();
    let cpu = read("/proc/cpuinfo").and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("model name"))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    });
    let release = read("/proc/sys/kernel/osrelease").unwrap_or_default();
    let os = [std::env::consts::OS, release.trim(), std::env::consts::ARCH];
    let os = os.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
    Machine {
        cpu,
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        threads: compute::threads(),
        cpu_features: compute::cpu_features(),
        memory_gb: read("/proc/meminfo")
            .and_then(|text| Some(kilobytes(&text, "MemTotal:")? / 1024.0 / 1024.0)),
        os,
        bayes: env!("CARGO_PKG_VERSION"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::memory;

    #[test]
    fn fields_are_read_by_name() {
        assert_eq!(kilobytes("VmPeak:\t  9 kB\nVmRSS:\t 2048 kB\n", "VmRSS:"), Some(2048.0));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn memory_that_is_touched_is_resident_and_faults() {
        let (faults, before) = (page_faults().unwrap(), memory().unwrap());
        let block = std::hint::black_box(vec![1u8; 64 << 20]);
        let after = memory().unwrap();
        assert!(after.resident_mb > before.resident_mb + 32.0, "{before:?} {after:?}");
        assert!(after.peak_mb >= after.resident_mb && page_faults().unwrap() > faults);
        drop(block);
    }
}
