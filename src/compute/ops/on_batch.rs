//! The operations that a graph is made of, on one batch: in their plain form, or in that of a device.

use candle_core::{DType, Result, Tensor};

use super::attention::by_sequence;
use super::{
    Activation, Attending, Dropout, Relative, activate, add_layer_norm, attention, convolve,
    device, dropout, embed, first_token, gate, linear, mean_token, rotate, row_linear,
    sequence_places,
};
use crate::compute::{Backend, Packed, Precision};

/// The operations on one batch.
#[derive(Debug)]
pub struct OnBatch<'a> {
    pub batch: &'a Packed,
    /// (row, position) of each token.
    places: Vec<(u64, u32)>,
    /// What the device engine knows of the batch; without it operations are plain.
    device: Option<device::Batch>,
    /// What the products of layers read.
    products: DType,
}

impl<'a> OnBatch<'a> {
    /// For tensors of a network that computes there. The products of its layers read values at a precision in the
    /// device engine, bf16 or f32; plain ones read what they are given.
    pub fn new(batch: &'a Packed, backend: &Backend, precision: Precision) -> Result<Self> {
        let device = match backend {
            Backend::Cpu => None,
            Backend::Device(device) => Some(device::Batch::new(batch, device)?),
        };
        let products = if precision == Precision::Bf16 { DType::BF16 } else { DType::F32 };
        Ok(Self { batch, places: batch.places(), device, products })
    }

    /// [`linear`] of a layer, at the precision of layers.
    pub fn layer_linear(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: Option<&Tensor>,
    ) -> Result<Tensor> {
        match self.device {
            Some(_) => device::linear(x, weight, bias, self.products),
            None => linear(x, weight, bias),
        }
    }

    /// [`linear`].
    pub fn linear(&self, x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
        match self.device {
            Some(_) => device::linear(x, weight, bias, DType::F32),
            None => linear(x, weight, bias),
        }
    }

    /// [`row_linear`].
    pub fn row_linear(&self, x_bd: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
        match self.device {
            Some(_) => device::linear(x_bd, weight, Some(bias), DType::F32),
            None => row_linear(x_bd, weight, bias),
        }
    }

    /// [`add_layer_norm`].
    pub fn add_layer_norm(
        &self,
        x: &Tensor,
        residual: Option<&Tensor>,
        gamma_beta: &Tensor,
        epsilon: f64,
    ) -> Result<Tensor> {
        match self.device {
            Some(_) => device::add_layer_norm(x, residual, gamma_beta, epsilon),
            None => add_layer_norm(x, residual, gamma_beta, epsilon),
        }
    }

    /// The sum of two tensors of which one may have passed through a product of layers.
    pub fn add(&self, x: &Tensor, other: &Tensor) -> Result<Tensor> {
        x + other.to_dtype(x.dtype())?
    }

    /// [`activate`].
    pub fn activate(&self, x: &Tensor, activation: Activation) -> Result<Tensor> {
        match self.device {
            Some(_) => device::activate(x, activation),
            None => activate(x, activation),
        }
    }

    /// [`gate`].
    pub fn gate(&self, ab_pf: &Tensor, activation: Activation) -> Result<Tensor> {
        if self.device.is_none() {
            return gate(ab_pf, activation);
        }
        let wide = ab_pf.dim(1)? / 2;
        self.activate(&ab_pf.narrow(1, 0, wide)?, activation)? * ab_pf.narrow(1, wide, wide)?
    }

    /// [`dropout`] of a line for each token.
    pub fn drop_tokens(&self, x_pd: &Tensor, noise: Option<Dropout>) -> Result<Tensor> {
        match (&self.device, noise.and_then(Dropout::factors)) {
            (Some(own), Some(factors)) => own.drop_tokens(x_pd, factors),
            _ => dropout(x_pd, &self.places, noise),
        }
    }

    /// [`dropout`] of a line for each sequence.
    pub fn drop_sequences(&self, x_bd: &Tensor, noise: Option<Dropout>) -> Result<Tensor> {
        match (&self.device, noise.and_then(Dropout::factors)) {
            (Some(own), Some(factors)) => own.drop_sequences(x_bd, factors),
            _ => dropout(x_bd, &sequence_places(self.batch), noise),
        }
    }

    /// [`dropout`] of lines at other places.
    pub fn drop_lines(
        &self,
        x: &Tensor,
        places: &[(u64, u32)],
        noise: Option<Dropout>,
    ) -> Result<Tensor> {
        match (&self.device, noise.and_then(Dropout::factors)) {
            (Some(own), Some(factors)) => {
                let places = device::places(places.iter().copied(), own.device())?;
                device::dropout(x, &places, factors)
            }
            _ => dropout(x, places, noise),
        }
    }

    /// [`embed`].
    pub fn embed(&self, table_vd: &Tensor, ids_p: &[u32]) -> Result<Tensor> {
        match &self.device {
            Some(own) => own.embed(table_vd, ids_p),
            None => embed(table_vd, ids_p),
        }
    }

    /// [`rotate`].
    pub fn rotate(&self, qkv_pe: &Tensor, heads: usize, theta: f64) -> Result<Tensor> {
        match &self.device {
            Some(own) => own.rotate(qkv_pe, heads, theta),
            None => {
                let in_text: Vec<u32> = self.places.iter().map(|&(_, place)| place).collect();
                rotate(qkv_pe, &in_text, heads, theta)
            }
        }
    }

    /// [`attention`]. In the device engine, disentangled attention is that of one sequence after another, in f32.
    pub fn attention(
        &self,
        qkv_pe: &Tensor,
        attending: Attending<'_>,
        noise: Option<Dropout>,
    ) -> Result<Tensor> {
        let Some(own) = &self.device else {
            return attention(qkv_pe, self.batch, attending, noise);
        };
        let bias = match attending.relative {
            None => None,
            Some(Relative::Bias { table_rh, rows }) => Some((table_rh, rows.as_ref())),
            Some(Relative::Disentangled(_)) => {
                let qkv_pe = qkv_pe.to_dtype(DType::F32)?;
                return by_sequence(&qkv_pe, self.batch, attending, |weights, row| {
                    let (heads, length, _) = weights.dims3()?;
                    let lines: Vec<_> =
                        (0..heads * length).map(|line| (row, line as u32)).collect();
                    let flat = weights.reshape((heads * length, length))?;
                    self.drop_lines(&flat, &lines, noise)?.reshape(weights.shape())
                });
            }
        };
        let head_width = qkv_pe.dim(1)? / 3 / attending.heads;
        let softmax = device::Softmax {
            scale: (1.0 / (head_width as f64).sqrt()) as f32,
            window: attending.window.map(|window| window as u32),
            dropout: noise.and_then(Dropout::factors),
        };
        own.attention(qkv_pe, attending.heads, softmax, bias)
    }

    /// [`convolve`].
    pub fn convolve(
        &self,
        x_pd: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        groups: usize,
    ) -> Result<Tensor> {
        convolve(x_pd, weight, bias, self.batch, groups)
    }

    /// [`first_token`].
    pub fn first_token(&self, x_pd: &Tensor) -> Result<Tensor> {
        match &self.device {
            Some(own) => own.first_token(x_pd),
            None => first_token(x_pd, self.batch),
        }
    }

    /// [`mean_token`].
    pub fn mean_token(&self, x_pd: &Tensor) -> Result<Tensor> {
        match &self.device {
            Some(own) => own.mean_token(x_pd),
            None => mean_token(x_pd, self.batch),
        }
    }
}
