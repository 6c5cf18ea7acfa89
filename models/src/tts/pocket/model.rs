//! The model: one copy of the weights, and the steps that every speech takes through it.
//!
//! A speech is two states that belong to nobody else: [`Thinking`], which the backbone extends by a latent a step, and
//! [`DecoderState`], which the codec extends by that latent's 80 ms of audio. Any number of speeches may be extended by one step of the
//! backbone together.

use candle_core::{Device, Result, Tensor};
use sha2::{Digest, Sha256};

use super::codec::{Decoder, DecoderState, Encoder};
use super::config::Config;
use super::flow::FlowHead;
use super::linear::{Linear, Norm, Precision};
use super::past::Past;
use super::transformer::{Segment, Sizes, Transformer, Wanted};
use super::voice::VoiceState;
use super::weights::{Flaw, Source};

/// The end is not believed before this many frames: some voices' end logit is high before the first word.
const FRAMES_BEFORE_END: usize = 6;
/// By how many text tokens a second the longest speech of a text is estimated, and what is added to it.
const TOKENS_PER_SECOND: f32 = 3.0;
const SECONDS_ADDED: f32 = 2.0;
/// Rows of a voice that the backbone reads at once.
const VOICE_ROWS: usize = 512;
const NORM_EPSILON: f32 = 1e-5;

/// Fills a slice with standard normal noise.
pub(super) type Noise = Box<dyn FnMut(&mut [f32]) + Send>;

#[derive(Debug)]
pub(super) struct Model {
    pub config: Config,
    /// Identifies the weights, so that a voice computed with others is refused.
    pub fingerprint: String,
    embedding: Tensor,
    embedding_projection: Option<Linear>,
    input: Linear,
    /// What stands for the latent before the first one.
    beginning: Vec<f32>,
    before_voice: Option<Tensor>,
    voice_projection: Linear,
    backbone: Transformer,
    norm: Norm,
    projection: Option<Linear>,
    end: Linear,
    flow: FlowHead,
    mean: Tensor,
    spread: Tensor,
    decoder: Decoder,
    encoder: Encoder,
}

/// One speech in the backbone.
pub(super) struct Thinking {
    past: Past,
    /// The text, until the first step has read it.
    text: Vec<u32>,
    latent: Option<Vec<f32>>,
    noise: Noise,
    pub(super) steps: usize,
    ended_at: Option<usize>,
    frames_after_end: usize,
    most: usize,
    temperature: f32,
    pub(super) end_threshold: f32,
}

