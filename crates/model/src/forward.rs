//! The forward pass of a decoder: one call for training, evaluation and measurement, and a short form for inference.
//!
//! `B` batch, `T` time, `D` model, `V` vocabulary, `H` query heads.

use crate::cache::KvCache;
use crate::decoder::Decoder;
use crate::error::CacheError;
use crate::function::Moment;
use crate::modules::{AttentionMask, BlockContext, LargestScores, Routing, Stream, Watch, penalty};
use crate::noise::{Dropout, Noise};
use burn::tensor::{Int, Tensor};

/// What a forward pass depends on beside tokens and weights. The default is inference: one document a row, no dropout,
/// nothing measured.
#[derive(Debug, Clone, Default)]
pub struct ForwardContext {
    /// Which document each position belongs to, `[B, T]`, one run of equal numbers a document: attention does not cross from
    /// one to another, and positions start at 0 in each. Without it a row is one document. (A learned scale between rotation
    /// and product, as nGPT's, makes scores depend on absolute positions.)
    pub segments: Option<Tensor<2, Int>>,
    /// Seed and counters of this pass's dropout; without them dropout is off.
    pub noise: Option<Noise>,
    /// The moment of the training run before this step, which normalizations with a schedule go by; none outside of training.
    pub moment: Option<Moment>,
    /// Whether to measure the largest attention scores: each block then computes all of its scores at once, `[B, H, T, T]`.
    pub measure_scores: bool,
    /// Whether to keep the residual stream in front of the first block and behind each.
    pub keep_stream: bool,
}

/// What a forward pass returns.
#[derive(Debug, Clone)]
pub struct ForwardOutput {
    /// The vectors before the output layer, `[B, T, D]`.
    pub hidden: Tensor<3>,
    /// What the routers of a mixture of experts did, block by block.
    pub routing: Vec<Routing>,
    /// The largest attention score, `softmax scale * q . k`, of each query head over all queries and what they may see, `[H]`,
    /// block by block; empty where [`ForwardContext::measure_scores`] is off.
    pub largest_scores: Vec<Tensor<1>>,
    /// The residual stream, `[B, T, D]`, in front of the first block and behind each; of two components the one that blocks
    /// add to. Empty where [`ForwardContext::keep_stream`] is off.
    pub stream: Vec<Tensor<3>>,
    /// What normalizations with a schedule measured, one after the other; empty without [`ForwardContext::moment`].
    pub measured: Vec<Tensor<1>>,
    /// What normalizations with a schedule add to the mean loss, `[1]`; [`Decoder::objective`] adds the routers' losses.
    pub penalty: Option<Tensor<1>>,
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

impl Objective {
    /// The loss of a step that is one batch: `loss_sum / tokens + penalty`, in nats per token, shape `[1]`; `tokens` is how
    /// many targets count, at least 1.
    pub fn mean(&self, tokens: usize) -> Tensor<1> {
        let loss = self.loss_sum.clone() / tokens as f64;
        match &self.penalty {
            Some(penalty) => loss + penalty.clone(),
            None => loss,
        }
    }
}

impl Decoder {
    /// The forward pass: tokens to the vectors before the output layer, and what the context asks to be measured.
    ///
    /// # Shapes
    /// - `tokens`: `[B, T]`
    /// - output: [`hidden`](ForwardOutput::hidden) is `[B, T, D]`
    ///
    /// ```
    /// use burn::tensor::{Device, Int, Tensor};
    /// use evenburn_model::{Decoder, ForwardContext, ModelConfig, Plan, strategy::Ngpt};
    /// let config = ModelConfig { vocab_size: 32, dim: 16, layers: 2, heads: 2, ..Default::default() };
    /// let device = Device::flex();
    /// let model = Decoder::new(&Plan::new(&config, &Ngpt::default())?, 0, &device);
    /// // A row of two documents.
    /// let context = ForwardContext {
    ///     segments: Some(Tensor::<2, Int>::from_ints([[0, 0, 0, 1, 1]], &device)),
    ///     measure_scores: true,
    ///     keep_stream: true,
    ///     ..Default::default()
    /// };
    /// let output = model.forward(model.tokens(&[1, 2, 3, 4, 5], 5)?, &context);
    /// assert_eq!(output.hidden.dims(), [1, 5, 16]);
    /// assert_eq!((output.largest_scores.len(), output.stream.len()), (2, 3));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn forward(&self, tokens: Tensor<2, Int>, context: &ForwardContext) -> ForwardOutput {
        let segments = context.segments.clone();
        let mask = segments.map_or(AttentionMask::Causal, AttentionMask::within);
        self.pass(tokens, &mask, context, None)
    }

    /// The vectors before the output layer, each row one document, without dropout.
    ///
    /// # Shapes
    /// - `tokens`: `[B, T]`
    /// - output: `[B, T, D]`
    pub fn hidden(&self, tokens: Tensor<2, Int>) -> Tensor<3> {
        self.forward(tokens, &ForwardContext::default()).hidden
    }

    /// The output layer: vectors before it to logits.
    ///
    /// # Shapes
    /// - `hidden`: `[B, T, D]`
    /// - output: `[B, T, V]`
    pub fn logits(&self, hidden: Tensor<3>) -> Tensor<3> {
        let [b, t, width] = hidden.dims();
        let logits = self
            .head
            .forward(hidden.reshape([b * t, width]), &self.embed);
        logits.reshape([b, t, self.dims().vocab])
    }

