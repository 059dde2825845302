//! Normalization by the size of a vector.
//!
//! `C` channels.

#[cfg(feature = "cube")]
pub(crate) mod cube;
#[cfg(feature = "flex")]
pub(crate) mod flex;
#[cfg(test)]
mod tests;

use burn::tensor::Tensor;

/// What a vector `x` of `n` channels is divided by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// `sqrt(sum_i x_i^2 / n + eps)`. Source: Zhang and Sennrich, *Root Mean Square Layer Normalization* (2019), eq. 4.
    Rms,
    /// `sqrt(sum_i x_i^2 + eps)`, the Euclidean length.
    L2,
}

/// Normalization of every `group` neighbouring channels: `y = gain * x / size(x)`.
///
/// `x` is `[.., C]` with `C` a multiple of `group`, and so is the result; `gain`, where there is one, is `[group]` and
/// shared by all groups. `group = C` normalizes whole vectors, the head width head by head. A vector of zeros without an
/// epsilon stays one, and no gradient passes.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use evenburn_kernels::{Size, normalize};
/// let x = Tensor::<2>::from_floats([[3.0, 4.0]], &Device::flex());
/// let y = normalize(x, None, Size::L2, 0.0, 2);
/// let y = y.into_data().try_to_vec::<f32>().map_err(|e| format!("{e:?}"))?;
/// assert!((y[0] - 0.6).abs() < 1e-6 && (y[1] - 0.8).abs() < 1e-6);
/// # Ok::<(), String>(())
/// ```
///
/// # Panics
///
/// If `C` is no multiple of `group`, or the gain has another width.
pub fn normalize<const D: usize>(
    x: Tensor<D>,
    gain: Option<Tensor<1>>,
    size: Size,
    eps: f64,
    group: usize,
) -> Tensor<D> {
    check(&x, gain.as_ref(), group);
    #[cfg(feature = "flex")]
    {
        use crate::route::{is_plain, on_flex};
        if is_plain(&x) && gain.as_ref().is_none_or(is_plain) && on_flex(&x) {
            return flex::dispatch(x, gain, size, eps, group);
        }
    }
    #[cfg(feature = "cube")]
    if gain.as_ref().is_none_or(|gain| gain.dtype() == x.dtype()) && crate::route::on_cube(&x) {
        return cube::dispatch(x, gain, size, eps, group);
    }
    reference(x, gain, size, eps, group)
}

/// A group that doesn't divide the channels would run over into the next vector.
pub(crate) fn check<const D: usize>(x: &Tensor<D>, gain: Option<&Tensor<1>>, group: usize) {
    let channels = x.dims()[D - 1];
    assert!(
        group > 0 && channels.is_multiple_of(group),
        "{channels} channels don't split into groups of {group}"
    );
    if let Some(gain) = gain {
        let [width] = gain.dims();
        assert!(
            width == group,
            "a gain of width {width} for groups of {group}"
        );
    }
}

/// [`normalize`] composed of plain tensor operations.
///
/// # Panics
///
/// As [`normalize`].
pub fn reference<const D: usize>(
    x: Tensor<D>,
    gain: Option<Tensor<1>>,
    size: Size,
    eps: f64,
    group: usize,
) -> Tensor<D> {
    check(&x, gain.as_ref(), group);
    let shape = x.shape();
    let rows = shape.num_elements() / group;
    let x: Tensor<2> = x.reshape([rows, group]);
    let squares = x.clone().square();
    let squared = match size {
        Size::Rms => squares.mean_dim(1),
        Size::L2 => squares.sum_dim(1),
    };
    let squared = squared.add_scalar(eps);
    let squared = if eps == 0.0 {
        // Zeros stay zeros, and so do their gradients.
        let none = squared.clone().equal_elem(0.0);
        squared.mask_fill(none, f64::INFINITY)
    } else {
        squared
    };
    let y = x / squared.sqrt();
    let y = match gain {
        Some(gain) => y * gain.unsqueeze::<2>(),
        None => y,
    };
    y.reshape(shape)
}
