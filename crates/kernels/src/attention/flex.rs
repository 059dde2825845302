//! Attention as a backend operation: what is kept between the two passes.

use super::{Heads, kernels};
use crate::flex::extension::Fused;
use crate::flex::{contiguous, shape, tensor, values};
use crate::profile::{Pass, Work, span};
use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Dispatch, Flex};
use burn::tensor::{Int, Tensor};
use burn_flex::FlexTensor;

pub(super) fn dispatch(
    q: Tensor<3>,
    k: Tensor<3>,
    v: Tensor<3>,
    starts: Option<Tensor<2, Int>>,
    heads: Heads,
) -> Tensor<3> {
    let [b, t, _] = q.dims();
    let starts = match starts {
        None => vec![0; b * t],
        Some(starts) => {
            let starts = starts.into_data();
            let own = (0..t as i64).cycle();
            let clamped = starts.iter::<i64>().zip(own).map(|(s, t)| s.clamp(0, t));
            clamped.map(|s| s as usize).collect()
        }
    };
    Tensor::from_dispatch(Dispatch::fused_causal_attention(
        q.into_dispatch(),
        k.into_dispatch(),
        v.into_dispatch(),
        starts,
        heads,
    ))
}

fn problem<'a>(
    q: &'a FlexTensor,
    k: &'a FlexTensor,
    v: &'a FlexTensor,
    starts: &'a [usize],
    heads: Heads,
) -> kernels::Problem<'a> {
    let [batch, time, width] = q.layout().shape().dims::<3>();
    kernels::Problem {
        q: values(q),
        k: values(k),
        v: values(v),
        starts,
        batch,
        time,
        heads: heads.query,
        kv_heads: heads.key,
        width: width / heads.query,
        scale: heads.scale as f32,
    }
}

/// The products of a pass, of queries with the keys they see, and what it reads and writes.
fn work(pass: Pass, p: kernels::Problem) -> Work {
    let (products, of_queries, of_keys) = match pass {
        Pass::Forward => (2, 2, 2),
        // The scores once more, and one for each gradient of a factor.
        Pass::Backward | Pass::Update => (5, 3, 4),
    };
    let last = (0..p.time).cycle();
    let seen: usize = p
        .starts
        .iter()
        .zip(last)
        .map(|(start, t)| t + 1 - start)
        .sum();
    Work {
        operation: "causal_attention",
        pass,
        shape: vec![p.batch, p.time, p.heads, p.kv_heads, p.width],
        multiplications: products * seen * p.heads * p.width,
        numbers: of_queries * p.q.len() + of_keys * p.k.len(),
    }
}

fn compute(p: kernels::Problem) -> (Vec<f32>, Vec<kernels::Softmax>) {
    let _span = span(|| work(Pass::Forward, p));
    kernels::forward(p)
}

pub(crate) fn forward(
    q: FlexTensor,
    k: FlexTensor,
    v: FlexTensor,
    starts: &[usize],
    heads: Heads,
) -> FlexTensor {
    let (q, k, v) = (contiguous(q), contiguous(k), contiguous(v));
    let (y, _) = compute(problem(&q, &k, &v, starts, heads));
    tensor(y, shape(&q))
}

/// What the backward pass reads.
#[derive(Debug, Clone)]
struct Kept {
    inputs: [NodeId; 3],
    /// The first key that each query sees, `[B, T]`.
    starts: Vec<usize>,
    /// Of each score row, `[B, H, T]`.
    softmax: Vec<kernels::Softmax>,
    heads: Heads,
}

#[derive(Debug)]
struct AttentionBackward;

impl Backward<Flex, 3> for AttentionBackward {
    type State = Kept;

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, graph: &mut Checkpointer) {
        let dy = contiguous(grads.consume::<Flex>(&ops.node));
        let kept = ops.state;
        let inputs = kept.inputs;
        let [q, k, v] = inputs.map(|input| contiguous(graph.retrieve_node_output(input)));
        let problem = problem(&q, &k, &v, &kept.starts, kept.heads);
        let _span = span(|| work(Pass::Backward, problem));
        let gradients = kernels::backward(problem, &kept.softmax, values(&dy));
        let shapes = [shape(&q), shape(&k), shape(&v)];
        for ((node, gradient), shape) in ops.parents.into_iter().zip(gradients).zip(shapes) {
            if let Some(node) = node {
                grads.register::<Flex>(node.id, tensor(gradient, shape));
            }
        }
    }
}

pub(crate) fn tracked<C: CheckpointStrategy>(
    q: &FloatTensor<Autodiff<Flex, C>>,
    k: &FloatTensor<Autodiff<Flex, C>>,
    v: &FloatTensor<Autodiff<Flex, C>>,
    starts: Vec<usize>,
    heads: Heads,
) -> FloatTensor<Autodiff<Flex, C>> {
    let (y, softmax) = {
        let [q, k, v] = [q, k, v].map(|x| contiguous(x.primitive().clone()));
        let (y, softmax) = compute(problem(&q, &k, &v, &starts, heads));
        (tensor(y, shape(&q)), softmax)
    };
    match AttentionBackward
        .prepare::<C>([q.node(), k.node(), v.node()])
        .compute_bound()
        .stateful()
    {
        OpsKind::Tracked(mut prep) => {
            let kept = Kept {
                inputs: [q, k, v].map(|x| prep.checkpoint(x)),
                starts,
                softmax,
                heads,
            };
            prep.finish(kept, y)
        }
        OpsKind::UnTracked(prep) => prep.finish(y),
    }
}
