//! CUDA's functions, opened when they are first called.
//!
//! Candle links CUDA's libraries, and a program that links one does not start where it is missing. The functions of
//! `driver` and `blas` carry the names that Candle's calls look for: the linker takes them, and the libraries are not
//! linked. Each finds the real function at its first call. Once Candle can load CUDA at run time, these files go.

#![expect(unsafe_code, reason = "a library that is opened at run time is trusted by its name")]

use std::sync::OnceLock;

use libloading::Library;

/// A library of CUDA that is opened once, when it is first asked for, and never closed.
pub struct Late {
    /// Where it may be: the first that opens is taken.
    names: &'static [&'static str],
    opened: OnceLock<Option<Library>>,
}

impl Late {
    pub const fn new(names: &'static [&'static str]) -> Self {
        Self { names, opened: OnceLock::new() }
    }

    /// Whether it is on this machine.
    pub fn is_there(&self) -> bool {
        self.library().is_some()
    }

    fn library(&self) -> Option<&Library> {
        // SAFETY: the initialisers of NVIDIA's libraries may run in any program and thread.
        let open = |name: &&str| unsafe { Library::new(*name) }.ok();
        self.opened.get_or_init(|| self.names.iter().find_map(open)).as_ref()
    }

    /// The function of this name, or `None` where there is no library or it has no such function.
    ///
    /// # Safety
    ///
    /// `F` is the type of a pointer to that function.
    pub unsafe fn find<F: Copy>(&self, name: &str) -> Option<F> {
        // SAFETY: the caller's.
        unsafe { self.library()?.get::<F>(name) }.ok().map(|symbol| *symbol)
    }
}

/// Defines the functions of one library, one a line. A macro, since neither a name nor a list of arguments can be
/// generic. `sys` is the module of cudarc that declares them. `known` keeps the codes that cudarc's enum has: a newer
/// library may answer others, and an enum must not hold them.
macro_rules! forwards {
    ($library:ident, $answer:ident, $known:ident, where missing $missing:ident:
     $($name:ident($($argument:ident: $kind:ty),* $(,)?);)*) => {$(
        // SAFETY: no other function of the program has this name, and the constant shows that cudarc, which calls it,
        // declares the same arguments. Its enum of answers is a `u32`.
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name($($argument: $kind),*) -> u32 {
            const _: unsafe fn($($kind),*) -> $answer = sys::$name;
            type Real = unsafe extern "C" fn($($kind),*) -> u32;
            static REAL: OnceLock<Option<Real>> = OnceLock::new();
            // SAFETY: `Real` is what the library's header says of this function.
            match REAL.get_or_init(|| unsafe { $library.find(stringify!($name)) }) {
                // SAFETY: whoever calls this keeps the rules of the real one.
                Some(real) => $known(unsafe { real($($argument),*) }),
                None => $answer::$missing as u32,
            }
        }
    )*};
}

pub(super) use forwards;
