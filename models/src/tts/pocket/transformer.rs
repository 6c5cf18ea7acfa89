//! The streaming transformer of backbone and codec: pre-norm layers with rotary attention over a past that each speech owns.
//!
//! Rows of several speeches go through the weights together, so that each weight is read once a step whoever asks; attention runs
//! speech by speech over its own [`Past`]. Keys are kept as the reference keeps them (rotary pairs side by side), which makes a voice
//! computed by either usable by both.

use candle_core::{Device, Result, Tensor};
use candle_nn::attention::{AttnMask, flash_attn};
use candle_nn::ops::softmax_last_dim;

use super::linear::{Linear, Norm, Precision};
use super::past::{Past, PastShape};
use super::weights::{Flaw, Source};

const EPSILON: f32 = 1e-5;

/// Sizes of one transformer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Sizes {
    pub width: usize,
    pub heads: usize,
    pub key_heads: usize,
    /// Width of all heads together.
    pub attended: usize,
    pub inner: usize,
    pub layers: usize,
    pub period: f32,
    /// How many positions back a position sees, itself included; everything if not set.
    pub window: Option<usize>,
    /// The layers' updates are scaled channel by channel.
    pub scaled: bool,
}

impl Sizes {
    fn head_width(&self) -> usize {
        self.attended / self.heads
    }

    pub fn past(&self) -> PastShape {
        PastShape { layers: self.layers, heads: self.key_heads, head_width: self.head_width(), window: self.window }
    }
}

/// Which rows the caller needs of what comes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    All,
    /// The last one of each speech.
    Last,
    /// None: only the past is wanted.
    Past,
}

#[derive(Debug)]
struct Layer {
    attention_norm: Norm,
    project_in: Linear,
    project_out: Linear,
    feed_norm: Norm,
    up: Linear,
    down: Linear,
}

impl Layer {
    fn load(
        source: &mut dyn Source,
        name: &str,
        sizes: &Sizes,
        precision: Precision,
    ) -> std::result::Result<Self, Flaw> {
        let Sizes { width, attended, inner, .. } = *sizes;
        let projected = attended + 2 * sizes.key_heads * sizes.head_width();
        let linear = |source: &mut dyn Source, part: &str, shape: (usize, usize), scale: Option<&str>| {
            let name = format!("{name}.{part}");
            let Some(scale) = scale else { return Linear::load(source, &name, shape, false, precision) };
            // The scale of an update is part of the matrix that makes it.
            let weight = source.tensor(&format!("{name}.weight"), &[shape.1, shape.0])?;
            let scale = source.tensor(scale, &[shape.1])?;
            let scaled = scale.unsqueeze(1).and_then(|scale| weight.broadcast_mul(&scale));
            scaled
                .and_then(|weight| Linear::new(&weight, None, precision))
                .map_err(|error| format!("`{name}`: {error}"))
        };
        let scale = |which: usize| sizes.scaled.then(|| format!("{name}.layer_scale_{which}.scale"));
        Ok(Self {
            attention_norm: Norm::load(source, &format!("{name}.norm1"), width, EPSILON)?,
            project_in: linear(source, "self_attn.in_proj", (width, projected), None)?,
            project_out: linear(source, "self_attn.out_proj", (attended, width), scale(1).as_deref())?,
            feed_norm: Norm::load(source, &format!("{name}.norm2"), width, EPSILON)?,
            up: linear(source, "linear1", (width, inner), None)?,
            down: linear(source, "linear2", (inner, width), scale(2).as_deref())?,
        })
    }

    fn feed(&self, x: Tensor) -> Result<Tensor> {
        let inner = self.up.forward(&self.feed_norm.forward(&x)?)?;
        self.down.forward(&inner.gelu()?)? + x
    }
}

/// One speech's share of a step: its past, and how many of the rows are its own.
pub(super) struct Segment<'a> {
    pub past: &'a mut Past,
    pub rows: usize,
}

#[derive(Debug)]
pub(super) struct Transformer {
    sizes: Sizes,
    layers: Vec<Layer>,
    /// Angle of one position, for each pair of a head.
    angles: Vec<f32>,
}

