//! The network: a Llama-family decoder on candle tensors.
//!
//! Rows of several conversations go through the weights together (a ragged batch): each weight is read once a step, whoever
//! asks. Only attention runs conversation by conversation, each over its own cache. A family is data ([`Family`]): Llama,
//! Qwen2 and Qwen3 differ in biases, in norms of queries and keys, and in how rotary pairs lie in the file.

use candle_core::{D, Device, Result, Tensor};
use candle_nn::ops::softmax_last_dim;

use super::cache::{CacheShape, KvCache};
use super::file::{Flaw, GgufFile};
use super::kernels::{Activation, Precision};
use super::steps::{attend_on_host, rms_norm, rotate};
use super::weights::{Matrix, Wanted, Weight, gated, load_all, project};

/// What sets one family of models apart from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Family {
    name: &'static str,
    /// Rotary pairs are neighbours in the file (Llama), not halves (Qwen).
    interleaved: bool,
    /// Queries, keys and values have biases.
    biased: bool,
    /// Queries and keys are normalised head by head.
    head_norms: bool,
}

const FAMILIES: [Family; 3] = [
    Family { name: "llama", interleaved: true, biased: false, head_norms: false },
    Family { name: "qwen2", interleaved: false, biased: true, head_norms: false },
    Family { name: "qwen3", interleaved: false, biased: false, head_norms: true },
];

/// Sizes, from metadata.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sizes {
    family: Family,
    layers: usize,
    width: usize,
    inner: usize,
    heads: usize,
    kv_heads: usize,
    head_width: usize,
    epsilon: f32,
    rotary_base: f64,
    /// Positions are divided by this (linear scaling).
    rotary_stretch: f64,
    pub vocabulary: usize,
    /// What the model was trained for, in tokens.
    pub trained_context: usize,
}

impl Sizes {
    pub fn read(file: &GgufFile, vocabulary: usize) -> std::result::Result<Self, Flaw> {
        let name = file.text("general.architecture")?;
        let family = FAMILIES.into_iter().find(|family| family.name == name).ok_or_else(|| {
            let known: Vec<&str> = FAMILIES.iter().map(|family| family.name).collect();
            format!("its architecture is `{name}`; supported are {}", known.join(", "))
        })?;
        let required = |key: &str, most: usize| {
            let key = format!("{name}.{key}");
            file.count(&key, 1..=most)?.ok_or_else(|| format!("it has no `{key}`"))
        };
        let optional = |key: &str, most: usize| file.count(&format!("{name}.{key}"), 1..=most);
        if file.count(&format!("{name}.expert_count"), 0..=4096)?.unwrap_or(0) > 1 {
            return Err("it is a mixture of experts, which is not supported".into());
        }
        let width = required("embedding_length", 1 << 16)?;
        let heads = required("attention.head_count", 1024)?;
        let kv_heads = optional("attention.head_count_kv", heads)?.unwrap_or(heads);
        let head_width = optional("attention.key_length", 1024)?.unwrap_or(width / heads);
        let value_width = optional("attention.value_length", 1024)?.unwrap_or(head_width);
        let rotary = optional("rope.dimension_count", 1024)?.unwrap_or(head_width);
        if heads % kv_heads != 0 || head_width == 0 || head_width % 2 != 0 {
            return Err(format!(
                "{heads} heads, {kv_heads} of them for keys, of width {head_width} do not fit together"
            ));
        }
        if value_width != head_width || rotary != head_width {
            return Err("its heads are only partly rotated or of unequal width, which is not supported".into());
        }
        let scaling = file.text(&format!("{name}.rope.scaling.type")).unwrap_or("none");
        let rotary_stretch = match scaling {
            "none" => 1.0,
            "linear" => file.float(&format!("{name}.rope.scaling.factor"))?.unwrap_or(1.0),
            other => return Err(format!("its rope scaling is `{other}`, which is not supported")),
        };
        let epsilon = file.float(&format!("{name}.attention.layer_norm_rms_epsilon"))?.unwrap_or(1e-5);
        let rotary_base = file.float(&format!("{name}.rope.freq_base"))?.unwrap_or(10_000.0);
        if !(0.0..1.0).contains(&epsilon) || rotary_base <= 1.0 || rotary_stretch <= 0.0 {
            return Err("its norm epsilon or rope numbers make no sense".into());
        }
        Ok(Self {
            family,
            layers: required("block_count", 512)?,
            width,
            inner: required("feed_forward_length", 1 << 18)?,
            heads,
            kv_heads,
            head_width,
            epsilon: epsilon as f32,
            rotary_base,
            rotary_stretch,
            vocabulary,
            trained_context: required("context_length", 1 << 24)?,
        })
    }

