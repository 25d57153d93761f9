//! The host as a place where kernels run: their source as plain C, with `compute/cuda/source/host.c` for what CUDA adds.

#![expect(unsafe_code, reason = "a library that is compiled here is opened and called")]
#![expect(clippy::unwrap_used, reason = "a test fails by panic")]

use std::cell::Cell;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, OnceLock};

use candle_core::cpu_backend::CpuDevice;
use candle_core::{CpuStorage, DType, Result, bail};

use super::{Launch, Runs, ptx};

type Kernel = unsafe extern "C" fn(*const c_void);
type Host = unsafe extern "C" fn(Kernel, *const c_void, *const u32, u32, c_int) -> c_int;

unsafe extern "C" {
    fn dlopen(path: *const c_char, flags: c_int) -> *mut c_void;
    fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
    fn dlerror() -> *const c_char;
}

const RTLD_NOW: c_int = 2;

/// How kernels are run in a thread.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    /// By their source, the first thread of a block before the others.
    Forwards,
    /// The last thread first: a result that depends on it has a race.
    Backwards,
    /// By their PTX.
    Ptx,
}

thread_local! {
    static WAY: Cell<Way> = const { Cell::new(Way::Forwards) };
}

/// Runs `work` with the threads of each block in the other order, too.
pub fn in_both_orders(work: impl Fn()) {
    for way in [Way::Forwards, Way::Backwards] {
        WAY.set(way);
        work();
    }
    WAY.set(Way::Forwards);
}

/// Runs `work` with the PTX in the place of the source.
pub fn by_ptx(work: impl Fn()) {
    WAY.set(Way::Ptx);
    work();
    WAY.set(Way::Forwards);
}

/// Where the library was loaded to; one launch at a time.
fn library() -> &'static Mutex<usize> {
    static LIBRARY: OnceLock<Mutex<usize>> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/compute/cuda/source");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kernels.so");
        let mut command = Command::new(std::env::var("CC").unwrap_or_else(|_| "cc".to_owned()));
        // A product and a sum stay two operations, as they do for nvcc by -fmad=false.
        command.args(["-std=gnu11", "-O2", "-ffp-contract=off", "-fPIC", "-shared"]);
        command.args(["-x", "c", "-o"]);
        command.arg(&path).arg(source.join("host.c"));
        for name in super::SOURCES {
            command.arg(source.join(format!("{name}.cu")));
        }
        let output = command.arg("-lm").output().expect("a C compiler links every build");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let path = CString::new(path.to_str().unwrap()).unwrap();
        // SAFETY: the library has no initialisers, and dlerror gives a text after a failure.
        let library = unsafe { dlopen(path.as_ptr(), RTLD_NOW) };
        assert!(!library.is_null(), "{:?}", unsafe { CStr::from_ptr(dlerror()) });
        Mutex::new(library as usize)
    })
}

fn symbol(library: usize, name: &str) -> Result<*mut c_void> {
    let name = CString::new(name).unwrap();
    // SAFETY: the library is never closed.
    let symbol = unsafe { dlsym(library as *mut c_void, name.as_ptr()) };
    if symbol.is_null() {
        bail!("the source has no kernel {name:?}");
    }
    Ok(symbol)
}

impl Runs for CpuStorage {
    fn address(&self) -> Result<u64> {
        Ok(match self {
            Self::U32(values) => values.as_ptr() as u64,
            Self::I64(values) => values.as_ptr() as u64,
            Self::BF16(values) => values.as_ptr() as u64,
            Self::F32(values) => values.as_ptr() as u64,
            Self::F64(values) => values.as_ptr() as u64,
            _ => bail!("kernels take u32, i64, bf16, f32 and f64"),
        })
    }

    fn address_mut(&mut self) -> Result<u64> {
        Ok(match self {
            Self::BF16(values) => values.as_mut_ptr() as u64,
            Self::F32(values) => values.as_mut_ptr() as u64,
            Self::F64(values) => values.as_mut_ptr() as u64,
            _ => bail!("kernels give bf16, f32 and f64"),
        })
    }

    /// Of values that are not numbers, so that one that is not written is found.
    fn empty(_: &CpuDevice, count: usize, dtype: DType) -> Result<Self> {
        Ok(match dtype {
            DType::BF16 => Self::BF16(vec![half::bf16::NAN; count]),
            DType::F32 => Self::F32(vec![f32::NAN; count]),
            DType::F64 => Self::F64(vec![f64::NAN; count]),
            other => bail!("kernels give bf16, f32 and f64, and not {other:?}"),
        })
    }

    fn launch<A: Copy>(_: &CpuDevice, launch: &Launch, arguments: A) -> Result<()> {
        let Launch { module, kernel, grid, threads, shared } = launch;
        assert!(super::SOURCES.contains(&module.name));
        assert!(*threads <= 256 && *shared <= 48 * 1024 && grid[1] < 1 << 16, "{launch:?}");
        let parameter = format!("{kernel}_param_0[{}]", size_of::<A>());
        assert!(module.ptx.contains(&parameter), "the PTX has no {parameter}");
        let (grid, threads) =
            ([u32::try_from(grid[0])?, u32::try_from(grid[1])?], u32::try_from(*threads)?);
        if WAY.get() == Way::Ptx {
            let start = std::ptr::from_ref(&arguments).cast::<u8>();
            // SAFETY: they are the bytes that a card would get.
            let bytes = unsafe { std::slice::from_raw_parts(start, size_of::<A>()) };
            ptx::launch(module.ptx, kernel, bytes, grid, threads);
            return Ok(());
        }
        let library = library().lock().expect("no kernel panics");
        let backwards = WAY.get() == Way::Backwards;
        // SAFETY: these are the types that host.h gives kernels and host.c its function; the addresses among the arguments
        // are of storages that the caller holds.
        let stuck = unsafe {
            let run = std::mem::transmute::<*mut c_void, Host>(symbol(*library, "host_launch")?);
            let kernel = std::mem::transmute::<*mut c_void, Kernel>(symbol(*library, kernel)?);
            let arguments = std::ptr::from_ref(&arguments).cast();
            run(kernel, arguments, grid.as_ptr(), threads, backwards.into())
        };
        if stuck != 0 {
            bail!("the threads of `{kernel}` wait for each other");
        }
        Ok(())
    }
}
