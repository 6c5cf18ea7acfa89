//! What a file's architecture is: families as data, sizes from metadata, and the list of the weights that follow from them.
//!
//! A family is a row of [`FAMILIES`]; the network reads the row and has no code of its own for any of them. Everything here comes
//! from an untrusted file: sizes are kept within reason and must fit together, and the weights they ask for must all be there, in
//! exactly that shape, and no others.

use std::collections::HashSet;

use super::cache::CacheShape;
use super::file::{Flaw, GgufFile};
use super::kernels::Precision;
use super::rotation::{Scaling, Stretch};
use super::weights::Wanted;

/// What sets one family of models apart from another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Family {
    name: &'static str,
    /// Rotary pairs are neighbours in the file (Llama), not halves (the others).
    interleaved: bool,
    /// Queries, keys and values have biases.
    pub biased: bool,
    /// Queries and keys are normalised head by head.
    pub head_norms: bool,
    /// Queries, keys and values are one matrix, and so are gate and up.
    pub fused: bool,
    /// What attention and feed-forward give is normalised before it is added.
    pub post_norms: bool,
    /// The feed-forward's gate is GELU (its tanh form), not SiLU.
    pub gelu: bool,
    /// Embeddings are multiplied by the root of their width.
    scaled_embedding: bool,
    /// One layer in this many sees everything, the others a sliding window, if the file has one. 0: all see the window.
    /// 1: none does.
    window_period: usize,
    /// The rotary base of layers that see a window, if it is their own.
    window_rotary_base: Option<f64>,
    /// One layer in this many does not rotate. 0: all do.
    unrotated_period: usize,
    /// A model with this many layers scales queries by width per head instead of by the head's width (Gemma 3 27B).
    odd_scale_layers: Option<usize>,
}

/// Llama: what the others are told apart from.
const PLAIN: Family = Family {
    name: "llama",
    interleaved: true,
    biased: false,
    head_norms: false,
    fused: false,
    post_norms: false,
    gelu: false,
    scaled_embedding: false,
    window_period: 1,
    window_rotary_base: None,
    unrotated_period: 0,
    odd_scale_layers: None,
};

const FAMILIES: [Family; 6] = [
    PLAIN,
    Family { name: "qwen2", interleaved: false, biased: true, ..PLAIN },
    Family { name: "qwen3", interleaved: false, head_norms: true, ..PLAIN },
    Family {
        name: "gemma3",
        interleaved: false,
        head_norms: true,
        post_norms: true,
        gelu: true,
        scaled_embedding: true,
        window_period: 6,
        window_rotary_base: Some(10_000.0),
        odd_scale_layers: Some(62),
        ..PLAIN
    },
    Family { name: "phi3", interleaved: false, fused: true, window_period: 0, ..PLAIN },
    Family { name: "smollm3", unrotated_period: 4, ..PLAIN },
];

/// Sizes, from metadata.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sizes {
    pub family: Family,
    pub layers: usize,
    pub width: usize,
    pub inner: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub head_width: usize,
    pub epsilon: f32,
    /// Scores of queries and keys are multiplied by this.
    pub attention_scale: f32,
    /// How far windowed layers look back, themselves included.
    window: Option<usize>,
    window_period: usize,
    /// Logits are squeezed into ± this.
    pub logit_cap: Option<f64>,
    rotary: Scaling,
    pub vocabulary: usize,
    /// What the model was trained for, in tokens.
    pub trained_context: usize,
}

