//! Gathering rows, and adding up their gradients.

use crate::flex::extension::Fused;
use crate::flex::{
    assert_ids, buffer, contiguous, integers, rows_per_piece, shape, tensor, values,
};
use crate::profile::{Pass, Work, span};
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Dispatch, Flex};
use burn::tensor::{Int, Tensor};
use burn_flex::FlexTensor;
use rayon::prelude::*;

pub(super) fn dispatch(weight: Tensor<2>, tokens: Tensor<2, Int>) -> Tensor<3> {
    Tensor::from_dispatch(Dispatch::fused_embedding(
        weight.into_dispatch(),
        tokens.into_dispatch(),
    ))
}

/// Parts of the table whose gradients are computed independently.
const PARTS: usize = 32;

/// So many rows of a table, for so many tokens.
fn work(pass: Pass, tokens: usize, width: usize, rows: usize) -> Work {
    Work {
        operation: "embedding",
        pass,
        shape: vec![tokens, width],
        multiplications: 0,
        numbers: rows * width,
    }
}

pub(crate) fn forward(weight: FlexTensor, tokens: FlexTensor) -> FlexTensor {
    let weight = contiguous(weight);
    let [batch, time] = shape(&tokens).dims::<2>();
    let [rows, width] = shape(&weight).dims::<2>();
    let (tokens, weight) = (integers(tokens), values(&weight));
    assert_ids("token", &tokens, rows, 0);
    let _span = span(|| work(Pass::Forward, tokens.len(), width, 2 * tokens.len()));
    let mut y = buffer(tokens.len() * width);
    let rows = rows_per_piece(width);
    y.par_chunks_mut(rows * width)
        .zip(tokens.par_chunks(rows))
        .for_each(|(y, tokens)| {
            for (y, &token) in y.chunks_exact_mut(width).zip(tokens) {
                y.copy_from_slice(&weight[token as usize * width..][..width]);
            }
        });
    tensor(y, [batch, time, width])
}

#[derive(Debug)]
struct EmbeddingBackward;

impl Backward<Flex, 1> for EmbeddingBackward {
    /// The tokens, and the table's height.
    type State = (FlexTensor, usize);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dy = contiguous(grads.consume::<Flex>(&ops.node));
        let (tokens, vocabulary) = ops.state;
        let width = dy.layout().shape()[2];
        let tokens = integers(tokens);
        let dy = values(&dy);
        let _span = span(|| {
            work(
                Pass::Backward,
                tokens.len(),
                width,
                tokens.len() + vocabulary,
            )
        });
        let mut dw = buffer(vocabulary * width);
        let rows = vocabulary.div_ceil(PARTS);
        // Every part reads all tokens and takes its own: no two threads write to one row, and the order is theirs.
        dw.par_chunks_mut(rows * width)
            .enumerate()
            .for_each(|(part, dw)| {
                dw.fill(0.0);
                let own = part * rows..(part + 1) * rows;
                for (&token, dy) in tokens.iter().zip(dy.chunks_exact(width)) {
                    if own.contains(&(token as usize)) {
                        let row = token as usize - own.start;
                        for (dw, dy) in dw[row * width..][..width].iter_mut().zip(dy) {
                            *dw += dy;
                        }
                    }
                }
            });
        let [node] = ops.parents;
        if let Some(node) = node {
            grads.register::<Flex>(node.id, tensor(dw, [vocabulary, width]));
        }
    }
}

pub(crate) fn tracked<C: CheckpointStrategy>(
    weight: FloatTensor<Autodiff<Flex, C>>,
    tokens: FlexTensor,
) -> FloatTensor<Autodiff<Flex, C>> {
    let nodes = [weight.node()];
    let weight = weight.into_primitive();
    let vocabulary = weight.layout().shape()[0];
    let y = forward(weight, tokens.clone());
    match EmbeddingBackward
        .prepare::<C>(nodes)
        .compute_bound()
        .stateful()
    {
        OpsKind::Tracked(prep) => prep.finish((tokens, vocabulary), y),
        OpsKind::UnTracked(prep) => prep.finish(y),
    }
}
