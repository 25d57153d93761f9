//! Where a network computes: the one choice that all code asks which does not run on both.

use candle_core::Device;

/// Where a network computes.
#[derive(Clone, Debug, Default)]
pub enum Backend {
    /// The CPU engine: kernels over slices, and gradients and moments in plain vectors.
    #[default]
    Cpu,
    /// The device engine, in operations of Candle and of [`ops::device`](super::ops::device). On Candle's own CPU it
    /// is the twin: what a GPU computes, for tests.
    Device(Device),
}

impl Backend {
    /// The device engine's operations on the CPU.
    pub const TWIN: Self = Self::Device(Device::Cpu);

    /// The CPU engine for tensors on the CPU, and the device engine for all others.
    pub fn of(device: Device) -> Self {
        if device.is_cpu() { Self::Cpu } else { Self::Device(device) }
    }

    /// Where its tensors are.
    pub fn device(&self) -> &Device {
        match self {
            Self::Cpu => &Device::Cpu,
            Self::Device(device) => device,
        }
    }

    /// Whether it is the CPU engine.
    pub fn is_cpu(&self) -> bool {
        matches!(self, Self::Cpu)
    }

    /// As people see it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Device(device) if device.is_cpu() => "twin",
            Self::Device(_) => "cuda",
        }
    }
}

/// Whether products of f32 on a GPU may read 19 bits of each value (TF32); they read all 32 unless this allows it.
#[cfg(feature = "cuda")]
pub fn allow_tf32(allowed: bool) {
    candle_core::cuda::set_gemm_reduced_precision_f32(allowed);
}

/// Nothing here reads fewer bits than it is given.
#[cfg(not(feature = "cuda"))]
pub fn allow_tf32(_: bool) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_twin_is_not_the_cpu_engine_though_its_tensors_are_on_the_cpu() {
        assert!(Backend::Cpu.is_cpu() && !Backend::TWIN.is_cpu());
        assert!(Backend::TWIN.device().is_cpu() && Backend::of(Device::Cpu).is_cpu());
        assert_eq!([Backend::Cpu, Backend::TWIN].map(|one| one.kind()), ["cpu", "twin"]);
    }
}
