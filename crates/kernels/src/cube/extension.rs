//! The operations as extensions of the GPU backends, with and without fusion, and of automatic differentiation on top.
//!
//! Burn's macro makes of this trait what picks the implementation at run time, and for fusion what runs it lazily. A
//! gradient's kernel is a method as well: automatic differentiation knows its backend through this trait alone.

use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::fusion::custom::TensorSpec;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Autodiff, AutodiffBackend, Backend, backend_extension};
use burn::tensor::{DType, Shape};
use burn_cubecl::CubeBackend;
use evenburn_cube::normalize::{Rule, parts};
use evenburn_cube::rotary::Rows;
use evenburn_cube::swiglu::Scales;

use crate::attention::{Heads, blocks as attention};
use crate::linear_cross_entropy::blocks as linear_cross_entropy;
use crate::normalize::cube as normalize;
use crate::rotary::cube as rotary;
use crate::swiglu::cube as swiglu;

/// Rows of a tensor.
fn rows(x: &TensorSpec, rule: &Rule) -> usize {
    x.shape.num_elements() / rule.width
}

/// The result of a normalization, and what it keeps.
fn normalized(x: &TensorSpec, rule: &Rule) -> (TensorSpec, TensorSpec) {
    let factors = TensorSpec::new(Shape::new([rows(x, rule)]), DType::F32);
    (x.clone(), factors)
}

/// The gradients of a normalization.
fn unnormalized(x: &TensorSpec, rule: &Rule) -> (TensorSpec, TensorSpec) {
    let shape = Shape::new([parts(rows(x, rule)), rule.width]);
    (x.clone(), TensorSpec::new(shape, DType::F32))
}

#[backend_extension(Autodiff, Cube, Fusion)]
pub(crate) trait FusedCube: Backend {
    #[fusion(dtype = x, shape = x)]
    fn cube_normalize(x: FloatTensor<Self>, rule: Rule) -> FloatTensor<Self>;
    #[fusion(dtype = x, shape = x)]
    fn cube_normalize_with_gain(
        x: FloatTensor<Self>,
        gain: FloatTensor<Self>,
        rule: Rule,
    ) -> FloatTensor<Self>;
    /// The result and `1 / size` of each row.
    #[fusion(meta = |x, rule| normalized(x, rule))]
    fn cube_normalize_keeping(
        x: FloatTensor<Self>,
        rule: Rule,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);
    #[fusion(meta = |x, _gain, rule| normalized(x, rule))]
    fn cube_normalize_with_gain_keeping(
        x: FloatTensor<Self>,
        gain: FloatTensor<Self>,
        rule: Rule,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);
    #[fusion(dtype = x, shape = x)]
    fn cube_normalize_backward(
        x: FloatTensor<Self>,
        factors: FloatTensor<Self>,
        dy: FloatTensor<Self>,
        rule: Rule,
    ) -> FloatTensor<Self>;
    /// The gradient of the rows, and the gain's in parts, one below the other.
    #[fusion(meta = |x, _gain, _factors, _dy, rule| unnormalized(x, rule))]
    fn cube_normalize_with_gain_backward(
        x: FloatTensor<Self>,
        gain: FloatTensor<Self>,
        factors: FloatTensor<Self>,
        dy: FloatTensor<Self>,
        rule: Rule,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);

    /// `direction` is 1, or -1 for the gradient.
    #[fusion(dtype = x, shape = x)]
    fn cube_rotary(
        x: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
        rows: Rows,
        direction: f32,
    ) -> FloatTensor<Self>;

    #[fusion(dtype = gate, shape = gate)]
    fn cube_swiglu(
        gate: FloatTensor<Self>,
        up: FloatTensor<Self>,
        scales: Scales,
    ) -> FloatTensor<Self>;
    #[fusion(meta = |gate, up, _dy, _scales| (gate.clone(), up.clone()))]
    fn cube_swiglu_backward(
        gate: FloatTensor<Self>,
        up: FloatTensor<Self>,
        dy: FloatTensor<Self>,
        scales: Scales,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);

    /// In single precision.
    #[fusion(meta = |_hidden, _weight, _targets| TensorSpec::new(Shape::new([1]), DType::F32))]
    fn cube_linear_cross_entropy(
        hidden: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        targets: IntTensor<Self>,
    ) -> FloatTensor<Self>;

    #[fusion(dtype = q, shape = q)]
    fn cube_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        starts: IntTensor<Self>,
        heads: Heads,
    ) -> FloatTensor<Self>;
}

impl FusedCube for CubeBackend {
    fn cube_normalize(x: FloatTensor<Self>, rule: Rule) -> FloatTensor<Self> {
        normalize::forward(x, None, rule).0
    }

    fn cube_normalize_with_gain(
        x: FloatTensor<Self>,
        gain: FloatTensor<Self>,
        rule: Rule,
    ) -> FloatTensor<Self> {
        normalize::forward(x, Some(gain), rule).0
    }

    fn cube_normalize_keeping(
        x: FloatTensor<Self>,
        rule: Rule,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        normalize::forward(x, None, rule)
    }

    fn cube_normalize_with_gain_keeping(
        x: FloatTensor<Self>,
        gain: FloatTensor<Self>,
        rule: Rule,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        normalize::forward(x, Some(gain), rule)
    }

    fn cube_normalize_backward(
        x: FloatTensor<Self>,
        factors: FloatTensor<Self>,
        dy: FloatTensor<Self>,
        rule: Rule,
    ) -> FloatTensor<Self> {
        normalize::backward(x, None, factors, dy, rule).0
    }

