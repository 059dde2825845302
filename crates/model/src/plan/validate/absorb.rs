//! Refuses scales that are said to have a linear map behind them where something else stands.
//!
//! [`GainRole::Input`] is a promise that a later matrix could absorb the scale: weight decay by role and folding rely on
//! it. It can't cross a nonlinearity, a rotation, or a sum, those inside of a normalization function included.

use super::Check;
use crate::dims::{Branch, Site};
use crate::error::PlanError;
use crate::plan::{GainPlan, GainRole, NormPlan, ParamRef, Place, Plan, Spot, Visit};

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

/// Finds the first scale that no matrix could absorb.
struct Absorbed<'a> {
    check: &'a Check<'a>,
    inside: Site,
    /// The block that the output layer may follow directly.
    last: Option<usize>,
    found: Result<(), PlanError>,
}

impl Absorbed<'_> {
    /// What stands behind a scale, where that is no linear map.
    fn behind(&self, at: &ParamRef) -> Option<&'static str> {
        let sum = "the sum with the stream behind it";
        let stream = "the stream behind it, which goes on to a sum";
        let part = at.part.strip_suffix(".gain").unwrap_or(&at.part);
        match at.place {
            Place::Site(Site::Embedding) => Some(stream),
            Place::Site(Site::Head) => Some("the softmax behind it"),
            Place::Site(_) if part == "before" => None,
            Place::Site(site) => obstacle(site, self.inside),
            Place::Scores if part == "softmax" => Some("the softmax behind it"),
            Place::Scores => Some("the product of q and k behind it"),
            Place::Residual(branch) => match part {
                "input" => None,
                "output" | "skip" | "mix.alpha" => Some(sum),
                "after" if branch == Branch::Mlp && at.layer == self.last => None,
                _ => Some(stream),
            },
            Place::Join => Some("the sum with the other component behind it"),
            Place::FinalNorm | Place::Experts => None,
        }
    }
}

impl Visit for Absorbed<'_> {
    fn norm(&mut self, at: &Spot, plan: &NormPlan) {
        let promised = plan.gain.as_ref().map(|gain| gain.role) == Some(GainRole::Input);
        if self.found.is_ok() && promised && !plan.function.gain_is_last() {
            let first = "a gain for a linear map to absorb";
            let second = format!(
                "`{}`, which doesn't multiply by it last",
                plan.function.name()
            );
            self.found = Err(self.check.clash(&at.words(), first, second));
        }
    }

    fn gain(&mut self, at: &Spot, plan: &GainPlan) {
        if self.found.is_ok()
            && plan.role == GainRole::Input
            && let Some(behind) = self.behind(&at.param)
        {
            let first = "a scale for a linear map to absorb";
            self.found = Err(self.check.clash(&at.words(), first, behind));
        }
    }
}

impl Check<'_> {
    /// Every scale that no matrix could absorb.
    pub(super) fn absorbed_gains(&self, plan: &Plan) -> Result<(), PlanError> {
        let open = plan.ends.head.final_norm.is_none() && plan.ends.head.join.is_none();
        let mut absorbed = Absorbed {
            check: self,
            inside: plan.dims.mlp.inside(),
            last: open.then(|| plan.layers.len().saturating_sub(1)),
            found: Ok(()),
        };
        plan.visit(&mut absorbed);
        absorbed.found
    }
}
