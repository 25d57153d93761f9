//! The number of threads, one for every pool, and the vector instructions of this CPU.

/// Sets the size of every pool: Candle and `gemm` read the variable, rayon (and through it
/// `tokenizers`) is given the number. Must be called before the first thread starts; `None` leaves
/// the choice to the environment and the machine.
pub fn set_threads(threads: Option<usize>) {
    let Some(threads) = threads else { return };
    #[expect(unsafe_code, reason = "the one way to tell Candle its number of threads")]
    // SAFETY: `main` calls this first, while the process has a single thread.
    unsafe {
        std::env::set_var("RAYON_NUM_THREADS", threads.to_string());
    }
    if let Err(error) = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global() {
        tracing::warn!("the thread pool had already started: {error}");
    }
}

/// The number of threads in use.
pub fn threads() -> usize {
    candle_core::utils::get_num_threads()
}

/// The vector instructions of this CPU that the kernels look for, best last.
pub fn cpu_features() -> Vec<&'static str> {
    let mut found = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        for (name, present) in [
            ("avx2", is_x86_feature_detected!("avx2")),
            ("fma", is_x86_feature_detected!("fma")),
            ("f16c", is_x86_feature_detected!("f16c")),
            ("avx512f", is_x86_feature_detected!("avx512f")),
            ("avx512bf16", is_x86_feature_detected!("avx512bf16")),
            ("avx512vnni", is_x86_feature_detected!("avx512vnni")),
            ("avxvnni", is_x86_feature_detected!("avxvnni")),
        ] {
            if present {
                found.push(name);
            }
        }
    }
    #[cfg(target_arch = "aarch64")]
    found.push("neon");
    found
}
