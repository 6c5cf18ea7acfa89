//! The network: a decoder on candle tensors, of any family that [`super::architecture`] knows.
//!
//! Rows of several conversations go through the weights together (a ragged batch): each weight is read once a step, whoever
//! asks. Only attention runs conversation by conversation, each over its own cache. Weights, caches and activations live on
//! one device.

use candle_core::{D, Device, Result, Tensor};
use candle_nn::ops::{silu, softmax_last_dim};

use super::architecture::Sizes;
use super::cache::{CacheShape, KvCache};
use super::file::{Flaw, GgufFile};
use super::kernels::{Activation, Precision};
use super::rotation::{DIVISORS, Rotation, Turns};
use super::steps::{attend_on_host, rms_norm};
use super::weights::{Matrix, Wanted, Weight, gated, load_all, project};

struct Layer {
    attention_norm: Tensor,
    attention: Attention,
    biases: Option<[Tensor; 3]>,
    head_norms: Option<[Tensor; 2]>,
    output: Matrix,
    /// Of what attention and feed-forward give.
    post_norms: Option<[Tensor; 2]>,
    feed_norm: Tensor,
    gates: Gates,
    down: Matrix,
    window: Option<usize>,
    rotates: bool,
}

enum Attention {
    Apart { queries: Matrix, keys: Matrix, values: Matrix },
    Fused(Matrix),
}

enum Gates {
    Apart { gate: Matrix, up: Matrix },
    Fused(Matrix),
}

/// Part of one conversation that a step reads.
pub(super) struct Segment<'a> {
    pub cache: &'a mut KvCache,
    pub tokens: &'a [u32],
    /// Whether the logits after the last token are wanted.
    pub wants_logits: bool,
}

pub(super) struct Network {
    sizes: Sizes,
    device: Device,
    embedding: Matrix,
    layers: Vec<Layer>,
    norm: Tensor,
    head: Matrix,
    rotation: Rotation,
    /// Of the layers with a window, if they have their own.
    windowed_rotation: Option<Rotation>,
}

impl Network {
    /// Loads the weights onto `device`, for conversations of up to `context` tokens.
    pub fn load(
        file: &GgufFile,
        sizes: Sizes,
        context: usize,
        device: &Device,
        progress: &(dyn Fn(f32) + Sync),
    ) -> std::result::Result<Self, Flaw> {
        let wanted = sizes.wanted(file)?;
        let mut loaded = Loaded(wanted.iter().zip(load_all(file, &wanted, device, progress)?));
        let embedding = loaded.matrix()?;
        let head = if file.tensors.contains_key("output.weight") { loaded.matrix()? } else { embedding.clone() };
        let norm = loaded.vector()?;
        let mut divisors = [None, None, None];
        for (name, slot) in DIVISORS.iter().zip(&mut divisors) {
            if file.tensors.contains_key(*name) {
                *slot = Some(loaded.vector()?.to_vec1::<f32>().map_err(|error| error.to_string())?);
            }
        }
        let rotary = sizes.rotary();
        let rotation = Rotation::new(rotary, &divisors, context)?;
        let windowed_rotation = match rotary.window_base.filter(|_| sizes.rotates_windows_apart()) {
            Some(base) => Some(Rotation::plain(rotary.pairs, base)?),
            None => None,
        };
        let layers =
            (0..sizes.layers).map(|index| loaded.layer(&sizes, index)).collect::<std::result::Result<_, _>>()?;
        Ok(Self { sizes, device: device.clone(), embedding, layers, norm, head, rotation, windowed_rotation })
    }

    pub fn cache_shape(&self) -> CacheShape {
        // Beside quantised weights, half precision makes no difference.
        let is_quantised = self.layers.iter().any(|layer| layer.output.is_quantised());
        let precision = if is_quantised { Precision::Half } else { Precision::Single };
        self.sizes.cache_shape(&self.device, precision)
    }

