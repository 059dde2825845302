//! nGPT (2410.01131): stream, weights and heads on the unit sphere.
//!
//! ```text
//! h = norm( norm(h) + |a| (norm(branch(h)) - norm(h)) )
//! q = s_qk norm(RoPE(Wq h)),  k = s_qk norm(RoPE(Wk h)),  scores = sqrt(K) q k
//! mlp: u, g = s_uv sqrt(D) (W h);  y = u silu(g);   logits = s_z (W h)
//! ```
//!
//! norm is the plain L2 normalization. Every matrix is normalized along the model axis at the start and after every
//! step. Stored scales and their initial values are those of the official code.
//!
//! With `residual_factor = "second_moment"` this is the ablation arm of 2505.22014, `h = nu(|a|) (h + |a| (norm(branch(h)) -
//! h))`: anGPT's factor in place of the outer norm, and none of the skip connection, behind which only the last `h` would
//! differ from nGPT's.

use super::{HeadNorm, NormStrategy, ResidualFactor, SchemeOptions, UnitNorm};
use crate::dims::{Branch, Dims, Site};
use crate::plan::{
    AttentionPlan, Form, GainPlan, GainRole, GainShape, HeadPlan, Init, LinearPlan, MixPlan,
    NormPlan, ResidualPlan, WeightPlan,
};
use evenburn_geometry::{Axis, Constraint};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Length of a constrained row or column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RowNorm {
    /// Exactly 1 after every step.
    One,
    /// At most 1 after every step; exactly 1 at the start.
    AtMostOne,
}

impl RowNorm {
    /// The constraint along one axis.
    pub(crate) fn along(self, along: Axis) -> Constraint {
        match self {
            Self::One => Constraint::Unit { along },
            Self::AtMostOne => Constraint::AtMost { along, radius: 1.0 },
        }
    }
}

/// nGPT with the values of the official code as defaults.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Ngpt {
    /// Unit heads of q and k after the rotation: `unit` or `none`.
    pub qk: HeadNorm,
    /// What keeps the length of the interpolation: `one` (a norm behind it) or `second_moment` (the factor nu in its
    /// place).
    pub residual_factor: ResidualFactor,
    /// Skip connection: `unit` (divided by its length) or `none` (as it is); when not given `unit` with the norm behind
    /// the interpolation and `none` with the factor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skip_norm: Option<UnitNorm>,
    /// Initial step size of both branches.
    pub alpha_init: f64,
    /// Stored initial value of the step sizes; 1 / sqrt(dim) when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alpha_scale: Option<f64>,
    /// Initial scale of the unit heads of q and k.
    pub sqk_init: f64,
    /// Stored initial value of that scale; 1 / sqrt(dim) when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sqk_scale: Option<f64>,
    /// Initial scale of the logits.
    pub sz_init: f64,
    /// Stored initial value of the logit scale; 1 / sqrt(dim) when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sz_scale: Option<f64>,
    /// Length of a weight along the model axis: `one` or `at_most_one`.
    pub rows: RowNorm,
}

impl Default for Ngpt {
    fn default() -> Self {
        Self {
            qk: HeadNorm::Unit,
            residual_factor: ResidualFactor::One,
            skip_norm: None,
            alpha_init: 0.05,
            alpha_scale: None,
            sqk_init: 1.0,
            sqk_scale: None,
            sz_init: 1.0,
            sz_scale: None,
            rows: RowNorm::One,
        }
    }
}

/// nGPT's stored initial value of most scales, 1 / sqrt(D).
fn base_scale(d: &Dims) -> f64 {
    (d.model as f64).sqrt().recip()
}

/// A learned scale without weight decay: nGPT trains without any.
pub(super) fn stored(init: f64, scale: f64, form: Form) -> GainPlan {
    GainPlan {
        shape: GainShape::Vector,
        init,
        scale,
        form,
        role: GainRole::Output,
        decay: false,
    }
}

impl SchemeOptions for Ngpt {
    const NAME: &'static str = "ngpt";
    const ABOUT: &'static str = "nGPT: everything on the unit sphere (2410.01131).";
}

impl NormStrategy for Ngpt {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn residual(&self, _: usize, _: Branch, d: &Dims) -> ResidualPlan {
        let scale = self.alpha_scale.unwrap_or_else(|| base_scale(d));
        let (skip, after) = match self.residual_factor {
            ResidualFactor::One => (UnitNorm::Unit, Some(NormPlan::unit())),
            ResidualFactor::SecondMoment => (UnitNorm::None, None),
        };
        ResidualPlan {
            skip: self.skip_norm.unwrap_or(skip).plan(),
            output: Some(NormPlan::unit()),
            mix: MixPlan::Lerp {
                alpha: stored(self.alpha_init, scale, Form::Absolute),
                factor: self.residual_factor.plan(),
            },
            after,
            ..ResidualPlan::plain()
        }
    }

    fn linear(&self, _: usize, site: Site, d: &Dims) -> LinearPlan {
        match (site, self.qk) {
            (Site::Gate | Site::Up, _) => LinearPlan {
                factor: (d.model as f64).sqrt(),
                after: Some(stored(1.0, 1.0, Form::Direct)),
                ..LinearPlan::default()
            },
            // Unit rows applied to a unit vector give logits of variance 1 / D. Inferred: the paper has no experts.
            (Site::Router, _) => LinearPlan::scaled((d.model as f64).sqrt()),
            // A head of K unit rows applied to a unit vector has length sqrt(K / D): without the normalization a
            // constant keeps the scores in the range that the softmax scale is made for. Inferred, not in the paper.
            (Site::Q | Site::K, HeadNorm::None) => {
                LinearPlan::scaled((d.model as f64 / d.head as f64).sqrt())
            }
            _ => LinearPlan::default(),
        }
    }

    fn attention(&self, _: usize, d: &Dims) -> AttentionPlan {
        let scale = self.sqk_scale.unwrap_or_else(|| base_scale(d));
        AttentionPlan {
            qk_norm: self.qk.plan(),
            qk_gain: Some(stored(self.sqk_init, scale, Form::Direct)),
            softmax_scale: (d.head as f64).sqrt(),
            ..AttentionPlan::plain(d.head)
        }
    }

    fn head(&self, d: &Dims) -> HeadPlan {
        let scale = self.sz_scale.unwrap_or_else(|| base_scale(d));
        HeadPlan {
            logit_gain: Some(stored(self.sz_init, scale, Form::Direct)),
            ..HeadPlan::plain()
        }
    }

    fn weight(&self, _: usize, site: Site, _: &Dims) -> WeightPlan {
        // Always the model axis: the embedding and the maps that write the stream have it at their output.
        let along = match site {
            Site::Embedding | Site::Positions | Site::O | Site::Down => Axis::Out,
            Site::Q | Site::K | Site::V | Site::Gate | Site::Up | Site::Router | Site::Head => {
                Axis::In
            }
        };
        WeightPlan {
            init: Init::UnitSphere { along },
            constraint: self.rows.along(along),
            decay: false,
        }
    }
}
