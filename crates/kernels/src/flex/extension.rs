//! The operations as extensions of Burn's CPU backend and of automatic differentiation on top of it.
//!
//! Burn's macro wants one trait and generates from it what picks the implementation at run time: `Autodiff<Flex>` as
//! soon as a float argument is on an autodiff device, else `Flex`. The work is in each operation's `flex` module.

use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Autodiff, AutodiffBackend, Backend, Flex, backend_extension};

use crate::Precision;
use crate::adam::AdamStep;
use crate::adam::flex as adam;
use crate::attention::Heads;
use crate::attention::flex as attention;
use crate::embedding::flex as embedding;
use crate::interpolate::flex as interpolate;
use crate::linear::flex as linear;
use crate::linear_cross_entropy::flex as linear_cross_entropy;
use crate::linear_log_likelihood::flex as linear_log_likelihood;
use crate::normalize::flex as normalize;
use crate::normalize::flex::Rule;
use crate::normalized_swiglu::flex as normalized_swiglu;
use crate::normalized_swiglu::flex::Unit;
use crate::rotary::flex as rotary;
use crate::square_sum::flex as square_sum;
use crate::swiglu::flex as swiglu;

#[backend_extension(Autodiff, Flex)]
pub(crate) trait Fused: Backend {
    fn fused_swiglu(
        gate: FloatTensor<Self>,
        up: FloatTensor<Self>,
        before: f32,
        after: f32,
    ) -> FloatTensor<Self>;
    fn fused_normalized_swiglu(
        gate: FloatTensor<Self>,
        up: FloatTensor<Self>,
        gate_gain: FloatTensor<Self>,
        up_gain: FloatTensor<Self>,
        unit: Unit,
    ) -> FloatTensor<Self>;
    fn fused_linear_cross_entropy(
        hidden: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        targets: IntTensor<Self>,
        precision: Precision,
    ) -> FloatTensor<Self>;
    fn fused_causal_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        starts: Vec<usize>,
        heads: Heads,
    ) -> FloatTensor<Self>;
    fn fused_normalize(x: FloatTensor<Self>, rule: Rule) -> FloatTensor<Self>;
    fn fused_normalize_with_gain(
        x: FloatTensor<Self>,
        gain: FloatTensor<Self>,
        rule: Rule,
    ) -> FloatTensor<Self>;
    fn fused_rotary(
        x: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
        heads: usize,
    ) -> FloatTensor<Self>;
    fn fused_linear(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        factor: f32,
        precision: Precision,
    ) -> FloatTensor<Self>;
    fn fused_interpolate(
        h: FloatTensor<Self>,
        x: FloatTensor<Self>,
        keep: FloatTensor<Self>,
        step: FloatTensor<Self>,
    ) -> FloatTensor<Self>;
    fn fused_embedding(weight: FloatTensor<Self>, tokens: IntTensor<Self>) -> FloatTensor<Self>;
    fn fused_adam(
        w: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        m: FloatTensor<Self>,
        v: FloatTensor<Self>,
        step: AdamStep,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
    fn fused_square_sum(x: FloatTensor<Self>) -> FloatTensor<Self>;
    fn fused_linear_log_likelihood(
        hidden: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        targets: IntTensor<Self>,
        precision: Precision,
    ) -> FloatTensor<Self>;
}

impl Fused for Flex {
    fn fused_swiglu(
        gate: FloatTensor<Self>,
        up: FloatTensor<Self>,
        before: f32,
        after: f32,
    ) -> FloatTensor<Self> {
        swiglu::forward(gate, up, before, after)
    }

    fn fused_normalized_swiglu(
        gate: FloatTensor<Self>,
        up: FloatTensor<Self>,
        gate_gain: FloatTensor<Self>,
        up_gain: FloatTensor<Self>,
        unit: Unit,
    ) -> FloatTensor<Self> {
        normalized_swiglu::forward([gate, up], [gate_gain, up_gain], unit)
    }

    fn fused_linear_cross_entropy(
        hidden: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        targets: IntTensor<Self>,
        precision: Precision,
    ) -> FloatTensor<Self> {
        linear_cross_entropy::forward(hidden, weight, targets, precision)
    }