    /// Reads every segment's tokens after what its cache holds; gives the logits after each segment's last token, where wanted.
    /// On an error no cache has advanced.
    pub fn forward(&self, segments: &mut [Segment<'_>]) -> Result<Vec<Option<Vec<f32>>>> {
        let mut ids = Vec::new();
        let mut positions = Vec::new();
        let mut wanted_rows = Vec::new();
        for segment in segments.iter_mut() {
            segment.cache.reserve(segment.tokens.len())?;
            positions.extend(segment.cache.len()..segment.cache.len() + segment.tokens.len());
            ids.extend_from_slice(segment.tokens);
            if segment.wants_logits && !segment.tokens.is_empty() {
                wanted_rows.push(ids.len() as u32 - 1);
            }
        }
        if let Some(id) = ids.iter().find(|&&id| id as usize >= self.sizes.vocabulary) {
            candle_core::bail!("token {id} is outside the vocabulary");
        }
        let rows = ids.len();
        if rows == 0 {
            return Ok(segments.iter().map(|_| None).collect());
        }
        let turns = self.rotation.turns(&positions, &self.device)?;
        let windowed_turns = match &self.windowed_rotation {
            Some(rotation) => Some(rotation.turns(&positions, &self.device)?),
            None => None,
        };
        let mut x = self.embedding.rows(&Tensor::from_vec(ids, rows, &self.device)?)?;
        if let Some(scale) = self.sizes.embedding_scale() {
            x = (x * scale)?;
        }
        for (index, layer) in self.layers.iter().enumerate() {
            let is_last = index + 1 == self.layers.len();
            let turns = windowed_turns.as_ref().filter(|_| layer.window.is_some()).unwrap_or(&turns);
            let (queries, keys, values) = self.attention_inputs(layer, &x, turns)?;
            let attended = self.attend(index, layer.window, segments, &queries, &keys, &values)?;
            let (attended, residual) = if !is_last || wanted_rows.len() == rows {
                (attended, x)
            } else if wanted_rows.is_empty() {
                break;
            } else {
                // What follows in the last layer matters only where a token will be chosen.
                let wanted = Tensor::new(wanted_rows.as_slice(), &self.device)?;
                (attended.index_select(&wanted, 0)?, x.index_select(&wanted, 0)?)
            };
            x = self.rest_of_layer(layer, &attended, residual)?;
        }
        let mut logits = Vec::new();
        if !wanted_rows.is_empty() {
            let normed = rms_norm(&x, &self.norm, self.sizes.epsilon)?;
            let scores = self.head.forward(&normed)?;
            let scores = match self.sizes.logit_cap {
                Some(cap) => ((scores / cap)?.tanh()? * cap)?,
                None => scores,
            };
            logits = scores.to_vec2::<f32>()?;
        }
        let mut logits = logits.into_iter();
        Ok(segments
            .iter_mut()
            .map(|segment| {
                segment.cache.advance(segment.tokens);
                if segment.wants_logits && !segment.tokens.is_empty() { logits.next() } else { None }
            })
            .collect())
    }

    /// What follows attention: its output, then the feed-forward, each added to what came in.
    fn rest_of_layer(&self, layer: &Layer, attended: &Tensor, residual: Tensor) -> Result<Tensor> {
        let epsilon = self.sizes.epsilon;
        let [attention_norm, feed_norm] =
            layer.post_norms.as_ref().map_or([None; 2], |norms| norms.each_ref().map(Some));
        let h = self.added(&layer.output, attended, attention_norm, &residual)?;
        let normed = rms_norm(&h, &layer.feed_norm, epsilon)?;
        let activation = if self.sizes.family.gelu { Activation::GeluTanh } else { Activation::Silu };
        let fed = match &layer.gates {
            Gates::Apart { gate, up } => gated(&normed, gate, up, activation)?,
            Gates::Fused(both) => {
                let [gate, up] = columns(&both.forward(&normed)?, [self.sizes.inner; 2])?;
                (if self.sizes.family.gelu { gate.gelu()? } else { silu(&gate)? } * up)?
            }
        };
        self.added(&layer.down, &fed, feed_norm, &h)
    }

    /// The product, normed where the family does that, added to `residual`.
    fn added(&self, matrix: &Matrix, x: &Tensor, norm: Option<&Tensor>, residual: &Tensor) -> Result<Tensor> {
        match norm {
            Some(norm) => rms_norm(&matrix.forward(x)?, norm, self.sizes.epsilon)? + residual,
            None => matrix.forward_onto(x, residual),
        }
    }

    /// Queries, keys and values of every row, rotated to their positions: `[rows, heads, head_width]`.
    fn attention_inputs(&self, layer: &Layer, x: &Tensor, turns: &Turns) -> Result<(Tensor, Tensor, Tensor)> {
        let Sizes { heads, kv_heads, head_width, epsilon, .. } = self.sizes;
        let rows = x.dim(0)?;
        let normed = rms_norm(x, &layer.attention_norm, epsilon)?;
        let [mut queries, mut keys, mut values] = match &layer.attention {
            Attention::Apart { queries, keys, values } => project(&normed, [queries, keys, values])?,
            Attention::Fused(all) => {
                columns(&all.forward(&normed)?, [heads, kv_heads, kv_heads].map(|n| n * head_width))?
            }
        };
        if let Some([query_bias, key_bias, value_bias]) = &layer.biases {
            queries = queries.broadcast_add(query_bias)?;
            keys = keys.broadcast_add(key_bias)?;
            values = values.broadcast_add(value_bias)?;
        }
        let mut queries = queries.reshape((rows, heads, head_width))?;
        let mut keys = keys.reshape((rows, kv_heads, head_width))?;
        if let Some([query_norm, key_norm]) = &layer.head_norms {
            queries = rms_norm(&queries, query_norm, epsilon)?;
            keys = rms_norm(&keys, key_norm, epsilon)?;
        }
        if layer.rotates {
            (queries, keys) = (turns.apply(&queries)?, turns.apply(&keys)?);
        }
        Ok((queries, keys, values.reshape((rows, kv_heads, head_width))?))
    }

    /// Each segment's rows look at their own conversation's past and at themselves: `[rows, heads × head_width]`.
    fn attend(
        &self,
        layer: usize,
        window: Option<usize>,
        segments: &mut [Segment<'_>],
        queries: &Tensor,
        keys: &Tensor,
        values: &Tensor,
    ) -> Result<Tensor> {
        let Sizes { heads, head_width, attention_scale: scale, .. } = self.sizes;
        let caches = segments.iter_mut().map(|segment| (&mut *segment.cache, segment.tokens.len()));
        if let Some(attended) = attend_on_host(layer, caches, [queries, keys, values], scale, window)? {
            return Ok(attended);
        }
        let mut outputs = Vec::with_capacity(segments.len());
        let mut row = 0;
        for segment in segments.iter().filter(|segment| !segment.tokens.is_empty()) {
            let rows = segment.tokens.len();
            let (past_keys, past_values) =
                segment.cache.extend(layer, &keys.narrow(0, row, rows)?, &values.narrow(0, row, rows)?)?;
            // What the first of these rows can see no more, none of them sees.
            let unseen = window.map_or(0, |window| (segment.cache.len() + 1).saturating_sub(window));
            let (past_keys, past_values) = (later(past_keys, unseen)?, later(past_values, unseen)?);
            let queries = queries.narrow(0, row, rows)?;
            let attended = self.attend_in_block(&queries, &past_keys, &past_values, scale, window)?;
            outputs.push(attended.reshape((rows, heads * head_width))?);
            row += rows;
        }
        match outputs.len() {
            1 => outputs.pop().map_or_else(|| queries.flatten_from(D::Minus2), Ok),
            _ => Tensor::cat(&outputs, 0),
        }
    }

    /// Attention by candle's matrix products, on devices other than the processor. The queries that share a key head are
    /// stacked; keys and values are read where they lie. Gives `[rows, heads, head_width]`.
    fn attend_in_block(
        &self,
        queries: &Tensor,
        keys: &Tensor,
        values: &Tensor,
        scale: f32,
        window: Option<usize>,
    ) -> Result<Tensor> {
        let Sizes { heads, kv_heads, head_width, .. } = self.sizes;
        let (rows, length) = (queries.dim(0)?, keys.dim(0)?);
        let sharing = heads / kv_heads;
        let queries = (queries * f64::from(scale))?.transpose(0, 1)?.reshape((kv_heads, sharing * rows, head_width))?;
        let scores =
            queries.matmul(&keys.permute((1, 2, 0))?.contiguous()?)?.reshape((kv_heads, sharing, rows, length))?;
        let scores = scores.broadcast_add(&causal_mask(rows, length, window, &self.device)?)?;
        let weights = softmax_last_dim(&scores)?.reshape((kv_heads, sharing * rows, length))?;
        let attended = weights.matmul(&values.transpose(0, 1)?.contiguous()?)?;
        attended.reshape((heads, rows, head_width))?.transpose(0, 1)?.contiguous()
    }
}

/// The entries of `past` from position `unseen` on.
fn later(past: Tensor, unseen: usize) -> Result<Tensor> {
    if unseen == 0 { Ok(past) } else { past.narrow(0, unseen, past.dim(0)? - unseen) }
}

/// Cuts `[rows, sum of widths]` into columns.
fn columns<const N: usize>(all: &Tensor, widths: [usize; N]) -> Result<[Tensor; N]> {
    let mut start = 0;
    let parts = widths.iter().map(|&width| {
        let part = all.narrow(D::Minus1, start, width)?.contiguous();
        start += width;
        part
    });
    let parts: Vec<Tensor> = parts.collect::<Result<_>>()?;
    parts.try_into().map_err(|_| candle_core::Error::Msg("a product lost a part".into()))
}

/// The last `rows` of `length` positions, each blind to those after it and to those out of its window: `[rows, length]` to be
/// added to scores.
fn causal_mask(rows: usize, length: usize, window: Option<usize>, device: &Device) -> Result<Tensor> {
    let past = length - rows;
    let mask: Vec<f32> = (0..rows)
        .flat_map(|row| {
            let last = past + row;
            let first = window.map_or(0, |window| (last + 1).saturating_sub(window));
            (0..length).map(move |position| if (first..=last).contains(&position) { 0.0 } else { f32::NEG_INFINITY })
        })
        .collect();
    Tensor::from_vec(mask, (rows, length), device)
}

/// The loaded weights, taken in the order in which they were asked for.
struct Loaded<I>(I);

impl<'a, I: Iterator<Item = (&'a Wanted, Weight)>> Loaded<I> {
    fn vector(&mut self) -> std::result::Result<Tensor, Flaw> {
        match self.0.next() {
            Some((_, Weight::Vector(vector))) => Ok(vector),
            _ => Err("a vector is missing".into()),
        }
    }

