//! Refuses decisions that contradict each other, when the model is built.

mod absorb;
mod components;
mod repeat;
mod sizes;

use super::{
    ArrayInit, ArrayPlan, AttentionPlan, Form, GainPlan, GainShape, Init, LerpFactor, LinearPlan,
    MixPlan, MlpPlan, NormPlan, Over, Place, Plan, ResidualPlan, Spot, Visit, WeightPlan,
};
use crate::dims::{Dims, Site};
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

    fn gain(&self, at: &str, plan: &GainPlan) -> Result<(), PlanError> {
        // These forms need no stored scale.
        let scale_ok = matches!(plan.form, Form::OnePlus | Form::CenteredExp) || plan.scale != 0.0;
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

    fn norm(&self, at: &Spot, plan: &NormPlan) -> Result<(), PlanError> {
        let (width, at) = (at.width, (at.param.place, at.words()));
        let headed = matches!(
            at.0,
            Place::Site(Site::Q | Site::K | Site::V) | Place::Scores
        );
        let at = &at.1;
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
        let usable = plan.function.check(width, plan.eps);
        usable.map_err(|why| self.clash(at, plan.function.describe(), why))?;
        self.behind_norm(at, plan.gain.as_ref())
    }

    /// A learned array that a function or a rule asks for.
    fn array(&self, at: &Spot, plan: &ArrayPlan) -> Result<(), PlanError> {
        let (name, shape) = (&plan.name, &plan.shape);
        let second = if name.is_empty() || name.contains('.') {
            "a parameter's path, of which its name is the last part"
        } else if !matches!(shape.len(), 1 | 2) || shape.contains(&0) {
            "what arrays are: vectors or matrices with entries"
        } else if matches!(plan.start, ArrayInit::Drawn(_)) && shape.len() != 2 {
            "a start that is drawn, which only matrices have"
        } else {
            return Ok(());
        };
        let first = format!("a learned array `{name}` of shape {shape:?}");
        Err(self.clash(&at.param.to_string(), first, second))
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

    fn linear(&self, at: &str, plan: &LinearPlan) -> Result<(), PlanError> {
        self.usable(at, "the constant factor", plan.factor, plan.factor != 0.0)?;
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

    fn residual(&self, at: &str, d: &Dims, plan: &ResidualPlan) -> Result<(), PlanError> {
        if let Some(companion) = &plan.companion {
            let factor = companion.factor;
            self.usable(at, "the factor beside the companion", factor, factor != 0.0)?;
        }
        match &plan.mix {
            MixPlan::Scaled { skip } => {
                self.usable(at, "the factor of the skip", *skip, *skip != 0.0)
            }
            MixPlan::Lerp {
                factor: LerpFactor::SecondMoment,
                ..
            } if plan.after.is_some() => Err(self.clash(
                at,
                "a constant factor that keeps the stream's scale",
                "a normalization after the mix",
            )),
            MixPlan::Add | MixPlan::Lerp { .. } => Ok(()),
            MixPlan::Rule { rule } => rule
                .check(d.model)
                .map_err(|why| self.clash(at, rule.describe(), why)),
        }
    }

    /// One scalar in the constant's place.
    #[allow(clippy::float_cmp)] // exactly 1 is what does nothing
    fn softmax_gain(&self, at: &str, gain: &GainPlan, constant: f64) -> Result<(), PlanError> {
        let learned = "a learned softmax scale";
        self.usable(
            at,
            "the softmax scale at the start",
            gain.init,
            gain.init > 0.0,
        )?;
        if gain.shape != GainShape::Scalar {
            let channels = "an entry for each channel, which the product sums";
            return Err(self.clash(at, learned, channels));
        }
        if constant != 1.0 {
            let second = format!("the constant {constant} beside it, which it would learn away");
            return Err(self.clash(at, learned, second));
        }
        Ok(())
    }

    fn attention(&self, index: usize, attention: &AttentionPlan) -> Result<(), PlanError> {
        let at = format!("block {index}, attention scores");
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
        if let Some(gain) = &attention.softmax_gain {
            self.softmax_gain(&at, gain, attention.softmax_scale)?;
        }
        let scale = attention.softmax_scale;
        self.usable(&at, "the softmax scale", scale, scale > 0.0)
    }

    fn mlp(&self, index: usize, plan: &MlpPlan) -> Result<(), PlanError> {
        let at = format!("block {index}, mlp");
        let before = plan.before;
        self.usable(
            &at,
            "the factor before the activation",
            before,
            before != 0.0,
        )?;
        let after = plan.after;
        self.usable(&at, "the factor after the activation", after, after != 0.0)
    }
}

/// Checks every part by itself and keeps the first error.
struct Parts<'a> {
    check: &'a Check<'a>,
    dims: &'a Dims,
    found: Result<(), PlanError>,
}

impl Parts<'_> {
    fn note(&mut self, result: Result<(), PlanError>) {
        if self.found.is_ok() {
            self.found = result;
        }
    }
}

impl Visit for Parts<'_> {
    fn matrix(&mut self, at: &Spot, site: Site, plan: &WeightPlan) {
        let place = match at.param.layer {
            Some(layer) => place(layer, site),
            None => site.path().to_owned(),
        };
        self.note(self.check.weight(&place, plan));
    }

    fn linear(&mut self, at: &Spot, _: Site, plan: &LinearPlan) {
        self.note(self.check.linear(&at.words(), plan));
    }

    fn residual(&mut self, at: &Spot, plan: &ResidualPlan) {
        self.note(self.check.residual(&at.words(), self.dims, plan));
    }

    fn norm(&mut self, at: &Spot, plan: &NormPlan) {
        self.note(self.check.norm(at, plan));
    }

    fn gain(&mut self, at: &Spot, plan: &GainPlan) {
        self.note(self.check.gain(&at.words(), plan));
    }

    fn array(&mut self, at: &Spot, plan: &ArrayPlan) {
        self.note(self.check.array(at, plan));
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
        let factor = self.ends.embedding.factor;
        check.usable("embed", "the constant factor", factor, factor != 0.0)?;
        let mut parts = Parts {
            check: &check,
            dims: &self.dims,
            found: Ok(()),
        };
        self.visit(&mut parts);
        parts.found?;
        for (index, layer) in self.layers.iter().enumerate() {
            check.attention(index, &layer.attention)?;
            check.mlp(index, &layer.mlp)?;
        }
        check.components(self)?;
        check.repeated_norms(self)?;
        check.absorbed_gains(self)
    }
}
