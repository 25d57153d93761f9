//! The library of matrix products, `libcublas`, and what stands in for `libcurand`.

#![expect(unsafe_code, reason = "forwards of C functions")]

use std::ffi::{c_int, c_longlong, c_ulonglong, c_void};
use std::sync::OnceLock;

use candle_core::cuda_backend::cudarc::cublas::sys::{
    self, cublasComputeType_t, cublasGemmAlgo_t, cublasHandle_t, cublasOperation_t, cublasStatus_t,
    cudaDataType, cudaStream_t,
};
use candle_core::cuda_backend::cudarc::curand::sys::{
    self as curand, curandGenerator_t, curandRngType_t, curandStatus_t,
};

use super::late::{Late, forwards};

/// These functions are the same in both major versions. Packages of the toolkit do not always tell the loader of
/// their folder.
pub static BLAS: Late = Late::new(&[
    "libcublas.so.13",
    "libcublas.so.12",
    "/usr/local/cuda/lib64/libcublas.so.13",
    "/usr/local/cuda/lib64/libcublas.so.12",
]);

/// A code of the library, or `CUBLAS_STATUS_INTERNAL_ERROR`.
const fn known(code: u32) -> u32 {
    match code {
        0 | 1 | 3 | 7 | 8 | 11 | 13..=16 => code,
        _ => 14,
    }
}

forwards! {
    BLAS, cublasStatus_t, known, where missing CUBLAS_STATUS_NOT_INITIALIZED:
    cublasCreate_v2(handle: *mut cublasHandle_t);
    cublasDestroy_v2(handle: cublasHandle_t);
    cublasSetStream_v2(handle: cublasHandle_t, stream: cudaStream_t);
    cublasDgemmStridedBatched(
        handle: cublasHandle_t, turn_a: cublasOperation_t, turn_b: cublasOperation_t, m: c_int, n: c_int, k: c_int,
        alpha: *const f64, a: *const f64, a_line: c_int, a_step: c_longlong, b: *const f64, b_line: c_int,
        b_step: c_longlong, beta: *const f64, c: *mut f64, c_line: c_int, c_step: c_longlong, products: c_int,
    );
    cublasGemmStridedBatchedEx(
        handle: cublasHandle_t, turn_a: cublasOperation_t, turn_b: cublasOperation_t, m: c_int, n: c_int, k: c_int,
        alpha: *const c_void, a: *const c_void, a_kind: cudaDataType, a_line: c_int, a_step: c_longlong,
        b: *const c_void, b_kind: cudaDataType, b_line: c_int, b_step: c_longlong,
        beta: *const c_void, c: *mut c_void, c_kind: cudaDataType, c_line: c_int, c_step: c_longlong,
        products: c_int, computed_in: cublasComputeType_t, algorithm: cublasGemmAlgo_t,
    );
}

/// Defines a function of `libcurand` that does nothing and succeeds. Candle makes a generator with every device, and
/// nothing here draws from it: all noise comes from `compute::Noise`. So 100 MB of a library are not needed. The
/// functions that draw are not defined, and a program that used one would need the library to start.
macro_rules! idle {
    ($($name:ident($($argument:ident: $kind:ty),*) $does:block)*) => {$(
        // SAFETY: no other function of the program has this name, and the constant shows that cudarc, which calls it,
        // declares the same signature.
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name($($argument: $kind),*) -> curandStatus_t {
            const _: unsafe fn($($kind),*) -> curandStatus_t = curand::$name;
            $does;
            curandStatus_t::CURAND_STATUS_SUCCESS
        }
    )*};
}

idle! {
    curandCreateGenerator(generator: *mut curandGenerator_t, _kind: curandRngType_t) {
        // SAFETY: the caller gives a place for a generator. cudarc does not ask for a null pointer to be destroyed.
        unsafe { generator.write(std::ptr::null_mut()) };
    }
    curandDestroyGenerator(_generator: curandGenerator_t) {}
    curandSetPseudoRandomGeneratorSeed(_generator: curandGenerator_t, _seed: c_ulonglong) {}
    curandSetStream(_generator: curandGenerator_t, _stream: curand::cudaStream_t) {}
}