impl Sizes {
    pub fn read(file: &GgufFile, vocabulary: usize) -> Result<Self, Flaw> {
        let name = file.text("general.architecture")?;
        let family = FAMILIES.into_iter().find(|family| family.name == name).ok_or_else(|| {
            let known: Vec<&str> = FAMILIES.iter().map(|family| family.name).collect();
            format!("its architecture is `{name}`; supported are {}", known.join(", "))
        })?;
        let required = |key: &str, most: usize| {
            let key = format!("{name}.{key}");
            file.count(&key, 1..=most)?.ok_or_else(|| format!("it has no `{key}`"))
        };
        let optional = |key: &str, least: usize, most: usize| file.count(&format!("{name}.{key}"), least..=most);
        let float = |key: &str| file.float(&format!("{name}.{key}"));
        if optional("expert_count", 0, 4096)?.unwrap_or(0) > 1 {
            return Err("it is a mixture of experts, which is not supported".into());
        }
        if float("attn_logit_softcapping")?.is_some_and(|cap| cap != 0.0) {
            return Err("it caps the scores of its attention, which is not supported".into());
        }
        let layers = required("block_count", 512)?;
        let width = required("embedding_length", 1 << 16)?;
        let heads = required("attention.head_count", 1024)?;
        let kv_heads = optional("attention.head_count_kv", 1, heads)?.unwrap_or(heads);
        let head_width = optional("attention.key_length", 1, 1024)?.unwrap_or(width / heads);
        let value_width = optional("attention.value_length", 1, 1024)?.unwrap_or(head_width);
        let rotated = optional("rope.dimension_count", 1, 1024)?.unwrap_or(head_width);
        if heads % kv_heads != 0 || head_width == 0 || head_width % 2 != 0 {
            return Err(format!(
                "{heads} heads, {kv_heads} of them for keys, of width {head_width} do not fit together"
            ));
        }
        if value_width != head_width {
            return Err("its values are of another width than its keys, which is not supported".into());
        }
        if rotated > head_width || rotated % 2 != 0 || (family.interleaved && rotated != head_width) {
            return Err(format!("it rotates {rotated} of the {head_width} numbers of a head, which is not supported"));
        }
        let epsilon = float("attention.layer_norm_rms_epsilon")?.unwrap_or(1e-5);
        let usual_scale = match family.odd_scale_layers {
            Some(odd) if odd == layers => (width as f64 / heads as f64).sqrt().recip(),
            _ => (head_width as f64).sqrt().recip(),
        };
        let attention_scale = float("attention.scale")?.filter(|scale| *scale != 0.0).unwrap_or(usual_scale);
        let logit_cap = float("final_logit_softcapping")?.filter(|cap| *cap != 0.0);
        if !(0.0..1.0).contains(&epsilon) || attention_scale <= 0.0 || logit_cap.is_some_and(|cap| cap < 0.0) {
            return Err("its norm epsilon, attention scale or cap on logits makes no sense".into());
        }
        let window_period = match family.window_period {
            given @ (0 | 1) => given,
            usual => optional("attention.sliding_window_pattern", 1, 512)?.unwrap_or(usual),
        };
        let window = optional("attention.sliding_window", 0, 1 << 24)?;
        let trained_context = required("context_length", 1 << 24)?;
        Ok(Self {
            family,
            layers,
            width,
            inner: required("feed_forward_length", 1 << 18)?,
            heads,
            kv_heads,
            head_width,
            epsilon: epsilon as f32,
            attention_scale: attention_scale as f32,
            window: window.filter(|window| *window > 0),
            window_period,
            logit_cap,
            rotary: Scaling {
                pairs: rotated / 2,
                base: float("rope.freq_base")?.unwrap_or(10_000.0),
                window_base: float("rope.freq_base_swa")?.or(family.window_rotary_base),
                stretch: stretch(file, name)?,
                original_context: optional("rope.scaling.original_context_length", 1, 1 << 24)?,
                trained_context,
                gain: float("rope.scaling.attn_factor")?,
            },
            vocabulary,
            trained_context,
        })
    }

    pub fn rotary(&self) -> &Scaling {
        &self.rotary
    }

    /// How far `layer` looks back, itself included; `None` is to the beginning.
    pub fn window(&self, layer: usize) -> Option<usize> {
        self.window.filter(|_| !is_exception(layer, self.window_period))
    }

    /// Whether layers with a window rotate by a base of their own.
    pub fn rotates_windows_apart(&self) -> bool {
        self.rotary.window_base.is_some() && (0..self.layers).any(|layer| self.window(layer).is_some())
    }

    pub fn rotates(&self, layer: usize) -> bool {
        !is_exception(layer, self.family.unrotated_period)
    }

    /// What embeddings are multiplied by.
    pub fn embedding_scale(&self) -> Option<f64> {
        self.family.scaled_embedding.then(|| (self.width as f64).sqrt())
    }

    pub fn cache_shape(&self, device: &candle_core::Device, precision: Precision) -> CacheShape {
        let Self { layers, kv_heads: heads, head_width, .. } = *self;
        CacheShape { layers, heads, head_width, device: device.clone(), precision }
    }

