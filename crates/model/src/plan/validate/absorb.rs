//! Refuses scales that are said to have a linear map behind them where something else stands.
//!
//! [`GainRole::Input`] is a promise that a later matrix could absorb the scale: weight decay by role and folding rely on
//! it. It can't cross a nonlinearity, a rotation, or a sum.

use super::Check;
use crate::dims::{Branch, Site};
use crate::error::{PlanError, place};
use crate::plan::{GainPlan, GainRole, LayerPlan, MixPlan, NormPlan, Plan};

/// What stands between the output of a linear map and the next matrix, where that is no linear map of single channels;
/// `inside` is the branch that the activation is applied to.
fn obstacle(site: Site, inside: Site) -> Option<&'static str> {
    match site {
        _ if site == inside => Some("the activation behind it"),
        Site::Q | Site::K => Some("the product of q and k behind it"),
        Site::O | Site::Down => Some("the sum with the stream behind it"),
        Site::Router => Some("the choice of experts behind it"),
        // Attention mixes tokens and not channels, and the linear branch of a gated MLP only multiplies. The ends are no
        // part of a block.
        Site::V | Site::Gate | Site::Up | Site::Embedding | Site::Positions | Site::Head => None,
    }
}

impl Check<'_> {
    /// Every scale that no matrix could absorb.
    pub(super) fn absorbed_gains(&self, plan: &Plan) -> Result<(), PlanError> {
        let stream = "the stream behind it, which goes on to a sum";
        let ends = &plan.ends;
        self.kept("embed", ends.embed_gain.as_ref(), stream)?;
        self.kept_norm("embed, norm", ends.embed_norm.as_ref(), stream)?;
        let softmax = "the softmax behind it";
        self.kept("logits", ends.logit_gain.as_ref(), softmax)?;
        for (index, layer) in plan.layers.iter().enumerate() {
            self.kept_at_sites(index, layer, plan.dims.mlp.inside())?;
            let scores = format!("block {index}, attention scores");
            let product = "the product of q and k behind it";
            self.kept(&scores, layer.attention.qk_gain.as_ref(), product)?;
            self.kept(&scores, layer.attention.softmax_gain.as_ref(), softmax)?;
            // The output layer may follow the last sum directly.
            let last = index + 1 == plan.layers.len() && ends.final_norm.is_none();
            for (branch, residual) in [
                (Branch::Attention, &layer.attn_residual),
                (Branch::Mlp, &layer.mlp_residual),
            ] {
                let at = format!("block {index}, {}", branch.path());
                let sum = "the sum with the stream behind it";
                let norm = |name: &str, norm, behind| {
                    self.kept_norm(&format!("{at}, {name}"), norm, behind)
                };
                norm("stream norm", residual.stream.as_ref(), stream)?;
                norm("output norm", residual.output.as_ref(), sum)?;
                norm("skip norm", residual.skip.as_ref(), sum)?;
                if !(last && branch == Branch::Mlp) {
                    norm("norm after", residual.after.as_ref(), stream)?;
                }
                if let MixPlan::Lerp { alpha, .. } = &residual.mix {
                    self.kept(&format!("{at}, alpha"), Some(alpha), sum)?;
                }
            }
        }
        Ok(())
    }

    fn kept_at_sites(
        &self,
        index: usize,
        layer: &LayerPlan,
        inside: Site,
    ) -> Result<(), PlanError> {
        for site in Site::BLOCK.into_iter().chain([Site::Router]) {
            let (Some(plan), Some(behind)) = (layer.site(site), obstacle(site, inside)) else {
                continue;
            };
            let at = place(index, site);
            self.kept_norm(&format!("{at}, norm"), plan.linear.norm.as_ref(), behind)?;
            let after = plan.linear.after.as_ref();
            self.kept(&format!("{at}, scale after"), after, behind)?;
        }
        Ok(())
    }

    fn kept_norm(&self, at: &str, norm: Option<&NormPlan>, behind: &str) -> Result<(), PlanError> {
        self.kept(at, norm.and_then(|norm| norm.gain.as_ref()), behind)
    }

    fn kept(&self, at: &str, gain: Option<&GainPlan>, behind: &str) -> Result<(), PlanError> {
        match gain {
            Some(gain) if gain.role == GainRole::Input => {
                Err(self.clash(at, "a scale for a linear map to absorb", behind))
            }
            _ => Ok(()),
        }
    }
}
