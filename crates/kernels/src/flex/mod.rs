//! What the fast paths on the CPU backend have in common.
//!
//! *Architecture Invariant:* wherever sums run across pieces of work, the pieces depend on shapes alone and are joined
//! in a fixed order; what is cut by the number of threads has whole sums in every piece. So results don't depend on the
//! threads, neither their number nor their timing.

pub(crate) mod bf16;
pub(crate) mod extension;
pub(crate) mod logits;
pub(crate) mod matrix;
mod row;
pub(crate) mod simd;
pub(crate) mod weight;

use burn::tensor::{Shape, TensorData};
use burn_flex::FlexTensor;
use rayon::prelude::*;
use std::cell::RefCell;

/// Entries per piece of an elementwise operation: a few pieces fit a core's cache.
pub(crate) const PIECE: usize = 1 << 14;

/// Rows of `width` entries per piece of a row-wise operation.
pub(crate) fn rows_per_piece(width: usize) -> usize {
    (PIECE / width).max(1)
}

/// A buffer of `n` entries with arbitrary contents.
///
/// Every kernel writes the whole of its output, and filling it with zeros first would be a second pass over memory.
#[expect(clippy::uninit_vec, reason = "an output that is written in full")]
pub(crate) fn buffer(n: usize) -> Vec<f32> {
    let mut out = Vec::with_capacity(n);
    // Safety: the capacity is there, any bit pattern is an f32, and callers write each entry before they read it.
    #[expect(unsafe_code, reason = "an output that is written in full")]
    unsafe {
        out.set_len(n);
    }
    out
}

thread_local! {
    static SCRATCH: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// Lends `f` a buffer of `n` entries with arbitrary contents, kept by the thread for the next call.
pub(crate) fn with_scratch<R>(n: usize, f: impl FnOnce(&mut [f32]) -> R) -> R {
    let mut scratch = SCRATCH.take();
    if scratch.len() < n {
        scratch = buffer(n);
    }
    let result = f(&mut scratch[..n]);
    SCRATCH.set(scratch);
    result
}

/// The same values, adjacent in memory and in order.
pub(crate) fn contiguous(x: FlexTensor) -> FlexTensor {
    if x.as_slice::<f32>().is_some() {
        x
    } else {
        x.to_contiguous()
    }
}

/// The values of a tensor that went through [`contiguous`].
pub(crate) fn values(x: &FlexTensor) -> &[f32] {
    x.as_slice()
        .expect("the tensor is contiguous and its numbers are f32")
}

pub(crate) fn tensor(values: Vec<f32>, shape: impl Into<Shape>) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape))
}

pub(crate) fn shape(x: &FlexTensor) -> Shape {
    x.layout().shape().clone()
}

/// The entries if they are the whole buffer and nobody else holds it.
pub(crate) fn owned_values(x: &mut FlexTensor) -> Option<&mut [f32]> {
    let all = x.layout().contiguous_offsets()? == (0, x.bytes().len() / size_of::<f32>());
    if all { x.try_storage_mut() } else { None }
}

/// The same values in a whole buffer that nobody else holds, as [`owned_values`] wants them.
pub(crate) fn owned(mut x: FlexTensor) -> FlexTensor {
    if owned_values(&mut x).is_some() {
        return x;
    }
    let x = contiguous(x);
    tensor(values(&x).to_vec(), shape(&x))
}

/// Integers of any width as i64, in order.
pub(crate) fn integers(x: FlexTensor) -> Vec<i64> {
    x.into_data().iter::<i64>().collect()
}

/// Checks that every id is one of `rows`; negative ones are let through where they are to be ignored.
///
/// A slice would panic too, but without the id.
pub(crate) fn assert_ids(what: &str, ids: &[i64], rows: usize, lowest: i64) {
    let known = lowest..rows as i64;
    if let Some(place) = ids.iter().position(|id| !known.contains(id)) {
        let id = ids[place];
        panic!(
            "{what} {id}, number {place} of {}, is outside a vocabulary of {rows}",
            ids.len()
        );
    }
}

/// `x * factor`, in place where possible, and nothing where the factor is 1.
#[allow(clippy::float_cmp)]
pub(crate) fn scaled(mut x: FlexTensor, factor: f32) -> FlexTensor {
    if factor != 1.0 {
        // The layout is kept, so every entry of the buffer may be scaled, whatever its order.
        x.storage_mut::<f32>()
            .par_chunks_mut(PIECE)
            .for_each(|piece| {
                for x in piece {
                    *x *= factor;
                }
            });
    }
    x
}

/// Sums `parts` row by row in their order: `parts [n, width] -> [width]`.
pub(crate) fn sum_parts(parts: &[f32], width: usize) -> Vec<f32> {
    let mut sum = vec![0.0; width];
    for part in parts.chunks_exact(width) {
        for (sum, part) in sum.iter_mut().zip(part) {
            *sum += part;
        }
    }
    sum
}
