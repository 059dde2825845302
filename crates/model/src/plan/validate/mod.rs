//! Refuses decisions that contradict each other, when the model is built.

mod absorb;
mod repeat;
mod sizes;

use super::{
    Form, GainPlan, GainShape, Init, LayerPlan, LerpFactor, LinearPlan, MixPlan, NormKind,
    NormPlan, Over, Plan, ResidualPlan, WeightPlan,
};
use crate::dims::{Branch, Site};
use crate::error::{PlanError, place};
use evenburn_geometry::{Axis, Constraint};

/// Collects the scheme's name so that each check can name it.
struct Check<'a> {
    scheme: &'a str,
}

impl Check<'_> {
    fn clash(&self, at: &str, first: impl Into<String>, second: impl Into<String>) -> PlanError {
        PlanError::Clash {
            scheme: self.scheme.to_owned(),
            place: at.to_owned(),
            first: first.into(),
            second: second.into(),
        }
    }

    fn usable(&self, at: &str, what: &'static str, value: f64, ok: bool) -> Result<(), PlanError> {
        if ok && value.is_finite() {
            return Ok(());
        }
        Err(PlanError::Number {
            scheme: self.scheme.to_owned(),
            place: at.to_owned(),
            what,
            value,
        })
    }

    fn gain(&self, at: &str, plan: Option<&GainPlan>) -> Result<(), PlanError> {
        let Some(plan) = plan else { return Ok(()) };
        // 1 + stored is the only form that needs no stored scale.
        let scale_ok = plan.form == Form::OnePlus || plan.scale != 0.0;
        self.usable(at, "the stored initial value", plan.scale, scale_ok)?;
        self.usable(at, "the initial value", plan.init, true)?;
        if let Some(magnitude) = plan.magnitude_init() {
            self.usable(at, "the initial magnitude", magnitude, true)?;
        }
        if plan.form == Form::Absolute && plan.init < 0.0 {
            return Err(self.clash(
                at,
                "a negative initial value",
                "a scale used as its absolute value",
            ));
        }
        Ok(())
    }

    fn norm(&self, at: &str, plan: Option<&NormPlan>, headed: bool) -> Result<(), PlanError> {
        let Some(plan) = plan else { return Ok(()) };
        self.usable(at, "the epsilon", plan.eps, plan.eps >= 0.0)?;
        if plan.over == Over::PerHead && !headed {
            return Err(self.clash(
                at,
                "a normalization per head",
                "a vector that is not split into heads",
            ));
        }
        self.usable(
            at,
            "the factor of the normalization",
            plan.factor,
            plan.factor != 0.0,
        )?;
        if let NormKind::Tanh { slope } | NormKind::Erf { slope } = plan.kind {
            self.usable(at, "the initial slope", slope, slope != 0.0)?;
        }
        if plan.kind == NormKind::Layer && plan.eps == 0.0 {
            return Err(self.clash(
                at,
                "LayerNorm",
                "an epsilon of zero, which divides by zero where all channels agree",
            ));
        }
        self.gain(at, plan.gain.as_ref())?;
        self.behind_norm(at, plan.gain.as_ref())
    }

    /// The kernels that normalize multiply each channel by an entry of its own.
    fn behind_norm(&self, at: &str, gain: Option<&GainPlan>) -> Result<(), PlanError> {
        match gain {
            Some(gain) if gain.shape == GainShape::Scalar => Err(self.clash(
                at,
                "a normalization",
                "a scale of one entry behind it, where each channel has its own",
            )),
            _ => Ok(()),
        }
    }

    fn linear(&self, at: &str, site: Site, plan: &LinearPlan) -> Result<(), PlanError> {
        self.usable(at, "the constant factor", plan.factor, plan.factor != 0.0)?;
        self.gain(&format!("{at}, scale before"), plan.before.as_ref())?;
        let headed = matches!(site, Site::Q | Site::K | Site::V);
        self.norm(&format!("{at}, norm"), plan.norm.as_ref(), headed)?;
        self.gain(&format!("{at}, scale after"), plan.after.as_ref())?;
        if plan.norm.is_some() {
            self.behind_norm(&format!("{at}, scale after"), plan.after.as_ref())?;
        }
        let gained = plan.norm.as_ref().is_some_and(|norm| norm.gain.is_some());
        if gained && plan.after.is_some() {
            return Err(self.clash(
                at,
                "a gain of the normalization",
                "a scale after it, which is the same thing twice",
            ));
        }
        Ok(())
    }

    fn weight(&self, at: &str, plan: &WeightPlan) -> Result<(), PlanError> {
        match plan.init {
            Init::Normal { std } => {
                self.usable(at, "the initial standard deviation", std, std >= 0.0)?;
            }
            Init::TruncatedNormal { std, cut } => {
                self.usable(at, "the initial standard deviation", std, std >= 0.0)?;
                // Below half a deviation most draws are thrown away: a sign of swapped numbers.
                self.usable(at, "the truncation in standard deviations", cut, cut >= 0.5)?;
            }
            Init::UnitSphere { along } => {
                let other = |constrained: Axis| constrained != along;
                if let Constraint::Unit { along: c } | Constraint::AtMost { along: c, .. } =
                    plan.constraint
                    && other(c)
                {
                    return Err(self.clash(
                        at,
                        "unit slices along one axis at the start",
                        "a constraint along the other",
                    ));
                }
            }
        }
        match plan.constraint {
            Constraint::AtMost { radius, .. } | Constraint::Frobenius { radius } => {
                self.usable(at, "the radius of the constraint", radius, radius > 0.0)
            }
            _ => Ok(()),
        }
    }

    fn residual(&self, at: &str, plan: &ResidualPlan) -> Result<(), PlanError> {
        for (name, norm) in [
            ("stream norm", &plan.stream),
            ("input norm", &plan.input),
            ("output norm", &plan.output),
            ("skip norm", &plan.skip),
            ("norm after", &plan.after),
        ] {
            self.norm(&format!("{at}, {name}"), norm.as_ref(), false)?;
        }
        let (alpha, factor) = match &plan.mix {
            MixPlan::Add => return Ok(()),
            MixPlan::Scaled { skip } => {
                return self.usable(at, "the factor of the skip", *skip, *skip != 0.0);
            }
            MixPlan::Lerp { alpha, factor } => (alpha, factor),
        };
        self.gain(&format!("{at}, alpha"), Some(alpha))?;
        if *factor == LerpFactor::SecondMoment && plan.after.is_some() {
            return Err(self.clash(
                at,
                "a constant factor that keeps the stream's scale",
                "a normalization after the mix",
            ));
        }
        Ok(())
    }

    /// One scalar in the constant's place.
    #[allow(clippy::float_cmp)] // exactly 1 is what does nothing
    fn softmax_gain(&self, at: &str, gain: &GainPlan, constant: f64) -> Result<(), PlanError> {
        let learned = "a learned softmax scale";
        self.gain(at, Some(gain))?;
        self.usable(
            at,
            "the softmax scale at the start",
            gain.init,
            gain.init > 0.0,
        )?;
        if gain.shape != GainShape::Scalar {
            return Err(self.clash(
                at,
                learned,
                "an entry for each channel, which the product sums",
            ));
        }
        if constant != 1.0 {
            let second = format!("the constant {constant} beside it, which it would learn away");
            return Err(self.clash(at, learned, second));
        }
        Ok(())
    }

    fn layer(&self, index: usize, plan: &LayerPlan) -> Result<(), PlanError> {
        for (branch, residual) in [
            (Branch::Attention, &plan.attn_residual),
            (Branch::Mlp, &plan.mlp_residual),
        ] {
            self.residual(&format!("block {index}, {}", branch.path()), residual)?;
        }
        for site in Site::BLOCK.into_iter().chain([Site::Router]) {
            if let Some(plan) = plan.site(site) {
                let at = place(index, site);
                self.weight(&at, &plan.weight)?;
                self.linear(&at, site, &plan.linear)?;
            }
        }
        let at = format!("block {index}, attention scores");
        let attention = &plan.attention;
        self.norm(&at, attention.qk_norm.as_ref(), true)?;
        if let Some(norm) = &attention.qk_norm {
            if norm.over == Over::Full {
                return Err(self.clash(
                    &at,
                    "q and k split into heads",
                    "a normalization of the full width after the rotation",
                ));
            }
            if norm.gain.is_some() {
                return Err(self.clash(
                    &at,
                    "a gain of the q/k norm",
                    "its place after the rotation, where qk_gain is the gain",
                ));
            }
        }
        self.gain(&at, attention.qk_gain.as_ref())?;
        if let Some(gain) = &attention.softmax_gain {
            self.softmax_gain(&at, gain, attention.softmax_scale)?;
        }
        self.usable(
            &at,
            "the softmax scale",
            attention.softmax_scale,
            attention.softmax_scale > 0.0,
        )?;
        let at = format!("block {index}, mlp");
        self.usable(
            &at,
            "the factor before the activation",
            plan.mlp.before,
            plan.mlp.before != 0.0,
        )?;
        self.usable(
            &at,
            "the factor after the activation",
            plan.mlp.after,
            plan.mlp.after != 0.0,
        )
    }
}

