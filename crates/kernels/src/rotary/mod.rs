//! Rotary position embedding.
//!
//! `B` batch, `T` time, `H` heads, `K` head width.

#[cfg(feature = "cube")]
pub(crate) mod cube;
#[cfg(feature = "flex")]
pub(crate) mod flex;
#[cfg(test)]
mod tests;

use burn::tensor::Tensor;

/// Rotary position embedding: turns the first `P` pairs of neighbouring channels of every head,
/// `(x0, x1) -> (x0 cos - x1 sin, x0 sin + x1 cos)`. The channels after them stay as they are.
///
/// `x` is `[B, T, H K]`, heads side by side, `H = heads`. The tables are `[T, P]`, one line per position, or `[B T, P]`
/// where each sequence has positions of its own; `P` is at most `K / 2`, which turns the whole head. The result has the
/// shape of `x`; gradients flow to `x` alone. Source: Su et al. (2021), arXiv 2104.09864, eq. 15 and 34; a part of each
/// head as in GPT-J and GPT-NeoX.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// let device = Device::flex();
/// let x = Tensor::<3>::from_floats([[[2.0, 3.0]]], &device);
/// let cos = Tensor::<2>::zeros([1, 1], &device);
/// let sin = Tensor::<2>::ones([1, 1], &device);
/// let y = evenburn_kernels::rotary(x, cos, sin, 1);
/// let y = y.into_data().try_to_vec::<f32>().map_err(|e| format!("{e:?}"))?;
/// assert!((y[0] + 3.0).abs() < 1e-6 && (y[1] - 2.0).abs() < 1e-6);
/// # Ok::<(), String>(())
/// ```
///
/// # Panics
///
/// If the tables' shapes don't fit.
pub fn rotary(x: Tensor<3>, cos: Tensor<2>, sin: Tensor<2>, heads: usize) -> Tensor<3> {
    check(&x, &cos, &sin, heads);
    #[cfg(feature = "flex")]
    {
        use crate::route::{is_plain, on_flex};
        if is_plain(&x) && is_plain(&cos) && is_plain(&sin) && on_flex(&x) {
            return flex::dispatch(x, cos, sin, heads);
        }
    }
    #[cfg(feature = "cube")]
    if cos.dtype() == x.dtype()
        && sin.dtype() == x.dtype()
        && x.dims()[2].is_multiple_of(2 * heads)
        && crate::route::on_cube(&x)
    {
        return cube::dispatch(x, cos, sin, heads);
    }
    reference(x, cos, sin, heads)
}

/// A table of another height would be read at other positions.
fn check(x: &Tensor<3>, cos: &Tensor<2>, sin: &Tensor<2>, heads: usize) {
    let [b, t, width] = x.dims();
    assert!(
        heads > 0 && width.is_multiple_of(heads),
        "{width} channels don't split into {heads} heads"
    );
    let [positions, pairs] = cos.dims();
    assert!(
        (positions == t || positions == b * t)
            && (1..=width / heads / 2).contains(&pairs)
            && sin.dims() == cos.dims(),
        "tables {:?} and {:?} for {t} positions, {b} sequences and {heads} heads in {width} channels",
        cos.dims(),
        sin.dims()
    );
}

/// [`rotary`] composed of plain tensor operations.
///
/// # Panics
///
/// As [`rotary`].
pub fn reference(x: Tensor<3>, cos: Tensor<2>, sin: Tensor<2>, heads: usize) -> Tensor<3> {
    check(&x, &cos, &sin, heads);
    let [b, t, width] = x.dims();
    let [positions, pairs] = cos.dims();
    // Sequences share a table of T lines.
    let table = |x: Tensor<2>| -> Tensor<5> { x.reshape([positions / t, t, 1, pairs, 1]) };
    let (cos, sin) = (table(cos), table(sin));
    let head = width / heads;
    let x: Tensor<4> = x.reshape([b, t, heads, head]);
    let part: Tensor<5> = (x.clone().narrow(3, 0, 2 * pairs)).reshape([b, t, heads, pairs, 2]);
    let (first, second) = (part.clone().narrow(4, 0, 1), part.narrow(4, 1, 1));
    let turned: Tensor<5> = Tensor::cat(
        vec![
            first.clone() * cos.clone() - second.clone() * sin.clone(),
            first * sin + second * cos,
        ],
        4,
    );
    let turned: Tensor<4> = turned.reshape([b, t, heads, 2 * pairs]);
    let whole = if 2 * pairs == head {
        turned
    } else {
        Tensor::cat(vec![turned, x.narrow(3, 2 * pairs, head - 2 * pairs)], 3)
    };
    whole.reshape([b, t, width])
}