impl Model {
    pub fn load(source: &mut dyn Source, config: Config, precision: Precision) -> std::result::Result<Self, Flaw> {
        config.check()?;
        let transformer = &config.flow_lm.transformer;
        let (width, latent) = (transformer.d_model, config.mimi.quantizer.dimension);
        let sizes = Sizes {
            width,
            heads: transformer.num_heads,
            key_heads: transformer.num_kv_heads.unwrap_or(transformer.num_heads),
            attended: transformer.attn_dim.unwrap_or(width),
            inner: config.backbone_inner(),
            layers: transformer.num_layers,
            period: transformer.max_period,
            window: None,
            scaled: false,
        };
        let table = &config.flow_lm.lookup_table;
        let rank = table.rank.unwrap_or(width);
        let embedding = source.tensor("flow_lm.conditioner.embed.weight", &[table.n_bins + 1, rank])?;
        let embedding_projection = match table.rank {
            Some(rank) => {
                let name = "flow_lm.conditioner.proj";
                Some(Linear::load(source, name, (rank, width), false, Precision::Single)?)
            }
            None => None,
        };
        let beginning = source.values("flow_lm.bos_emb", &[latent])?;
        let mean = source.values("flow_lm.emb_mean", &[latent])?;
        let spread = source.values("flow_lm.emb_std", &[latent])?;
        let voice_weight = source.values("flow_lm.speaker_proj_weight", &[width, config.mimi.inner_dim])?;
        let fingerprint = fingerprint(&[&beginning, &mean, &spread, &voice_weight]);
        let vector = |values: Vec<f32>| Tensor::from_vec(values, (1, latent), &Device::Cpu);
        let before_voice = match config.flow_lm.insert_bos_before_voice {
            true => Some(source.values("flow_lm.bos_before_voice", &[1, 1, width])?),
            false => None,
        };
        let before_voice = before_voice.map(|values| Tensor::from_vec(values, (1, width), &Device::Cpu)).transpose();
        let voice_weight = Tensor::from_vec(voice_weight, (width, config.mimi.inner_dim), &Device::Cpu);
        let voice_projection = voice_weight.and_then(|weight| Linear::new(&weight, None, Precision::Single));
        let said = |error: candle_core::Error| error.to_string();
        Ok(Self {
            fingerprint,
            embedding,
            embedding_projection,
            input: Linear::load(source, "flow_lm.input_linear", (latent, width), false, Precision::Single)?,
            beginning,
            before_voice: before_voice.map_err(said)?,
            voice_projection: voice_projection.map_err(said)?,
            backbone: Transformer::load(source, "flow_lm.transformer", sizes, precision)?,
            norm: Norm::load(source, "flow_lm.out_norm", width, NORM_EPSILON)?,
            projection: match config.flow_lm.z_dim {
                Some(z) => Some(Linear::load(source, "flow_lm.z_proj", (width, z), false, Precision::Single)?),
                None => None,
            },
            end: Linear::load(source, "flow_lm.out_eos", (config.head_width(), 1), true, Precision::Single)?,
            flow: FlowHead::load(source, &config, precision)?,
            mean: vector(mean).map_err(said)?,
            spread: vector(spread).map_err(said)?,
            decoder: Decoder::load(source, &config.mimi)?,
            encoder: Encoder::load(source, &config.mimi)?,
            config,
        })
    }

    /// The voice of a recording at the model's rate: the backbone's past after it has read the recording.
    pub fn hear(&self, samples: &[f32]) -> Result<VoiceState> {
        let mut heard = self.voice_projection.forward(&self.encoder.forward(samples)?)?;
        if let Some(before) = &self.before_voice {
            heard = Tensor::cat(&[before, &heard], 0)?;
        }
        let mut past = Past::new(self.backbone.sizes().past());
        let rows = heard.dim(0)?;
        for first in (0..rows).step_by(VOICE_ROWS) {
            let rows = VOICE_ROWS.min(rows - first);
            let chunk = heard.narrow(0, first, rows)?;
            self.backbone.forward(&chunk, &mut [Segment { past: &mut past, rows }], Wanted::Past)?;
        }
        Ok(VoiceState { layers: past.layers()? })
    }

    /// Begins to say `text` (its tokens) with `voice`.
    pub fn start(&self, voice: &VoiceState, text: Vec<u32>, frames_after_end: usize, noise: Noise) -> Result<Thinking> {
        if let Some(id) = text.iter().find(|&&id| id as usize >= self.config.flow_lm.lookup_table.n_bins) {
            candle_core::bail!("token {id} is outside the vocabulary");
        }
        let seconds = text.len() as f32 / TOKENS_PER_SECOND + SECONDS_ADDED;
        let most = (seconds * self.config.mimi.frame_rate).ceil() as usize;
        let shape = self.backbone.sizes().past();
        Ok(Thinking {
            // Enough for most texts; more room is made where it is needed.
            past: Past::beginning_with(shape, &voice.layers, text.len() + most / 2)?,
            text,
            latent: None,
            noise,
            steps: 0,
            ended_at: None,
            frames_after_end,
            most,
            temperature: self.config.default_temperature,
            end_threshold: self.config.default_eos_threshold,
        })
    }

    pub fn start_audio(&self) -> DecoderState {
        self.decoder.start()
    }

