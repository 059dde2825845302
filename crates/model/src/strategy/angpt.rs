//! anGPT (2505.22014): branch outputs of unit length, and constant factors instead of every other norm.
//!
//! ```text
//! h = nu(a) (h + a (unit(x) - h)),  nu(a) = 1 / sqrt(a^2 + (1 - a)^2),  unit(x) = x / |x|
//! q, k, v = nu_qkv (W h);  q, k = unit(RoPE(.)) per head;  scores = g q k;  x = nu_p (Wo concat)
//! u, z = nu_uz (W h);  x = nu_d Wd (nu_acf u silu(sqrt(D) z));  logits = s_z (W h)
//! ```
//!
//! Rows of every matrix have length 1 at the start and at most 1 after every step. A map with `r` unit rows of
//! width `d` takes a unit vector to length sqrt(r / d) on average, so its factor is sqrt(d / r): that gives every
//! constant here, for any ratio of widths, and `nu_acf` is 1 / sqrt(E[silu(z)^2]) with z of variance `D / F`.
//!
//! Every constant but `nu_uz` of z cancels in front of a unit(.). They are applied nevertheless: they set the size of the
//! numbers that it divides. With `branch_norm = "none"` nothing divides and each of them acts.

use super::ngpt::stored;
use super::{HeadNorm, NormStrategy, RowNorm, SchemeOptions, SoftmaxGain, UnitNorm};
use crate::dims::{Branch, Dims, MlpKind, Positions, Site};
use crate::plan::{
    AttentionFactor, AttentionPlan, Combine, EmbeddingPlan, Form, HeadPlan, Init, LerpFactor,
    LinearPlan, MixPlan, MlpPlan, ResidualPlan, WeightPlan,
};
use evenburn_geometry::Axis;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The factor of the residual interpolation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ResidualFactor {
    /// `1 / sqrt(a^2 + (1 - a)^2)`.
    SecondMoment,
    /// 1. In the paper's ablation of anGPT it trains, to a loss 3.04 % higher (Table L.1: 2.719 for 2.638).
    One,
}

impl ResidualFactor {
    /// What it is to an interpolation.
    pub(crate) fn plan(self) -> LerpFactor {
        match self {
            Self::SecondMoment => LerpFactor::SecondMoment,
            Self::One => LerpFactor::One,
        }
    }
}

/// What multiplies the argument of the gate's activation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GateScale {
    /// `sqrt(D)`, which the paper's value of `nu_acf` is computed with.
    SqrtDim,
    /// 1: the other reading, as the paper prints the root in nGPT's column only.
    One,
}

/// What multiplies each constant factor. The paper's ablation (Table L.1, loss 2.638): all of them halved 2.647
/// (+.34 %), doubled 2.642 (+.12 %), none 2.667 (+1.09 %). Only `up` acts where branch outputs have unit length.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FactorScales {
    /// `nu_qkv`.
    pub qkv: f64,
    /// `nu_p`, of the output projection of attention.
    pub o: f64,
    /// `nu_uz`, of both branches of the MLP.
    pub up: f64,
    /// `nu_acf`, of the activation.
    pub activation: f64,
    /// `nu_d`, of the output projection of the MLP.
    pub down: f64,
}

impl Default for FactorScales {
    fn default() -> Self {
        Self {
            qkv: 1.0,
            o: 1.0,
            up: 1.0,
            activation: 1.0,
            down: 1.0,
        }
    }
}

