//! The numbers that matrix products are computed with.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use self::instructions::has_bf16;
pub(crate) use self::instructions::{has_avx_vnni, has_avx512_vnni};

/// The numbers of the weights of linear layers and of what is multiplied with them. Residual stream, norms and
/// softmax are f32 in each.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    #[default]
    F32,
    /// Eight bits of fraction, rounded to nearest even; sums are f32.
    Bf16,
    /// Eight bits, with a scale for each output of a weight and for each token; sums are exact.
    Int8,
}

impl Precision {
    pub const ALL: [Self; 3] = [Self::F32, Self::Bf16, Self::Int8];

    /// Refuses a precision that this CPU has no instructions for: without them it would be slower than f32.
    ///
    /// # Errors
    /// A message that says which instructions are missing.
    pub fn check(self) -> Result<(), String> {
        let (is_there, name) = match self {
            Self::F32 => return Ok(()),
            Self::Bf16 => (has_bf16(), "AVX512-BF16"),
            Self::Int8 => (has_avx512_vnni() || has_avx_vnni(), "AVX512-VNNI or AVX-VNNI"),
        };
        if is_there {
            return Ok(());
        }
        Err(format!("this CPU has no {name}, and without it {self} is slower than f32; use f32"))
    }

    /// The one of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.to_string() == name)
    }

    /// Whether it is that of training.
    pub fn is_f32(&self) -> bool {
        *self == Self::F32
    }

    /// Those that this CPU has instructions for.
    pub fn available() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|precision| precision.check().is_ok())
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.pad(match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::Int8 => "int8",
        })
    }
}

#[cfg(target_arch = "x86_64")]
mod instructions {
    use std::arch::is_x86_feature_detected as has;

    fn has_avx512() -> bool {
        has!("avx512f") && has!("avx512bw") && has!("avx512dq") && has!("avx512vl")
    }

    pub fn has_bf16() -> bool {
        has_avx512() && has!("avx512bf16")
    }

    pub fn has_avx512_vnni() -> bool {
        has_avx512() && has!("avx512vnni")
    }

    /// The instructions for vectors of 256 bits, and what goes with them.
    pub fn has_avx_vnni() -> bool {
        has!("avxvnni") && has!("avx2") && has!("fma")
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod instructions {
    pub fn has_bf16() -> bool {
        false
    }

    pub fn has_avx512_vnni() -> bool {
        false
    }

    pub fn has_avx_vnni() -> bool {
        false
    }
}
