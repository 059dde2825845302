//! Attention on backends without a kernel for it: some queries at a time, of plain operations.

use super::Heads;
use crate::blocks::{cast, wide};
use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::{BoolTensor, FloatTensor, IntTensor};
use burn::backend::{Autodiff, Backend, TensorMetadata, get_or_init_device_settings};
use burn::tensor::{Shape, Slice};
use std::marker::PhantomData;
use std::ops::Range;

/// Queries of a block.
const QUERIES: usize = 128;

/// Sizes: batch, time, key heads, query heads that share one, head width.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    b: usize,
    t: usize,
    g: usize,
    r: usize,
    k: usize,
}

impl Sizes {
    fn new<B: Backend>(q: &FloatTensor<B>, heads: Heads) -> Self {
        let [b, t, width] = q.shape().dims::<3>();
        Self {
            b,
            t,
            g: heads.key,
            r: heads.query / heads.key,
            k: width / heads.query,
        }
    }

    /// The query heads that share a key head below each other: `[B, T, H K]` to `[B, G, R, T, K]`.
    fn split_queries<B: Backend>(self, q: FloatTensor<B>) -> FloatTensor<B> {
        let q = B::float_reshape(q, Shape::new([self.b, self.t, self.g, self.r, self.k]));
        B::float_permute(q, &[0, 2, 3, 1, 4])
    }

    /// `[B, T, G K]` to `[B, G, T, K]`.
    fn split_keys<B: Backend>(self, k: FloatTensor<B>) -> FloatTensor<B> {
        let k = B::float_reshape(k, Shape::new([self.b, self.t, self.g, self.k]));
        B::float_swap_dims(k, 1, 2)
    }

    /// The inverse of [`split_keys`](Self::split_keys).
    fn join_keys<B: Backend>(self, k: FloatTensor<B>) -> FloatTensor<B> {
        let k = B::float_swap_dims(k, 1, 2);
        B::float_reshape(k, Shape::new([self.b, self.t, self.g * self.k]))
    }

    /// Blocks of [`split_queries`](Self::split_queries), `[B, G, R Q, K]` each, to `[B, T, H K]`.
    fn join_queries<B: Backend>(self, blocks: Vec<FloatTensor<B>>) -> FloatTensor<B> {
        let rows = |x: FloatTensor<B>| {
            let count = x.shape()[2] / self.r;
            let x = B::float_reshape(x, Shape::new([self.b, self.g, self.r, count, self.k]));
            B::float_permute(x, &[0, 3, 1, 2, 4])
        };
        let y = B::float_cat(blocks.into_iter().map(rows).collect(), 1);
        B::float_reshape(y, Shape::new([self.b, self.t, self.g * self.r * self.k]))
    }

    fn blocks(self) -> impl Iterator<Item = Range<usize>> {
        let starts = (0..self.t).step_by(QUERIES);
        starts.map(move |first| first..self.t.min(first + QUERIES))
    }
}

/// All of a tensor's dimension.
fn all() -> Slice {
    Slice::from(..)
}

/// The inputs, split by head.
struct Problem<B: Backend> {
    q: FloatTensor<B>,
    k: FloatTensor<B>,
    v: FloatTensor<B>,
    starts: IntTensor<B>,
    sizes: Sizes,
    scale: f64,
}

impl<B: Backend> Problem<B> {
    fn new([q, k, v]: [FloatTensor<B>; 3], starts: IntTensor<B>, heads: Heads) -> Self {
        let sizes = Sizes::new::<B>(&q, heads);
        Self {
            q: sizes.split_queries::<B>(q),
            k: sizes.split_keys::<B>(k),
            v: sizes.split_keys::<B>(v),
            starts,
            sizes,
            scale: heads.scale,
        }
    }

