//! One optimizer step.

use std::path::Path;
use std::time::{Duration, Instant};

use burn::optim::GradientsAccumulator;
use evenburn_data::{Batch, Score};
use evenburn_model::Noise;
use evenburn_model::function::Moment;
use evenburn_optim::OptimError;

use super::{Loop, due};
use crate::error::TrainError;
use crate::evaluate::{read, read_all};
use crate::norms::norms;
use crate::routing::Routing;
use crate::scores;
use crate::task::{MicroBatch, Task};

/// What one optimizer step found.
pub(super) struct Stepped {
    pub(super) loss: f64,
    pub(super) lr: f64,
    pub(super) grad_norm: f64,
    /// Of attention, before it was clipped.
    pub(super) largest_score: Option<f64>,
    pub(super) norms: Vec<(String, f64)>,
    pub(super) routing: Routing,
    /// Of a scheduled normalization.
    pub(super) scheduled: Option<(&'static str, f64)>,
    /// The whole step.
    pub(super) took: Duration,
    /// Until the data was there.
    pub(super) data_wait: Duration,
    /// Measuring `norms`.
    pub(super) norms_took: Duration,
    pub(super) evaluation: Option<Score>,
}

/// Adds the means over a part of a step's tokens.
fn add(sums: &mut Vec<Vec<f64>>, means: Vec<Vec<f64>>, part: f64) {
    if sums.is_empty() {
        *sums = means.iter().map(|means| vec![0.0; means.len()]).collect();
    }
    for (sum, mean) in sums.iter_mut().flatten().zip(means.into_iter().flatten()) {
        *sum += part * mean;
    }
}

impl Loop {
    /// One optimizer step. An error leaves no trace in the state of the run.
    pub(super) fn step(
        &mut self,
        task: Task,
        checkpoint: Option<&Path>,
    ) -> Result<(Task, Stepped), TrainError> {
        let step = self.state.step + 1;
        let started = Instant::now();
        let batches = (0..self.config.train.accumulate)
            .map(|_| self.feed.next())
            .collect::<Result<Vec<_>, _>>()?;
        batches.iter().try_for_each(|batch| task.check(batch))?;
        let data_wait = started.elapsed();
        // A step whose targets are all ignored has the loss 0, not 0 / 0.
        let step_tokens = batches.iter().map(Batch::scored).sum::<usize>().max(1) as u64;

        let threshold = self.config.optim.qk_clip;
        let measured = batches.last().filter(|_| threshold > 0.0).cloned();
        let moment = |step| Moment {
            step,
            total: self.total,
        };
        let before = moment(self.state.step);
        let after = moment(step);
        let mut gradients = GradientsAccumulator::new();
        let mut shares = Vec::with_capacity(batches.len());
        for (part, batch) in batches.into_iter().enumerate() {
            let noise = Noise {
                seed: self.config.train.seed,
                step,
                part: part as u64,
            };
            let (new, share) = task.gradients(&MicroBatch {
                batch,
                step_tokens,
                noise,
                at: Some(before),
            });
            gradients.accumulate(&task.decoder, new);
            shares.push(share);
        }
        let gradients = gradients.grads();
        let mut loss = 0.0;
        let mut routing = Routing::default();
        let mut seen: Vec<Vec<f64>> = Vec::new();
        for share in shares {
            loss += read(share.loss)?;
            if let Some(penalty) = share.penalty {
                routing.penalty += read(penalty)?;
            }
            routing.add(&share.loads, share.part);
            let means = share.measured.into_iter().map(read_all);
            add(&mut seen, means.collect::<Result<_, _>>()?, share.part);
        }
        let unusable = |what: String, value: f64| TrainError::NonFinite {
            what,
            value,
            step,
            checkpoint: checkpoint.map(Path::to_owned),
        };
        if !loss.is_finite() {
            return Err(unusable("loss".to_owned(), loss));
        }
        let measuring = Instant::now();
        let norms = if due(step, self.config.metrics.norms_every) {
            norms(&task.decoder, &gradients)
        } else {
            Vec::new()
        };
        let norms_took = measuring.elapsed();
        let factor = self.factor();
        let mask = self.config.data.document_mask;
        let (decoder, report) =
            self.engine
                .step(task.decoder, gradients, factor)
                .map_err(|error| match error {
                    OptimError::NonFiniteGradient { parameter, .. } => {
                        unusable(format!("gradient of {parameter}"), f64::NAN)
                    }
                    other => other.into(),
                })?;
        let (decoder, scheduled) = decoder.rebalanced(&routing.loads).after_step(after, &seen);
        let mut task = Task::new(decoder, mask);
        let mut largest_score = None;
        if let Some(batch) = measured {
            let largest;
            (task, largest) = scores::clipped(task, &batch, threshold)?;
            largest_score = Some(largest);
        }
        self.state.step = step;
        self.state.tokens += self.tokens_per_step();
        self.state.cursor = self.feed.cursor();
        let stepped = Stepped {
            loss,
            lr: self.config.optim.lr * factor,
            grad_norm: report.grad_norm,
            largest_score,
            norms,
            routing,
            scheduled,
            took: started.elapsed(),
            data_wait,
            norms_took,
            evaluation: None,
        };
        Ok((task, stepped))
    }

    /// The schedule's factor for the next step.
    fn factor(&self) -> f64 {
        let (step, total) = (self.state.step, self.total);
        match &self.cooldown {
            Some(cooldown) => cooldown.factor(&self.schedule, step, total),
            None => self.schedule.factor(step, total),
        }
    }

    pub(super) fn tokens_per_step(&self) -> u64 {
        self.config.train.tokens_per_step(self.config.model.context)
    }
}
