//! Causal convolutions over time, as streams: a chunk of rows in, a chunk of rows out, and what the next chunk needs of this one kept by
//! the speech that it belongs to.
//!
//! Rows are time steps and columns channels, so that every convolution is one matrix product: windows are laid side by side, and a
//! transposed convolution makes two steps' worth of output a row, which are added where they overlap.

use candle_core::{Device, Result, Tensor};

use super::weights::{Flaw, Source};

/// The sizes of one convolution.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    pub inputs: usize,
    pub outputs: usize,
    pub kernel: usize,
    pub stride: usize,
    pub dilation: usize,
}

impl Window {
    /// Rows before a chunk that its first output sees.
    fn reach(&self) -> usize {
        ((self.kernel - 1) * self.dilation + 1).saturating_sub(self.stride)
    }
}

/// What stands before the first row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Before {
    Silence,
    /// The first row, again and again.
    First,
}

/// The rows that the next chunk needs; nothing before the first one.
#[derive(Debug, Default)]
pub(super) struct Tail(Option<Vec<f32>>);

#[derive(Debug)]
pub(super) struct Conv {
    window: Window,
    /// `[kernel × inputs, outputs]`.
    weight: Tensor,
    bias: Option<Tensor>,
    before: Before,
    /// The input goes through an exponential linear unit first.
    activated: bool,
}

impl Conv {
    pub fn load(
        source: &mut dyn Source,
        name: &str,
        window: Window,
        activated: bool,
    ) -> std::result::Result<Self, Flaw> {
        let bias = source.tensor(&format!("{name}.bias"), &[window.outputs])?;
        Self::unbiased(source, name, window, Before::Silence).map(|conv| Self { bias: Some(bias), activated, ..conv })
    }

    pub fn unbiased(
        source: &mut dyn Source,
        name: &str,
        window: Window,
        before: Before,
    ) -> std::result::Result<Self, Flaw> {
        let Window { inputs, outputs, kernel, .. } = window;
        let weight = source.tensor(&format!("{name}.weight"), &[outputs, inputs, kernel])?;
        let weight = weight.permute((2, 1, 0)).and_then(|weight| weight.reshape((kernel * inputs, outputs)));
        let weight = weight.map_err(|error| format!("`{name}`: {error}"))?;
        Ok(Self { window, weight, bias: None, before, activated: false })
    }

    /// `[rows, inputs]`, rows a multiple of the stride, to `[rows / stride, outputs]`.
    pub fn forward(&self, x: &Tensor, tail: &mut Tail) -> Result<Tensor> {
        let Window { inputs, outputs, kernel, stride, dilation } = self.window;
        let mut fresh = x.flatten_all()?.to_vec1::<f32>()?;
        if self.activated {
            activate(&mut fresh);
        }
        let rows = fresh.len() / inputs;
        let reach = self.window.reach();
        let seen = if reach == 0 {
            fresh
        } else {
            let mut seen = tail.0.take().unwrap_or_else(|| match self.before {
                Before::Silence => vec![0.0; reach * inputs],
                Before::First => fresh.get(..inputs).unwrap_or_default().repeat(reach),
            });
            seen.extend_from_slice(&fresh);
            tail.0 = Some(seen.get(rows * inputs..).unwrap_or_default().to_vec());
            seen
        };
        let count = rows / stride;
        let windows = if kernel == 1 && stride == 1 {
            seen
        } else {
            let mut windows = Vec::with_capacity(count * kernel * inputs);
            for at in 0..count {
                let first = at * stride * inputs;
                if dilation == 1 {
                    windows.extend_from_slice(seen.get(first..first + kernel * inputs).unwrap_or_default());
                } else {
                    for tap in 0..kernel {
                        let row = first + tap * dilation * inputs;
                        windows.extend_from_slice(seen.get(row..row + inputs).unwrap_or_default());
                    }
                }
            }
            windows
        };
        let y = Tensor::from_vec(windows, (count, kernel * inputs), &Device::Cpu)?.matmul(&self.weight)?;
        debug_assert_eq!(y.dims(), [count, outputs]);
        match &self.bias {
            Some(bias) => y.broadcast_add(bias),
            None => Ok(y),
        }
    }
}

/// A transposed convolution whose kernel is two strides long: each row becomes `stride` rows.
#[derive(Debug)]
pub(super) struct Up {
    stride: usize,
    outputs: usize,
    /// `[inputs, 2 × stride × outputs]`; for channels that do not mix, `[2 × stride, outputs]`.
    weight: Tensor,
    bias: Option<Tensor>,
    mixing: bool,
}

impl Up {
    /// From `inputs` channels to `outputs`, after an exponential linear unit.
    pub fn load(
        source: &mut dyn Source,
        name: &str,
        (inputs, outputs): (usize, usize),
        stride: usize,
    ) -> std::result::Result<Self, Flaw> {
        let kernel = 2 * stride;
        let weight = source.tensor(&format!("{name}.weight"), &[inputs, outputs, kernel])?;
        let weight = weight.transpose(1, 2).and_then(|weight| weight.reshape((inputs, kernel * outputs)));
        let weight = weight.map_err(|error| format!("`{name}`: {error}"))?;
        let bias = Some(source.tensor(&format!("{name}.bias"), &[outputs])?);
        Ok(Self { stride, outputs, weight, bias, mixing: true })
    }

    /// Channel by channel, without a bias.
    pub fn channelwise(
        source: &mut dyn Source,
        name: &str,
        channels: usize,
        stride: usize,
    ) -> std::result::Result<Self, Flaw> {
        let weight = source.tensor(&format!("{name}.weight"), &[channels, 1, 2 * stride])?;
        let weight = weight.squeeze(1).and_then(|weight| weight.t()?.contiguous());
        let weight = weight.map_err(|error| format!("`{name}`: {error}"))?;
        Ok(Self { stride, outputs: channels, weight, bias: None, mixing: false })
    }

    /// `[rows, inputs]` to `[rows × stride, outputs]`.
    pub fn forward(&self, x: &Tensor, tail: &mut Tail) -> Result<Tensor> {
        let rows = x.dim(0)?;
        let half = self.stride * self.outputs;
        let wide = if self.mixing {
            let mut fresh = x.flatten_all()?.to_vec1::<f32>()?;
            activate(&mut fresh);
            Tensor::from_vec(fresh, x.shape(), &Device::Cpu)?.matmul(&self.weight)?
        } else {
            x.unsqueeze(1)?.broadcast_mul(&self.weight.unsqueeze(0)?)?
        };
        let wide = wide.flatten_all()?.to_vec1::<f32>()?;
        let bias = self.bias.as_ref().map(Tensor::to_vec1::<f32>).transpose()?;
        let mut out = Vec::with_capacity(rows * half);
        let mut overlap = tail.0.take().unwrap_or_else(|| vec![0.0; half]);
        for row in wide.chunks_exact(2 * half) {
            let (now, later) = row.split_at(half);
            out.extend(now.iter().zip(&overlap).map(|(now, before)| now + before));
            overlap.copy_from_slice(later);
        }
        tail.0 = Some(overlap);
        if let Some(bias) = bias {
            for row in out.chunks_exact_mut(self.outputs) {
                row.iter_mut().zip(&bias).for_each(|(value, bias)| *value += bias);
            }
        }
        Tensor::from_vec(out, (rows * self.stride, self.outputs), &Device::Cpu)
    }
}

/// The exponential linear unit.
fn activate(values: &mut [f32]) {
    for value in values {
        if *value < 0.0 {
            *value = value.exp() - 1.0;
        }
    }
}
