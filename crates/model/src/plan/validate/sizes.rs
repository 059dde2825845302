//! Refuses plans whose parts are not those that their sizes ask for.

use super::Check;
use crate::dims::{Positions, Site};
use crate::error::{PlanError, place};
use crate::plan::Plan;

impl Check<'_> {
    /// Sizes that fit together, one plan per block, and a plan for each matrix that the sizes ask for and for no other.
    pub(super) fn sizes(&self, plan: &Plan) -> Result<(), PlanError> {
        let d = &plan.dims;
        d.check()?;
        if plan.layers.len() != d.layers {
            return Err(self.clash(
                "blocks",
                format!("plans of {} blocks", plan.layers.len()),
                format!("sizes of {}", d.layers),
            ));
        }
        let learned = d.positions == Positions::Learned;
        let positions = format!("positions of kind {:?}", d.positions);
        let at = Site::Positions.path();
        self.present(at, plan.positions.is_some(), learned, &positions)?;
        let gated = d.mlp.inside() == Site::Gate;
        let network = format!("an MLP of kind {:?}", d.mlp);
        let experts = format!("{} experts", d.experts.count);
        for (index, layer) in plan.layers.iter().enumerate() {
            let at = place(index, Site::Gate);
            self.present(&at, layer.gate.is_some(), gated, &network)?;
            let at = place(index, Site::Router);
            let mixture = !d.experts.is_dense();
            self.present(&at, layer.router.is_some(), mixture, &experts)?;
        }
        Ok(())
    }

    fn present(&self, at: &str, is: bool, should: bool, sizes: &str) -> Result<(), PlanError> {
        match (is, should) {
            (true, false) => Err(self.clash(at, "a planned matrix", sizes)),
            (false, true) => Err(self.clash(at, "no planned matrix", sizes)),
            _ => Ok(()),
        }
    }
}
