//! Attention on GPU backends.

use super::Heads;
use crate::cube::extension::FusedCube;
use burn::backend::Dispatch;
use burn::tensor::{Int, Tensor};

pub(super) fn dispatch(
    q: Tensor<3>,
    k: Tensor<3>,
    v: Tensor<3>,
    starts: Tensor<2, Int>,
    heads: Heads,
) -> Tensor<3> {
    Tensor::from_dispatch(Dispatch::cube_attention(
        q.into_dispatch(),
        k.into_dispatch(),
        v.into_dispatch(),
        starts.into_dispatch(),
        heads,
    ))
}