impl Plan {
    /// Checks that sizes fit, that every number is usable and that no two decisions contradict each other: a decoder can
    /// be built from any plan that passes.
    ///
    /// # Errors
    /// [`PlanError::Size`] with the key of the size; [`PlanError::Number`] or [`PlanError::Clash`] with the scheme and the
    /// place.
    pub fn validate(&self) -> Result<(), PlanError> {
        let check = Check {
            scheme: &self.scheme,
        };
        check.sizes(self)?;
        check.weight(Site::Embedding.path(), &self.embedding)?;
        if let Some(positions) = &self.positions {
            check.weight(Site::Positions.path(), positions)?;
        }
        if let Some(head) = &self.head {
            check.weight(Site::Head.path(), head)?;
        }
        check.usable(
            "embed",
            "the constant factor",
            self.ends.embed_factor,
            self.ends.embed_factor != 0.0,
        )?;
        check.gain("embed", self.ends.embed_gain.as_ref())?;
        check.norm("embed, norm", self.ends.embed_norm.as_ref(), false)?;
        check.norm("final norm", self.ends.final_norm.as_ref(), false)?;
        check.gain("logits", self.ends.logit_gain.as_ref())?;
        for (index, layer) in self.layers.iter().enumerate() {
            check.layer(index, layer)?;
        }
        check.repeated_norms(self)?;
        check.absorbed_gains(self)
    }
}
