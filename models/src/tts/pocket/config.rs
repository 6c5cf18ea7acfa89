//! The sizes and habits of one released model, under the names of the reference package's own configuration files.
//!
//! The released ones are constants here. Every size is checked against the shape of its tensor when weights are loaded, so a wrong
//! pairing of the two is an error, never a wrong voice.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::weights::Flaw;

/// One model: backbone, flow head, codec, and how its texts are prepared.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub flow_lm: FlowLm,
    pub mimi: Mimi,
    #[serde(default)]
    pub pad_with_spaces_for_short_inputs: bool,
    #[serde(default)]
    pub remove_semicolons: bool,
    /// Rewrites of characters that the training texts never had; an empty text deletes.
    #[serde(default)]
    pub replace_characters: BTreeMap<char, String>,
    #[serde(default)]
    pub model_recommended_frames_after_eos: Option<usize>,
    /// Variance of the noise that each frame starts from.
    #[serde(default = "usual_temperature")]
    pub default_temperature: f32,
    /// The speech is over when the end's logit is above this.
    #[serde(default = "usual_eos_threshold")]
    pub default_eos_threshold: f32,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlowLm {
    #[serde(default)]
    pub insert_bos_before_voice: bool,
    pub flow: Flow,
    pub transformer: Backbone,
    pub lookup_table: LookupTable,
    /// Width of what the backbone gives to the flow and end heads, where a projection stands before them.
    #[serde(default)]
    pub z_dim: Option<usize>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Flow {
    pub dim: usize,
    pub depth: usize,
    #[serde(default, rename = "type")]
    pub kind: FlowKind,
}

/// How the flow head makes a latent of noise; one step each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FlowKind {
    /// Lagrangian self-distillation (arXiv 2505.18825): the noise plus the flow from time 0 to time 1.
    #[default]
    Lsd,
    /// The head's output is the latent.
    Drifting,
    /// The noise plus the head's output, without times.
    Pointwise,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Backbone {
    pub d_model: usize,
    pub num_heads: usize,
    pub num_layers: usize,
    pub hidden_scale: usize,
    pub max_period: f32,
    #[serde(default)]
    pub attn_dim: Option<usize>,
    #[serde(default)]
    pub num_kv_heads: Option<usize>,
    #[serde(default)]
    pub dim_feedforward: Option<usize>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LookupTable {
    pub dim: usize,
    pub n_bins: usize,
    #[serde(default)]
    pub rank: Option<usize>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mimi {
    pub sample_rate: u32,
    /// Latents a second.
    pub frame_rate: f32,
    /// Width of the encoder's output, as the voice is conditioned on it.
    pub inner_dim: usize,
    pub outer_dim: usize,
    pub seanet: SeaNetSizes,
    pub transformer: CodecTransformer,
    pub quantizer: Quantizer,
    /// Where the decoder differs from the encoder.
    #[serde(default)]
    pub decoder_seanet: Option<SeaNetSizes>,
    #[serde(default)]
    pub decoder_transformer: Option<CodecTransformer>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeaNetSizes {
    pub dimension: usize,
    pub n_filters: usize,
    pub n_residual_layers: usize,
    pub ratios: Vec<usize>,
    pub kernel_size: usize,
    pub residual_kernel_size: usize,
    pub last_kernel_size: usize,
    pub dilation_base: usize,
    pub compress: usize,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CodecTransformer {
    pub d_model: usize,
    pub num_heads: usize,
    pub num_layers: usize,
    /// How many positions back a position sees, itself included.
    pub context: usize,
    pub dim_feedforward: usize,
    #[serde(default = "usual_period")]
    pub max_period: f32,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quantizer {
    /// Width of a latent.
    pub dimension: usize,
    pub output_dimension: usize,
}

fn usual_temperature() -> f32 {
    0.3
}

fn usual_eos_threshold() -> f32 {
    -4.0
}

fn usual_period() -> f32 {
    10_000.0
}

impl Config {
    /// The English model of 100 M parameters, release 2026-10.
    pub fn english() -> Self {
        let seanet = SeaNetSizes {
            dimension: 512,
            n_filters: 64,
            n_residual_layers: 1,
            ratios: vec![6, 5, 4],
            kernel_size: 7,
            residual_kernel_size: 3,
            last_kernel_size: 3,
            dilation_base: 2,
            compress: 2,
        };
        let transformer = CodecTransformer {
            d_model: 512,
            num_heads: 8,
            num_layers: 2,
            context: 250,
            dim_feedforward: 2048,
            max_period: usual_period(),
        };
        Self {
            flow_lm: FlowLm {
                insert_bos_before_voice: true,
                flow: Flow { dim: 512, depth: 6, kind: FlowKind::Lsd },
                transformer: Backbone {
                    d_model: 1024,
                    num_heads: 16,
                    num_layers: 6,
                    hidden_scale: 4,
                    max_period: usual_period(),
                    attn_dim: None,
                    num_kv_heads: None,
                    dim_feedforward: None,
                },
                lookup_table: LookupTable { dim: 1024, n_bins: 4000, rank: None },
                z_dim: None,
            },
            mimi: Mimi {
                sample_rate: 24_000,
                frame_rate: 12.5,
                inner_dim: 32,
                outer_dim: 512,
                seanet,
                transformer,
                quantizer: Quantizer { dimension: 32, output_dimension: 512 },
                decoder_seanet: None,
                decoder_transformer: None,
            },
            pad_with_spaces_for_short_inputs: false,
            remove_semicolons: false,
            replace_characters: [('’', "'".to_owned()), ('‘', "'".to_owned())].into(),
            model_recommended_frames_after_eos: None,
            default_temperature: usual_temperature(),
            default_eos_threshold: usual_eos_threshold(),
        }
    }

    /// The English model of 18 M parameters, release 2026-10: a smaller backbone, a one-step head, a slim decoder.
    pub fn english_18m() -> Self {
        let mut config = Self::english();
        config.flow_lm.flow = Flow { dim: 192, depth: 4, kind: FlowKind::Drifting };
        config.flow_lm.transformer =
            Backbone { d_model: 512, num_heads: 8, num_layers: 8, hidden_scale: 1, ..config.flow_lm.transformer };
        config.flow_lm.lookup_table.dim = 512;
        config.flow_lm.z_dim = Some(64);
        let mimi = &mut config.mimi;
        mimi.outer_dim = 128;
        mimi.quantizer.output_dimension = 128;
        mimi.decoder_seanet =
            Some(SeaNetSizes { dimension: 128, n_filters: 32, kernel_size: 3, ..mimi.seanet.clone() });
        mimi.decoder_transformer = Some(CodecTransformer {
            d_model: 128,
            num_heads: 4,
            num_layers: 12,
            context: 50,
            dim_feedforward: 384,
            max_period: usual_period(),
        });
        config.replace_characters.extend([('–', ",".to_owned()), ('—', ",".to_owned())]);
        config.default_eos_threshold = -1.0;
        config
    }

    /// Refuses sizes that do not fit together or that no model has; all later arithmetic relies on it.
    pub fn check(&self) -> Result<(), Flaw> {
        let FlowLm { flow, transformer, lookup_table, z_dim, .. } = &self.flow_lm;
        let width = transformer.d_model;
        let within = |what: &str, value: usize, most: usize| match (1..=most).contains(&value) {
            true => Ok(()),
            false => Err(format!("its {what} is {value}, not within 1 to {most}")),
        };
        within("d_model", width, 1 << 14)?;
        within("num_layers", transformer.num_layers, 256)?;
        within("feed-forward width", self.backbone_inner(), 1 << 16)?;
        within("flow dim", flow.dim, 1 << 14)?;
        within("flow depth", flow.depth, 64)?;
        within("n_bins", lookup_table.n_bins, 1 << 20)?;
        within("embedding rank", lookup_table.rank.unwrap_or(1), 1 << 14)?;
        within("z_dim", z_dim.unwrap_or(1), 1 << 14)?;
        let attended = transformer.attn_dim.unwrap_or(width);
        let keys = transformer.num_kv_heads.unwrap_or(transformer.num_heads);
        check_heads(attended, transformer.num_heads, keys)?;
        if lookup_table.dim != width {
            return Err(format!("its text embeddings are {} wide and its backbone {width}", lookup_table.dim));
        }
        self.mimi.check()?;
        if !(0.0..=4.0).contains(&self.default_temperature) || !self.default_eos_threshold.is_finite() {
            return Err("its temperature or end threshold makes no sense".into());
        }
        Ok(())
    }

    pub(super) fn backbone_inner(&self) -> usize {
        let transformer = &self.flow_lm.transformer;
        transformer.dim_feedforward.unwrap_or_else(|| transformer.d_model.saturating_mul(transformer.hidden_scale))
    }

    /// Width of what the flow and end heads are given.
    pub(super) fn head_width(&self) -> usize {
        self.flow_lm.z_dim.unwrap_or(self.flow_lm.transformer.d_model)
    }
}

impl Mimi {
    pub(super) fn decoder_seanet(&self) -> &SeaNetSizes {
        self.decoder_seanet.as_ref().unwrap_or(&self.seanet)
    }

    pub(super) fn decoder_transformer(&self) -> &CodecTransformer {
        self.decoder_transformer.as_ref().unwrap_or(&self.transformer)
    }

    /// Samples a latent stands for: 80 ms of them.
    pub(super) fn frame_samples(&self) -> usize {
        (f64::from(self.sample_rate) / f64::from(self.frame_rate)).round() as usize
    }

    /// Steps of the codec's transformers a latent stands for.
    pub(super) fn stride(&self) -> usize {
        self.frame_samples() / self.seanet.hop()
    }

    fn check(&self) -> Result<(), Flaw> {
        if !(8_000..=48_000).contains(&self.sample_rate) || !(1.0..=100.0).contains(&self.frame_rate) {
            return Err("its sample or frame rate makes no sense".into());
        }
        for (seanet, transformer) in
            [(&self.seanet, &self.transformer), (self.decoder_seanet(), self.decoder_transformer())]
        {
            seanet.check()?;
            check_heads(transformer.d_model, transformer.num_heads, transformer.num_heads)?;
            let sizes = [transformer.num_layers, transformer.context, transformer.dim_feedforward];
            if sizes.iter().any(|size| !(1..=1 << 14).contains(size)) || transformer.d_model > 1 << 14 {
                return Err("its codec's transformer has impossible sizes".into());
            }
            let samples = self.frame_samples();
            if samples == 0 || !samples.is_multiple_of(seanet.hop()) || samples / seanet.hop() < 2 {
                return Err(format!("its frames of {samples} samples do not divide into steps of {}", seanet.hop()));
            }
        }
        if self.seanet.hop() != self.decoder_seanet().hop() {
            return Err("its encoder and decoder step at different rates".into());
        }
        let latent = self.quantizer.dimension;
        if !(1..=4096).contains(&latent) || !(1..=1 << 14).contains(&self.inner_dim) {
            return Err("its latents have an impossible width".into());
        }
        if self.quantizer.output_dimension != self.outer_dim || self.outer_dim != self.decoder_seanet().dimension {
            return Err("its latents are not widened to what its decoder takes".into());
        }
        Ok(())
    }
}

impl SeaNetSizes {
    /// Samples a step stands for.
    pub(super) fn hop(&self) -> usize {
        self.ratios.iter().product::<usize>().max(1)
    }

    fn check(&self) -> Result<(), Flaw> {
        let kernels = [self.kernel_size, self.residual_kernel_size, self.last_kernel_size];
        let whole = (1..=8).contains(&self.ratios.len())
            && self.ratios.iter().all(|ratio| (1..=16).contains(ratio))
            && kernels.iter().all(|kernel| (1..=64).contains(kernel))
            && (1..=4096).contains(&self.dimension)
            && (1..=1024).contains(&self.n_filters)
            && (0..=4).contains(&self.n_residual_layers)
            && (1..=4).contains(&self.dilation_base)
            && (1..=self.n_filters).contains(&self.compress);
        if whole { Ok(()) } else { Err("its codec's convolutions have impossible sizes".into()) }
    }
}

fn check_heads(width: usize, heads: usize, key_heads: usize) -> Result<(), Flaw> {
    let fits = (1..=256).contains(&heads)
        && width <= 1 << 14
        && width.is_multiple_of(2 * heads)
        && (1..=heads).contains(&key_heads)
        && heads.is_multiple_of(key_heads)
        && width > 0;
    if fits {
        Ok(())
    } else {
        Err(format!("{heads} heads, {key_heads} of them for keys, do not fit a width of {width}"))
    }
}