    /// Some queries' rows of a tensor that is split as they are, `[B, G, R Q, K]`.
    fn rows(&self, x: &FloatTensor<B>, rows: Range<usize>) -> FloatTensor<B> {
        let Sizes { b, g, r, k, .. } = self.sizes;
        let count = rows.len();
        let x = B::float_slice(x.clone(), &[all(), all(), all(), rows.into()]);
        B::float_reshape(x, Shape::new([b, g, r * count, k]))
    }

    /// The first keys of a tensor that is split as they are, `[B, G, S, K]`.
    fn first(x: &FloatTensor<B>, keys: usize) -> FloatTensor<B> {
        B::float_slice(x.clone(), &[all(), all(), (0..keys).into()])
    }

    /// The keys that some queries don't see of those up to the last of them, `[B, Q, S]`.
    fn hidden(&self, rows: Range<usize>) -> BoolTensor<B> {
        let (b, q, s) = (self.sizes.b, rows.len(), rows.end);
        let (device, dtype) = (self.starts.device(), self.starts.dtype());
        let flags = get_or_init_device_settings::<B>(&device).bool_dtype;
        let shape = Shape::new([b, q, s]);
        let place = |range: Range<usize>, shape: [usize; 3]| {
            let range = range.start as i64..range.end as i64;
            B::int_reshape(
                B::int_arange(range, &device, dtype.into()),
                Shape::new(shape),
            )
        };
        let key = B::int_expand(place(0..s, [1, 1, s]), shape.clone());
        let own = B::int_expand(place(rows.clone(), [1, q, 1]), shape.clone());
        let starts = B::int_slice(self.starts.clone(), &[all(), rows.into()]);
        let start = B::int_reshape(starts, Shape::new([b, q, 1]));
        let earlier = B::int_lower(key.clone(), B::int_expand(start, shape), flags);
        let later = B::int_greater(key.clone(), own.clone(), flags);
        // A query sees itself wherever it starts.
        let other = B::int_not_equal(key, own, flags);
        B::bool_and(B::bool_or(earlier, later), other)
    }

    /// The weights of the keys for some queries, `[B, G, R Q, S]`, and those queries.
    fn weights(&self, rows: Range<usize>) -> (FloatTensor<B>, FloatTensor<B>) {
        let Sizes { b, g, r, .. } = self.sizes;
        let (count, s) = (rows.len(), rows.end);
        let q = self.rows(&self.q, rows.clone());
        let keys = B::float_transpose(Self::first(&self.k, s));
        let scores = B::float_matmul(q.clone(), keys);
        let scores = cast::<B>(scores, wide(q.dtype()));
        let scores = B::float_mul_scalar(scores, self.scale.into());
        let hidden = B::bool_reshape(self.hidden(rows), Shape::new([b, 1, 1, count, s]));
        let apart = Shape::new([b, g, r, count, s]);
        let scores = B::float_mask_fill(
            B::float_reshape(scores, apart.clone()),
            B::bool_expand(hidden, apart),
            f32::NEG_INFINITY.into(),
        );
        let scores = B::float_reshape(scores, Shape::new([b, g, r * count, s]));
        let largest = B::float_max_dim(scores.clone(), 3);
        let powers = B::float_exp(B::float_sub(scores, largest));
        let sums = B::float_sum_dim(powers.clone(), 3);
        (B::float_div(powers, sums), q)
    }
}

pub(crate) fn forward<B: Backend>(
    inputs: [FloatTensor<B>; 3],
    starts: IntTensor<B>,
    heads: Heads,
) -> FloatTensor<B> {
    let problem = Problem::<B>::new(inputs, starts, heads);
    let dtype = problem.v.dtype();
    let y = problem.sizes.blocks().map(|rows| {
        let values = Problem::<B>::first(&problem.v, rows.end);
        let (weights, _) = problem.weights(rows);
        B::float_matmul(cast::<B>(weights, dtype.into()), values)
    });
    problem.sizes.join_queries::<B>(y.collect())
}