    fn fused_causal_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        starts: Vec<usize>,
        heads: Heads,
    ) -> FloatTensor<Self> {
        attention::forward(q, k, v, &starts, heads)
    }

    fn fused_normalize(x: FloatTensor<Self>, rule: Rule) -> FloatTensor<Self> {
        normalize::forward(x, None, rule)
    }

    fn fused_normalize_with_gain(
        x: FloatTensor<Self>,
        gain: FloatTensor<Self>,
        rule: Rule,
    ) -> FloatTensor<Self> {
        normalize::forward(x, Some(gain), rule)
    }

    fn fused_rotary(
        x: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
        heads: usize,
    ) -> FloatTensor<Self> {
        rotary::forward(x, cos, sin, heads)
    }

    fn fused_linear(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        factor: f32,
        precision: Precision,
    ) -> FloatTensor<Self> {
        linear::forward(x, weight, factor, precision)
    }

    fn fused_interpolate(
        h: FloatTensor<Self>,
        x: FloatTensor<Self>,
        keep: FloatTensor<Self>,
        step: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        interpolate::forward(h, x, keep, step)
    }

    fn fused_embedding(weight: FloatTensor<Self>, tokens: IntTensor<Self>) -> FloatTensor<Self> {
        embedding::forward(weight, tokens)
    }

    fn fused_adam(
        w: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        m: FloatTensor<Self>,
        v: FloatTensor<Self>,
        step: AdamStep,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        adam::forward(w, grad, m, v, step)
    }

    fn fused_square_sum(x: FloatTensor<Self>) -> FloatTensor<Self> {
        square_sum::forward(x)
    }

    fn fused_linear_log_likelihood(
        hidden: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        targets: IntTensor<Self>,
        precision: Precision,
    ) -> FloatTensor<Self> {
        linear_log_likelihood::forward(hidden, weight, targets, precision)
    }
}

impl<C: CheckpointStrategy> Fused for Autodiff<Flex, C> {
    fn fused_swiglu(
        gate: FloatTensor<Self>,
        up: FloatTensor<Self>,
        before: f32,
        after: f32,
    ) -> FloatTensor<Self> {
        swiglu::tracked(&gate, &up, before, after)
    }

    fn fused_normalized_swiglu(
        gate: FloatTensor<Self>,
        up: FloatTensor<Self>,
        gate_gain: FloatTensor<Self>,
        up_gain: FloatTensor<Self>,
        unit: Unit,
    ) -> FloatTensor<Self> {
        normalized_swiglu::tracked([&gate, &up], [&gate_gain, &up_gain], unit)
    }

    fn fused_linear_cross_entropy(
        hidden: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        targets: IntTensor<Self>,
        precision: Precision,
    ) -> FloatTensor<Self> {
        linear_cross_entropy::tracked::<C>(hidden, weight, targets, precision)
    }

    fn fused_causal_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        starts: Vec<usize>,
        heads: Heads,
    ) -> FloatTensor<Self> {
        attention::tracked::<C>(&q, &k, &v, starts, heads)
    }

    fn fused_normalize(x: FloatTensor<Self>, rule: Rule) -> FloatTensor<Self> {
        normalize::tracked(&x, rule)
    }

    fn fused_normalize_with_gain(
        x: FloatTensor<Self>,
        gain: FloatTensor<Self>,
        rule: Rule,
    ) -> FloatTensor<Self> {
        normalize::tracked_with_gain(&x, &gain, rule)
    }

    fn fused_rotary(
        x: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
        heads: usize,
    ) -> FloatTensor<Self> {
        rotary::tracked(&x, cos, sin, heads)
    }

    fn fused_linear(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        factor: f32,
        precision: Precision,
    ) -> FloatTensor<Self> {
        linear::tracked::<C>(&x, weight, factor, precision)
    }

    fn fused_interpolate(
        h: FloatTensor<Self>,
        x: FloatTensor<Self>,
        keep: FloatTensor<Self>,
        step: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        interpolate::tracked::<C>(h, x, keep, step)
    }

    fn fused_embedding(weight: FloatTensor<Self>, tokens: IntTensor<Self>) -> FloatTensor<Self> {
        embedding::tracked::<C>(weight, tokens)
    }

    fn fused_adam(
        w: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        m: FloatTensor<Self>,
        v: FloatTensor<Self>,
        step: AdamStep,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        adam::constant::<C>(w, grad, m, v, step)
    }

    fn fused_square_sum(x: FloatTensor<Self>) -> FloatTensor<Self> {
        <Self as AutodiffBackend>::from_inner(square_sum::forward(x.into_primitive()))
    }

    fn fused_linear_log_likelihood(
        hidden: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        targets: IntTensor<Self>,
        precision: Precision,
    ) -> FloatTensor<Self> {
        let (hidden, weight) = (hidden.into_primitive(), weight.into_primitive());
        let both = linear_log_likelihood::forward(hidden, weight, targets, precision);
        <Self as AutodiffBackend>::from_inner(both)
    }
}