/// anGPT as the paper prints it (Table 1), with nGPT's values where it prints none.
///
/// ```
/// use evenburn_model::{MlpKind, strategy::AnGpt};
/// // The paper's Monte Carlo value for F = 4 D is 3.74.
/// let factor = AnGpt::activation_factor(MlpKind::Swiglu, 64, 256);
/// assert!((factor - 3.7203).abs() < 1e-4);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AnGpt {
    /// Output of each branch: `unit` (divided by its length) or `none` (as it is).
    pub branch_norm: UnitNorm,
    /// Unit heads of q and k after the rotation: `unit` or `none`.
    pub qk: HeadNorm,
    /// Scale of the scores, sqrt(head width) at the start: `learned` (one scalar a layer) or `none` (the constant).
    pub softmax_gain: SoftmaxGain,
    /// Factor on what attention takes: `none`, `dense` or `exact`. No part of the paper's architecture.
    pub attention_factor: AttentionFactor,
    /// Multiples of the constant factors, each 1 unless an ablation changes it.
    pub factors: FactorScales,
    /// Initial step size of both branches.
    pub alpha_init: f64,
    /// Stored initial value of the step sizes.
    pub alpha_scale: f64,
    /// Initial scale of the logits.
    pub sz_init: f64,
    /// Stored initial value of the logit scale, so that an Adam step moves the scale by `lr * sz_init / sz_scale`; the
    /// paper's text has 0.01, its Table F.2 0.001.
    pub sz_scale: f64,
    /// Constant on the gate, inside the activation: `sqrt_dim` or `one`.
    pub gate_scale: GateScale,
    /// Constant after the activation; computed for the model's ratio of widths when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub activation_factor: Option<f64>,
    /// Factor of the residual interpolation: `second_moment` or `one`.
    pub residual_factor: ResidualFactor,
    /// Length of a weight's rows: `one` or `at_most_one`.
    pub rows: RowNorm,
}

impl Default for AnGpt {
    fn default() -> Self {
        Self {
            branch_norm: UnitNorm::Unit,
            qk: HeadNorm::Unit,
            softmax_gain: SoftmaxGain::Learned,
            attention_factor: AttentionFactor::None,
            factors: FactorScales::default(),
            alpha_init: 0.05,
            alpha_scale: 0.01,
            sz_init: 1.0,
            sz_scale: 0.01,
            gate_scale: GateScale::SqrtDim,
            activation_factor: None,
            residual_factor: ResidualFactor::SecondMoment,
            rows: RowNorm::AtMostOne,
        }
    }
}

/// Half-width and number of intervals of the quadrature below; its error is below 1e-12 for any ratio of widths.
const QUADRATURE: (f64, usize) = (12.0, 2400);

impl AnGpt {
    /// `1 / sqrt(E[f(z)^2])` for z normal with variance `D / F` and the MLP's activation `f`, which keeps the length of
    /// the unit vector that a gated MLP multiplies; a plain MLP has `F` entries of second moment `E[f(z)^2]` instead, so
    /// its factor is `1 / sqrt(F E[f(z)^2])`.
    ///
    /// Trapezoidal rule over 12 standard deviations: for a smooth integrand that vanishes at both ends it converges
    /// faster than any power of the step.
    pub fn activation_factor(mlp: MlpKind, model: usize, hidden: usize) -> f64 {
        let ratio = hidden as f64 / model as f64;
        let activation = mlp.activation();
        let (half, intervals) = QUADRATURE;
        let step = 2.0 * half / intervals as f64;
        let second_moment: f64 = (0..=intervals)
            .map(|i| {
                let g = i as f64 * step - half;
                activation.at(g / ratio.sqrt()).powi(2) * (-0.5 * g * g).exp()
            })
            .sum::<f64>()
            * step
            / (2.0 * std::f64::consts::PI).sqrt();
        let entries = match mlp.inside() {
            Site::Gate => 1.0,
            _ => hidden as f64,
        };
        (entries * second_moment).sqrt().recip()
    }

    /// `sqrt(in / out)`: keeps the expected length of a vector through unit rows.
    fn nu(input: usize, output: usize) -> f64 {
        (input as f64 / output as f64).sqrt()
    }
}

impl SchemeOptions for AnGpt {
    const NAME: &'static str = "angpt";
    const ABOUT: &'static str = "anGPT: branch outputs of unit length, constants in place of the other norms, rows of weights of length at most 1 (2505.22014).";
}

impl NormStrategy for AnGpt {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn residual(&self, _: usize, _: Branch, _: &Dims) -> ResidualPlan {
        ResidualPlan {
            output: self.branch_norm.plan(),
            mix: MixPlan::Lerp {
                alpha: stored(self.alpha_init, self.alpha_scale, Form::Direct),
                factor: self.residual_factor.plan(),
            },
            ..ResidualPlan::plain()
        }
    }

