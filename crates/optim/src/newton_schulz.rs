//! Approximate orthogonalization by Newton–Schulz iterations.
//!
//! `N` matrices, `R` rows, `C` columns.

use burn::tensor::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Coefficients a, b, c of the quintic `a x + b x^3 + c x^5`.
///
/// Keller Jordan's: chosen for the steepest slope at zero, so that singular values end between
/// about 0.7 and 1.2 rather than at 1 (github.com/KellerJordan/Muon, `muon.py`; the same in
/// `torch.optim.Muon`).
const QUINTIC: (f64, f64, f64) = (3.4445, -4.7750, 2.0315);

/// How epsilon keeps the first division away from zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NormFloor {
    /// `X / max(|X|_F, eps)`, as `torch.optim.Muon`.
    #[default]
    Clamp,
    /// `X / (|X|_F + eps)`, as Keller Jordan's `muon.py`.
    Add,
}

/// Moves the singular values of every matrix in `x` (`[N, R, C]`) towards one.
///
/// ```text
/// X <- X / |X|_F (see NormFloor)
/// steps times: A = X X^T,  X <- a X + (b A + c A^2) X
/// ```
///
/// Each matrix is treated alone. The iteration is odd in `X`, hence the same for `X` and its
/// transpose; the smaller of the two Gram matrices is used. Shape and dtype are kept, and the
/// products run in that dtype (the reference codes round to bfloat16 first).
///
/// Source: Jordan et al., "Muon", kellerjordan.github.io/posts/muon; `steps` 5 and `eps` 1e-7
/// there and in `PyTorch`.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use evenburn_optim::{NormFloor, orthogonalize};
///
/// // Two singular values a factor of 10 apart end up close to each other.
/// let x = Tensor::<3>::from_data([[[0.0, 10.0, 0.0], [1.0, 0.0, 0.0]]], &Device::flex());
/// let y = orthogonalize(x, 5, 1e-7, NormFloor::Clamp);
/// let y: Vec<f32> = y.into_data().try_to_vec().unwrap();
/// assert!((0.65..1.25).contains(&y[1]) && (0.65..1.25).contains(&y[3]));
/// ```
pub fn orthogonalize(x: Tensor<3>, steps: usize, eps: f64, floor: NormFloor) -> Tensor<3> {
    let [_, rows, columns] = x.dims();
    if rows > columns {
        return iterate(x.swap_dims(1, 2), steps, eps, floor).swap_dims(1, 2);
    }
    iterate(x, steps, eps, floor)
}

fn iterate(x: Tensor<3>, steps: usize, eps: f64, floor: NormFloor) -> Tensor<3> {
    let norm = x.clone().square().sum_dim(2).sum_dim(1).sqrt();
    let norm = match floor {
        NormFloor::Clamp => norm.clamp_min(eps),
        NormFloor::Add => norm.add_scalar(eps),
    };
    let (a, b, c) = QUINTIC;
    (0..steps).fold(x.div(norm), |x, _| {
        let gram = x.clone().matmul(x.clone().swap_dims(1, 2));
        let gram2 = gram.clone().matmul(gram.clone());
        let odd = gram
            .mul_scalar(b)
            .add(gram2.mul_scalar(c))
            .matmul(x.clone());
        x.mul_scalar(a).add(odd)
    })
}
