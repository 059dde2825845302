//! Activation recomputation: outputs that the backward pass computes again instead of keeping them.
//!
//! An operation that costs one pass over memory is cheaper to repeat than to keep for: the output of a normalization or of
//! an activation is needed in the backward pass by the product that reads it, and by nothing else. Such an operation leaves a
//! [`Recomputed`] in the graph, and the product asks the graph for it.

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::retro_forward::RetroForward;
use burn::backend::autodiff::checkpoint::state::BackwardStates;
use std::fmt::{Debug, Formatter, Result};
use std::marker::PhantomData;

/// How an output, a backend's tensor `T`, follows from the outputs of `N` other nodes.
pub(crate) struct Recomputed<T, const N: usize, F> {
    inputs: [NodeId; N],
    compute: F,
    tensor: PhantomData<fn() -> T>,
}

impl<T, const N: usize, F> Recomputed<T, N, F>
where
    F: Fn([T; N]) -> T,
{
    /// The forward pass, and the nodes in the order of its arguments.
    pub(crate) fn new(inputs: [NodeId; N], compute: F) -> Self {
        Self {
            inputs,
            compute,
            tensor: PhantomData,
        }
    }
}

impl<T, const N: usize, F> Debug for Recomputed<T, N, F> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.debug_tuple("Recomputed").field(&self.inputs).finish()
    }
}

impl<T, const N: usize, F> RetroForward for Recomputed<T, N, F>
where
    T: Clone + Send + 'static,
    F: Fn([T; N]) -> T + Send + 'static,
{
    fn forward(&self, states: &mut BackwardStates, out_node: NodeId) {
        let inputs = self.inputs.map(|input| states.get_state(&input));
        states.save(out_node, (self.compute)(inputs));
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use crate::check::assert_agree;
    use crate::{Precision, Size, reference};
    use burn::tensor::Tensor;

    /// Channels, hidden width, positions of each of two sequences.
    const D: usize = 12;
    const F: usize = 20;
    const T: usize = 9;

    type Leaves<'a> = &'a [Tensor<1>];

    fn matrix(leaf: &Tensor<1>, shape: [usize; 2]) -> Tensor<2> {
        leaf.clone().reshape(shape)
    }

    fn angles(like: &Tensor<3>) -> Tensor<2> {
        let positions = Tensor::<1>::from_floats([0.0; T], &like.device()).cast(like.dtype());
        (positions + 0.5).unsqueeze_dim::<2>(1).expand([T, D / 4])
    }

    /// Operations that are computed once more, fed by each other, by products and by plain operations, read by several
    /// at once, and written once through each of `ways`.
    macro_rules! block {
        ($leaves:expr, $($way:ident)::+) => {{
            let leaves: Leaves = $leaves;
            let x: Tensor<3> = leaves[0].clone().reshape([2, T, D]);
            let gain = leaves[1].clone();
            let way = |x| $($way::)+normalize(x, Some(gain.clone()), Size::Rms, 1e-6, D);
            // Read by three products and a plain operation.
            let normal = way(x.clone());
            let w = |i: usize| matrix(&leaves[i], [D, D]);
            let project = |i| $($way::)+linear(normal.clone(), w(i), 0.5, Precision::F32);
            let turned = |x: Tensor<3>| {
                let angles = angles(&x);
                let x = $($way::)+normalize(x, None, Size::L2, 1e-6, D / 2);
                $($way::)+rotary(x, angles.clone().cos(), angles.sin(), 2)
            };
            let (q, k, v) = (turned(project(2)), turned(project(3)), project(4));
            let y = $($way::)+causal_attention(q, k, v, None, 2, 2, 1.5);
            let h = x + y + normal.clone() * 0.25;
            // One after the other, without anything that is kept between them.
            let twice = way(way(h.clone()));
            let gate = $($way::)+linear(twice.clone(), matrix(&leaves[5], [D, F]), 1.0, Precision::F32);
            let up = $($way::)+linear(twice, matrix(&leaves[6], [D, F]), 1.0, Precision::F32);
            let inner = $($way::)+swiglu(gate.clone(), up, 1.5, 0.5);
            // The gate once more, behind what it has fed already.
            let inner = $($way::)+swiglu(inner, gate, 1.0, 1.0);
            h + $($way::)+linear(inner, matrix(&leaves[7], [F, D]), 1.0, Precision::F32)
        }};
    }

    #[test]
    fn chains_agree_with_the_reference() {
        let sizes = [2 * T * D, D, D * D, D * D, D * D, D * F, D * F, F * D];
        assert_agree::<3>("a block", &sizes, 2e-5, &|x| block!(x, crate), &|x| {
            block!(x, reference)
        });
    }
}
