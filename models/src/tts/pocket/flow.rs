//! The flow head: from noise and what the backbone thinks comes next, a latent, in one step.
//!
//! The times of that step are always the same, so their embedding is computed once, when the weights are loaded; and all layers'
//! modulations depend on the same input, so they are one matrix.

use candle_core::{D, Device, Result, Tensor};
use candle_nn::ops::silu;

use super::config::{Config, FlowKind};
use super::linear::{Linear, Norm, Precision};
use super::weights::{Flaw, Source};

const EPSILON: f32 = 1e-6;
/// Of the norm that ends the embedding of a time.
const TIME_EPSILON: f64 = 1e-5;
/// Cosines and sines that a time becomes.
const TIME_WAVES: usize = 256;

#[derive(Debug)]
struct Block {
    norm: Norm,
    first: Linear,
    second: Linear,
}

#[derive(Debug)]
pub(super) struct FlowHead {
    kind: FlowKind,
    dim: usize,
    condition: Linear,
    /// What the times of the one step add to the condition.
    times: Option<Tensor>,
    input: Linear,
    /// Shift, scale and gate of every block, then shift and scale of the end.
    modulation: Linear,
    blocks: Vec<Block>,
    final_norm: Norm,
    output: Linear,
}

impl FlowHead {
    pub fn load(source: &mut dyn Source, config: &Config, precision: Precision) -> std::result::Result<Self, Flaw> {
        const NAME: &str = "flow_lm.flow_net";
        let (flow, latent) = (&config.flow_lm.flow, config.mimi.quantizer.dimension);
        let dim = flow.dim;
        let mut weights = Vec::new();
        let mut biases = Vec::new();
        let mut modulate = |source: &mut dyn Source, name: &str, parts: usize| -> std::result::Result<(), Flaw> {
            weights.push(source.tensor(&format!("{name}.weight"), &[parts * dim, dim])?);
            biases.push(source.tensor(&format!("{name}.bias"), &[parts * dim])?);
            Ok(())
        };
        let mut blocks = Vec::with_capacity(flow.depth);
        for depth in 0..flow.depth {
            let name = format!("{NAME}.res_blocks.{depth}");
            modulate(source, &format!("{name}.adaLN_modulation.1"), 3)?;
            blocks.push(Block {
                norm: Norm::load(source, &format!("{name}.in_ln"), dim, EPSILON)?,
                first: Linear::load(source, &format!("{name}.mlp.0"), (dim, dim), true, precision)?,
                second: Linear::load(source, &format!("{name}.mlp.2"), (dim, dim), true, precision)?,
            });
        }
        modulate(source, &format!("{NAME}.final_layer.adaLN_modulation.1"), 2)?;
        let modulation = Tensor::cat(&weights, 0)
            .and_then(|weight| Linear::new(&weight, Some(Tensor::cat(&biases, 0)?), precision))
            .map_err(|error| error.to_string())?;
        let times = match flow.kind {
            FlowKind::Lsd => Some(step_times(source, &format!("{NAME}.time_embed"), dim)?),
            FlowKind::Drifting | FlowKind::Pointwise => None,
        };
        let linear = |source: &mut dyn Source, part: &str, shape, precision| {
            Linear::load(source, &format!("{NAME}.{part}"), shape, true, precision)
        };
        Ok(Self {
            kind: flow.kind,
            dim,
            condition: linear(source, "cond_embed", (config.head_width(), dim), precision)?,
            times,
            input: linear(source, "input_proj", (latent, dim), Precision::Single)?,
            modulation,
            blocks,
            final_norm: Norm::plain(dim, EPSILON).map_err(|error| error.to_string())?,
            output: linear(source, "final_layer.linear", (dim, latent), Precision::Single)?,
        })
    }

    /// `noise`, `[rows, latent]`, under what the backbone said, `[rows, head width]`, to latents.
    pub fn forward(&self, said: &Tensor, noise: &Tensor) -> Result<Tensor> {
        let mut condition = self.condition.forward(said)?;
        if let Some(times) = &self.times {
            condition = condition.broadcast_add(times)?;
        }
        let modulation = self.modulation.forward(&silu(&condition)?)?;
        let part = |index: usize| modulation.narrow(D::Minus1, index * self.dim, self.dim);
        let mut x = self.input.forward(noise)?;
        for (index, block) in self.blocks.iter().enumerate() {
            let at = 3 * index;
            let h = modulated(&block.norm, &x, &part(at)?, &part(at + 1)?)?;
            let h = block.second.forward(&silu(&block.first.forward(&h)?)?)?;
            x = (x + (h * part(at + 2)?)?)?;
        }
        let at = 3 * self.blocks.len();
        let flow = self.output.forward(&modulated(&self.final_norm, &x, &part(at)?, &part(at + 1)?)?)?;
        match self.kind {
            FlowKind::Lsd | FlowKind::Pointwise => flow + noise,
            FlowKind::Drifting => Ok(flow),
        }
    }
}

fn modulated(norm: &Norm, x: &Tensor, shift: &Tensor, scale: &Tensor) -> Result<Tensor> {
    let normed = norm.forward(x)?;
    (&normed * scale)? + normed + shift
}

/// The mean embedding of time 0, where the step begins, and time 1, where it ends: `[1, dim]`.
fn step_times(source: &mut dyn Source, name: &str, dim: usize) -> std::result::Result<Tensor, Flaw> {
    let mut embeddings = Vec::with_capacity(2);
    for (index, time) in [0.0_f32, 1.0].into_iter().enumerate() {
        let name = format!("{name}.{index}");
        let frequencies = source.values(&format!("{name}.freqs"), &[TIME_WAVES / 2])?;
        let first = Linear::load(source, &format!("{name}.mlp.0"), (TIME_WAVES, dim), true, Precision::Single)?;
        let second = Linear::load(source, &format!("{name}.mlp.2"), (dim, dim), true, Precision::Single)?;
        let scale = source.tensor(&format!("{name}.mlp.3.alpha"), &[dim])?;
        let angles = || frequencies.iter().map(|frequency| frequency * time);
        let waves: Vec<f32> = angles().map(f32::cos).chain(angles().map(f32::sin)).collect();
        let embed = || {
            let waves = Tensor::from_vec(waves, (1, TIME_WAVES), &Device::Cpu)?;
            let y = second.forward(&silu(&first.forward(&waves)?)?)?;
            // The reference's norm divides by the spread about the mean, but leaves the mean in.
            let spread = (y.var_keepdim(D::Minus1)? + TIME_EPSILON)?.sqrt()?;
            y.broadcast_mul(&scale)?.broadcast_div(&spread)
        };
        embeddings.push(embed().map_err(|error| error.to_string())?);
    }
    let mean = || -> Result<Tensor> {
        let [start, end] = embeddings.as_slice() else { candle_core::bail!("a step has two times") };
        (start + end)? / 2.0
    };
    mean().map_err(|error| error.to_string())
}
