//! The output layer's loss on GPU backends.

use crate::cube::extension::FusedCube;
use burn::backend::Dispatch;
use burn::tensor::{Int, Tensor};

pub(super) fn dispatch(hidden: Tensor<2>, weight: Tensor<2>, targets: Tensor<1, Int>) -> Tensor<1> {
    Tensor::from_dispatch(Dispatch::cube_linear_cross_entropy(
        hidden.into_dispatch(),
        weight.into_dispatch(),
        targets.into_dispatch(),
    ))
}
