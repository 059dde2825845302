//! The decoder: embedding, blocks, final normalization, output layer.
//!
//! `B` batch, `T` time, `D` model, `V` vocabulary.

use crate::block::Block;
use crate::dims::{Dims, Positions};
use crate::error::CacheError;
use crate::function::Moment;
use crate::init::Initializer;
use crate::modules::{
    AttentionMask, BlockContext, Embedding, Head, Join, Largest, LayerCache, Layout, Norm, Rotary,
    Routing, Stream, Watch, penalty,
};
use crate::noise::{Dropout, Noise};
use crate::plan::Plan;
use burn::module::Module;
use burn::tensor::{Device, Int, Tensor};
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
/// assert_eq!(model.logits(model.hidden(tokens, None)).dims(), [1, 3, 32]);
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
                .map(|norm| Norm::drawn(norm, [d.model, d.head], "final_norm", init, device)),
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
    /// let exact = model.loss_sum(tokens.clone(), tokens.clone(), None);
    /// let rounded = model.with_precision(Precision::Bf16).loss_sum(tokens.clone(), tokens, None);
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

    /// `tokens [B, T]` to the vectors before the output layer, `[B, T, D]`.
    ///
    /// `segments [B, T]` numbers each position's document, a run of equal numbers: attention does not cross from one to
    /// another, and positions start at 0 in each. (A learned scale between rotation and product, as nGPT's, makes scores depend
    /// on absolute positions.)
    pub fn hidden(&self, tokens: Tensor<2, Int>, segments: Option<Tensor<2, Int>>) -> Tensor<3> {
        self.routed(tokens, segments, None).0
    }

    /// The same, with what the routers of a mixture of experts did, block by block; with `noise`, dropout is on.
    pub fn routed(
        &self,
        tokens: Tensor<2, Int>,
        segments: Option<Tensor<2, Int>>,
        noise: Option<Noise>,
    ) -> (Tensor<3>, Vec<Routing>) {
        self.observed(tokens, segments, noise, None, None)
    }

    /// The largest attention score, `softmax scale * q . k`, of each query head over all queries and what they may see:
    /// `[H]`, block by block.
    ///
    /// Every score of a block is computed at once, `[B, H, T, T]`.
    pub fn largest_scores(
        &self,
        tokens: Tensor<2, Int>,
        segments: Option<Tensor<2, Int>>,
    ) -> Vec<Tensor<1>> {
        let largest = Largest::default();
        self.observed(tokens, segments, None, Some(&largest), None);
        largest.into_inner()
    }

    fn observed(
        &self,
        tokens: Tensor<2, Int>,
        segments: Option<Tensor<2, Int>>,
        noise: Option<Noise>,
        largest: Option<&Largest>,
        watch: Option<&Watch>,
    ) -> (Tensor<3>, Vec<Routing>) {
        let mask = segments.map_or(AttentionMask::Causal, AttentionMask::within);
        let places = mask.positions();
        let rotary = self.rotary(0, tokens.dims()[1]);
        let rotary = match &places {
            Some(places) => rotary.map(|rotary| rotary.at(places.clone())),
            None => rotary,
        };
        let h = self.embed.forward(tokens, 0, places);
        let dropout = Dropout::new(self.dims.dropout, noise);
        let h = match &dropout {
            Some(dropout) => dropout.forward(h, "embed"),
            None => h,
        };
        let mut routing = Vec::new();
        let blocks = self.blocks.iter().enumerate();
        let stream = blocks.fold(self.entered(h), |stream, (n, block)| {
            let context = BlockContext {
                rotary: rotary.as_ref(),
                mask: &mask,
                dropout: dropout.as_ref().map(|dropout| dropout.at(n)),
                largest,
                watch,
            };
            block.forward(stream, &context, None, &mut routing)
        });
        (self.normalized(stream, watch), routing)
    }

    /// `hidden [B, T, D]` to logits `[B, T, V]`.
    pub fn logits(&self, hidden: Tensor<3>) -> Tensor<3> {
        let [b, t, width] = hidden.dims();
        let logits = self
            .head
            .forward(hidden.reshape([b * t, width]), &self.embed);
        logits.reshape([b, t, self.dims.vocab])
    }

    /// Cross-entropy in nats, summed over the positions whose target is not negative; shape `[1]`.
    ///
    /// `tokens`, `targets` and `segments` are `[B, T]`.
    pub fn loss_sum(
        &self,
        tokens: Tensor<2, Int>,
        targets: Tensor<2, Int>,
        segments: Option<Tensor<2, Int>>,
    ) -> Tensor<1> {
        self.objective(tokens, targets, segments, None).loss_sum
    }

    /// The same, with what training adds to it; with `noise`, dropout is on.
    pub fn objective(
        &self,
        tokens: Tensor<2, Int>,
        targets: Tensor<2, Int>,
        segments: Option<Tensor<2, Int>>,
        noise: Option<Noise>,
    ) -> Objective {
        self.objective_at(tokens, targets, segments, noise, None)
    }

    /// The same for the step after a moment of a run, with what its scheduled normalizations do then.
    pub fn objective_at(
        &self,
        tokens: Tensor<2, Int>,
        targets: Tensor<2, Int>,
        segments: Option<Tensor<2, Int>>,
        noise: Option<Noise>,
        at: Option<Moment>,
    ) -> Objective {
        let watch = at.map(Watch::new);
        let (hidden, routing) = self.observed(tokens, segments, noise, None, watch.as_ref());
        let (measured, held) = watch.map_or_else(Default::default, Watch::into_inner);
        let routed = penalty(&self.dims.experts, &routing);
        let [b, t, width] = hidden.dims();
        let (hidden, targets) = (hidden.reshape([b * t, width]), targets.reshape([b * t]));
        Objective {
            loss_sum: self.head.loss_sum(hidden, targets, &self.embed),
            penalty: match (routed, held) {
                (Some(routed), Some(held)) => Some(routed + held),
                (one, other) => one.or(other),
            },
            routing,
            measured,
        }
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

    /// Logits `[B, T, V]` of tokens that follow what the cache holds, and the cache extended by them.
    ///
    /// # Errors
    /// [`CacheError`] when the cache belongs to a model of another depth, or when there is no learned position for one
    /// of the tokens.
    pub fn forward_cached(
        &self,
        tokens: Tensor<2, Int>,
        cache: &mut KvCache,
    ) -> Result<Tensor<3>, CacheError> {
        let time = tokens.dims()[1];
        if cache.layers.len() != self.blocks.len() {
            return Err(CacheError::Depth {
                model: self.blocks.len(),
                cache: cache.layers.len(),
            });
        }
        let end = cache.len + time;
        if self.longest().is_some_and(|longest| end > longest) {
            return Err(CacheError::Context {
                context: self.dims.context,
                position: end,
            });
        }
        let rotary = self.rotary(cache.len, time);
        let mut stream = self.entered(self.embed.forward(tokens, cache.len, None));
        let context = BlockContext {
            rotary: rotary.as_ref(),
            mask: &AttentionMask::Causal,
            dropout: None,
            largest: None,
            watch: None,
        };
        let mut routing = Vec::new();
        for (block, layer) in self.blocks.iter().zip(&mut cache.layers) {
            stream = block.forward(stream, &context, Some(layer), &mut routing);
        }
        cache.len += time;
        Ok(self.logits(self.normalized(stream, None)))
    }

    /// The stream as the first block finds it: where it has two components, both are the embedded tokens.
    fn entered(&self, h: Tensor<3>) -> Stream {
        let companion = self.join.as_ref().map(|_| h.clone());
        Stream { h, companion }
    }

    fn normalized(&self, stream: Stream, watch: Option<&Watch>) -> Tensor<3> {
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
    fn rotary(&self, start: usize, len: usize) -> Option<Rotary> {
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

/// What training minimizes.
#[derive(Debug, Clone)]
pub struct Objective {
    /// Cross-entropy in nats, summed over the targets that count; shape `[1]`.
    pub loss_sum: Tensor<1>,
    /// Losses of the routers and of scheduled normalizations, weighted, to be added to the mean cross-entropy; shape `[1]`.
    pub penalty: Option<Tensor<1>>,
    /// What the routers did, block by block.
    pub routing: Vec<Routing>,
    /// What scheduled normalizations measured, one after the other.
    pub measured: Vec<Tensor<1>>,
}

/// Keys and values of the positions a decoder has seen.
#[derive(Debug, Clone)]
pub struct KvCache {
    layers: Vec<LayerCache>,
    len: usize,
}

impl KvCache {
    /// An empty cache for a model.
    pub fn new(model: &Decoder) -> Self {
        Self {
            layers: vec![LayerCache::default(); model.blocks.len()],
            len: 0,
        }
    }

    /// Positions it holds.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}
