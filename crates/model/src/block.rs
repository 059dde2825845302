//! One block: attention, then MLP, each inside its residual.

use crate::dims::{Branch, Dims};
use crate::init::Initializer;
use crate::modules::{
    Attention, BlockContext, Experts, LayerCache, Mlp, Residual, Routing, Stream,
};
use crate::plan::LayerPlan;
use burn::module::Module;
use burn::tensor::Device;
use evenburn_kernels::Precision;

/// One block of the decoder.
#[derive(Module, Debug)]
pub struct Block {
    /// The stream around attention.
    pub attn_residual: Residual,
    /// Self-attention.
    pub attn: Attention,
    /// The stream around the MLP.
    pub mlp_residual: Residual,
    /// The feed-forward network; absent where there are experts.
    pub mlp: Option<Mlp>,
    /// The mixture of experts.
    pub moe: Option<Experts>,
}

impl Block {
    pub(crate) fn new(
        plan: &LayerPlan,
        index: usize,
        d: &Dims,
        init: Initializer,
        device: &Device,
    ) -> Self {
        let block = format!("blocks.{index}");
        let residual = |branch: Branch, plan| {
            let path = format!("{block}.{}", branch.path());
            Residual::new(plan, &path, d, init, device)
        };
        Self {
            attn_residual: residual(Branch::Attention, &plan.attn_residual),
            attn: Attention::new(plan, &block, d, init, device),
            mlp_residual: residual(Branch::Mlp, &plan.mlp_residual),
            mlp: match &plan.router {
                None => Some(Mlp::new(plan, &format!("{block}.mlp"), d, init, device)),
                Some(_) => None,
            },
            moe: plan
                .router
                .as_ref()
                .map(|router| Experts::new(plan, router, &block, d, init, device)),
        }
    }

    pub(crate) fn with_precision(mut self, precision: Precision) -> Self {
        self.attn = self.attn.with_precision(precision);
        self.mlp = self.mlp.map(|mlp| mlp.with_precision(precision));
        self.moe = self.moe.map(|moe| moe.with_precision(precision));
        self
    }

    pub(crate) fn forward(
        &self,
        stream: Stream,
        context: &BlockContext<'_>,
        cache: Option<&mut LayerCache>,
        routing: &mut Vec<Routing>,
    ) -> Stream {
        let stream = self.attn_residual.watched(stream, context.watch, |x| {
            context.drop(self.attn.forward(x, context, cache), "attn")
        });
        self.mlp_residual.watched(stream, context.watch, |x| {
            let y = match (&self.mlp, &self.moe) {
                (Some(mlp), _) => mlp.forward(x),
                (None, Some(moe)) => {
                    let (y, routed) = moe.forward(x);
                    routing.push(routed);
                    y
                }
                // A block is built with one of the two.
                (None, None) => x,
            };
            context.drop(y, "mlp")
        })
    }
}