    fn cube_normalize_with_gain_backward(
        x: FloatTensor<Self>,
        gain: FloatTensor<Self>,
        factors: FloatTensor<Self>,
        dy: FloatTensor<Self>,
        rule: Rule,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        normalize::backward(x, Some(gain), factors, dy, rule)
    }

    fn cube_rotary(
        x: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
        rows: Rows,
        direction: f32,
    ) -> FloatTensor<Self> {
        rotary::turn(x, cos, sin, rows, direction)
    }

    fn cube_swiglu(
        gate: FloatTensor<Self>,
        up: FloatTensor<Self>,
        scales: Scales,
    ) -> FloatTensor<Self> {
        swiglu::forward(gate, up, scales)
    }

    fn cube_swiglu_backward(
        gate: FloatTensor<Self>,
        up: FloatTensor<Self>,
        dy: FloatTensor<Self>,
        scales: Scales,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        swiglu::backward(gate, up, dy, scales)
    }

    fn cube_linear_cross_entropy(
        hidden: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        targets: IntTensor<Self>,
    ) -> FloatTensor<Self> {
        linear_cross_entropy::forward::<Self>(&hidden, &weight, &targets)
    }

    fn cube_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        starts: IntTensor<Self>,
        heads: Heads,
    ) -> FloatTensor<Self> {
        attention::forward::<Self>([q, k, v], starts, heads)
    }
}

/// A result outside of the graph.
fn constant<B: FusedCube, C: CheckpointStrategy>(x: FloatTensor<B>) -> FloatTensor<Autodiff<B, C>> {
    <Autodiff<B, C> as AutodiffBackend>::from_inner(x)
}

/// A tensor without its graph.
fn inner<B: FusedCube, C: CheckpointStrategy>(x: FloatTensor<Autodiff<B, C>>) -> FloatTensor<B> {
    x.into_primitive()
}

/// Gradients are taken once: what a gradient's kernel returns is a constant.
impl<B: FusedCube, C: CheckpointStrategy> FusedCube for Autodiff<B, C> {
    fn cube_normalize(x: FloatTensor<Self>, rule: Rule) -> FloatTensor<Self> {
        normalize::tracked::<B>(&x, rule)
    }

    fn cube_normalize_with_gain(
        x: FloatTensor<Self>,
        gain: FloatTensor<Self>,
        rule: Rule,
    ) -> FloatTensor<Self> {
        normalize::tracked_with_gain::<B>(&x, &gain, rule)
    }

    fn cube_normalize_keeping(
        x: FloatTensor<Self>,
        rule: Rule,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let (y, factors) = B::cube_normalize_keeping(x.into_primitive(), rule);
        (constant::<B, C>(y), constant::<B, C>(factors))
    }

    fn cube_normalize_with_gain_keeping(
        x: FloatTensor<Self>,
        gain: FloatTensor<Self>,
        rule: Rule,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let (x, gain) = (x.into_primitive(), gain.into_primitive());
        let (y, factors) = B::cube_normalize_with_gain_keeping(x, gain, rule);
        (constant::<B, C>(y), constant::<B, C>(factors))
    }

    fn cube_normalize_backward(
        x: FloatTensor<Self>,
        factors: FloatTensor<Self>,
        dy: FloatTensor<Self>,
        rule: Rule,
    ) -> FloatTensor<Self> {
        let [x, factors, dy] = [x, factors, dy].map(inner::<B, C>);
        constant::<B, C>(B::cube_normalize_backward(x, factors, dy, rule))
    }

    fn cube_normalize_with_gain_backward(
        x: FloatTensor<Self>,
        gain: FloatTensor<Self>,
        factors: FloatTensor<Self>,
        dy: FloatTensor<Self>,
        rule: Rule,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let [x, gain, factors, dy] = [x, gain, factors, dy].map(inner::<B, C>);
        let (dx, parts) = B::cube_normalize_with_gain_backward(x, gain, factors, dy, rule);
        (constant::<B, C>(dx), constant::<B, C>(parts))
    }

    fn cube_rotary(
        x: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
        rows: Rows,
        direction: f32,
    ) -> FloatTensor<Self> {
        let tables = [cos, sin].map(inner::<B, C>);
        rotary::tracked::<B>(&x, tables, rows, direction)
    }

    fn cube_swiglu(
        gate: FloatTensor<Self>,
        up: FloatTensor<Self>,
        scales: Scales,
    ) -> FloatTensor<Self> {
        swiglu::tracked::<B>(&gate, &up, scales)
    }

    fn cube_swiglu_backward(
        gate: FloatTensor<Self>,
        up: FloatTensor<Self>,
        dy: FloatTensor<Self>,
        scales: Scales,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let [gate, up, dy] = [gate, up, dy].map(inner::<B, C>);
        let (dgate, dup) = B::cube_swiglu_backward(gate, up, dy, scales);
        (constant::<B, C>(dgate), constant::<B, C>(dup))
    }

    fn cube_linear_cross_entropy(
        hidden: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        targets: IntTensor<Self>,
    ) -> FloatTensor<Self> {
        linear_cross_entropy::tracked::<B, C>(hidden, weight, &targets)
    }

    fn cube_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        starts: IntTensor<Self>,
        heads: Heads,
    ) -> FloatTensor<Self> {
        attention::tracked::<B, C>([&q, &k, &v], starts, heads)
    }
}
