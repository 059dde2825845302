//! What the recipes that orthogonalize a momentum have in common.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ParamContext;
use crate::config::check_decay;
use crate::{Composition, Lookahead, OptimError, Scaling};

/// Rate of the matrices when not given, where a recipe has no steps of `AdamW`'s size: Keller Jordan's.
pub(super) const MUON_LR: f64 = 0.02;

/// Options of every recipe that orthogonalizes a momentum.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct MuonOptions {
    /// Decay of the momentum in Muon's family and Scion, in place of the recipe's 0.95 and 0.9.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub momentum: Option<f64>,
    /// Whether the gradient is mixed into that momentum once more, in place of what the recipe does: `nesterov` or
    /// `none`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lookahead: Option<Lookahead>,
    /// Polynomials of an orthogonalization.
    pub orthogonal_steps: usize,
    /// The factor on an orthogonalized step by the shape of its matrix, in place of the recipe's: `one`, `original`
    /// (sqrt(max(1, out / in))), `match_rms_adamw` (0.2 sqrt(max(out, in))), `spectral` (sqrt(out / in)),
    /// `symmetric` (sqrt(max(out / in, in / out))), `per_input` (1 / in) or `per_output` (1 / out).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scaling: Option<Scaling>,
    /// Whether q, k and v are orthogonalized as they are or head by head: `joined` or `split`.
    pub heads: HeadSplit,
}

/// Whether heads are matrices of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HeadSplit {
    /// One matrix for all heads.
    #[default]
    Joined,
    /// One for each.
    Split,
}

impl Default for MuonOptions {
    fn default() -> Self {
        Self {
            momentum: None,
            lookahead: None,
            orthogonal_steps: crate::Orthogonal::default().steps,
            scaling: None,
            heads: HeadSplit::Joined,
        }
    }
}

impl MuonOptions {
    /// A composition of the family under these options.
    pub(super) fn applied(&self, parts: Composition, param: &ParamContext<'_>) -> Composition {
        let mut parts = parts
            .with_momentum(|m| {
                m.beta = self.momentum.unwrap_or(m.beta);
                m.lookahead = self.lookahead.unwrap_or(m.lookahead);
            })
            .with_orthogonal(|o| {
                o.steps = self.orthogonal_steps;
                o.heads = match self.heads {
                    HeadSplit::Joined => 1,
                    HeadSplit::Split => param.info().heads.map_or(1, |heads| heads.count),
                };
            });
        if parts.orthogonal().is_some() {
            parts.scaling = self.scaling.unwrap_or(parts.scaling);
        }
        parts
    }

    pub(super) fn check(&self) -> Result<(), OptimError> {
        self.momentum
            .map_or(Ok(()), |beta| check_decay("momentum", beta))
    }
}
