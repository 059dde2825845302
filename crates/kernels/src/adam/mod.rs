//! A whole step of Adam.
//!
//! `N` matrices, `R` rows, `C` columns.

#[cfg(feature = "flex")]
pub(crate) mod flex;
#[cfg(test)]
mod tests;

use burn::tensor::Tensor;

/// The hyperparameters of one step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamStep {
    /// Decay of the mean of gradients.
    pub beta1: f64,
    /// Decay of the mean of squared gradients.
    pub beta2: f64,
    /// Added to the root of the squared gradients' mean.
    pub eps: f64,
    /// Steps with this one, for the correction of the means.
    pub t: u64,
    /// Multiplies the gradient.
    pub grad_scale: f64,
    /// Learning rate.
    pub rate: f64,
    /// Multiplies the weight first: `1 - rate * decay`.
    pub keep: f64,
    /// What the weight is projected onto last.
    pub bound: Bound,
}

/// The set a weight is held in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bound {
    /// Anything.
    Free,
    /// Slices of this norm at most.
    Ball(Slices, f64),
    /// Slices of norm 1; a slice of zeros stays.
    Sphere(Slices),
}

/// The slices of a matrix whose norm is bounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slices {
    /// All entries of a row.
    Rows,
    /// All entries of a column.
    Columns,
}

impl AdamStep {
    /// The factor on `m / (sqrt(v) + eps2)`, and `eps2`: both means are corrected through them.
    fn corrected(&self) -> (f64, f64) {
        let power = |beta: f64| beta.powi(i32::try_from(self.t).unwrap_or(i32::MAX));
        let root = (1.0 - power(self.beta2)).sqrt();
        let scale = self.rate * root / (1.0 - power(self.beta1));
        (scale, self.eps * root)
    }
}

/// One step of Adam: the weight and both means after it, all `[N, R, C]`.
///
/// ```text
/// g = grad_scale * grad,  m <- beta1 m + (1 - beta1) g,  v <- beta2 v + (1 - beta2) g^2
/// w <- project(keep * w - rate * (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps))
/// ```
///
/// Source: Kingma and Ba (2014), algorithm 1, with the order of operations of `torch.optim.AdamW`. Not differentiable:
/// on an autodiff device the results are constants.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use evenburn_kernels::{AdamStep, Bound, adam};
/// let x = |v: f32| Tensor::<3>::from_floats([[[v]]], &Device::flex());
/// let step = AdamStep {
///     beta1: 0.9, beta2: 0.95, eps: 1e-8, t: 1, grad_scale: 1.0, rate: 0.1, keep: 1.0, bound: Bound::Free,
/// };
/// // The first step has the size of the rate.
/// let [w, m, _] = adam(x(2.0), x(0.5), x(0.0), x(0.0), &step);
/// assert!((w.into_scalar::<f32>() - 1.9).abs() < 1e-6);
/// assert!((m.into_scalar::<f32>() - 0.05).abs() < 1e-7);
/// ```
///
/// # Panics
///
/// As Burn's operations on equal shapes do, where they differ.
pub fn adam(
    w: Tensor<3>,
    grad: Tensor<3>,
    m: Tensor<3>,
    v: Tensor<3>,
    step: &AdamStep,
) -> [Tensor<3>; 3] {
    #[cfg(feature = "flex")]
    {
        use crate::route::{is_plain, on_flex};
        let all = [&w, &grad, &m, &v];
        let fits = all.iter().all(|x| is_plain(x) && x.dims() == w.dims());
        if fits && on_flex(&w) {
            return flex::dispatch(w, grad, m, v, *step);
        }
    }
    reference(w, grad, m, v, step)
}

/// [`adam`] composed of plain tensor operations.
pub fn reference(
    w: Tensor<3>,
    grad: Tensor<3>,
    m: Tensor<3>,
    v: Tensor<3>,
    step: &AdamStep,
) -> [Tensor<3>; 3] {
    let (scale, eps) = step.corrected();
    let squared = grad.clone().square();
    let share = (1.0 - step.beta2) * step.grad_scale * step.grad_scale;
    let v = v.mul_scalar(step.beta2).add(squared.mul_scalar(share));
    let fresh = grad.mul_scalar((1.0 - step.beta1) * step.grad_scale);
    let m = m.mul_scalar(step.beta1).add(fresh);
    let direction = m.clone().div(v.clone().sqrt().add_scalar(eps));
    let w = w.mul_scalar(step.keep).sub(direction.mul_scalar(scale));
    [bounded(w, step.bound), m, v]
}

fn bounded(w: Tensor<3>, bound: Bound) -> Tensor<3> {
    let norm = |w: &Tensor<3>, slices| {
        let dim = match slices {
            Slices::Rows => 2,
            Slices::Columns => 1,
        };
        w.clone().square().sum_dim(dim).sqrt()
    };
    match bound {
        Bound::Free => w,
        Bound::Ball(slices, radius) => {
            let excess = norm(&w, slices).mul_scalar(radius.recip());
            w.div(excess.clamp_min(1.0))
        }
        Bound::Sphere(slices) => {
            let norm = norm(&w, slices);
            let zero = norm.clone().equal_elem(0.0);
            w.div(norm.mask_fill(zero, 1.0))
        }
    }
}