    fn linear(&self, _: usize, site: Site, d: &Dims) -> LinearPlan {
        LinearPlan::scaled(match site {
            // Each head by itself has length 1.
            Site::Q | Site::K | Site::V => self.factors.qkv * Self::nu(d.model, d.head),
            // H unit heads side by side have length sqrt(H), and D unit rows of width H K follow:
            // sqrt(H K / D) / sqrt(H).
            Site::O => self.factors.o * Self::nu(d.head, d.model),
            Site::Gate | Site::Up => self.factors.up * Self::nu(d.model, d.hidden),
            Site::Down => self.factors.down * Self::nu(d.hidden, d.model),
            // Unit rows applied to a unit vector give logits of variance 1 / D. Inferred: the paper has no experts.
            Site::Router => (d.model as f64).sqrt(),
            Site::Embedding | Site::Positions | Site::Head => 1.0,
        })
    }

    fn attention(&self, _: usize, d: &Dims) -> AttentionPlan {
        let plan = AttentionPlan {
            qk_norm: self.qk.plan(),
            factor: self.attention_factor,
            ..AttentionPlan::plain(d.head)
        };
        self.softmax_gain.plan((d.head as f64).sqrt(), plan)
    }

    fn mlp(&self, _: usize, d: &Dims) -> MlpPlan {
        MlpPlan {
            before: match self.gate_scale {
                GateScale::SqrtDim => (d.model as f64).sqrt(),
                GateScale::One => 1.0,
            },
            after: self.factors.activation
                * self
                    .activation_factor
                    .unwrap_or_else(|| Self::activation_factor(d.mlp, d.model, d.hidden)),
            // Expert outputs are nearly independent vectors of length 1.
            combine: Combine::UnitLength,
        }
    }

    fn embedding(&self, d: &Dims) -> EmbeddingPlan {
        EmbeddingPlan {
            // Two independent unit vectors, a token's and a position's, sum to length sqrt(2).
            factor: match d.positions {
                Positions::Learned => std::f64::consts::FRAC_1_SQRT_2,
                Positions::Rope | Positions::RopeHalves | Positions::None => 1.0,
            },
            ..EmbeddingPlan::plain()
        }
    }

    fn head(&self, _: &Dims) -> HeadPlan {
        HeadPlan {
            logit_gain: Some(stored(self.sz_init, self.sz_scale, Form::Direct)),
            ..HeadPlan::plain()
        }
    }

    fn weight(&self, _: usize, site: Site, _: &Dims) -> WeightPlan {
        // A row is what makes one output: it runs along the input. The embedding's row is one token's vector.
        let along = match site {
            Site::Embedding | Site::Positions => Axis::Out,
            _ => Axis::In,
        };
        WeightPlan {
            init: Init::UnitSphere { along },
            constraint: self.rows.along(along),
            decay: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ModelConfig, Plan};

    #[test]
    fn factors_are_the_papers() {
        let config = ModelConfig {
            dim: 256,
            heads: 4,
            hidden: Some(1024),
            ..Default::default()
        };
        let plan = Plan::new(&config, &AnGpt::default()).unwrap();
        let layer = &plan.layers[0];
        for (factor, expected) in [
            (layer.v.linear.factor, 2.0), // sqrt(256 / 64)
            (layer.o.linear.factor, 0.5), // 1 / sqrt(4 heads)
            (layer.up.linear.factor, 0.5),
            (layer.down.linear.factor, 2.0),
            (layer.mlp.before, 16.0),
        ] {
            assert!((factor - expected).abs() < 1e-12, "{factor} {expected}");
        }
    }

    #[test]
    fn activation_factor_of_other_ratios() {
        // 2.96 at the SwiGLU ratio 8/3, from an independent Monte Carlo run.
        let factor = |model, hidden| AnGpt::activation_factor(MlpKind::Swiglu, model, hidden);
        assert!((factor(3, 8) - 2.96).abs() < 5e-3);
        // For ratio -> infinity silu(z) -> z / 2, so the factor tends to 2 sqrt(ratio).
        let large: usize = 1_000_000;
        let limit = 2.0 * (large as f64).sqrt();
        assert!((factor(1, large) / limit - 1.0).abs() < 1e-5);
        // E[relu(z)^4] = 3 s^4 / 2 for z of deviation s.
        let plain = AnGpt::activation_factor(MlpKind::Relu2, 64, 256);
        let moment = 256.0 * 1.5 * 0.25_f64.powi(2);
        assert!((plain * moment.sqrt() - 1.0).abs() < 1e-9);
    }
}
