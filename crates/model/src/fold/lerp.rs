//! Interpolations of a stream that nothing normalizes become sums.

use super::Work;
use crate::dims::{Branch, Site};
use crate::error::FoldError;
use crate::plan::{
    GainPlan, GainRole, LayerPlan, LerpFactor, MixPlan, NormPlan, ParamRef, Place, Plan,
    ResidualPlan,
};

/// Below this part of the stream, what an interpolation keeps is lost in rounding.
const LEAST_KEPT: f64 = 1e-3;

/// Whether no normalization sees the stream. One of what a branch writes doesn't.
fn bare(plan: &ResidualPlan) -> bool {
    let ruled = matches!(plan.mix, MixPlan::Rule { .. });
    plan.norms().all(|(name, _)| name == "output") && plan.companion.is_none() && !ruled
}

/// Whether what multiplies a branch has a place: the gain of its output norm, where that comes last, or the matrix that it
/// ends with.
fn takes_scale(plan: &ResidualPlan, layer: &LayerPlan, writer: Site) -> bool {
    match &plan.output {
        Some(norm) => norm.function.gain_is_last(),
        None => layer
            .site(writer)
            .is_some_and(|site| site.linear.norm.is_none()),
    }
}

/// Whether a scale of the stream reaches the output layer through linear maps alone.
fn applies(plan: &Plan) -> bool {
    let mut all = plan
        .layers
        .iter()
        .flat_map(|layer| layer.residuals().map(|around| (layer, around)));
    let any = all
        .clone()
        .any(|(_, (_, residual))| matches!(residual.mix, MixPlan::Lerp { .. }));
    let linear = |(layer, (branch, residual)): (&LayerPlan, (Branch, &ResidualPlan))| {
        bare(residual) && takes_scale(residual, layer, branch.writer())
    };
    any && plan.ends.head.final_norm.is_none() && all.all(linear)
}

impl Work {
    pub(super) fn interpolations(&mut self) -> Result<(), FoldError> {
        if !applies(&self.plan) {
            return Ok(());
        }
        // What the true stream is, as a multiple of the folded one.
        let mut scale = vec![1.0; self.plan.dims.model];
        for index in 0..self.plan.layers.len() {
            for branch in [Branch::Attention, Branch::Mlp] {
                for site in branch.readers() {
                    for at in self.at(index, site) {
                        self.tensors.rows(&format!("{at}.weight"), &scale);
                    }
                }
                let written = self.mix(index, branch, &mut scale)?;
                if self.output_norm(index, branch, &written) {
                    continue;
                }
                for at in self.at(index, branch.writer()) {
                    self.tensors.last(&format!("{at}.weight"), &written);
                    self.tensors.last(&format!("{at}.bias"), &written);
                }
            }
        }
        self.untie();
        self.tensors.rows("head.weight", &scale);
        Ok(())
    }

    /// Multiplies what the output norm of a branch makes, with the gain that it has or gets; `false` without such a norm.
    fn output_norm(&mut self, index: usize, branch: Branch, by: &[f64]) -> bool {
        let plan = self.plan.layers[index].residual_mut(branch);
        let Some(NormPlan { gain, factor, .. }) = &mut plan.output else {
            return false;
        };
        let at = ParamRef::in_block(index, Place::Residual(branch), "output");
        let value = format!("{at}.gain.value");
        if gain.is_none() {
            *gain = Some(GainPlan::ones(GainRole::Output));
            self.tensors.set_vector(value.clone(), vec![1.0; by.len()]);
        }
        let factor = std::mem::replace(factor, 1.0);
        self.tensors.scale(&value, factor);
        self.tensors.last(&value, by);
        self.tensors.last(&format!("{at}.bias"), by);
        true
    }

    /// Makes one interpolation a sum: moves `scale` past it and returns what multiplies the branch.
    fn mix(
        &mut self,
        index: usize,
        branch: Branch,
        scale: &mut [f64],
    ) -> Result<Vec<f64>, FoldError> {
        let mix = &mut self.plan.layers[index].residual_mut(branch).mix;
        let (keep, take) = match mix {
            MixPlan::Lerp { factor, .. } => {
                let at = ParamRef::in_block(index, Place::Residual(branch), "mix.alpha.value");
                let alpha = self.tensors.take(&at.to_string());
                let nu = |a: f64| match factor {
                    LerpFactor::One => 1.0,
                    LerpFactor::SecondMoment => (a * a + (1.0 - a) * (1.0 - a)).sqrt().recip(),
                };
                let each = |f: &dyn Fn(f64) -> f64| -> Vec<f64> {
                    let one = alpha.len() == 1;
                    (0..scale.len())
                        .map(|i| f(alpha[if one { 0 } else { i }]))
                        .collect()
                };
                (each(&|a| nu(a) * (1.0 - a)), each(&|a| nu(a) * a))
            }
            MixPlan::Scaled { skip } => (vec![*skip; scale.len()], vec![1.0; scale.len()]),
            MixPlan::Add | MixPlan::Rule { .. } => (vec![1.0; scale.len()], vec![1.0; scale.len()]),
        };
        if let Some(channel) = keep.iter().position(|k| k.abs() < LEAST_KEPT) {
            return Err(FoldError::Vanishes {
                place: format!("block {index}, {}", branch.path()),
                channel,
                kept: keep[channel],
            });
        }
        *mix = MixPlan::Add;
        for (scale, keep) in scale.iter_mut().zip(&keep) {
            *scale *= keep;
        }
        Ok(take.iter().zip(scale).map(|(take, s)| take / *s).collect())
    }
}
