//! One conversation's key-value cache: what the network remembers of the tokens it has read.
//!
//! Keys and values lie in position order in memory that is allocated ahead and filled in place: on the processor as its kernels
//! read them ([`Past`]), elsewhere in tensors. Cutting the cache back is forgetting a length: rotary positions are baked into the
//! keys, and a slot is overwritten when its position is read again.

use candle_core::{DType, Device, Result, Tensor};

use super::kernels::{Past, Precision};

/// Slots are allocated in steps of this many tokens.
const STEP: usize = 256;

/// The sizes a cache has to have, and where it lies.
#[derive(Debug, Clone)]
pub(super) struct CacheShape {
    pub layers: usize,
    pub heads: usize,
    pub head_width: usize,
    pub device: Device,
    /// On the processor; other devices keep single precision.
    pub precision: Precision,
}

impl CacheShape {
    pub fn bytes_per_token(&self) -> usize {
        let per_layer = match self.device.is_cpu() {
            true => Past::bytes_per_position(self.precision, self.heads, self.head_width),
            false => 2 * self.heads * self.head_width * size_of::<f32>(),
        };
        self.layers * per_layer
    }
}

/// Keys and values of each layer.
enum Layers {
    Host(Vec<Past>),
    /// `[capacity, heads, head_width]`
    Device(Vec<(Tensor, Tensor)>),
}

pub(super) struct KvCache {
    shape: CacheShape,
    layers: Layers,
    capacity: usize,
    /// The tokens whose keys and values are held, in order.
    tokens: Vec<u32>,
}

impl KvCache {
    pub fn new(shape: CacheShape) -> Self {
        let layers = match shape.device.is_cpu() {
            true => Layers::Host(
                (0..shape.layers).map(|_| Past::new(shape.precision, shape.heads, shape.head_width)).collect(),
            ),
            false => Layers::Device(Vec::new()),
        };
        Self { shape, layers, capacity: 0, tokens: Vec::new() }
    }

    #[cfg(test)]
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    pub fn bytes(&self) -> usize {
        self.capacity * self.shape.bytes_per_token()
    }

    /// Keeps the first `length` tokens.
    pub fn truncate(&mut self, length: usize) {
        self.tokens.truncate(length);
    }

    /// How many of `tokens` this cache begins with.
    pub fn common_prefix(&self, tokens: &[u32]) -> usize {
        self.tokens.iter().zip(tokens).take_while(|(held, wanted)| held == wanted).count()
    }

    /// A new cache with the first `length` tokens of this one.
    pub fn prefix(&self, length: usize) -> Result<Self> {
        let length = length.min(self.len());
        let mut copy = Self::new(self.shape.clone());
        copy.reserve(length)?;
        match (&mut copy.layers, &self.layers) {
            (Layers::Host(layers), Layers::Host(held)) => {
                for (past, held) in layers.iter_mut().zip(held) {
                    past.copy(held, length);
                }
            }
            (Layers::Device(layers), Layers::Device(held)) if length > 0 => {
                for ((keys, values), (held_keys, held_values)) in layers.iter().zip(held) {
                    keys.slice_set(&held_keys.narrow(0, 0, length)?, 0, 0)?;
                    values.slice_set(&held_values.narrow(0, 0, length)?, 0, 0)?;
                }
            }
            _ => {}
        }
        copy.tokens = self.tokens.iter().take(length).copied().collect();
        Ok(copy)
    }

    /// Makes room for `more` tokens.
    pub fn reserve(&mut self, more: usize) -> Result<()> {
        let length = self.len();
        if length + more <= self.capacity {
            return Ok(());
        }
        let capacity = (length + more).next_multiple_of(STEP);
        match &mut self.layers {
            Layers::Host(layers) => layers.iter_mut().for_each(|past| past.reserve(capacity)),
            Layers::Device(layers) => {
                let size = (capacity, self.shape.heads, self.shape.head_width);
                let mut larger = Vec::with_capacity(self.shape.layers);
                for layer in 0..self.shape.layers {
                    let keys = Tensor::zeros(size, DType::F32, &self.shape.device)?;
                    let values = Tensor::zeros(size, DType::F32, &self.shape.device)?;
                    if let Some((old_keys, old_values)) = layers.get(layer).filter(|_| length > 0) {
                        keys.slice_set(&old_keys.narrow(0, 0, length)?, 0, 0)?;
                        values.slice_set(&old_values.narrow(0, 0, length)?, 0, 0)?;
                    }
                    larger.push((keys, values));
                }
                *layers = larger;
            }
        }
        self.capacity = capacity;
        Ok(())
    }

    /// The layer's past, if it is kept as the processor's kernels want it, and how many tokens it holds.
    pub fn host_layer(&mut self, layer: usize) -> Option<(&mut Past, usize)> {
        match &mut self.layers {
            Layers::Host(layers) => layers.get_mut(layer).map(|past| (past, self.tokens.len())),
            Layers::Device(_) => None,
        }
    }

    /// Writes keys and values of the tokens that follow, `[new, heads, head_width]`, into `layer`, and gives that layer's whole
    /// past with them: for devices other than the processor. The tokens count as read only after [`Self::advance`].
    pub fn extend(&self, layer: usize, keys: &Tensor, values: &Tensor) -> Result<(Tensor, Tensor)> {
        let Layers::Device(layers) = &self.layers else {
            candle_core::bail!("the cache is not in tensors");
        };
        let Some((held_keys, held_values)) = layers.get(layer) else {
            candle_core::bail!("no room was reserved in layer {layer} of the cache");
        };
        held_keys.slice_set(keys, 0, self.len())?;
        held_values.slice_set(values, 0, self.len())?;
        let length = self.len() + keys.dim(0)?;
        Ok((held_keys.narrow(0, 0, length)?, held_values.narrow(0, 0, length)?))
    }

    /// `tokens` have been read in every layer.
    pub fn advance(&mut self, tokens: &[u32]) {
        self.tokens.extend_from_slice(tokens);
    }
}