    /// Every weight the network has, in the order in which it takes them. A weight that it would not use is a flaw: what it says
    /// would not be what the model says.
    pub fn wanted(&self, file: &GgufFile) -> Result<Vec<Wanted>, Flaw> {
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
        for name in super::rotation::DIVISORS {
            if file.tensors.contains_key(name) {
                wanted.push(vector(name.into(), self.rotary.pairs));
            }
        }
        for layer in 0..self.layers {
            let name = |part: &str| format!("blk.{layer}.{part}");
            wanted.push(vector(name("attn_norm.weight"), self.width));
            if self.family.fused {
                wanted.push(matrix(name("attn_qkv.weight"), queries + 2 * keys, self.width, None));
            } else {
                wanted.push(matrix(name("attn_q.weight"), queries, self.width, interleaved(self.heads)));
                wanted.push(matrix(name("attn_k.weight"), keys, self.width, interleaved(self.kv_heads)));
                wanted.push(matrix(name("attn_v.weight"), keys, self.width, None));
            }
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
            if self.family.post_norms {
                wanted.push(vector(name("post_attention_norm.weight"), self.width));
                wanted.push(vector(name("post_ffw_norm.weight"), self.width));
            }
            wanted.push(vector(name("ffn_norm.weight"), self.width));
            if self.family.fused {
                wanted.push(matrix(name("ffn_up.weight"), 2 * self.inner, self.width, None));
            } else {
                wanted.push(matrix(name("ffn_gate.weight"), self.inner, self.width, None));
                wanted.push(matrix(name("ffn_up.weight"), self.inner, self.width, None));
            }
            wanted.push(matrix(name("ffn_down.weight"), self.width, self.inner, None));
        }
        let names: HashSet<&str> = wanted.iter().map(|want| want.name.as_str()).collect();
        // Old converters wrote the rotation's frequencies into every layer; they follow from the metadata.
        let is_idle = |name: &str| name.contains("rope_freqs") || name.contains("rot_embd");
        let mut strange = file.tensors.keys().filter(|name| !names.contains(name.as_str()) && !is_idle(name));
        match strange.next() {
            Some(name) => Err(format!("it has the tensor `{name}`, which a plain `{}` has not", self.family.name)),
            None => Ok(wanted),
        }
    }
}

/// Whether `layer` is the last of a group of `period`; 0 makes no groups.
fn is_exception(layer: usize, period: usize) -> bool {
    period > 0 && (layer + 1).is_multiple_of(period)
}

/// How positions are stretched beyond the length of the first training.
fn stretch(file: &GgufFile, name: &str) -> Result<Stretch, Flaw> {
    let factor = match file.float(&format!("{name}.rope.scaling.factor"))? {
        Some(factor) if factor < 1e-3 => return Err(format!("its rope scaling factor is {factor}")),
        factor => factor.unwrap_or(1.0),
    };
    match file.text(&format!("{name}.rope.scaling.type")) {
        Ok("linear") => Ok(Stretch::Linear(factor)),
        Ok("yarn") => Ok(Stretch::Yarn(factor)),
        // Long-rope files say it by their tensors of divisors.
        Ok("none" | "longrope" | "su") => Ok(Stretch::None),
        Ok(other) => Err(format!("its rope scaling is `{other}`, which is not supported")),
        Err(_) => Ok(Stretch::None),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::tests::{Draft, float, on_disk, whole};
    use super::*;

    fn sizes(family: &str, changes: &[(&str, Vec<u8>)]) -> Sizes {
        let mut draft = Draft::new(family);
        for (key, value) in changes {
            draft.set(&format!("{family}.{key}"), value.clone());
        }
        Sizes::read(&GgufFile::open(on_disk(&draft.bytes()).path()).unwrap(), 260).unwrap()
    }

    #[test]
    fn only_the_27b_gemma_scales_queries_by_width_per_head() {
        let wide = [
            ("attention.key_length", whole(16)),
            ("attention.value_length", whole(16)),
            ("rope.dimension_count", whole(16)),
        ];
        let scale = |layers, more: &[(&str, Vec<u8>)]| {
            let layers = [("block_count", whole(layers))];
            sizes("gemma3", &[&wide[..], &layers, more].concat()).attention_scale
        };
        assert_eq!(scale(26, &[]), 0.25);
        assert_eq!(scale(62, &[]), 8f32.sqrt().recip());
        assert_eq!(scale(62, &[("attention.scale", float(0.125))]), 0.125);
    }

    #[test]
    fn windows_are_where_the_family_has_them() {
        let windows = |family, changes: &[(&str, Vec<u8>)]| {
            let window = [("block_count", whole(7)), ("attention.sliding_window", whole(9))];
            let sizes = sizes(family, &[&window[..], changes].concat());
            (0..7).map(|layer| sizes.window(layer).is_some()).collect::<Vec<_>>()
        };
        assert_eq!(windows("gemma3", &[]), [true, true, true, true, true, false, true]);
        let pattern = [("attention.sliding_window_pattern", whole(2))];
        assert_eq!(windows("gemma3", &pattern), [true, false, true, false, true, false, true]);
        assert_eq!(windows("phi3", &[]), [true; 7]);
        assert_eq!(windows("phi3", &[("attention.sliding_window", whole(0))]), [false; 7]);
        assert_eq!(windows("qwen2", &[]), [false; 7]);
    }
}
