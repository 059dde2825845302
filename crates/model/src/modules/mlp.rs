//! The feed-forward network.
//!
//! `B` batch, `T` time, `D` model, `F` hidden width.

use super::Projection;
use super::projection::scaled;
use crate::dims::{Activation, Dims, Site};
use crate::init::Initializer;
use crate::plan::LayerPlan;
use burn::module::Module;
use burn::tensor::activation::{gelu, gelu_approximate, relu, silu};
use burn::tensor::{Device, Tensor};
use evenburn_kernels::{Precision, normalized_swiglu, swiglu};

/// `y = down( after * up(x) * f(before * gate(x)) )`, or `y = down( after * f(before * up(x)) )` without a gate.
///
/// It needs the [`LayerPlan`] of a block and the sizes of a model. Its parameters are those of three [`Projection`]s, as
/// `gate.weight`.
#[derive(Module, Debug)]
pub struct Mlp {
    /// Branch inside the activation, `[D, F]`; a plain MLP has none.
    pub gate: Option<Projection>,
    /// Linear branch, `[D, F]`; the only one of a plain MLP.
    pub up: Projection,
    /// Output, `[F, D]`.
    pub down: Projection,
    before: f64,
    after: f64,
    #[module(skip)]
    activation: Activation,
}

impl Mlp {
    /// Initial weights depend on the initializer and on `at`, the name of the network.
    pub fn new(plan: &LayerPlan, at: &str, d: &Dims, init: Initializer, device: &Device) -> Self {
        let project = |site: Site, plan| {
            Projection::new(
                plan,
                site,
                &format!("{at}.{}", site.name()),
                d,
                init,
                device,
            )
        };
        Self {
            gate: plan.gate.as_ref().map(|gate| project(Site::Gate, gate)),
            up: project(Site::Up, &plan.up),
            down: project(Site::Down, &plan.down),
            before: plan.mlp.before,
            after: plan.mlp.after,
            activation: d.mlp.activation(),
        }
    }

    /// The same network whose products round their factors to a precision.
    #[must_use]
    pub fn with_precision(mut self, precision: Precision) -> Self {
        self.gate = self.gate.map(|gate| gate.with_precision(precision));
        self.up = self.up.with_precision(precision);
        self.down = self.down.with_precision(precision);
        self
    }

    /// The network at each position.
    ///
    /// # Shapes
    /// - `x`: `[B, T, D]`
    /// - output: `[B, T, D]`
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let y = match &self.gate {
            Some(gate) => self.gated(gate, x),
            None => self.ungated(x),
        };
        self.down.forward(y)
    }

    fn ungated(&self, x: Tensor<3>) -> Tensor<3> {
        let z = scaled(self.up.forward(x), self.before);
        scaled(apply(self.activation, z), self.after)
    }

    fn gated(&self, gate: &Projection, x: Tensor<3>) -> Tensor<3> {
        let (before, after) = (self.before, self.after);
        if let (Activation::Silu, Some(of_up), Some(of_gate)) =
            (self.activation, self.up.fused_norm(), gate.fused_norm())
        {
            let up = (self.up.product(x.clone()), of_up);
            let gate = (gate.product(x), of_gate);
            return normalized_swiglu([gate, up], before, after);
        }
        let (up, gate) = (self.up.forward(x.clone()), gate.forward(x));
        match self.activation {
            Activation::Silu => swiglu(gate, up, before, after),
            other => scaled(up * apply(other, scaled(gate, before)), after),
        }
    }
}

fn apply(activation: Activation, z: Tensor<3>) -> Tensor<3> {
    match activation {
        Activation::Silu => silu(z),
        Activation::Gelu => gelu(z),
        Activation::GeluTanh => gelu_approximate(z),
        Activation::Relu2 => relu(z).square(),
    }
}
