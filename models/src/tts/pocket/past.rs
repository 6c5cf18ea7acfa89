//! What one speech remembers of the positions it has read: keys and values of every layer.
//!
//! Each speech owns its own; nothing is shared but the voice it was copied from. With a window only what the window can still see is
//! kept, so memory is bounded however long the speech is.

use candle_core::{DType, Device, Result, Tensor};

/// Room is made in steps of this many positions.
const STEP: usize = 128;

/// The sizes a past has to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PastShape {
    pub layers: usize,
    pub heads: usize,
    pub head_width: usize,
    pub window: Option<usize>,
}

#[derive(Debug)]
pub(super) struct Past {
    shape: PastShape,
    /// Keys and values of each layer, `[capacity, heads, head width]`.
    layers: Vec<(Tensor, Tensor)>,
    capacity: usize,
    /// Positions held in the layers.
    held: usize,
    /// Positions read in all.
    position: usize,
}

impl Past {
    pub fn new(shape: PastShape) -> Self {
        Self { shape, layers: Vec::new(), capacity: 0, held: 0, position: 0 }
    }

    /// A past of its own that begins with `layers`, keys and values `[positions, heads, head width]` each, and has room for `more`.
    pub fn beginning_with(shape: PastShape, layers: &[(Tensor, Tensor)], more: usize) -> Result<Self> {
        let positions = layers.first().map_or(Ok(0), |(keys, _)| keys.dim(0))?;
        let mut past = Self::new(shape);
        past.reserve(positions + more)?;
        if positions > 0 {
            for ((own_keys, own_values), (keys, values)) in past.layers.iter().zip(layers) {
                own_keys.slice_set(keys, 0, 0)?;
                own_values.slice_set(values, 0, 0)?;
            }
        }
        past.advance(positions);
        Ok(past)
    }

    /// Where the next row stands.
    pub fn position(&self) -> usize {
        self.position
    }

    /// Makes room for `rows` more, forgetting what no window reaches any more.
    pub fn reserve(&mut self, rows: usize) -> Result<()> {
        if self.held + rows <= self.capacity {
            return Ok(());
        }
        let kept = self.shape.window.map_or(self.held, |window| self.held.min(window.saturating_sub(1)));
        // With a window there is room for as much again, so that what is kept is moved only now and then.
        let room = if self.shape.window.is_some() { 2 * kept.max(STEP) } else { kept };
        let capacity = (room + rows).next_multiple_of(STEP).max(self.capacity);
        let size = (capacity, self.shape.heads, self.shape.head_width);
        let mut layers = Vec::with_capacity(self.shape.layers);
        for layer in 0..self.shape.layers {
            let keys = Tensor::zeros(size, DType::F32, &Device::Cpu)?;
            let values = Tensor::zeros(size, DType::F32, &Device::Cpu)?;
            if let Some((old_keys, old_values)) = self.layers.get(layer).filter(|_| kept > 0) {
                keys.slice_set(&old_keys.narrow(0, self.held - kept, kept)?, 0, 0)?;
                values.slice_set(&old_values.narrow(0, self.held - kept, kept)?, 0, 0)?;
            }
            layers.push((keys, values));
        }
        (self.layers, self.capacity, self.held) = (layers, capacity, kept);
        Ok(())
    }

    /// Writes keys and values of the rows that follow into `layer` and gives all that the layer holds with them. The rows count as
    /// read only after [`Self::advance`].
    pub fn extend(&self, layer: usize, keys: &Tensor, values: &Tensor) -> Result<(Tensor, Tensor)> {
        let Some((held_keys, held_values)) = self.layers.get(layer) else {
            candle_core::bail!("no room was reserved in layer {layer} of the past");
        };
        held_keys.slice_set(keys, 0, self.held)?;
        held_values.slice_set(values, 0, self.held)?;
        let length = self.held + keys.dim(0)?;
        Ok((held_keys.narrow(0, 0, length)?, held_values.narrow(0, 0, length)?))
    }

    pub fn advance(&mut self, rows: usize) {
        self.held += rows;
        self.position += rows;
    }

    /// Copies of what the layers hold.
    pub fn layers(&self) -> Result<Vec<(Tensor, Tensor)>> {
        let held = |tensor: &Tensor| tensor.narrow(0, 0, self.held)?.force_contiguous();
        self.layers.iter().map(|(keys, values)| Ok((held(keys)?, held(values)?))).collect()
    }
}
