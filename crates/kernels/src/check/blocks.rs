//! The operations in blocks, which GPU backends use, on the CPU's backend.

use crate::attention::{Heads, blocks as attention};
use crate::linear_cross_entropy::blocks as linear_cross_entropy;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::{Int, Tensor};

#[backend_extension(Autodiff, Flex)]
trait Blocks: Backend {
    fn loss_in_blocks(
        hidden: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        targets: IntTensor<Self>,
    ) -> FloatTensor<Self>;
    fn attention_in_blocks(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        starts: IntTensor<Self>,
        heads: Heads,
    ) -> FloatTensor<Self>;
}

impl Blocks for Flex {
    fn loss_in_blocks(
        hidden: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        targets: IntTensor<Self>,
    ) -> FloatTensor<Self> {
        linear_cross_entropy::forward::<Self>(&hidden, &weight, &targets)
    }

    fn attention_in_blocks(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        starts: IntTensor<Self>,
        heads: Heads,
    ) -> FloatTensor<Self> {
        attention::forward::<Self>([q, k, v], starts, heads)
    }
}

impl<C: CheckpointStrategy> Blocks for Autodiff<Flex, C> {
    fn loss_in_blocks(
        hidden: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        targets: IntTensor<Self>,
    ) -> FloatTensor<Self> {
        linear_cross_entropy::tracked::<Flex, C>(hidden, weight, &targets)
    }

    fn attention_in_blocks(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        starts: IntTensor<Self>,
        heads: Heads,
    ) -> FloatTensor<Self> {
        attention::tracked::<Flex, C>([&q, &k, &v], starts, heads)
    }
}

/// [`crate::linear_cross_entropy`] as on a GPU.
pub(crate) fn linear_cross_entropy(
    hidden: Tensor<2>,
    weight: Tensor<2>,
    targets: Tensor<1, Int>,
) -> Tensor<1> {
    Tensor::from_dispatch(Dispatch::loss_in_blocks(
        hidden.into_dispatch(),
        weight.into_dispatch(),
        targets.into_dispatch(),
    ))
}

/// [`crate::causal_attention`] as on a GPU, within documents.
pub(crate) fn causal_attention(
    q: Tensor<3>,
    k: Tensor<3>,
    v: Tensor<3>,
    starts: Tensor<2, Int>,
    [query, key]: [usize; 2],
    scale: f64,
) -> Tensor<3> {
    let heads = Heads { query, key, scale };
    Tensor::from_dispatch(Dispatch::attention_in_blocks(
        q.into_dispatch(),
        k.into_dispatch(),
        v.into_dispatch(),
        starts.into_dispatch(),
        heads,
    ))
}
