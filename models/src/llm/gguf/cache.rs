//! One conversation's key-value cache: what the network remembers of the tokens it has read.
//!
//! Keys and values lie in position order in tensors that are allocated ahead and filled in place. Cutting the cache back is
//! forgetting a length: rotary positions are baked into the keys, and a slot is overwritten when its position is read again.

use candle_core::{DType, Device, Result, Tensor};

/// Slots are allocated in steps of this many tokens.
const STEP: usize = 256;

/// The sizes a cache has to have, and where it lies.
#[derive(Debug, Clone)]
pub(super) struct CacheShape {
    pub layers: usize,
    pub heads: usize,
    pub head_width: usize,
    pub device: Device,
}

impl CacheShape {
    pub fn bytes_per_token(&self) -> usize {
        2 * self.layers * self.heads * self.head_width * size_of::<f32>()
    }
}

pub(super) struct KvCache {
    shape: CacheShape,
    /// Keys and values of each layer, `[capacity, heads, head_width]`.
    layers: Vec<(Tensor, Tensor)>,
    capacity: usize,
    /// The tokens whose keys and values are held, in order.
    tokens: Vec<u32>,
}

impl KvCache {
    pub fn new(shape: CacheShape) -> Self {
        Self { shape, layers: Vec::new(), capacity: 0, tokens: Vec::new() }
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
        for ((keys, values), (held_keys, held_values)) in copy.layers.iter().zip(&self.layers) {
            if length > 0 {
                keys.slice_set(&held_keys.narrow(0, 0, length)?, 0, 0)?;
                values.slice_set(&held_values.narrow(0, 0, length)?, 0, 0)?;
            }
        }
        copy.tokens = self.tokens.iter().take(length).copied().collect();
        Ok(copy)
    }

    /// Makes room for `more` tokens.
    pub fn reserve(&mut self, more: usize) -> Result<()> {
        let needed = self.len() + more;
        if needed <= self.capacity {
            return Ok(());
        }
        let capacity = needed.next_multiple_of(STEP);
        let size = (capacity, self.shape.heads, self.shape.head_width);
        let mut layers = Vec::with_capacity(self.shape.layers);
        for layer in 0..self.shape.layers {
            let keys = Tensor::zeros(size, DType::F32, &self.shape.device)?;
            let values = Tensor::zeros(size, DType::F32, &self.shape.device)?;
            if let Some((old_keys, old_values)) = self.layers.get(layer).filter(|_| self.len() > 0) {
                keys.slice_set(&old_keys.narrow(0, 0, self.len())?, 0, 0)?;
                values.slice_set(&old_values.narrow(0, 0, self.len())?, 0, 0)?;
            }
            layers.push((keys, values));
        }
        (self.layers, self.capacity) = (layers, capacity);
        Ok(())
    }

    /// Writes keys and values of the tokens that follow, `[new, heads, head_width]`, into `layer`, and gives that layer's whole
    /// past with them. The tokens count as read only after [`Self::advance`].
    pub fn extend(&self, layer: usize, keys: &Tensor, values: &Tensor) -> Result<(Tensor, Tensor)> {
        let Some((held_keys, held_values)) = self.layers.get(layer) else {
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
