//! The steps between the network's products, on tensors: by our own kernels where the tensors lie in this machine's memory, by
//! candle's operations on other devices.

use candle_core::{CpuStorage, D, Device, Result, Storage, Tensor};
use candle_nn::rotary_emb::rope_thd;

use super::cache::KvCache;
use super::kernels::{self, Isa, Queries};

/// Whether tensors on `device` can be read as slices.
pub(super) fn on_host(device: &Device) -> bool {
    device.is_cpu()
}

/// What `work` makes of a tensor's numbers, in order. The tensor is single precision and lies in this machine's memory.
pub(super) fn with_floats<T>(tensor: &Tensor, work: impl FnOnce(&[f32]) -> T) -> Result<T> {
    let tensor = tensor.contiguous()?;
    let (storage, layout) = tensor.storage_and_layout();
    let numbers = match &*storage {
        Storage::Cpu(CpuStorage::F32(numbers)) => {
            layout.contiguous_offsets().and_then(|(from, to)| numbers.get(from..to))
        }
        _ => None,
    };
    match numbers {
        Some(numbers) => Ok(work(numbers)),
        None => Err(candle_core::Error::msg("a tensor is not in single precision in this machine's memory")),
    }
}

/// Root mean square norm over the last dimension.
pub(super) fn rms_norm(x: &Tensor, weight: &Tensor, epsilon: f32) -> Result<Tensor> {
    if !on_host(x.device()) {
        return candle_nn::ops::rms_norm(x, weight, epsilon);
    }
    let mut out = vec![0.0; x.elem_count()];
    with_floats(x, |x| with_floats(weight, |weight| kernels::rms_norm(Isa::best(), x, weight, epsilon, &mut out)))??;
    Tensor::from_vec(out, x.shape(), x.device())
}

/// Rotates pairs that lie half a rotated width apart; `x` is `[rows, heads, head_width]`, cosines and sines are `[rows, pairs]`. With
/// fewer pairs than half the head's width, the rest of each head stays as it is.
pub(super) fn rotate(x: &Tensor, cos: &Tensor, sin: &Tensor) -> Result<Tensor> {
    let (_, heads, head_width) = x.dims3()?;
    let (_, pairs) = cos.dims2()?;
    if on_host(x.device()) {
        let mut turned = with_floats(x, <[f32]>::to_vec)?;
        with_floats(cos, |cos| {
            with_floats(sin, |sin| kernels::rotate(&mut turned, heads * head_width, head_width, [cos, sin], pairs))
        })??;
        return Tensor::from_vec(turned, x.shape(), x.device());
    }
    let rotated = 2 * pairs;
    let turn = |heads: &Tensor| rope_thd(&heads.unsqueeze(0)?, cos, sin)?.squeeze(0);
    if rotated == head_width {
        return turn(x);
    }
    let turned = turn(&x.narrow(D::Minus1, 0, rotated)?.contiguous()?)?;
    Tensor::cat(&[&turned, &x.narrow(D::Minus1, rotated, head_width - rotated)?], D::Minus1)
}

/// Adds the rows' keys and values, `[rows, heads, head_width]`, to the conversations' caches, and lets their queries attend to all
/// before them, or to the last `window` positions. `caches` come with how many rows are theirs. Gives `[rows, heads × head_width]`;
/// `None` if the caches are on another device.
pub(super) fn attend_on_host<'a>(
    layer: usize,
    caches: impl Iterator<Item = (&'a mut KvCache, usize)>,
    [queries, keys, values]: [&Tensor; 3],
    scale: f32,
    window: Option<usize>,
) -> Result<Option<Tensor>> {
    let mut pasts = Vec::new();
    for (cache, rows) in caches.filter(|(_, rows)| *rows > 0) {
        match cache.host_layer(layer) {
            Some((past, before)) => pasts.push((past, before, rows)),
            None => return Ok(None),
        }
    }
    let (rows, heads, head_width) = queries.dims3()?;
    let key_row = keys.elem_count() / rows.max(1);
    if pasts.iter().map(|(_, _, rows)| rows).sum::<usize>() != rows || keys.shape() != values.shape() {
        candle_core::bail!("the rows are not those of the conversations");
    }
    let is_written = with_floats(keys, |keys| {
        with_floats(values, |values| {
            let mut row = 0;
            pasts.iter_mut().all(|(past, before, rows)| {
                let numbers = row * key_row..(row + *rows) * key_row;
                row += *rows;
                past.write(*before, &keys[numbers.clone()], &values[numbers])
            })
        })
    })??;
    if !is_written {
        candle_core::bail!("no room was reserved in layer {layer} of a cache");
    }
    let mut out = vec![0.0; rows * heads * head_width];
    with_floats(queries, |queries| {
        let mut rest = (queries, out.as_mut_slice());
        let mut conversations = Vec::with_capacity(pasts.len());
        for (past, before, rows) in &pasts {
            let (queries, later_queries) = rest.0.split_at(rows * heads * head_width);
            let (out, later_out) = rest.1.split_at_mut(rows * heads * head_width);
            rest = (later_queries, later_out);
            conversations.push(Queries { past, before: *before, queries, out });
        }
        kernels::attend(Isa::best(), &mut conversations, heads, scale, window)
    })?
    .map_err(candle_core::Error::msg)?;
    Tensor::from_vec(out, (rows, heads * head_width), queries.device()).map(Some)
}
