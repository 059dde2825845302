//! What stands at both ends goes into the tables and the output layer.

use super::Work;
use super::linear::acts;
use crate::plan::{Init, WeightPlan};
use evenburn_geometry::Constraint;

impl Work {
    /// Gives the output layer a matrix of its own where it shares the embedding table, which then may change alone.
    pub(super) fn untie(&mut self) {
        if self.plan.head.is_none() {
            self.tensors.transpose("embed.weight", "head.weight");
            self.plan.head = Some(WeightPlan {
                init: Init::Normal { std: 0.0 },
                constraint: Constraint::Free,
                decay: false,
            });
        }
    }

    /// The gain of the final normalization, or all of it where it is a scale, goes into the rows of the output layer, the
    /// gain of the logits into its columns.
    pub(super) fn output(&mut self) {
        if let Some(norm) = &self.plan.ends.head.final_norm
            && norm.bias.is_none()
            && let Some(scale) = self.tensors.scale_of("final_norm", &norm.function)
        {
            let factor = norm.factor;
            self.plan.ends.head.final_norm = None;
            self.untie();
            self.tensors.scale("head.weight", factor);
            self.tensors.rows("head.weight", &scale);
        }
        if let Some(norm) = &mut self.plan.ends.head.final_norm
            // The output layer has no bias to carry one.
            && norm.bias.is_none()
            && norm.function.gain_is_last()
            && (norm.gain.is_some() || acts(norm.factor))
        {
            let factor = std::mem::replace(&mut norm.factor, 1.0);
            let gained = norm.gain.take().is_some();
            self.untie();
            self.tensors.scale("head.weight", factor);
            if gained {
                let gain = self.tensors.take("final_norm.gain.value");
                self.tensors.rows("head.weight", &gain);
            }
        }
        if self.plan.ends.head.logit_gain.take().is_some() {
            self.untie();
            let gain = self.tensors.take("head.after.value");
            self.tensors.last("head.weight", &gain);
        }
    }

    /// Constant and learned scale of the embedding go into its tables.
    pub(super) fn embedding(&mut self) {
        let factor = std::mem::replace(&mut self.plan.ends.embedding.factor, 1.0);
        let gained = self.plan.ends.embedding.gain.take().is_some();
        if !gained && !acts(factor) {
            return;
        }
        self.untie();
        let gain = self.tensors.take("embed.gain.value");
        for table in ["embed.weight", "embed.positions"] {
            self.tensors.scale(table, factor);
            if gained {
                self.tensors.last(table, &gain);
            }
        }
    }
}
