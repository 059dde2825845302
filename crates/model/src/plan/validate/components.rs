//! Refuses a second component of the stream that begins or ends nowhere.

use super::Check;
use crate::error::PlanError;
use crate::plan::Plan;

impl Check<'_> {
    /// Branches with a companion of the stream need an end that joins both, and such an end a branch that makes them
    /// differ.
    pub(super) fn components(&self, plan: &Plan) -> Result<(), PlanError> {
        let residuals = plan.layers.iter().enumerate().flat_map(|(index, layer)| {
            let around = layer.residuals().into_iter();
            around.map(move |(branch, residual)| (index, branch, residual))
        });
        let mut beside = residuals.filter(|(_, _, residual)| residual.companion.is_some());
        match (beside.next(), &plan.ends.head.join) {
            (Some((index, branch, _)), None) => Err(self.clash(
                &format!("block {index}, {}", branch.path()),
                "a companion of the stream",
                "an end that joins nothing",
            )),
            (None, Some(_)) => Err(self.clash(
                "join",
                "an end that joins two components",
                "branches without a companion of the stream",
            )),
            _ => Ok(()),
        }
    }
}
