//! Learned scales stored as their used values.

use super::{Work, names};
use crate::dims::{Branch, Site};
use crate::plan::{Form, GainPlan, LinearPlan, MixPlan, NormPlan, Plan, ResidualPlan};

/// Every learned scale of a plan with the names of its tensors: several where experts share a plan.
fn each(plan: &mut Plan, act: &mut dyn FnMut(&[String], &mut GainPlan)) {
    let layers = plan.layers.len();
    for index in 0..layers {
        for site in Site::BLOCK.into_iter().chain([Site::Router]) {
            let at = names(plan, index, site);
            let part = |part: &str| -> Vec<String> {
                at.iter().map(|at| format!("{at}.{part}")).collect()
            };
            let Some(site) = plan.layers[index].site_mut(site) else {
                continue;
            };
            let LinearPlan {
                before,
                norm,
                after,
                ..
            } = &mut site.linear;
            if let Some(gain) = before {
                act(&part("before"), gain);
            }
            if let Some(gain) = norm.as_mut().and_then(|norm| norm.gain.as_mut()) {
                act(&part("norm.gain"), gain);
            }
            if let Some(gain) = after {
                act(&part("after"), gain);
            }
        }
        let layer = &mut plan.layers[index];
        if let Some(gain) = &mut layer.attention.qk_gain {
            act(&[format!("blocks.{index}.attn.scores.gain")], gain);
        }
        for (branch, residual) in [
            (Branch::Attention, &mut layer.attn_residual),
            (Branch::Mlp, &mut layer.mlp_residual),
        ] {
            around(&format!("blocks.{index}.{}", branch.path()), residual, act);
        }
    }
    let ends = &mut plan.ends;
    let mut end = |at: &str, gain: Option<&mut GainPlan>| {
        if let Some(gain) = gain {
            act(&[at.to_owned()], gain);
        }
    };
    let gain = |norm: &'_ mut Option<NormPlan>| norm.as_mut().and_then(|n| n.gain.take());
    end("embed.gain", ends.embed_gain.as_mut());
    for (at, norm) in [
        ("embed.norm.gain", &mut ends.embed_norm),
        ("final_norm.gain", &mut ends.final_norm),
    ] {
        let mut taken = gain(norm);
        end(at, taken.as_mut());
        if let Some(norm) = norm {
            norm.gain = taken;
        }
    }
    end("head.after", ends.logit_gain.as_mut());
}

fn around(at: &str, plan: &mut ResidualPlan, act: &mut dyn FnMut(&[String], &mut GainPlan)) {
    for (name, norm) in [
        ("stream", &mut plan.stream),
        ("input", &mut plan.input),
        ("output", &mut plan.output),
        ("skip", &mut plan.skip),
        ("after", &mut plan.after),
    ] {
        if let Some(gain) = norm.as_mut().and_then(|norm| norm.gain.as_mut()) {
            act(&[format!("{at}.{name}.gain")], gain);
        }
    }
    if let MixPlan::Lerp { alpha, .. } = &mut plan.mix {
        act(&[format!("{at}.mix.alpha")], alpha);
    }
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
    pub(super) fn settle(&mut self) {
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