    /// Every weight the network has, in the order in which [`Network::load`] takes them.
    fn wanted(&self, file: &GgufFile) -> Vec<Wanted> {
        let matrix = |name: String, rows: usize, columns: usize, interleaved_heads: Option<usize>| Wanted {
            name,
            rows,
            columns: Some(columns),
            interleaved_heads,
        };
        let vector = |name: String, rows: usize| Wanted { name, rows, columns: None, interleaved_heads: None };
        let (queries, keys) = (self.heads * self.head_width, self.kv_heads * self.head_width);
        let interleaved = |heads: usize| self.family.interleaved.then_some(heads);
        let mut wanted = vec![matrix("token_embd.weight".into(), self.vocabulary, self.width, None)];
        if file.tensors.contains_key("output.weight") {
            wanted.push(matrix("output.weight".into(), self.vocabulary, self.width, None));
        }
        wanted.push(vector("output_norm.weight".into(), self.width));
        if file.tensors.contains_key("rope_freqs.weight") {
            wanted.push(vector("rope_freqs.weight".into(), self.head_width / 2));
        }
        for layer in 0..self.layers {
            let name = |part: &str| format!("blk.{layer}.{part}");
            wanted.push(vector(name("attn_norm.weight"), self.width));
            wanted.push(matrix(name("attn_q.weight"), queries, self.width, interleaved(self.heads)));
            wanted.push(matrix(name("attn_k.weight"), keys, self.width, interleaved(self.kv_heads)));
            wanted.push(matrix(name("attn_v.weight"), keys, self.width, None));
            if self.family.biased {
                wanted.push(vector(name("attn_q.bias"), queries));
                wanted.push(vector(name("attn_k.bias"), keys));
                wanted.push(vector(name("attn_v.bias"), keys));
            }
            if self.family.head_norms {
                wanted.push(vector(name("attn_q_norm.weight"), self.head_width));
                wanted.push(vector(name("attn_k_norm.weight"), self.head_width));
            }
            wanted.push(matrix(name("attn_output.weight"), self.width, queries, None));
            wanted.push(vector(name("ffn_norm.weight"), self.width));
            wanted.push(matrix(name("ffn_gate.weight"), self.inner, self.width, None));
            wanted.push(matrix(name("ffn_up.weight"), self.inner, self.width, None));
            wanted.push(matrix(name("ffn_down.weight"), self.width, self.inner, None));
        }
        wanted
    }
}

struct Layer {
    attention_norm: Tensor,
    queries: Matrix,
    keys: Matrix,
    values: Matrix,
    biases: Option<[Tensor; 3]>,
    head_norms: Option<[Tensor; 2]>,
    output: Matrix,
    feed_norm: Tensor,
    gate: Matrix,
    up: Matrix,
    down: Matrix,
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
    embedding: Matrix,
    layers: Vec<Layer>,
    norm: Tensor,
    head: Matrix,
    /// Angle of one position, for each pair of a head.
    angles: Vec<f64>,
}

