//! The first half of a step: gradients of its micro-batches, summed.

use burn::optim::{GradientsAccumulator, GradientsParams};
use evenburn_data::Batch;
use evenburn_model::Noise;

use super::StepInfo;
use crate::error::TrainError;
use crate::evaluate::{read, read_all};
use crate::task::{MicroBatch, Task};

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

impl Task {
    /// Gradients of a step, one micro-batch after the other. `each` is shown those of every micro-batch before they are added.
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
        mut each: impl FnMut(usize, &GradientsParams) -> Result<(), TrainError>,
    ) -> Result<StepGradients, TrainError> {
        // A step whose targets are all ignored has the loss 0, not 0 / 0.
        let step_tokens = batches.iter().map(Batch::scored).sum::<usize>().max(1) as u64;
        let mut gradients = GradientsAccumulator::new();
        let mut shares = Vec::with_capacity(batches.len());
        for (part, batch) in batches.into_iter().enumerate() {
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
            gradients.accumulate(&self.decoder, new);
            shares.push(share);
        }
        let mut sum = StepGradients {
            gradients: gradients.grads(),
            loss: 0.0,
            routers: RouterLoads::default(),
            measured: Vec::new(),
        };
        // The device is waited for once a step, not once a micro-batch.
        for share in shares {
            sum.loss += read(share.loss)?;
            if let Some(penalty) = share.penalty {
                sum.routers.penalty += read(penalty)?;
            }
            add(&mut sum.routers.loads, &share.loads, share.part);
            let means = share.measured.into_iter().map(read_all);
            let means = means.collect::<Result<Vec<_>, _>>()?;
            add(&mut sum.measured, &means, share.part);
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
