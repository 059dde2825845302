//! Learned scales stored as their used values.

use super::Work;
use crate::dims::Dims;
use crate::plan::{Form, GainPlan, Plan, Spot, VisitMut};

/// Every learned scale of a plan with the names of its tensors: several where experts share a plan.
fn each(plan: &mut Plan, act: &mut dyn FnMut(&[String], &mut GainPlan)) {
    struct Each<'a> {
        dims: Dims,
        act: &'a mut dyn FnMut(&[String], &mut GainPlan),
    }
    impl VisitMut for Each<'_> {
        fn gain(&mut self, at: &Spot, plan: &mut GainPlan) {
            let paths = at.param.instances(&self.dims);
            let paths: Vec<String> = paths.iter().map(ToString::to_string).collect();
            (self.act)(&paths, plan);
        }
    }
    let dims = plan.dims.clone();
    plan.visit_mut(&mut Each { dims, act });
}

/// What a stored scale multiplies by.
fn used(plan: &GainPlan, stored: &[f64], magnitude: &[f64]) -> Vec<f64> {
    let magnitude = magnitude.first().copied().unwrap_or(1.0);
    let times = |factor: f64| stored.iter().map(|v| v * factor).collect();
    match plan.form {
        Form::Direct => times(plan.ratio()),
        Form::Absolute => stored.iter().map(|v| (v * plan.ratio()).abs()).collect(),
        Form::OnePlus => stored.iter().map(|v| 1.0 + v).collect(),
        Form::Product => times(magnitude),
        Form::ExpProduct => times(magnitude.exp()),
        Form::UnitProduct => {
            let square: f64 = stored.iter().map(|v| v * v).sum();
            times(magnitude / (square / stored.len() as f64).sqrt())
        }
        Form::CenteredExp => {
            let mean = stored.iter().sum::<f64>() / stored.len() as f64;
            stored
                .iter()
                .map(|v| (magnitude + v - mean).exp())
                .collect()
        }
    }
}

impl Work {
    /// Replaces every stored scale by its used value.
    pub(super) fn resolve_scales(&mut self) {
        let tensors = &mut self.tensors;
        each(&mut self.plan, &mut |paths, plan| {
            for path in paths {
                let magnitude = tensors.take(&format!("{path}.magnitude"));
                let stored = tensors.take(&format!("{path}.value"));
                let values = used(plan, &stored, &magnitude);
                tensors.set_vector(format!("{path}.value"), values);
            }
            plan.form = Form::Direct;
            plan.scale = 1.0;
            plan.init = 1.0;
            plan.decay = false;
        });
    }
}

/// The learned scales that are still there.
pub(super) fn left(plan: &mut Plan) -> Vec<String> {
    let mut left = Vec::new();
    each(plan, &mut |paths, _| left.extend_from_slice(paths));
    left
}
