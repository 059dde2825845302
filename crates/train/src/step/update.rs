//! The second half of a step: from gradients to the model after it.

use burn::optim::GradientsParams;
use evenburn_data::Batch;
use evenburn_model::Decoder;
use evenburn_model::function::Moment;
use evenburn_optim::{Engine, OptimError, StepReport};

use super::gradients::{RouterLoads, StepGradients};
use super::{StepInfo, largest_scores, qk_clip};
use crate::error::TrainError;
use crate::task::Task;

/// What is known about a step after its update.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Updated {
    /// Cross-entropy in nats per token of the step.
    pub loss: f64,
    /// What the routers did.
    pub routers: RouterLoads,
    /// What the optimizer found.
    pub optimizer: StepReport,
    /// The metric of a scheduled normalization.
    pub scheduled: Option<(&'static str, f64)>,
    /// The largest attention scores after the update and before they are clipped, by block and query head, where they were
    /// measured.
    pub attention_scores: Option<Vec<Vec<f64>>>,
}

impl Task {
    /// Clips the gradients, steps the optimizer, corrects the routers and moves scheduled normalizations on; on a batch, where
    /// one is given, attention scores are measured and brought below [`StepInfo::qk_clip`], if that is above 0.
    ///
    /// # Errors
    /// [`TrainError::NonFinite`] for a gradient that is no number, [`TrainError::Optim`] for an engine that isn't this
    /// model's. The engine is then as it was.
    pub fn update(
        self,
        engine: &mut Engine,
        gradients: StepGradients,
        info: &StepInfo,
        scores_on: Option<&Batch>,
    ) -> Result<(Self, Updated), TrainError> {
        self.update_by(
            gradients,
            info,
            |decoder, gradients| Ok(engine.step(decoder, gradients, info.factor)?),
            |task| {
                scores_on
                    .map(|batch| largest_scores(task, batch))
                    .transpose()
            },
        )
    }

    /// The same with an optimizer's step and scores from wherever they are computed.
    pub(crate) fn update_by(
        self,
        gradients: StepGradients,
        info: &StepInfo,
        optimizer: impl FnOnce(Decoder, GradientsParams) -> Result<(Decoder, StepReport), TrainError>,
        scores: impl FnOnce(&Self) -> Result<Option<Vec<Vec<f64>>>, TrainError>,
    ) -> Result<(Self, Updated), TrainError> {
        let StepGradients {
            gradients,
            loss,
            routers,
            measured,
        } = gradients;
        let mask = self.mask();
        let (decoder, optimizer) =
            optimizer(self.decoder, gradients).map_err(|error| unusable(error, info.step()))?;
        let after = Moment {
            step: info.step(),
            ..info.before
        };
        let decoder = decoder.rebalanced(&routers.loads);
        let (decoder, scheduled) = decoder.after_step(after, &measured);
        let mut task = Self::new(decoder, mask);
        let attention_scores = scores(&task)?;
        if let Some(scores) = &attention_scores
            && info.qk_clip > 0.0
        {
            task = qk_clip::clipped(task, scores, info.qk_clip);
        }
        let updated = Updated {
            loss,
            routers,
            optimizer,
            scheduled,
            attention_scores,
        };
        Ok((task, updated))
    }
}

fn unusable(error: TrainError, step: u64) -> TrainError {
    match error {
        TrainError::Optim(OptimError::NonFiniteGradient { parameter, .. }) => {
            TrainError::NonFinite {
                what: format!("gradient of {parameter}"),
                value: f64::NAN,
                step,
                checkpoint: None,
            }
        }
        other => other,
    }
}
