//! Derf (2512.10938): `w * erf(a x + s) + b` in the places of pre-norm, with learned scalars `a` and `s`.

use super::dyt::Bias;
use super::{Decay, NormStrategy, SchemeOptions, WeightInit};
use crate::dims::{Branch, Dims, Site};
use crate::function::Erf;
use crate::plan::{GainRole, HeadPlan, NormPlan, ResidualPlan, WeightPlan};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// erf in place of normalization.
///
/// ```
/// use evenburn_model::{ModelConfig, Plan, function::Erf, strategy::Derf};
/// let plan = Plan::new(&ModelConfig::default(), &Derf::default())?;
/// let kind = plan.ends.head.final_norm.as_ref().map(|norm| norm.function.clone());
/// assert_eq!(kind, Some(Erf { slope: 0.5 }.into()));
/// # Ok::<(), evenburn_model::PlanError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Derf {
    /// Initial slope.
    pub slope: f64,
    /// Learned vector behind the function: `learned` or `none`.
    pub bias: Bias,
    /// Initial weights: `simple_gpt`, `gpt2` or `sdd`.
    pub start: WeightInit,
    /// Which parameters decay: `all` or `matrices`.
    pub decay: Decay,
}

impl Default for Derf {
    fn default() -> Self {
        Self {
            // The paper's a0; s0 is 0.
            slope: 0.5,
            bias: Bias::Learned,
            start: WeightInit::SimpleGpt,
            decay: Decay::Matrices,
        }
    }
}

impl Derf {
    fn norm(&self) -> NormPlan {
        let function = Erf { slope: self.slope };
        let mut norm = NormPlan::pointwise(function, GainRole::Input).decayed(self.decay.gains());
        norm.bias = self.bias.plan(self.decay);
        norm
    }
}

impl SchemeOptions for Derf {
    const NAME: &'static str = "derf";
    const ABOUT: &'static str = "Derf: erf in place of normalization (2512.10938).";
}

impl NormStrategy for Derf {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn residual(&self, _: usize, _: Branch, _: &Dims) -> ResidualPlan {
        ResidualPlan {
            input: Some(self.norm()),
            ..ResidualPlan::plain()
        }
    }

    fn head(&self, _: &Dims) -> HeadPlan {
        HeadPlan {
            final_norm: Some(self.norm()),
            ..HeadPlan::plain()
        }
    }

    fn weight(&self, layer: usize, site: Site, d: &Dims) -> WeightPlan {
        self.start.weight(layer, site, d)
    }
}
