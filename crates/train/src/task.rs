//! The training task: next-token prediction by a decoder.
//!
//! `B` batch, `T` time.

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Int, Tensor, TensorData};
use evenburn_data::{Batch, DocumentMask};
use evenburn_model::function::Moment;
use evenburn_model::{Decoder, ForwardContext, Noise, Objective, Plan};

use crate::config::TrainConfig;
use crate::error::TrainError;

/// A decoder with the way its batches are read.
#[derive(Module, Debug)]
pub struct Task {
    /// The model.
    pub decoder: Decoder,
    #[module(skip)]
    mask: DocumentMask,
}

/// A micro-batch, and how many tokens the whole step has.
#[derive(Debug, Clone)]
pub struct MicroBatch {
    /// The samples.
    pub batch: Batch,
    /// Targets that count, over all micro-batches of the step: the loss is divided by it.
    pub step_tokens: u64,
    /// The draws of its dropout.
    pub noise: Noise,
    /// The moment of the run before the step; none where it is part of no run.
    pub at: Option<Moment>,
}

/// A micro-batch's share of a step.
#[derive(Debug, Clone)]
pub struct Share {
    /// Cross-entropy in nats per token of the step, shape `[1]`.
    pub loss: Tensor<1>,
    /// What a mixture's routers and scheduled normalizations add to it, shape `[1]`.
    pub penalty: Option<Tensor<1>>,
    /// This micro-batch's part of the step's tokens.
    pub part: f64,
    /// Experts of each kind that a token has on average, for each block with a router.
    pub loads: Vec<Vec<f64>>,
    /// What scheduled normalizations measured, one after the other.
    pub measured: Vec<Tensor<1>>,
}

/// The decoder of a run before its first step.
pub(crate) fn untrained(plan: &Plan, train: &TrainConfig, device: &Device) -> Decoder {
    Decoder::new(plan, train.seed, device).with_precision(train.precision.into())
}

impl Task {
    /// A task on a decoder.
    pub fn new(decoder: Decoder, mask: DocumentMask) -> Self {
        Self { decoder, mask }
    }

    /// How attention treats document boundaries.
    pub fn mask(&self) -> DocumentMask {
        self.mask
    }

    /// The device the decoder is on.
    pub fn device(&self) -> Device {
        self.decoder.embed.weight.val().device()
    }

    /// Checks that the model has an entry for every token of a batch and for every target that counts. What follows takes
    /// batches that were checked.
    ///
    /// # Errors
    /// [`TrainError::Tokens`] with the first that it hasn't, and its place.
    pub fn check(&self, batch: &Batch) -> Result<(), TrainError> {
        self.decoder.check_tokens(&batch.tokens, batch.time)?;
        Ok(self.decoder.check_targets(&batch.targets, batch.time)?)
    }

    /// Summed cross-entropy in nats of a batch, shape `[1]`.
    pub fn loss_sum(&self, batch: &Batch) -> Tensor<1> {
        self.objective(batch, None, None).loss_sum
    }

    /// Logits of a batch, `[B, T, V]`, without dropout.
    pub fn logits(&self, batch: &Batch) -> Tensor<3> {
        let device = self.device();
        let context = ForwardContext {
            segments: self.segments(batch, &device),
            ..ForwardContext::default()
        };
        let tokens = ids(batch, &batch.tokens, &device);
        let hidden = self.decoder.forward(tokens, &context).hidden;
        self.decoder.logits(hidden)
    }

    /// The largest attention score of each query head on a batch, block by block, `[H]`.
    pub fn largest_scores(&self, batch: &Batch) -> Vec<Tensor<1>> {
        let decoder = self.decoder.valid();
        let device = decoder.embed.weight.val().device();
        let context = ForwardContext {
            segments: self.segments(batch, &device),
            measure_scores: true,
            ..ForwardContext::default()
        };
        let tokens = ids(batch, &batch.tokens, &device);
        decoder.forward(tokens, &context).largest_scores
    }

    /// Where attention is masked at document boundaries, each position's document.
    fn segments(&self, batch: &Batch, device: &Device) -> Option<Tensor<2, Int>> {
        match self.mask {
            DocumentMask::Across => None,
            DocumentMask::Within => Some(ids(batch, &batch.segments, device)),
        }
    }

    /// What training minimizes on a batch in the step after a moment of a run; with `noise`, dropout is on.
    pub fn objective(
        &self,
        batch: &Batch,
        noise: Option<Noise>,
        moment: Option<Moment>,
    ) -> Objective {
        let device = self.device();
        let ids = |values: &[i32]| ids(batch, values, &device);
        let context = ForwardContext {
            segments: self.segments(batch, &device),
            noise,
            moment,
            ..ForwardContext::default()
        };
        self.decoder
            .objective(ids(&batch.tokens), ids(&batch.targets), &context)
    }

    /// Gradients of a micro-batch's share of the step's objective.
    pub fn gradients(&self, micro: &MicroBatch) -> (GradientsParams, Share) {
        let objective = self.objective(&micro.batch, Some(micro.noise), micro.at);
        let part = micro.batch.scored() as f64 / micro.step_tokens as f64;
        let loss = objective.loss_sum / micro.step_tokens as f64;
        let penalty = objective.penalty.map(|penalty| penalty * part);
        let total = match &penalty {
            Some(penalty) => loss.clone() + penalty.clone(),
            None => loss.clone(),
        };
        let gradients = GradientsParams::from_grads(total.backward(), &self.decoder);
        let share = Share {
            loss: loss.inner(),
            penalty: penalty.map(Tensor::inner),
            part,
            loads: objective.routing.into_iter().map(|r| r.load).collect(),
            measured: objective.measured.into_iter().map(Tensor::inner).collect(),
        };
        (gradients, share)
    }
}

/// Numbers of a batch on a device, `[B, T]`.
pub(crate) fn ids(batch: &Batch, values: &[i32], device: &Device) -> Tensor<2, Int> {
    let data = TensorData::new(values.to_vec(), [batch.batch, batch.time]);
    Tensor::from_data(data, device)
}
