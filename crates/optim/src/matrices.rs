//! Every parameter as a batch of matrices.
//!
//! `[In, Out]` becomes `[1, In, Out]`, experts `[E, In, Out]` stay, and a vector `[N]` becomes `[1, 1, N]`: parts of a
//! recipe then need no other rank. A reshape moves no data.

use burn::tensor::Tensor;

/// The axis of a batch that a map reads.
pub(crate) const IN: usize = 1;
/// The axis of a batch that a map writes.
pub(crate) const OUT: usize = 2;

/// The shape of a parameter as a batch of matrices.
pub(crate) fn batched(shape: &[usize]) -> [usize; 3] {
    match *shape {
        [] => [1, 1, 1],
        [n] => [1, 1, n],
        [ref batch @ .., input, output] => [batch.iter().product(), input, output],
    }
}

/// The shape `[N, In, Out]` of a weight as a batch of matrices, `None` if it has no two axes.
pub(crate) fn as_matrices(shape: &[usize]) -> Option<[usize; 3]> {
    (shape.len() >= 2).then(|| batched(shape))
}

/// The same numbers row by row in memory, as whoever reads a checkpoint gets them: a product with a transposed view may round
/// otherwise.
pub(crate) fn row_major(x: Tensor<3>) -> Tensor<3> {
    let shape = x.dims();
    x.reshape([shape.iter().product::<usize>()]).reshape(shape)
}

/// Sum over each matrix, `[N, 1, 1]`.
pub(crate) fn sum(x: Tensor<3>) -> Tensor<3> {
    x.sum_dim(OUT).sum_dim(IN)
}

/// Frobenius norm of each matrix, `[N, 1, 1]`.
pub(crate) fn norm(x: Tensor<3>) -> Tensor<3> {
    sum(x.square()).sqrt()
}

/// `x` divided by a norm, zero where the norm is.
pub(crate) fn per(x: Tensor<3>, norm: Tensor<3>) -> Tensor<3> {
    let zero = norm.clone().equal_elem(0.0);
    x.div(norm.mask_fill(zero, 1.0))
}

/// Each head's outputs as a matrix of their own: `[N, In, H K]` to `[N H, In, K]`.
pub(crate) fn split(x: Tensor<3>, heads: usize) -> Tensor<3> {
    let [n, input, output] = x.dims();
    let width = output / heads;
    x.reshape([n, input, heads, width])
        .swap_dims(1, 2)
        .reshape([n * heads, input, width])
}

/// The inverse of [`split`].
pub(crate) fn joined(x: Tensor<3>, heads: usize) -> Tensor<3> {
    let [batch, input, width] = x.dims();
    let n = batch / heads;
    x.reshape([n, heads, input, width])
        .swap_dims(1, 2)
        .reshape([n, input, heads * width])
}