impl Network {
    pub fn load(file: &GgufFile, sizes: Sizes, progress: &(dyn Fn(f32) + Sync)) -> std::result::Result<Self, Flaw> {
        let wanted = sizes.wanted(file);
        let mut weights = wanted.iter().zip(load_all(file, &wanted, &Device::Cpu, progress)?).peekable();
        let mut take_matrix = || match weights.next() {
            Some((_, Weight::Matrix(matrix))) => Ok(matrix),
            _ => Err("a matrix is missing".to_owned()),
        };
        let embedding = take_matrix()?;
        let head = if file.tensors.contains_key("output.weight") { take_matrix()? } else { embedding.clone() };
        let mut loaded = Loaded(weights);
        let norm = loaded.vector()?;
        let half = sizes.head_width / 2;
        let divisors = match file.tensors.contains_key("rope_freqs.weight") {
            true => loaded.vector()?.to_vec1::<f32>().map_err(|error| error.to_string())?,
            false => vec![1.0; half],
        };
        let angles = divisors
            .iter()
            .enumerate()
            .map(|(pair, divisor)| {
                sizes.rotary_base.powf(-(pair as f64) / half as f64) / f64::from(*divisor) / sizes.rotary_stretch
            })
            .collect();
        let mut layers = Vec::with_capacity(sizes.layers);
        for _ in 0..sizes.layers {
            let attention_norm = loaded.vector()?;
            let (queries, keys, values) = (loaded.matrix()?, loaded.matrix()?, loaded.matrix()?);
            let biases = match sizes.family.biased {
                true => Some([loaded.vector()?, loaded.vector()?, loaded.vector()?]),
                false => None,
            };
            let head_norms = match sizes.family.head_norms {
                true => Some([loaded.vector()?, loaded.vector()?]),
                false => None,
            };
            layers.push(Layer {
                attention_norm,
                queries,
                keys,
                values,
                biases,
                head_norms,
                output: loaded.matrix()?,
                feed_norm: loaded.vector()?,
                gate: loaded.matrix()?,
                up: loaded.matrix()?,
                down: loaded.matrix()?,
            });
        }
        Ok(Self { sizes, embedding, layers, norm, head, angles })
    }

