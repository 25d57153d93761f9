//! The flag of the commands that predict: at which precision.

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};

use crate::compute::{Backend, Precision};

/// What the products in the layers are computed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Name {
    /// On the CPU the fastest that the model has a certificate for and the CPU instructions for, else f32
    Auto,
    /// As the model was trained and calibrated
    F32,
    /// 16 bits, faster; needs a GPU or AVX512-BF16
    Bf16,
    /// 8 bits, faster still; on the CPU, needs AVX512-VNNI
    Int8,
}

#[derive(Clone, Copy, Debug, Args)]
pub struct PrecisionFlag {
    /// Precision of the products in the encoder's layers; on a GPU f32 or bf16
    #[arg(long, value_enum, default_value_t = Name::Auto, env = "BAYES_PRECISION")]
    precision: Name,
}

impl PrecisionFlag {
    /// Nothing for `auto`. Refuses what this device has no instructions for.
    pub fn on(self, device: &Backend) -> Result<Option<Precision>> {
        let precision = match self.precision {
            Name::Auto => return Ok(None),
            Name::F32 => Precision::F32,
            Name::Bf16 => Precision::Bf16,
            Name::Int8 => Precision::Int8,
        };
        match (precision, device.is_cpu()) {
            (Precision::F32, _) | (Precision::Bf16, false) => {}
            (_, true) => {
                if let Err(why) = precision.check() {
                    bail!("--precision {precision}: {why}");
                }
            }
            (Precision::Int8, false) => bail!(
                "--precision {precision} is for the CPU; use --device cpu, --precision bf16 or --precision f32"
            ),
        }
        Ok(Some(precision))
    }
}
