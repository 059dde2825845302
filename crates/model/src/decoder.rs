//! The decoder: embedding, blocks, final normalization, output layer.
//!
//! `B` batch, `T` time, `D` model, `V` vocabulary.

use crate::block::Block;
use crate::dims::{Dims, Positions};
use crate::function::Moment;
use crate::init::Initializer;
use crate::modules::{Embedding, Head, Join, Layout, Norm, Rotary, Stream, Watch};
use crate::plan::Plan;
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use evenburn_kernels::Precision;

/// A decoder-only language model built from a [`Plan`].
///
/// Every token given to it must be one of its vocabulary: nothing waits for the device to look. [`Decoder::tokens`] makes a
/// tensor of ids that are. Another one panics on the CPU; what a GPU makes of it is not defined.
///
/// ```
/// use burn::tensor::Device;
/// use evenburn_model::{Decoder, ModelConfig, Plan, strategy::AnGpt};
/// let config = ModelConfig { vocab_size: 32, dim: 16, layers: 1, heads: 2, ..Default::default() };
/// let plan = Plan::new(&config, &AnGpt::default())?;
/// let device = Device::flex();
/// let model = Decoder::new(&plan, 0, &device);
/// let tokens = model.tokens(&[1, 2, 3], 3)?;
/// assert_eq!(model.logits(model.hidden(tokens)).dims(), [1, 3, 32]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Module, Debug)]
pub struct Decoder {
    /// Embedding table.
    pub embed: Embedding,
    /// Blocks, first to last.
    pub blocks: Vec<Block>,
    /// Where the two components of the stream become one, in schemes that have two.
    pub join: Option<Join>,
    /// Normalization before the output layer.
    pub final_norm: Option<Norm>,
    /// Output layer.
    pub head: Head,
    #[module(skip)]
    dims: Dims,
}

impl Decoder {
    /// A decoder with initial weights that depend on the plan and the seed alone.
    pub fn new(plan: &Plan, seed: u64, device: &Device) -> Self {
        let d = &plan.dims;
        let init = Initializer::new(seed);
        Self {
            embed: Embedding::new(plan, init, device),
            blocks: plan
                .layers
                .iter()
                .enumerate()
                .map(|(index, layer)| Block::new(layer, index, d, init, device))
                .collect(),
            join: plan
                .ends
                .head
                .join
                .as_ref()
                .map(|join| Join::new(join, d, init, device)),
            final_norm: plan
                .ends
                .head
                .final_norm
                .as_ref()
                .map(|norm| Norm::new(norm, [d.model, d.head], "final_norm", init, device)),
            head: Head::new(plan, d, init, device),
            dims: d.clone(),
        }
    }

    /// The same decoder whose linear maps and output layer round the factors of their products, and of the products of their
    /// gradients, to a precision; single precision until then.
    ///
    /// Weights, gradients, activations, normalization, attention between the projections, routers and the loss stay as they
    /// are. It is how a model computes, not what it is: no part of a plan or of a checkpoint.
    ///
    /// ```
    /// use burn::tensor::{Device, Int, Tensor};
    /// use evenburn_model::{Decoder, ModelConfig, Plan, Precision, strategy::PreNorm};
    /// let config = ModelConfig { vocab_size: 32, dim: 16, layers: 1, heads: 2, ..Default::default() };
    /// let plan = Plan::new(&config, &PreNorm::default())?;
    /// let device = Device::flex();
    /// let tokens = Tensor::<2, Int>::from_ints([[1, 2, 3]], &device);
    /// let model = Decoder::new(&plan, 0, &device);
    /// let exact = model.loss_sum(tokens.clone(), tokens.clone());
    /// let rounded = model.with_precision(Precision::Bf16).loss_sum(tokens.clone(), tokens);
    /// let [exact, rounded] = [exact, rounded].map(|loss| loss.into_scalar::<f32>());
    /// assert!((rounded / exact - 1.0).abs() < 0.01);
    /// # Ok::<(), evenburn_model::PlanError>(())
    /// ```
    #[must_use]
    pub fn with_precision(mut self, precision: Precision) -> Self {
        let blocks = self.blocks.into_iter();
        self.blocks = blocks.map(|b| b.with_precision(precision)).collect();
        self.head = self.head.with_precision(precision);
        self
    }

    /// Sizes of the model.
    pub fn dims(&self) -> &Dims {
        &self.dims
    }

    /// The same decoder after the step that ends at a moment of a run: its scheduled normalizations set their arrays, from
    /// what each measured in the step, means over its tokens. With it a metric by name, where they have one.
    #[must_use]
    pub fn after_step(
        mut self,
        at: Moment,
        measured: &[Vec<f64>],
    ) -> (Self, Option<(&'static str, f64)>) {
        let mut measured = measured.iter();
        let mut metric = None;
        let mut after =
            |norm: Option<Norm>| norm.map(|norm| norm.after_step(at, &mut measured, &mut metric));
        let blocks = self.blocks.into_iter();
        let blocks = blocks.map(|mut block| {
            block.attn_residual.input = after(block.attn_residual.input);
            block.mlp_residual.input = after(block.mlp_residual.input);
            block
        });
        self.blocks = blocks.collect();
        self.final_norm = after(self.final_norm);
        (self, metric)
    }

    /// The same decoder with the routers' corrections moved towards an even load: `loads` has one `[E]` for each block.
    #[must_use]
    pub fn rebalanced(mut self, loads: &[Vec<f64>]) -> Self {
        self.blocks = self
            .blocks
            .into_iter()
            .enumerate()
            .map(|(index, mut block)| {
                if let Some(load) = loads.get(index) {
                    block.moe = block.moe.map(|moe| moe.rebalanced(load));
                }
                block
            })
            .collect();
        self
    }

    /// The stream as the first block finds it: where it has two components, both are the embedded tokens.
    pub(crate) fn entered(&self, h: Tensor<3>) -> Stream {
        let companion = self.join.as_ref().map(|_| h.clone());
        Stream { h, companion }
    }

    /// Both components of the stream as one, behind the final normalization.
    pub(crate) fn normalized(&self, stream: Stream, watch: Option<&Watch>) -> Tensor<3> {
        let h = match &self.join {
            Some(join) => join.forward(stream),
            None => stream.h,
        };
        if let (Some(norm), Some(watch)) = (&self.final_norm, watch) {
            norm.watched(&h, watch);
        }
        match &self.final_norm {
            Some(norm) => norm.forward(h),
            None => h,
        }
    }

    /// The longest sequence there are positions for; none where any length goes.
    pub fn longest(&self) -> Option<usize> {
        self.embed.positions.as_ref().map(|_| self.dims.context)
    }

    /// Tables in the number format of the weights, where positions are rotations.
    pub(crate) fn rotary(&self, start: usize, len: usize) -> Option<Rotary> {
        let layout = match self.dims.positions {
            Positions::Rope => Layout::Neighbours,
            Positions::RopeHalves => Layout::Halves,
            Positions::Learned | Positions::None => return None,
        };
        let weight = self.embed.weight.val();
        let (device, d) = (weight.device(), &self.dims);
        let table = Rotary::new(
            start,
            len,
            d.rope_channels(),
            d.rope_theta,
            layout,
            weight.dtype(),
            &device,
        );
        Some(table)
    }
}