/// Adds `part` to the first keys of `sum`.
fn add_first<B: Backend>(sum: FloatTensor<B>, part: FloatTensor<B>) -> FloatTensor<B> {
    let keys = part.shape()[2];
    let part = cast::<B>(part, sum.dtype().into());
    let first = B::float_add(Problem::<B>::first(&sum, keys), part);
    B::float_slice_assign(sum, &[all(), all(), (0..keys).into()], first)
}

/// With `P` the weights: `dV = P^T dY`, `dP = dY V^T`, `dS = P (dP - rowsum(P dP))`, `dQ = scale dS K`,
/// `dK = scale dS^T Q`.
fn backward<B: Backend>(
    inputs: [FloatTensor<B>; 3],
    starts: IntTensor<B>,
    heads: Heads,
    dy: FloatTensor<B>,
) -> [FloatTensor<B>; 3] {
    let problem = Problem::<B>::new(inputs, starts, heads);
    let dtype = problem.k.dtype();
    let dy = problem.sizes.split_queries::<B>(dy);
    // Summed over blocks in more digits than half precision has.
    let zeros = || B::float_zeros(problem.k.shape(), &dy.device(), wide(dtype));
    let (mut dq, mut dk, mut dv) = (Vec::new(), zeros(), zeros());
    for rows in problem.sizes.blocks() {
        let dy = problem.rows(&dy, rows.clone());
        let [keys, values] = [&problem.k, &problem.v].map(|x| Problem::<B>::first(x, rows.end));
        let (weights, q) = problem.weights(rows);
        let narrow = cast::<B>(weights.clone(), dtype.into());
        let part = B::float_matmul(B::float_transpose(narrow), dy.clone());
        dv = add_first::<B>(dv, part);
        let dweights = B::float_matmul(dy, B::float_transpose(values));
        let dweights = cast::<B>(dweights, wide(dtype));
        let along = B::float_sum_dim(B::float_mul(weights.clone(), dweights.clone()), 3);
        let dscores = B::float_mul(weights, B::float_sub(dweights, along));
        let dscores = B::float_mul_scalar(dscores, problem.scale.into());
        let dscores = cast::<B>(dscores, dtype.into());
        let part = B::float_matmul(B::float_transpose(dscores.clone()), q);
        dk = add_first::<B>(dk, part);
        dq.push(B::float_matmul(dscores, keys));
    }
    let sizes = problem.sizes;
    let [dk, dv] = [dk, dv].map(|x| sizes.join_keys::<B>(cast::<B>(x, dtype.into())));
    [sizes.join_queries::<B>(dq), dk, dv]
}

#[derive(Debug)]
struct AttentionBackward<B>(PhantomData<B>);

impl<B: Backend> Backward<B, 3> for AttentionBackward<B> {
    type State = ([NodeId; 3], IntTensor<B>, Heads);

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, graph: &mut Checkpointer) {
        let dy = grads.consume::<B>(&ops.node);
        let (inputs, starts, heads) = ops.state;
        let inputs = inputs.map(|input| graph.retrieve_node_output(input));
        let gradients = backward::<B>(inputs, starts, heads, dy);
        for (node, gradient) in ops.parents.into_iter().zip(gradients) {
            if let Some(node) = node {
                grads.register::<B>(node.id, gradient);
            }
        }
    }
}

pub(crate) fn tracked<B: Backend, C: CheckpointStrategy>(
    inputs: [&FloatTensor<Autodiff<B, C>>; 3],
    starts: IntTensor<B>,
    heads: Heads,
) -> FloatTensor<Autodiff<B, C>> {
    let [q, k, v] = inputs;
    let values = inputs.map(|x| x.primitive().clone());
    let y = forward::<B>(values, starts.clone(), heads);
    match AttentionBackward::<B>(PhantomData)
        .prepare::<C>([q.node(), k.node(), v.node()])
        .compute_bound()
        .stateful()
    {
        OpsKind::Tracked(mut prep) => {
            let inputs = inputs.map(|x| prep.checkpoint(x));
            prep.finish((inputs, starts, heads), y)
        }
        OpsKind::UnTracked(prep) => prep.finish(y),
    }
}
