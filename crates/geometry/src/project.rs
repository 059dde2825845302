//! Norms of slices and the projection onto a [`Constraint`].
//!
//! Every function takes the tensor's own dtype for its arithmetic and its result: `f64` weights
//! stay exact to their last digits.

use burn::tensor::Tensor;

use crate::{Axis, Constraint};

/// The Euclidean norm of every slice along an axis.
///
/// `[.., In, Out]` becomes `[.., 1, Out]` along [`Axis::In`] and `[.., In, 1]` along
/// [`Axis::Out`]. An axis that the tensor doesn't have counts as an axis of length one, whose
/// norm is the absolute value. The squares are summed in the tensor's dtype, so entries beyond
/// the square root of its range (1.8e19 in `f32`) give infinity.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use evenburn_geometry::{Axis, l2_norm_along};
///
/// let w = Tensor::<2>::from_data([[3.0, 0.0], [4.0, 2.0]], &Device::flex());
/// let norms = l2_norm_along(w, Axis::In);
/// assert_eq!(norms.dims(), [1, 2]);
/// assert_eq!(norms.into_data().try_to_vec::<f32>().unwrap(), [5.0, 2.0]);
/// ```
pub fn l2_norm_along<const D: usize>(w: Tensor<D>, along: Axis) -> Tensor<D> {
    match along.dim(D) {
        Some(dim) => w.square().sum_dim(dim).sqrt(),
        None => w.abs(),
    }
}

/// Projects a weight onto a constraint set; see [`Constraint`] for the formulas.
///
/// The result has the weight's shape, dtype and device, and satisfies the constraint to the
/// rounding of that dtype. Projecting twice changes at most the last digits.
///
/// A slice of zeros has no direction: [`Constraint::Unit`] and [`Constraint::Frobenius`] leave it
/// zero, so the result is finite whenever the weight is. A constraint along an axis that the
/// tensor doesn't have leaves the tensor as it is; [`Constraint::check`] reports that mistake,
/// and a radius that makes no sense, before training starts.
pub fn project<const D: usize>(w: Tensor<D>, c: Constraint) -> Tensor<D> {
    match c {
        Constraint::Free => w,
        Constraint::Unit { along } | Constraint::AtMost { along, .. } if along.dim(D).is_none() => {
            w
        }
        Constraint::Unit { along } => {
            let norm = l2_norm_along(w.clone(), along);
            w.div(one_where_zero(norm))
        }
        Constraint::AtMost { along, radius } => {
            let excess = l2_norm_along(w.clone(), along).div_scalar(radius);
            w.div(excess.clamp_min(1.0))
        }
        Constraint::Frobenius { radius } => {
            let norm = frobenius_norm(w.clone());
            w.mul(one_where_zero(norm).recip().mul_scalar(radius))
        }
    }
}

/// The norm of each matrix `[.., 1, 1]`; of a vector its own norm `[1]`.
fn frobenius_norm<const D: usize>(w: Tensor<D>) -> Tensor<D> {
    [Axis::Out, Axis::In]
        .into_iter()
        .filter_map(|axis| axis.dim(D))
        .fold(w.square(), Tensor::sum_dim)
        .sqrt()
}

fn one_where_zero<const D: usize>(norm: Tensor<D>) -> Tensor<D> {
    let zero = norm.clone().equal_elem(0.0);
    norm.mask_fill(zero, 1.0)
}
