//! Mimi, the codec between latents (12.5 a second) and samples: the decoder that speaks, and the encoder that hears a voice.
//!
//! Both are streams over state that the caller owns. The encoder is fed a second at a time whatever the length of the recording, so a
//! long one costs time, not memory.

use candle_core::{Device, Result, Tensor};

use super::config::{CodecTransformer, Mimi};
use super::conv::{Before, Conv, Tail, Up, Window};
use super::linear::{Linear, Precision};
use super::past::Past;
use super::seanet::{SeaNet, SeaNetTails};
use super::transformer::{Segment, Sizes, Transformer, Wanted};
use super::weights::{Flaw, Source};

/// Latents' worth of samples that the encoder reads at once.
const CHUNK_FRAMES: usize = 12;

/// A transformer between projections, where the widths differ.
#[derive(Debug)]
struct Projected {
    input: Option<Linear>,
    transformer: Transformer,
    output: Option<Linear>,
}

impl Projected {
    fn load(
        source: &mut dyn Source,
        name: &str,
        dimension: usize,
        config: &CodecTransformer,
    ) -> std::result::Result<Self, Flaw> {
        let width = config.d_model;
        let sizes = Sizes {
            width,
            heads: config.num_heads,
            key_heads: config.num_heads,
            attended: width,
            inner: config.dim_feedforward,
            layers: config.num_layers,
            period: config.max_period,
            window: Some(config.context),
            scaled: true,
        };
        let mut project = |part: &str, shape| match dimension == width {
            true => Ok(None),
            false => Linear::load(source, &format!("{name}.{part}"), shape, false, Precision::Single).map(Some),
        };
        let input = project("input_proj", (dimension, width))?;
        let output = project("output_projs.0", (width, dimension))?;
        let transformer = Transformer::load(source, &format!("{name}.transformer"), sizes, Precision::Single)?;
        Ok(Self { input, transformer, output })
    }

    fn forward(&self, x: Tensor, past: &mut Past) -> Result<Tensor> {
        let x = self.input.as_ref().map_or(Ok(x.clone()), |input| input.forward(&x))?;
        let rows = x.dim(0)?;
        let y = self.transformer.forward(&x, &mut [Segment { past, rows }], Wanted::All)?;
        self.output.as_ref().map_or(Ok(y.clone()), |output| output.forward(&y))
    }
}

#[derive(Debug)]
pub(super) struct Decoder {
    widen: Linear,
    upsample: Up,
    transformer: Projected,
    seanet: SeaNet,
}

/// What one speech's audio keeps from frame to frame.
#[derive(Debug)]
pub(super) struct DecoderState {
    upsample: Tail,
    past: Past,
    tails: SeaNetTails,
}

impl Decoder {
    pub fn load(source: &mut dyn Source, config: &Mimi) -> std::result::Result<Self, Flaw> {
        let (latent, outer) = (config.quantizer.dimension, config.outer_dim);
        let weight = source.tensor("mimi.quantizer.output_proj.weight", &[outer, latent, 1])?;
        let widen = weight.squeeze(2).and_then(|weight| Linear::new(&weight, None, Precision::Single));
        Ok(Self {
            widen: widen.map_err(|error| error.to_string())?,
            upsample: Up::channelwise(source, "mimi.upsample.convtr.convtr", outer, config.stride())?,
            transformer: Projected::load(
                source,
                "mimi.decoder_transformer",
                config.decoder_seanet().dimension,
                config.decoder_transformer(),
            )?,
            seanet: SeaNet::decoder(source, "mimi.decoder", config.decoder_seanet())?,
        })
    }

    pub fn start(&self) -> DecoderState {
        DecoderState {
            upsample: Tail::default(),
            past: Past::new(self.transformer.transformer.sizes().past()),
            tails: self.seanet.tails(),
        }
    }

    /// Latents `[frames, latent]` to their samples.
    pub fn forward(&self, latents: &Tensor, state: &mut DecoderState) -> Result<Vec<f32>> {
        let steps = self.upsample.forward(&self.widen.forward(latents)?, &mut state.upsample)?;
        let steps = self.transformer.forward(steps, &mut state.past)?;
        self.seanet.forward(&steps, &mut state.tails)?.flatten_all()?.to_vec1()
    }
}

#[derive(Debug)]
pub(super) struct Encoder {
    seanet: SeaNet,
    transformer: Projected,
    downsample: Conv,
    frame: usize,
}

impl Encoder {
    pub fn load(source: &mut dyn Source, config: &Mimi) -> std::result::Result<Self, Flaw> {
        let dimension = config.seanet.dimension;
        let window = Window {
            inputs: dimension,
            outputs: config.inner_dim,
            kernel: 2 * config.stride(),
            stride: config.stride(),
            dilation: 1,
        };
        Ok(Self {
            seanet: SeaNet::encoder(source, "mimi.encoder", &config.seanet)?,
            transformer: Projected::load(source, "mimi.encoder_transformer", dimension, &config.transformer)?,
            downsample: Conv::unbiased(source, "mimi.downsample.conv.conv", window, Before::First)?,
            frame: config.frame_samples(),
        })
    }

    /// Samples, filled up to whole frames with silence, to `[frames, inner]`.
    pub fn forward(&self, samples: &[f32]) -> Result<Tensor> {
        let mut tails = self.seanet.tails();
        let mut past = Past::new(self.transformer.transformer.sizes().past());
        let mut tail = Tail::default();
        let mut frames = Vec::new();
        for chunk in samples.chunks(CHUNK_FRAMES * self.frame) {
            let mut chunk = chunk.to_vec();
            chunk.resize(chunk.len().next_multiple_of(self.frame), 0.0);
            let chunk = Tensor::from_vec(chunk, ((), 1), &Device::Cpu)?;
            let steps = self.transformer.forward(self.seanet.forward(&chunk, &mut tails)?, &mut past)?;
            frames.push(self.downsample.forward(&steps, &mut tail)?);
        }
        if frames.is_empty() {
            candle_core::bail!("there is no audio to encode");
        }
        Tensor::cat(&frames, 0)
    }
}