    fn matrix(&mut self) -> std::result::Result<Matrix, Flaw> {
        match self.0.next() {
            Some((_, Weight::Matrix(matrix))) => Ok(matrix),
            _ => Err("a matrix is missing".into()),
        }
    }

    fn layer(&mut self, sizes: &Sizes, index: usize) -> std::result::Result<Layer, Flaw> {
        let family = sizes.family;
        let attention_norm = self.vector()?;
        let attention = match family.fused {
            true => Attention::Fused(self.matrix()?),
            false => Attention::Apart { queries: self.matrix()?, keys: self.matrix()?, values: self.matrix()? },
        };
        let biases = match family.biased {
            true => Some([self.vector()?, self.vector()?, self.vector()?]),
            false => None,
        };
        let head_norms = if family.head_norms { Some([self.vector()?, self.vector()?]) } else { None };
        let output = self.matrix()?;
        let post_norms = if family.post_norms { Some([self.vector()?, self.vector()?]) } else { None };
        let feed_norm = self.vector()?;
        let gates = match family.fused {
            true => Gates::Fused(self.matrix()?),
            false => Gates::Apart { gate: self.matrix()?, up: self.matrix()? },
        };
        Ok(Layer {
            attention_norm,
            attention,
            biases,
            head_norms,
            output,
            post_norms,
            feed_norm,
            gates,
            down: self.matrix()?,
            window: sizes.window(index),
            rotates: sizes.rotates(index),
        })
    }
}