    /// The next latent of each speech; `None` where it has ended.
    pub fn think(&self, batch: &mut [&mut Thinking]) -> Result<Vec<Option<Vec<f32>>>> {
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        let latent = self.config.mimi.quantizer.dimension;
        let mut rows = Vec::with_capacity(2 * batch.len());
        for speech in batch.iter() {
            if !speech.text.is_empty() {
                rows.push(self.read(&speech.text)?);
            }
            let last = speech.latent.as_ref().unwrap_or(&self.beginning);
            rows.push(self.input.forward(&Tensor::from_slice(last, (1, latent), &Device::Cpu)?)?);
        }
        let x = Tensor::cat(&rows, 0)?;
        let mut segments: Vec<Segment<'_>> =
            batch.iter_mut().map(|speech| Segment { rows: speech.text.len() + 1, past: &mut speech.past }).collect();
        let said = self.norm.forward(&self.backbone.forward(&x, &mut segments, Wanted::Last)?)?;
        let said = self.projection.as_ref().map_or(Ok(said.clone()), |projection| projection.forward(&said))?;
        let ends = self.end.forward(&said)?.flatten_all()?.to_vec1::<f32>()?;
        let mut noise = vec![0.0; batch.len() * latent];
        for (speech, noise) in batch.iter_mut().zip(noise.chunks_exact_mut(latent)) {
            (speech.noise)(noise);
            let spread = speech.temperature.sqrt();
            noise.iter_mut().for_each(|value| *value *= spread);
        }
        let noise = Tensor::from_vec(noise, (batch.len(), latent), &Device::Cpu)?;
        let latents = self.flow.forward(&said, &noise)?.to_vec2::<f32>()?;
        Ok(batch.iter_mut().zip(latents).zip(ends).map(|((speech, latent), end)| speech.take(latent, end)).collect())
    }

    fn read(&self, text: &[u32]) -> Result<Tensor> {
        let rows = self.embedding.index_select(&Tensor::new(text, &Device::Cpu)?, 0)?;
        self.embedding_projection.as_ref().map_or(Ok(rows.clone()), |projection| projection.forward(&rows))
    }

    /// The samples of latents, one after the other.
    pub fn sound(&self, latents: &[Vec<f32>], state: &mut DecoderState) -> Result<Vec<f32>> {
        let flat: Vec<f32> = latents.iter().flatten().copied().collect();
        let latents = Tensor::from_vec(flat, (latents.len(), ()), &Device::Cpu)?;
        let latents = latents.broadcast_mul(&self.spread)?.broadcast_add(&self.mean)?;
        self.decoder.forward(&latents, state)
    }

    #[cfg(test)]
    pub(super) fn parts(&self) -> Parts<'_> {
        Parts { decoder: &self.decoder, encoder: &self.encoder, flow: &self.flow }
    }
}

#[cfg(test)]
pub(super) struct Parts<'a> {
    pub decoder: &'a Decoder,
    pub encoder: &'a Encoder,
    pub flow: &'a FlowHead,
}

impl Thinking {
    /// Takes note of a step; the latent is given on unless the speech has ended before it.
    fn take(&mut self, latent: Vec<f32>, end: f32) -> Option<Vec<f32>> {
        self.text.clear();
        let step = self.steps;
        self.steps += 1;
        if self.ended_at.is_none() && end > self.end_threshold && step >= FRAMES_BEFORE_END {
            self.ended_at = Some(step);
        }
        if self.ended_at.is_some_and(|ended| step >= ended + self.frames_after_end) || step >= self.most {
            return None;
        }
        self.latent = Some(latent.clone());
        Some(latent)
    }

    /// Whether it came to its longest length without an end: something is wrong with the text or the voice.
    pub fn ran_on(&self) -> bool {
        self.ended_at.is_none() && self.steps > self.most
    }
}

fn fingerprint(parts: &[&[f32]]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        for value in *part {
            hash.update(value.to_le_bytes());
        }
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