    pub fn cache_shape(&self) -> CacheShape {
        let Sizes { layers, kv_heads: heads, head_width, .. } = self.sizes;
        // Beside quantised weights, half precision makes no difference.
        let is_quantised = self.layers.iter().any(|layer| layer.keys.is_quantised());
        let precision = if is_quantised { Precision::Half } else { Precision::Single };
        CacheShape { layers, heads, head_width, device: Device::Cpu, precision }
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
        let rotation = self.rotation(&positions)?;
        let mut x = self.embedding.rows(&Tensor::from_vec(ids, rows, &Device::Cpu)?)?;
        for (index, layer) in self.layers.iter().enumerate() {
            let is_last = index + 1 == self.layers.len();
            let (queries, keys, values) = self.attention_inputs(layer, &x, &rotation)?;
            let attended = self.attend(index, segments, &queries, &keys, &values)?;
            let (attended, residual) = if !is_last || wanted_rows.len() == rows {
                (attended, x)
            } else if wanted_rows.is_empty() {
                break;
            } else {
                // What follows in the last layer matters only where a token will be chosen.
                let wanted = Tensor::new(wanted_rows.as_slice(), &Device::Cpu)?;
                (attended.index_select(&wanted, 0)?, x.index_select(&wanted, 0)?)
            };
            let h = layer.output.forward_onto(&attended, &residual)?;
            let normed = rms_norm(&h, &layer.feed_norm, self.sizes.epsilon)?;
            x = layer.down.forward_onto(&gated(&normed, &layer.gate, &layer.up, Activation::Silu)?, &h)?;
        }
        let mut logits = Vec::new();
        if !wanted_rows.is_empty() {
            let normed = rms_norm(&x, &self.norm, self.sizes.epsilon)?;
            logits = self.head.forward(&normed)?.to_vec2::<f32>()?;
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

    /// Queries, keys and values of every row, rotated to their positions: `[rows, heads, head_width]`.
    fn attention_inputs(
        &self,
        layer: &Layer,
        x: &Tensor,
        (cos, sin): &(Tensor, Tensor),
    ) -> Result<(Tensor, Tensor, Tensor)> {
        let Sizes { heads, kv_heads, head_width, epsilon, .. } = self.sizes;
        let rows = x.dim(0)?;
        let normed = rms_norm(x, &layer.attention_norm, epsilon)?;
        let [mut queries, mut keys, mut values] = project(&normed, [&layer.queries, &layer.keys, &layer.values])?;
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
        let (queries, keys) = (rotate(&queries, cos, sin)?, rotate(&keys, cos, sin)?);
        Ok((queries, keys, values.reshape((rows, kv_heads, head_width))?))
    }

    /// Each segment's rows look at their own conversation's past and at themselves: `[rows, heads × head_width]`.
    fn attend(
        &self,
        layer: usize,
        segments: &mut [Segment<'_>],
        queries: &Tensor,
        keys: &Tensor,
        values: &Tensor,
    ) -> Result<Tensor> {
        let Sizes { heads, head_width, .. } = self.sizes;
        let scale = 1.0 / (head_width as f32).sqrt();
        let caches = segments.iter_mut().map(|segment| (&mut *segment.cache, segment.tokens.len()));
        if let Some(attended) = attend_on_host(layer, caches, [queries, keys, values], scale, None)? {
            return Ok(attended);
        }
        let mut outputs = Vec::with_capacity(segments.len());
        let mut row = 0;
        for segment in segments.iter().filter(|segment| !segment.tokens.is_empty()) {
            let rows = segment.tokens.len();
            let (past_keys, past_values) =
                segment.cache.extend(layer, &keys.narrow(0, row, rows)?, &values.narrow(0, row, rows)?)?;
            let queries = queries.narrow(0, row, rows)?;
            let attended = self.attend_in_block(&queries, &past_keys, &past_values, scale)?;
            outputs.push(attended.reshape((rows, heads * head_width))?);
            row += rows;
        }
        match outputs.len() {
            1 => outputs.pop().map_or_else(|| queries.flatten_from(D::Minus2), Ok),
            _ => Tensor::cat(&outputs, 0),
        }
    }

    /// Attention by candle's matrix products, on devices other than the processor. The queries that share a key head are stacked; keys and values are read where they lie. Gives `[rows, heads, head_width]`.
    fn attend_in_block(&self, queries: &Tensor, keys: &Tensor, values: &Tensor, scale: f32) -> Result<Tensor> {
        let Sizes { heads, kv_heads, head_width, .. } = self.sizes;
        let (rows, length) = (queries.dim(0)?, keys.dim(0)?);
        let sharing = heads / kv_heads;
        let queries = (queries * f64::from(scale))?.transpose(0, 1)?.reshape((kv_heads, sharing * rows, head_width))?;
        let scores = queries.matmul(&keys.permute((1, 2, 0))?)?.reshape((kv_heads, sharing, rows, length))?;
        let scores = scores.broadcast_add(&causal_mask(rows, length)?)?;
        let weights = softmax_last_dim(&scores)?.reshape((kv_heads, sharing * rows, length))?;
        let attended = weights.matmul(&values.transpose(0, 1)?)?;
        attended.reshape((heads, rows, head_width))?.transpose(0, 1)?.contiguous()
    }

    /// Cosines and sines for rows at `positions`, `[rows, head_width / 2]`.
    fn rotation(&self, positions: &[usize]) -> Result<(Tensor, Tensor)> {
        let shape = (positions.len(), self.angles.len());
        let angles =
            || positions.iter().flat_map(|&position| self.angles.iter().map(move |angle| position as f64 * angle));
        let cos = angles().map(|angle| angle.cos() as f32).collect();
        let sin = angles().map(|angle| angle.sin() as f32).collect();
        Ok((Tensor::from_vec(cos, shape, &Device::Cpu)?, Tensor::from_vec(sin, shape, &Device::Cpu)?))
    }
}

/// The last `rows` of `length` positions, each blind to those after it: `[rows, length]` to be added to scores.
fn causal_mask(rows: usize, length: usize) -> Result<Tensor> {
    let past = length - rows;
    let mask = (0..rows)
        .flat_map(|row| (0..length).map(move |position| if position > past + row { f32::NEG_INFINITY } else { 0.0 }))
        .collect();
    Tensor::from_vec(mask, (rows, length), &Device::Cpu)
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
}
