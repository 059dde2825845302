//! The feed-forward network.

use super::Projection;
use crate::dims::{Dims, Site};
use crate::init::Initializer;
use crate::plan::LayerPlan;
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use evenburn_kernels::swiglu;

/// SwiGLU: `y = down( after * up(x) * silu(before * gate(x)) )`.
#[derive(Module, Debug)]
pub struct Mlp {
    /// Branch inside the activation, `[D, F]`.
    pub gate: Projection,
    /// Linear branch, `[D, F]`.
    pub up: Projection,
    /// Output, `[F, D]`.
    pub down: Projection,
    before: f64,
    after: f64,
}

impl Mlp {
    /// Initial weights depend on the initializer and on `block`, the name of the block the layer is in.
    pub fn new(
        plan: &LayerPlan,
        block: &str,
        d: &Dims,
        init: Initializer,
        device: &Device,
    ) -> Self {
        let project = |site: Site, plan| {
            Projection::new(plan, site, &format!("{block}.{site}"), d, init, device)
        };
        Self {
            gate: project(Site::Gate, &plan.gate),
            up: project(Site::Up, &plan.up),
            down: project(Site::Down, &plan.down),
            before: plan.mlp.before,
            after: plan.mlp.after,
        }
    }

    /// `[B, T, D] -> [B, T, D]`.
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let gate = self.gate.forward(x.clone());
        let y = swiglu(gate, self.up.forward(x), self.before, self.after);
        self.down.forward(y)
    }
}
