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

use super::{HeadNorm, NormStrategy, SchemeOptions};
use crate::dims::{Branch, Dims, Site};
use crate::plan::{
    AttentionFactor, AttentionPlan, EndsPlan, Form, GainPlan, GainRole, GainShape, Init,
    LerpFactor, LinearPlan, MixPlan, NormPlan, ResidualPlan, WeightPlan,
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
    /// Initial step size of both branches.
    pub alpha_init: f64,
    /// Stored initial value of the step sizes; 1 / sqrt(dim) when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alpha_scale: Option<f64>,
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
            alpha_init: 0.05,
            alpha_scale: None,
            sz_init: 1.0,
            sz_scale: None,
            rows: RowNorm::One,
        }
    }
}

/// nGPT's stored initial value of most scales, 1 / sqrt(D).
pub(super) fn base_scale(d: &Dims) -> f64 {
    (d.model as f64).sqrt().recip()
}

/// A learned scale that is decayed by nobody: nGPT trains without weight decay.
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
        ResidualPlan {
            skip: Some(NormPlan::unit()),
            output: Some(NormPlan::unit()),
            mix: MixPlan::Lerp {
                alpha: stored(self.alpha_init, scale, Form::Absolute),
                factor: LerpFactor::One,
            },
            after: Some(NormPlan::unit()),
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
        AttentionPlan {
            qk_norm: match self.qk {
                HeadNorm::Unit => Some(NormPlan::unit().per_head()),
                HeadNorm::None => None,
            },
            qk_gain: Some(stored(1.0, base_scale(d), Form::Direct)),
            softmax_scale: (d.head as f64).sqrt(),
            factor: AttentionFactor::None,
        }
    }

    fn ends(&self, d: &Dims) -> EndsPlan {
        let scale = self.sz_scale.unwrap_or_else(|| base_scale(d));
        EndsPlan {
            logit_gain: Some(stored(self.sz_init, scale, Form::Direct)),
            ..EndsPlan::plain()
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
