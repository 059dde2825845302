//! The gated activation behind a normalization of each of its branches.
//!
//! `F` hidden width.

#[cfg(feature = "flex")]
pub(crate) mod flex;
#[cfg(test)]
mod tests;

use crate::{Size, normalize, swiglu};
use burn::tensor::Tensor;

/// What [`normalize`] takes besides the tensor.
#[derive(Debug, Clone)]
pub struct Normalization {
    /// Factors of the channels of a group, `[group]`; without them 1.
    pub gain: Option<Tensor<1>>,
    /// What a group is divided by.
    pub size: Size,
    /// Added to the square of that.
    pub eps: f64,
    /// Neighbouring channels that are normalized together.
    pub group: usize,
}

/// SwiGLU between normalized projections: [`swiglu`] of [`normalize`] of either, as SimpleNorm has it.
///
/// `branches` are gate and up, `[.., F]`, and so is the result. On the CPU the normalized branches stay in the cache, where
/// two operations would write and read them, and write and read them again in the backward pass. Source: SimpleGPT
/// (2602.01212), which puts a normalization behind every linear map.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use evenburn_kernels::{Normalization, Size, normalized_swiglu};
/// let device = Device::flex();
/// let gate = Tensor::<2>::from_floats([[30.0, 40.0]], &device);
/// let up = Tensor::<2>::from_floats([[4.0, -3.0]], &device);
/// let unit = Normalization { gain: None, size: Size::L2, eps: 0.0, group: 2 };
/// let y = normalized_swiglu([(gate, unit.clone()), (up, unit)], 1.0, 1.0);
/// let y = y.into_data().try_to_vec::<f32>().map_err(|e| format!("{e:?}"))?;
/// let silu = |x: f32| x / (1.0 + (-x).exp());
/// assert!((y[0] - 0.8 * silu(0.6)).abs() < 1e-5);
/// assert!((y[1] + 0.6 * silu(0.8)).abs() < 1e-5);
/// # Ok::<(), String>(())
/// ```
///
/// # Panics
///
/// Where [`swiglu`] or [`normalize`] do.
pub fn normalized_swiglu<const D: usize>(
    branches: [(Tensor<D>, Normalization); 2],
    before: f64,
    after: f64,
) -> Tensor<D> {
    #[cfg(feature = "flex")]
    {
        use crate::route::{is_plain, on_flex};
        let [(gate, _), (up, _)] = &branches;
        let fits = gate.shape() == up.shape() && on_flex(gate);
        let plain = |(x, normalization): &(Tensor<D>, Normalization)| {
            is_plain(x) && normalization.gain.as_ref().is_none_or(is_plain)
        };
        if fits && branches.iter().all(plain) {
            for (x, Normalization { gain, group, .. }) in &branches {
                crate::normalize::check(x, gain.as_ref(), *group);
            }
            return flex::dispatch(branches, before, after);
        }
    }
    let [gate, up] = branches.map(
        |(
            x,
            Normalization {
                gain,
                size,
                eps,
                group,
            },
        )| normalize(x, gain, size, eps, group),
    );
    swiglu(gate, up, before, after)
}

/// [`normalized_swiglu`] composed of plain tensor operations.
///
/// # Panics
///
/// As [`normalized_swiglu`].
pub fn reference<const D: usize>(
    branches: [(Tensor<D>, Normalization); 2],
    before: f64,
    after: f64,
) -> Tensor<D> {
    let [gate, up] = branches.map(
        |(
            x,
            Normalization {
                gain,
                size,
                eps,
                group,
            },
        )| { crate::normalize::reference(x, gain, size, eps, group) },
    );
    crate::swiglu::reference(gate, up, before, after)
}
