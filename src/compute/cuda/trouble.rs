//! Why a card cannot be used, and what to do about it.

/// The compute capability that kernels are compiled for (`CUDA_COMPUTE_CAP=80`); bf16 needs it too.
pub const LEAST_CAPABILITY: (i32, i32) = (8, 0);

/// Why a card cannot be used: one clause without a final stop. [`Trouble::advice`] says what to do.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Trouble {
    #[error("no CUDA driver: `libcuda.so.1` is not on this machine")]
    NoDriver,
    #[error("no CUDA driver: `libcuda.so.1` is the toolkit's stub")]
    Stub,
    #[error("no CUDA device: the driver finds no card")]
    NoCard,
    #[error("there is no card {index}: the driver finds {count}, counted from 0")]
    NoSuchCard { index: usize, count: usize },
    /// CUDA versions as the driver counts them, 13000 for 13.0.
    #[error("the CUDA driver is too old: it supports CUDA {}, and this build needs {}", version(*found), version(*needed))]
    OldDriver { found: i32, needed: i32 },
    #[error("the CUDA driver is too old for this build or for the card (`{0}`)")]
    OlderDriver(String),
    #[error("the CUDA driver's library and its kernel module have different versions")]
    Mismatch,
    #[error("the CUDA driver's compatibility package does not support this card")]
    Compatibility,
    #[error("{name} is too old: it has compute capability {}.{}, and {}.{} is needed", found.0, found.1, LEAST_CAPABILITY.0, LEAST_CAPABILITY.1)]
    OldCard { name: String, found: (i32, i32) },
    #[error("there is no free memory on the card")]
    NoMemory,
    #[error(
        "there is too little free memory on the card: {free} MiB, and {needed} MiB are needed to start"
    )]
    LittleMemory { free: usize, needed: usize },
    #[error("another process has the card for itself, or it is switched off for computing")]
    Taken,
    #[error("the card is there but not ready (`{0}`)")]
    NotReady(String),
    #[error("no cuBLAS: `libcublas.so.13` or `libcublas.so.12` is not on this machine")]
    NoBlas,
    #[error("cuBLAS does not start on the card (`{0}`)")]
    Blas(String),
    #[error("the try-out of `{check}` fails: {why}")]
    Check { check: &'static str, why: String },
    #[error("the card computes `{check}` wrongly: {found:?} instead of {expected:?}")]
    Wrong { check: &'static str, found: Vec<f32>, expected: Vec<f32> },
    #[error("CUDA says `{0}`")]
    Other(String),
}

impl Trouble {
    /// What a code of the driver means (`CUresult`); `name` is its name in CUDA's header.
    pub fn from_code(code: u32, name: &str) -> Self {
        match code {
            2 => Self::NoMemory,
            34 => Self::Stub,
            35 | 36 | 209 | 218 | 222 => Self::OlderDriver(name.to_owned()),
            46 => Self::Taken,
            100 => Self::NoCard,
            802 => Self::NotReady(name.to_owned()),
            803 => Self::Mismatch,
            804 => Self::Compatibility,
            _ => Self::Other(name.to_owned()),
        }
    }

    /// What to do, as a clause that begins with a verb.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::NoDriver | Self::NoCard => {
                "install NVIDIA's driver, or start the container with `--gpus all`"
            }
            Self::Stub => "take the folder `stubs` off `LD_LIBRARY_PATH`",
            Self::NoSuchCard { .. } => "name another card, or look at `CUDA_VISIBLE_DEVICES`",
            Self::OldDriver { .. } | Self::OlderDriver(_) => "install a newer driver",
            Self::Mismatch => "restart the machine or load the kernel module again",
            Self::Compatibility => "take the package `cuda-compat` away, or install a newer driver",
            Self::OldCard { .. } => "use a card of the Ampere generation or later",
            Self::NoMemory | Self::LittleMemory { .. } => {
                "stop the processes that `nvidia-smi` lists, or name another card"
            }
            Self::Taken => "look at `nvidia-smi`, or name another card",
            Self::NotReady(_) => "look whether NVIDIA's Fabric Manager runs",
            Self::NoBlas => "install CUDA's libraries, or name their folder in `LD_LIBRARY_PATH`",
            Self::Blas(_) | Self::Check { .. } | Self::Wrong { .. } | Self::Other(_) => {
                "look at `nvidia-smi` and at the system's log"
            }
        }
    }
}

/// `13.0` for 13000, as the driver counts.
pub fn version(number: i32) -> String {
    format!("{}.{}", number / 1000, number % 1000 / 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_the_driver_are_told_apart() {
        for (code, words) in [
            (2, "no free memory"),
            (34, "stub"),
            (35, "too old"),
            (100, "no card"),
            (222, "too old"),
            (803, "different versions"),
            (804, "compatibility package"),
            (999, "CUDA_ERROR_UNKNOWN"),
        ] {
            let trouble = Trouble::from_code(code, "CUDA_ERROR_UNKNOWN");
            assert!(trouble.to_string().contains(words), "{trouble}");
        }
    }

    #[test]
    fn versions_are_written_as_nvidia_writes_them() {
        let old = Trouble::OldDriver { found: 12040, needed: 13000 };
        assert!(old.to_string().contains("CUDA 12.4, and this build needs 13.0"), "{old}");
    }
}
