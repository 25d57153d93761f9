//! The inner loops of bf16 and of int8 on x86: all unsafe code of products.
//!
//! What makes it sound: an [`Avx512`] or [`Vnni256`] is made in functions alone that are compiled for the instructions
//! and entered where the CPU has them; vectors are loaded from and stored to arrays of at least their size; vectors and
//! arrays that are read as one another have one size and are plain numbers.
#![expect(unsafe_code, reason = "intrinsics, and functions that are compiled for them")]

mod avx512;
mod vnni256;

use self::avx512::Avx512;
use self::vnni256::{AvxVnni, Vnni256};
use super::kernel::{Work, in_tiles};
use super::pair::Pair;
use super::quad::Quad;
use crate::compute::Precision;
use crate::compute::precision::{has_avx_vnni, has_avx512_vnni};

/// Runs where the CPU has AVX512-BF16.
pub fn with_bf16<W: Work<Pair>>(work: W) -> W::Output {
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
    fn run<W: Work<Pair>>(work: W) -> W::Output {
        in_tiles!(work, Avx512(()))
    }
    assert!(Precision::Bf16.check().is_ok(), "panels are made where a CPU has the instructions");
    // SAFETY: the CPU has every feature that the function is compiled for: it was asked just now.
    unsafe { run(work) }
}

/// Runs where the CPU has AVX512-VNNI or AVX-VNNI.
pub fn with_int8<W: Work<Quad>>(work: W) -> W::Output {
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    fn run<W: Work<Quad>>(work: W) -> W::Output {
        in_tiles!(work, Avx512(()))
    }
    if !has_avx512_vnni() {
        return with_avx_vnni(work);
    }
    // SAFETY: the CPU has every feature that the function is compiled for: it was asked just now.
    unsafe { run(work) }
}

/// Runs where the CPU has AVX-VNNI.
pub fn with_avx_vnni<W: Work<Quad>>(work: W) -> W::Output {
    #[target_feature(enable = "avx2,fma,avxvnni")]
    fn run<W: Work<Quad>>(work: W) -> W::Output {
        work.run::<_, 3, 4>(Vnni256(AvxVnni))
    }
    assert!(has_avx_vnni(), "panels are made where a CPU has the instructions");
    // SAFETY: the CPU has every feature that the function is compiled for: it was asked just now.
    unsafe { run(work) }
}

/// The same loops where the CPU has AVX512-VNNI, which encodes their one instruction otherwise: so they can be tested
/// on more machines.
#[cfg(test)]
pub fn with_vnni_of_256_bits<W: Work<Quad>>(work: W) -> W::Output {
    #[target_feature(enable = "avx2,fma,avx512f,avx512vl,avx512vnni")]
    fn run<W: Work<Quad>>(work: W) -> W::Output {
        work.run::<_, 3, 4>(Vnni256(vnni256::Avx512Vnni))
    }
    assert!(has_avx512_vnni(), "a test asks before");
    // SAFETY: the CPU has every feature that the function is compiled for: it was asked just now.
    unsafe { run(work) }
}
