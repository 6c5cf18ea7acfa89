//! A weight matrix applied to rows, in the form that is fastest on this processor, and the layer norm that goes with it.

use std::sync::Arc;

use candle_core::quantized::{GgmlDType, QMatMul, QTensor};
use candle_core::{Device, Result, Tensor};
use candle_nn::Module;
use candle_nn::ops::layer_norm;

use super::weights::{Flaw, Source};

/// How the large matrices of the backbone and the flow head are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// As in the file: four bytes a number.
    Single,
    /// Eight bits a number and a scale for each 32 of them. A frame reads every weight once, so it is memory that limits it.
    #[default]
    Eight,
}

/// Row lengths that the integer kernels take.
const KERNEL_ROW: usize = 256;

#[derive(Debug)]
enum Weight {
    /// `[inputs, outputs]`, the inputs adjacent.
    Dense(Tensor),
    Quantised(QMatMul),
}

/// `outputs` × `inputs`, with or without a bias.
#[derive(Debug)]
pub(super) struct Linear {
    weight: Weight,
    bias: Option<Tensor>,
}

impl Linear {
    /// `name.weight`, and `name.bias` if it is `biased`.
    pub fn load(
        source: &mut dyn Source,
        name: &str,
        (inputs, outputs): (usize, usize),
        biased: bool,
        precision: Precision,
    ) -> std::result::Result<Self, Flaw> {
        let weight = source.tensor(&format!("{name}.weight"), &[outputs, inputs])?;
        let bias = match biased {
            true => Some(source.tensor(&format!("{name}.bias"), &[outputs])?),
            false => None,
        };
        Self::new(&weight, bias, precision).map_err(|error| format!("`{name}`: {error}"))
    }

    /// Of a weight `[outputs, inputs]`.
    pub fn new(weight: &Tensor, bias: Option<Tensor>, precision: Precision) -> Result<Self> {
        let (_, inputs) = weight.dims2()?;
        let weight = if precision == Precision::Eight && inputs.is_multiple_of(KERNEL_ROW) {
            let quantised = QTensor::quantize(weight, GgmlDType::Q8_0)?;
            Weight::Quantised(QMatMul::from_arc(Arc::new(quantised))?)
        } else {
            Weight::Dense(weight.t()?)
        };
        Ok(Self { weight, bias })
    }

    /// `[rows, inputs]` to `[rows, outputs]`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let y = match &self.weight {
            Weight::Dense(weight) => x.matmul(weight)?,
            Weight::Quantised(weight) => weight.forward(x)?,
        };
        match &self.bias {
            Some(bias) => y.broadcast_add(bias),
            None => Ok(y),
        }
    }
}

#[derive(Debug)]
pub(super) struct Norm {
    weight: Tensor,
    bias: Tensor,
    epsilon: f32,
}

impl Norm {
    pub fn load(source: &mut dyn Source, name: &str, width: usize, epsilon: f32) -> std::result::Result<Self, Flaw> {
        let weight = source.tensor(&format!("{name}.weight"), &[width])?;
        let bias = source.tensor(&format!("{name}.bias"), &[width])?;
        Ok(Self { weight, bias, epsilon })
    }

    /// Without a scale or a shift of its own.
    pub fn plain(width: usize, epsilon: f32) -> Result<Self> {
        let weight = Tensor::from_vec(vec![1.0_f32; width], width, &Device::Cpu)?;
        let bias = Tensor::from_vec(vec![0.0_f32; width], width, &Device::Cpu)?;
        Ok(Self { weight, bias, epsilon })
    }

    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        layer_norm(x, &self.weight, &self.bias, self.epsilon)
    }
}
