//! Which device a command runs on, and why.

use std::str::FromStr;

use candle_core::Device;
use serde::Serialize;

/// What the user asked for with `--device`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// A CUDA device if this build and this machine have one, else the CPU.
    #[default]
    Auto,
    Cpu,
    /// The CUDA device of this index.
    Cuda(usize),
    /// The operations of the CUDA engine on the CPU, for tests.
    Twin,
}

/// A device and the reason for it, to be shown to the user.
#[derive(Clone, Debug)]
pub struct Selected {
    pub device: Device,
    /// Why: one clause without a final stop.
    pub reason: String,
    /// What is known of the card, where the device is one.
    pub card: Option<Card>,
}

/// A CUDA card and what drives it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Card {
    pub name: String,
    /// Such as `9.0`.
    pub compute_capability: String,
    pub memory_bytes: usize,
    /// What was free when the device was opened.
    pub free_bytes: usize,
    /// The driver's release, where the system tells.
    pub driver: Option<String>,
    /// The newest CUDA that the driver supports.
    pub driver_cuda: String,
    /// The CUDA that this binary was built with.
    pub toolkit: String,
}

/// Why a device cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// The name is none of the known ones.
    #[error("unknown device `{0}`; use `auto`, `cpu`, `cuda` or `cuda:N`")]
    Unknown(String),
    /// This binary was built without CUDA.
    #[error(
        "device `cuda:{0}` is not available because this build has no CUDA support (build with \
         `--features cuda`); use `--device cpu` or `--device auto`"
    )]
    NotBuilt(usize),
    #[error("device `cuda:{index}` cannot be used: {reason}; {advice}, or use `--device cpu`")]
    Unavailable {
        /// The index asked for.
        index: usize,
        /// What stands in the way: one clause without a final stop.
        reason: String,
        /// What to do: a clause that begins with a verb.
        advice: String,
    },
}

impl FromStr for DeviceChoice {
    type Err = DeviceError;

    fn from_str(text: &str) -> Result<Self, DeviceError> {
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "twin" => Ok(Self::Twin),
            "cuda" => Ok(Self::Cuda(0)),
            _ => text
                .strip_prefix("cuda:")
                .and_then(|index| index.parse().ok())
                .map(Self::Cuda)
                .ok_or_else(|| DeviceError::Unknown(text.to_owned())),
        }
    }
}

/// Opens the device. `auto` never fails; an explicit device that cannot be had is an error.
pub fn select(choice: DeviceChoice) -> Result<Selected, DeviceError> {
    let cpu =
        |reason: &str| Selected { device: Device::Cpu, reason: reason.to_owned(), card: None };
    let on_card = |(device, card), reason: &str| Selected {
        device,
        reason: reason.to_owned(),
        card: Some(card),
    };
    match choice {
        DeviceChoice::Cpu => Ok(cpu("asked for")),
        DeviceChoice::Twin => Ok(cpu("the CUDA engine's operations on the CPU")),
        DeviceChoice::Cuda(index) => Ok(on_card(cuda(index)?, "asked for")),
        DeviceChoice::Auto => Ok(match cuda(0) {
            Ok(opened) => on_card(opened, "a CUDA device was found"),
            Err(DeviceError::NotBuilt(_)) => cpu("this build has no CUDA support"),
            Err(DeviceError::Unavailable { reason, .. }) => cpu(&reason),
            Err(error) => cpu(&error.to_string()),
        }),
    }
}

#[cfg(feature = "cuda")]
fn cuda(index: usize) -> Result<(Device, Card), DeviceError> {
    super::cuda::open(index).map_err(|trouble| DeviceError::Unavailable {
        index,
        reason: trouble.to_string(),
        advice: trouble.advice().to_owned(),
    })
}

#[cfg(not(feature = "cuda"))]
fn cuda(index: usize) -> Result<(Device, Card), DeviceError> {
    Err(DeviceError::NotBuilt(index))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_parsed_and_others_refused() {
        assert_eq!("cuda:3".parse::<DeviceChoice>().unwrap(), DeviceChoice::Cuda(3));
        assert_eq!("cuda".parse::<DeviceChoice>().unwrap(), DeviceChoice::Cuda(0));
        for wrong in ["gpu", "cuda:", "cuda:x", "CPU"] {
            let message = wrong.parse::<DeviceChoice>().unwrap_err().to_string();
            assert!(message.contains(wrong) && message.contains("`auto`"), "{message}");
        }
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn an_explicit_device_that_cannot_be_had_is_an_error() {
        assert!(matches!(select(DeviceChoice::Cuda(1)), Err(DeviceError::NotBuilt(1))));
        let selected = select(DeviceChoice::Auto).unwrap();
        assert!(selected.device.is_cpu());
        assert!(selected.reason.contains("no CUDA"));
    }
}