    /// The loss on targets, of which negative ones don't count, and what training adds to it.
    ///
    /// # Shapes
    /// - `tokens`, `targets`: `[B, T]`
    /// - output: [`loss_sum`](Objective::loss_sum) and [`penalty`](Objective::penalty) are `[1]`
    ///
    /// ```
    /// use burn::tensor::{Device, Int, Tensor};
    /// use evenburn_model::{Decoder, ForwardContext, ModelConfig, Plan, strategy::PreNorm};
    /// let config = ModelConfig { vocab_size: 32, dim: 16, layers: 1, heads: 2, ..Default::default() };
    /// let device = Device::flex().autodiff();
    /// let model = Decoder::new(&Plan::new(&config, &PreNorm::default())?, 0, &device);
    /// let tokens = Tensor::<2, Int>::from_ints([[1, 2, 3, 4]], &device);
    /// let targets = Tensor::<2, Int>::from_ints([[2, 3, 4, -1]], &device);
    /// let objective = model.objective(tokens, targets, &ForwardContext::default());
    /// let gradients = objective.mean(3).backward();
    /// assert!(model.embed.weight.grad(&gradients).is_some());
    /// # Ok::<(), evenburn_model::PlanError>(())
    /// ```
    pub fn objective(
        &self,
        tokens: Tensor<2, Int>,
        targets: Tensor<2, Int>,
        context: &ForwardContext,
    ) -> Objective {
        let output = self.forward(tokens, context);
        let routed = penalty(&self.dims().experts, &output.routing);
        let [b, t, width] = output.hidden.dims();
        let hidden = output.hidden.reshape([b * t, width]);
        let targets = targets.reshape([b * t]);
        Objective {
            loss_sum: self.head.loss_sum(hidden, targets, &self.embed),
            penalty: match (routed, output.penalty) {
                (Some(routed), Some(scheduled)) => Some(routed + scheduled),
                (one, other) => one.or(other),
            },
            routing: output.routing,
            measured: output.measured,
        }
    }

    /// Cross-entropy in nats, each row one document, without dropout, summed over the targets that are not negative.
    ///
    /// # Shapes
    /// - `tokens`, `targets`: `[B, T]`
    /// - output: `[1]`
    pub fn loss_sum(&self, tokens: Tensor<2, Int>, targets: Tensor<2, Int>) -> Tensor<1> {
        self.objective(tokens, targets, &ForwardContext::default())
            .loss_sum
    }

    /// Logits of tokens that follow what the cache holds, and the cache extended by them.
    ///
    /// # Shapes
    /// - `tokens`: `[B, T]`, the new ones
    /// - output: `[B, T, V]`
    ///
    /// # Errors
    /// [`CacheError`] when the cache belongs to a model of another depth, or when there is no learned position for one
    /// of the tokens.
    pub fn forward_cached(
        &self,
        tokens: Tensor<2, Int>,
        cache: &mut KvCache,
    ) -> Result<Tensor<3>, CacheError> {
        cache.check(self, tokens.dims()[1])?;
        let (mask, context) = (AttentionMask::Causal, ForwardContext::default());
        let output = self.pass(tokens, &mask, &context, Some(cache));
        Ok(self.logits(output.hidden))
    }

    /// Embedding, blocks and final normalization, behind the positions of a cache where there is one. What positions see says the
    /// mask, not the context's segments.
    pub(crate) fn pass(
        &self,
        tokens: Tensor<2, Int>,
        mask: &AttentionMask,
        context: &ForwardContext,
        cache: Option<&mut KvCache>,
    ) -> ForwardOutput {
        let (start, mut caches) = match cache {
            Some(cache) => {
                let (start, layers) = cache.extended(tokens.dims()[1]);
                (start, Some(layers.iter_mut()))
            }
            None => (0, None),
        };
        let places = mask.positions();
        let rotary = self.rotary(start, mask.longest(tokens.dims()[1]));
        let rotary = match &places {
            Some(places) => rotary.map(|rotary| rotary.at(places.clone())),
            None => rotary,
        };
        let h = self.embed.forward(tokens, start, places);
        let dropout = Dropout::new(self.dims().dropout, context.noise);
        let h = match &dropout {
            Some(dropout) => dropout.forward(h, "embed"),
            None => h,
        };
        let largest = context.measure_scores.then(LargestScores::default);
        let watch = context.moment.map(Watch::new);
        let mut routing = Vec::new();
        let mut stream = self.entered(h);
        let keep = |stream: &Stream| context.keep_stream.then(|| stream.h.clone());
        let mut kept: Vec<Tensor<3>> = keep(&stream).into_iter().collect();
        for (n, block) in self.blocks.iter().enumerate() {
            let shared = BlockContext {
                rotary: rotary.as_ref(),
                mask,
                dropout: dropout.as_ref().map(|dropout| dropout.at(n)),
                largest: largest.as_ref(),
                watch: watch.as_ref(),
            };
            let cache = caches.as_mut().and_then(Iterator::next);
            stream = block.forward(stream, &shared, cache, &mut routing);
            kept.extend(keep(&stream));
        }
        let hidden = self.normalized(stream, watch.as_ref());
        let (measured, penalty) = watch.map_or_else(Default::default, Watch::into_inner);
        ForwardOutput {
            hidden,
            routing,
            largest_scores: largest.map_or_else(Vec::new, LargestScores::into_inner),
            stream: kept,
            measured,
            penalty,
        }
    }
}
