//! A voice: what the backbone remembers after it has heard someone speak, and its file.
//!
//! The layout is the reference package's (a cache and an offset a layer), so its preset voices and its exports can be used here, and
//! ours there. Ours also say which weights they were computed with, and are refused by others; on load every shape is checked against
//! the model's, and every number must be finite.

use std::collections::HashMap;
use std::io::{Read, Seek};

use candle_core::{Device, Tensor};
use safetensors::Dtype;
use safetensors::tensor::TensorView;

use super::config::Config;
use super::weights::{Flaw, SafeFile};

/// Thirty seconds of reference and the marker before it are 376; nobody has a voice of more than this.
const POSITIONS_MAX: usize = 2_048;
const FORMAT: &str = "avatar/pocket-tts-voice";
const VERSION: &str = "1";

/// Keys and values of each layer, `[positions, heads, head width]`.
#[derive(Debug, Clone)]
pub(super) struct VoiceState {
    pub layers: Vec<(Tensor, Tensor)>,
}

fn module(layer: usize) -> String {
    format!("transformer.layers.{layer}.self_attn")
}

impl VoiceState {
    /// Reads a voice for the model of `config`; `fingerprint` is that of its weights, against which a voice that names its weights is
    /// checked.
    pub fn read<R: Read + Seek>(
        file: &mut SafeFile<R>,
        config: &Config,
        fingerprint: Option<&str>,
    ) -> Result<Self, Flaw> {
        let notes = file.notes();
        if let Some(format) = notes.get("format").filter(|format| *format != "pt") {
            let version = notes.get("version").map_or("none", String::as_str);
            if format != FORMAT || version != VERSION {
                return Err(format!(
                    "it is of format {format:?} version {version}; {FORMAT:?} version {VERSION} is read"
                ));
            }
            if let (Some(known), Some(used)) = (fingerprint, notes.get("weights"))
                && known != used
            {
                return Err("it was computed with other weights; compute it again from the recording".into());
            }
        }
        let transformer = &config.flow_lm.transformer;
        let heads = transformer.num_kv_heads.unwrap_or(transformer.num_heads);
        let head = transformer.attn_dim.unwrap_or(transformer.d_model) / transformer.num_heads;
        let mut layers = Vec::with_capacity(transformer.num_layers);
        let mut positions = None;
        for layer in 0..transformer.num_layers {
            let (keys, values, count) = read_layer(file, &module(layer), heads, head)?;
            if *positions.get_or_insert(count) != count {
                return Err(format!("its layers hold different numbers of positions ({count} in layer {layer})"));
            }
            layers.push((keys, values));
        }
        Ok(Self { layers })
    }

    /// The file's bytes, naming the weights that `fingerprint` identifies.
    pub fn write(&self, fingerprint: &str) -> Result<Vec<u8>, String> {
        let mut tensors = Vec::new();
        for (layer, (keys, values)) in self.layers.iter().enumerate() {
            let (positions, heads, head) = keys.dims3().map_err(|error| error.to_string())?;
            let mut bytes = Vec::with_capacity(2 * 4 * positions * heads * head);
            for tensor in [keys, values] {
                let values = tensor.flatten_all().and_then(|flat| flat.to_vec1::<f32>());
                bytes.extend(values.map_err(|error| error.to_string())?.into_iter().flat_map(f32::to_le_bytes));
            }
            let name = module(layer);
            tensors.push((format!("{name}/cache"), Dtype::F32, vec![2, 1, positions, heads, head], bytes));
            let offset = (positions as i64).to_le_bytes().to_vec();
            tensors.push((format!("{name}/offset"), Dtype::I64, vec![1], offset));
        }
        let views: Vec<(String, TensorView<'_>)> = tensors
            .iter()
            .map(|(name, dtype, shape, bytes)| Ok((name.clone(), TensorView::new(*dtype, shape.clone(), bytes)?)))
            .collect::<Result<_, safetensors::SafeTensorError>>()
            .map_err(|error| error.to_string())?;
        let notes = [("format", FORMAT), ("version", VERSION), ("weights", fingerprint)];
        let notes: HashMap<String, String> = notes.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        safetensors::serialize(views, Some(notes)).map_err(|error| error.to_string())
    }
}

/// Keys and values of one layer, and how many positions they have.
fn read_layer<R: Read + Seek>(
    file: &mut SafeFile<R>,
    name: &str,
    heads: usize,
    head: usize,
) -> Result<(Tensor, Tensor, usize), Flaw> {
    let cache = format!("{name}/cache");
    let info = file.info(&cache).ok_or_else(|| format!("it is no voice of this model: it has no `{cache}`"))?;
    let shape = info.shape.clone();
    let capacity = match *shape.as_slice() {
        [2, 1, capacity, its_heads, width] if its_heads == heads && width == head => capacity,
        _ => return Err(format!("`{cache}` has the shape {shape:?} instead of [2, 1, positions, {heads}, {head}]")),
    };
    // Older files tell the length by the shape of an empty tensor.
    let legacy = file.info(&format!("{name}/current_end")).map(|info| info.shape.first().copied().unwrap_or(0));
    let positions = match legacy {
        Some(positions) => positions,
        None => usize::try_from(file.integer(&format!("{name}/offset"))?).unwrap_or(usize::MAX),
    };
    if positions == 0 || positions > capacity || capacity > POSITIONS_MAX {
        return Err(format!("`{name}` claims {positions} positions of {capacity}; at most {POSITIONS_MAX} are read"));
    }
    if file.info(&format!("{name}/pad")).is_some() && file.integer(&format!("{name}/pad"))? != 0 {
        return Err(format!("`{name}` begins with padding, which no single voice has"));
    }
    let all = file.raw_values(&cache, &shape)?;
    let (keys, values) = all.split_at(capacity * heads * head);
    let tensor = |values: &[f32]| {
        let values = values.get(..positions * heads * head).unwrap_or_default();
        if values.iter().any(|value| !value.is_finite()) {
            return Err(format!("`{cache}` has numbers that are not finite"));
        }
        Tensor::from_slice(values, (positions, heads, head), &Device::Cpu).map_err(|error| error.to_string())
    };
    Ok((tensor(keys)?, tensor(values)?, positions))
}