impl Transformer {
    /// Layers `name.layers.0` and on.
    pub fn load(
        source: &mut dyn Source,
        name: &str,
        sizes: Sizes,
        precision: Precision,
    ) -> std::result::Result<Self, Flaw> {
        let layers = (0..sizes.layers)
            .map(|layer| Layer::load(source, &format!("{name}.layers.{layer}"), &sizes, precision))
            .collect::<std::result::Result<_, Flaw>>()?;
        let head = sizes.head_width();
        // In single precision, as the reference has it: the angles of late positions depend on how this is rounded.
        let step = (-f64::from(sizes.period).ln() * 2.0 / head as f64) as f32;
        let angles = (0..head / 2).map(|pair| (pair as f32 * step).exp()).collect();
        Ok(Self { sizes, layers, angles })
    }

    pub fn sizes(&self) -> &Sizes {
        &self.sizes
    }

    /// Reads `x`, `[rows of all segments, width]`, after each segment's past, which grows by its rows. Gives the wanted rows. After an
    /// error the pasts are as before.
    pub fn forward(&self, x: &Tensor, segments: &mut [Segment<'_>], wanted: Wanted) -> Result<Tensor> {
        for segment in segments.iter_mut() {
            segment.past.reserve(segment.rows)?;
        }
        let rotations: Vec<Rotation> =
            segments.iter().map(|segment| self.rotation(segment.past.position(), segment.rows)).collect();
        let mut x = x.clone();
        for (index, layer) in self.layers.iter().enumerate() {
            let is_last = index + 1 == self.layers.len();
            let projected = layer.project_in.forward(&layer.attention_norm.forward(&x)?)?;
            let projected = projected.flatten_all()?.to_vec1::<f32>()?;
            let kept = if is_last { wanted } else { Wanted::All };
            let attended = self.attend(index, segments, &projected, &rotations, kept)?;
            match kept {
                Wanted::All => {}
                Wanted::Last => {
                    let last: Vec<u32> = segments
                        .iter()
                        .scan(0, |end, segment| {
                            *end += segment.rows as u32;
                            Some(*end - 1)
                        })
                        .collect();
                    x = x.index_select(&Tensor::new(last, &Device::Cpu)?, 0)?;
                }
                Wanted::Past => break,
            }
            let Some(attended) = attended else { break };
            x = layer.feed((layer.project_out.forward(&attended)? + x)?)?;
        }
        for segment in segments.iter_mut() {
            segment.past.advance(segment.rows);
        }
        Ok(x)
    }

    /// Each segment's rows look at their own past and at themselves: `[kept rows, attended]`.
    fn attend(
        &self,
        layer: usize,
        segments: &mut [Segment<'_>],
        projected: &[f32],
        rotations: &[Rotation],
        kept: Wanted,
    ) -> Result<Option<Tensor>> {
        let Sizes { heads, key_heads, attended, .. } = self.sizes;
        let head = self.sizes.head_width();
        let keyed = key_heads * head;
        let stride = attended + 2 * keyed;
        let mut outputs = Vec::with_capacity(segments.len());
        let mut rest = projected;
        for (segment, rotation) in segments.iter_mut().zip(rotations) {
            let rows = segment.rows;
            let (mine, others) = rest.split_at((rows * stride).min(rest.len()));
            rest = others;
            let (mut keys, mut values) = (Vec::with_capacity(rows * keyed), Vec::with_capacity(rows * keyed));
            let first = match kept {
                Wanted::All => 0,
                Wanted::Last => rows.saturating_sub(1),
                Wanted::Past => rows,
            };
            let mut queries = vec![0.0; (rows - first) * attended];
            for (row, (projected, turn)) in mine.chunks_exact(stride).zip(rotation.rows()).enumerate() {
                let (asked, known) = projected.split_at(attended);
                let (key, value) = known.split_at(keyed);
                for key in key.chunks_exact(head) {
                    let at = keys.len();
                    keys.extend_from_slice(key);
                    if let Some(key) = keys.get_mut(at..) {
                        turn.apply(key);
                    }
                }
                values.extend_from_slice(value);
                if row >= first {
                    // Head by head, as the products below want them.
                    for (index, asked) in asked.chunks_exact(head).enumerate() {
                        let at = (index * (rows - first) + row - first) * head;
                        if let Some(query) = queries.get_mut(at..at + head) {
                            query.copy_from_slice(asked);
                            turn.apply(query);
                        }
                    }
                }
            }
            let shape = (rows, key_heads, head);
            let keys = Tensor::from_vec(keys, shape, &Device::Cpu)?;
            let values = Tensor::from_vec(values, shape, &Device::Cpu)?;
            let (keys, values) = segment.past.extend(layer, &keys, &values)?;
            if first < rows {
                outputs.push(self.look(queries, heads, rows - first, &keys, &values)?);
            }
        }
        match outputs.len() {
            0 => Ok(None),
            1 => Ok(outputs.pop()),
            _ => Tensor::cat(&outputs, 0).map(Some),
        }
    }

    /// The last `rows` positions of a speech over all it holds: queries `[heads, rows, head width]`, keys and values
    /// `[length, key heads, head width]`, to `[rows, attended]`.
    fn look(&self, queries: Vec<f32>, heads: usize, rows: usize, keys: &Tensor, values: &Tensor) -> Result<Tensor> {
        let Sizes { key_heads, attended, window, .. } = self.sizes;
        let head = self.sizes.head_width();
        let scale = 1.0 / (head as f32).sqrt();
        let length = keys.dim(0)?;
        if rows == 1 {
            let seen = length.min(window.unwrap_or(length));
            let queries = Tensor::from_vec(queries, (1, 1, heads, head), &Device::Cpu)?;
            let keys = keys.narrow(0, length - seen, seen)?.unsqueeze(0)?;
            let values = values.narrow(0, length - seen, seen)?.unsqueeze(0)?;
            let mask = AttnMask::causal_with_offset(seen - 1);
            return flash_attn::<f32>(&queries, &keys, &values, scale, mask, None, None)?.reshape((1, attended));
        }
        let queries = queries.into_iter().map(|value| value * scale).collect();
        let queries = Tensor::from_vec(queries, (key_heads, heads / key_heads * rows, head), &Device::Cpu)?;
        let scores = queries.matmul(&keys.permute((1, 2, 0))?)?.reshape((heads, rows, length))?;
        let scores = scores.broadcast_add(&mask(rows, length, window)?)?;
        let weights = softmax_last_dim(&scores)?.reshape((key_heads, heads / key_heads * rows, length))?;
        let seen = weights.matmul(&values.transpose(0, 1)?)?;
        seen.reshape((heads, rows, head))?.transpose(0, 1)?.reshape((rows, attended))
    }

    fn rotation(&self, first: usize, rows: usize) -> Rotation {
        let turns = (first..first + rows)
            .flat_map(|position| self.angles.iter().map(move |angle| (angle * position as f32).sin_cos()))
            .map(|(sin, cos)| (cos, sin))
            .collect();
        Rotation { pairs: self.angles.len(), turns }
    }
}

/// Cosines and sines of some positions.
struct Rotation {
    pairs: usize,
    turns: Vec<(f32, f32)>,
}

struct Turn<'a>(&'a [(f32, f32)]);

impl Rotation {
    fn rows(&self) -> impl Iterator<Item = Turn<'_>> {
        self.turns.chunks_exact(self.pairs).map(Turn)
    }
}

impl Turn<'_> {
    /// Rotates neighbouring pairs of a head.
    fn apply(&self, head: &mut [f32]) {
        for ([real, imaginary], (cos, sin)) in head.as_chunks_mut().0.iter_mut().zip(self.0) {
            (*real, *imaginary) = (*real * cos - *imaginary * sin, *real * sin + *imaginary * cos);
        }
    }
}

/// The last `rows` of `length` positions, each blind to those after it and to those `window` or more before it: `[rows, length]`, to be
/// added to scores.
fn mask(rows: usize, length: usize, window: Option<usize>) -> Result<Tensor> {
    let past = length - rows;
    let hidden = |row: usize, position: usize| {
        position > past + row || window.is_some_and(|window| position + window <= past + row)
    };
    let mask = (0..rows)
        .flat_map(|row| (0..length).map(move |position| if hidden(row, position) { f32::NEG_INFINITY } else { 0.0 }))
        .collect();
    Tensor::from_vec(mask, (rows, length), &Device::Cpu)
}
