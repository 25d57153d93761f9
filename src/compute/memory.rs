//! The allocator of the binary (mimalloc, with a count of the bytes asked for), and what the system
//! says of the process's memory.

use std::alloc::{GlobalAlloc, Layout};
use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};

use mimalloc::MiMalloc;

static ALLOCATED: AtomicU64 = AtomicU64::new(0);

/// Give it to `#[global_allocator]`. mimalloc keeps freed memory by size, so that the buffers of one
/// training step serve the next without new pages from the kernel.
#[derive(Clone, Copy, Debug)]
pub struct Allocator;

/// Bytes that the process has asked for since it began; 0 where [`Allocator`] is not in use.
pub fn allocated_bytes() -> u64 {
    ALLOCATED.load(Ordering::Relaxed)
}

fn count(bytes: usize) {
    ALLOCATED.fetch_add(bytes as u64, Ordering::Relaxed);
}

#[expect(unsafe_code, reason = "an allocator is unsafe by its trait")]
// SAFETY: every call goes to mimalloc as it came.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller keeps the contract of this method, which is the same.
        unsafe { MiMalloc.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: as above.
        unsafe { MiMalloc.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { MiMalloc.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size.saturating_sub(layout.size()));
        // SAFETY: as above.
        unsafe { MiMalloc.realloc(place, layout, size) }
    }
}

/// Memory of this process in units of 2^20 bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Memory {
    pub resident_mb: f64,
    /// The most since the process began, or since it was last reset.
    pub peak_mb: f64,
}

/// Memory of this process.
pub fn memory() -> Option<Memory> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let field = |name| Some(kilobytes(&status, name)? / 1024.0);
    Some(Memory { resident_mb: field("VmRSS:")?, peak_mb: field("VmHWM:")? })
}

/// Bytes that this process may still take, by what the system has and by the limit of its container;
/// `None` where neither is known.
pub fn memory_left() -> Option<u64> {
    let system = fs::read_to_string("/proc/meminfo").ok();
    let system = system.and_then(|text| Some((kilobytes(&text, "MemAvailable:")? * 1024.0) as u64));
    // What a container has taken counts the pages of files too, which it gives back: only its limit is
    // certain.
    let container = fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
    let container = container.and_then(|text| text.trim().parse::<u64>().ok());
    [system, container].into_iter().flatten().min()
}

/// The number of kB after `name` in a file such as Linux writes under `/proc`.
pub fn kilobytes(text: &str, name: &str) -> Option<f64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}
