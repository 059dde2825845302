//! Embedding lookup: rows of a table.
//!
//! `B` batch, `T` time, `V` vocabulary, `D` model width.

#[cfg(feature = "flex")]
pub(crate) mod flex;
#[cfg(test)]
mod tests;

use burn::tensor::{Int, Tensor};

/// Embedding lookup: the rows `tokens [B, T]` of `weight [V, D]`, as `[B, T, D]`.
///
/// The gradient of a row is the sum over its occurrences, always in the same order.
///
/// ```
/// use burn::tensor::{Device, Int, Tensor};
/// let device = Device::flex();
/// let weight = Tensor::<2>::from_floats([[1.0], [2.0]], &device);
/// let tokens = Tensor::<2, Int>::from_ints([[1, 1, 0]], &device);
/// let y = evenburn_kernels::embedding(weight, tokens);
/// let y = y.into_data().try_to_vec::<f32>().map_err(|e| format!("{e:?}"))?;
/// assert_eq!(y, [2.0, 2.0, 1.0]);
/// # Ok::<(), String>(())
/// ```
///
/// # Panics
///
/// If a token is negative, or `V` or more.
pub fn embedding(weight: Tensor<2>, tokens: Tensor<2, Int>) -> Tensor<3> {
    #[cfg(feature = "flex")]
    {
        use crate::route::{is_plain, on_flex};
        if is_plain(&weight) && tokens.shape().num_elements() > 0 && on_flex(&weight) {
            return flex::dispatch(weight, tokens);
        }
    }
    reference(weight, tokens)
}

/// [`embedding`] composed of plain tensor operations.
pub fn reference(weight: Tensor<2>, tokens: Tensor<2, Int>) -> Tensor<3> {
    burn::tensor::module::embedding(weight, tokens)
}
