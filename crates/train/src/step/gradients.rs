//! The first half of a step: gradients of its micro-batches, summed along a tree.

use std::ops::Range;

use burn::optim::{GradientsAccumulator, GradientsParams};
use evenburn_data::Batch;
use evenburn_model::{Decoder, Noise};
use evenburn_ranks::tree::TreeSum;
use serde::{Deserialize, Serialize};

use super::StepInfo;
use crate::error::TrainError;
use crate::evaluate::{read, read_all};
use crate::task::{MicroBatch, Share, Task};

/// What the micro-batches of a step add up to.
#[derive(Debug)]
pub struct StepGradients {
    /// Gradients of the step's objective.
    pub gradients: GradientsParams,
    /// Cross-entropy in nats per token of the step.
    pub loss: f64,
    /// What the routers did.
    pub routers: RouterLoads,
    /// What scheduled normalizations measured, means over the step's tokens.
    pub measured: Vec<Vec<f64>>,
}

/// Loads and losses of the routers of a mixture of experts, over all micro-batches of a step.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RouterLoads {
    /// What routers and scheduled normalizations add to the loss, in nats per token.
    pub penalty: f64,
    /// Experts of each kind that a token has on average, for each block; empty without routers.
    pub loads: Vec<Vec<f64>>,
}

/// What is known of a micro-batch after its backward pass, beside its gradients.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Figures {
    loss: f64,
    penalty: Option<f64>,
    /// Its part of the step's tokens.
    part: f64,
    loads: Vec<Vec<f64>>,
    measured: Vec<Vec<f64>>,
}

impl Figures {
    fn read(share: Share) -> Result<Self, TrainError> {
        let measured = share.measured.into_iter().map(read_all);
        Ok(Self {
            loss: read(share.loss)?,
            penalty: share.penalty.map(read).transpose()?,
            part: share.part,
            loads: share.loads,
            measured: measured.collect::<Result<_, _>>()?,
        })
    }
}

impl StepGradients {
    /// Gradients of a step with the figures of all of its micro-batches, in their order.
    ///
    /// # Errors
    /// [`TrainError::NonFinite`] for a loss that is no number.
    pub(crate) fn new(
        gradients: GradientsParams,
        figures: impl IntoIterator<Item = Figures>,
        info: &StepInfo,
    ) -> Result<Self, TrainError> {
        let mut sum = Self {
            gradients,
            loss: 0.0,
            routers: RouterLoads::default(),
            measured: Vec::new(),
        };
        for figures in figures {
            sum.loss += figures.loss;
            if let Some(penalty) = figures.penalty {
                sum.routers.penalty += penalty;
            }
            add(&mut sum.routers.loads, &figures.loads, figures.part);
            add(&mut sum.measured, &figures.measured, figures.part);
        }
        if !sum.loss.is_finite() {
            return Err(TrainError::NonFinite {
                what: "loss".to_owned(),
                value: sum.loss,
                step: info.step(),
                checkpoint: None,
            });
        }
        Ok(sum)
    }
}

impl Task {
    /// Gradients of a step, one micro-batch after the other. `each` is shown those of every micro-batch before they are added, which
    /// is done in the order of a [tree](evenburn_ranks::tree).
    ///
    /// The batches must have been [checked](Task::check).
    ///
    /// # Errors
    /// [`TrainError::NonFinite`] for a loss that is no number, [`TrainError::DeviceRead`] where the device fails, and those of
    /// `each`.
    pub fn sum_gradients(
        &self,
        batches: Vec<Batch>,
        info: &StepInfo,
        each: impl FnMut(usize, &GradientsParams) -> Result<(), TrainError>,
    ) -> Result<StepGradients, TrainError> {
        let all = 0..batches.len();
        let (gradients, figures) = self.block_gradients(batches, all, info, each)?;
        StepGradients::new(gradients, figures, info)
    }

    /// Gradients of a block of a step's micro-batches, summed, and the figures of each.
    pub(crate) fn block_gradients(
        &self,
        batches: Vec<Batch>,
        block: Range<usize>,
        info: &StepInfo,
        mut each: impl FnMut(usize, &GradientsParams) -> Result<(), TrainError>,
    ) -> Result<(GradientsParams, Vec<Figures>), TrainError> {
        // A step whose targets are all ignored has the loss 0, not 0 / 0.
        let step_tokens = batches.iter().map(Batch::scored).sum::<usize>().max(1) as u64;
        let mut gradients = TreeSum::default();
        let mut shares = Vec::with_capacity(block.len());
        let own = batches.into_iter().enumerate();
        for (part, batch) in own.skip(block.start).take(block.len()) {
            let noise = Noise {
                seed: info.seed,
                step: info.step(),
                part: part as u64,
            };
            let (new, share) = self.gradients(&MicroBatch {
                batch,
                step_tokens,
                noise,
                at: Some(info.before),
            });
            each(part, &new)?;
            gradients.push(new, |left, right| added(&self.decoder, left, right));
            shares.push(share);
        }
        let sum = gradients.finish(|left, right| added(&self.decoder, left, right));
        // The device is waited for once a step, not once a micro-batch.
        let figures = shares.into_iter().map(Figures::read);
        Ok((sum.unwrap_or_default(), figures.collect::<Result<_, _>>()?))
    }
}

/// The sums of two gradients of every parameter.
fn added(decoder: &Decoder, left: GradientsParams, right: GradientsParams) -> GradientsParams {
    let mut sum = GradientsAccumulator::new();
    sum.accumulate(decoder, left);
    sum.accumulate(decoder, right);
    sum.grads()
}

/// Adds the means over a part of a step's tokens.
fn add(sums: &mut Vec<Vec<f64>>, means: &[Vec<f64>], part: f64) {
    if sums.is_empty() {
        *sums = means.iter().map(|means| vec![0.0; means.len()]).collect();
    }
    for (sum, mean) in sums.iter_mut().flatten().zip(means.iter().flatten()) {
        *sum += part * mean;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_of_micro_batches_are_weighted_by_their_tokens() {
        let mut loads = Vec::new();
        add(&mut loads, &[vec![2.0, 0.0, 0.0]], 0.25);
        add(&mut loads, &[vec![0.0, 2.0, 0.0]], 0.75);
        assert_eq!(loads, [vec![0.5, 1.5, 0.0]]);
        let mut none = Vec::new();
        add(&mut none, &[], 1.0);
        assert!(none.is_empty());
    }
}
