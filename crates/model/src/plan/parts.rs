//! The decisions a scheme makes, as plain data: no tensors, no device.

use super::gain::GainPlan;
use super::norm::{BiasPlan, NormPlan};
use crate::rule::Rule;
use evenburn_geometry::{Axis, Constraint};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What stands around the product of one linear map, in this order: `before`, product, `factor`, `bias`, `norm`,
/// `after`.
///
/// ```text
/// y = after * norm( factor * ((before * x) W) + bias )
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LinearPlan {
    /// Learned scale of the input.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<GainPlan>,
    /// Constant on the product.
    pub factor: f64,
    /// Learned vector on the product.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bias: Option<BiasPlan>,
    /// Normalization of the product; for q, k and v before the rotation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub norm: Option<NormPlan>,
    /// Learned scale of the output.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<GainPlan>,
}

impl Default for LinearPlan {
    fn default() -> Self {
        Self {
            before: None,
            factor: 1.0,
            bias: None,
            norm: None,
            after: None,
        }
    }
}

impl LinearPlan {
    /// A product and a constant.
    pub fn scaled(factor: f64) -> Self {
        Self {
            factor,
            ..Self::default()
        }
    }
}

/// How a branch's output `x` joins the stream `h`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum MixPlan {
    /// `h + x`.
    Add,
    /// `skip * h + x` (DeepNorm, 2203.00555).
    Scaled {
        /// Constant on the skip connection.
        skip: f64,
    },
    /// `nu(alpha) * (h + alpha * (x - h))` with a learned `alpha`.
    Lerp {
        /// The step size.
        alpha: GainPlan,
        /// The factor `nu`.
        factor: LerpFactor,
    },
    /// A residual rule, by name and options: see [`crate::rule`].
    Rule {
        /// The rule.
        rule: Rule,
    },
}

/// What multiplies an interpolation of two vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LerpFactor {
    /// `nu = 1`.
    One,
    /// `nu = 1 / sqrt(alpha^2 + (1 - alpha)^2)`, which keeps the second moment of the mix of two independent
    /// vectors; the gradient passes through it (2505.22014).
    SecondMoment,
}

/// The residual connection around one branch, in this order:
///
/// ```text
/// h = stream(h);  h' = after( mix( skip(h), output( branch( input(h) ) ) ) )
/// ```
///
/// Where the stream has a second component `y`, the branch reads both and writes both: see [`CompanionPlan`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ResidualPlan {
    /// Normalization of the stream before it splits into skip and branch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<NormPlan>,
    /// The stream's second component.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub companion: Option<CompanionPlan>,
    /// Normalization of what the branch reads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<NormPlan>,
    /// Normalization of what the branch writes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<NormPlan>,
    /// Normalization of the skip connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skip: Option<NormPlan>,
    /// How skip and branch join.
    pub mix: MixPlan,
    /// Normalization of the sum.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<NormPlan>,
}

impl ResidualPlan {
    /// `h + branch(h)`, with no normalization anywhere.
    pub fn plain() -> Self {
        Self {
            stream: None,
            companion: None,
            input: None,
            output: None,
            skip: None,
            mix: MixPlan::Add,
            after: None,
        }
    }

    /// Its normalizations by name, in the order in which they are applied.
    pub fn norms(&self) -> impl Iterator<Item = (&'static str, &NormPlan)> {
        let companion = self.companion.as_ref().and_then(|c| c.norm.as_ref());
        [
            ("stream", self.stream.as_ref()),
            ("companion", companion),
            ("input", self.input.as_ref()),
            ("output", self.output.as_ref()),
            ("skip", self.skip.as_ref()),
            ("after", self.after.as_ref()),
        ]
        .into_iter()
        .filter_map(|(name, norm)| Some((name, norm?)))
    }
}

/// A second component `y` of the residual stream beside `h`, at one branch, which reads and writes both:
///
/// ```text
/// h = stream(h);  x = output( branch( input( scale * h + norm(y) ) ) )
/// h' = after( mix( skip(h), factor x ) );  y' = y + x
/// ```
///
/// Both components begin as the embedded tokens and end in a [`JoinPlan`](super::JoinPlan).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CompanionPlan {
    /// Learned scale of `h` where both are read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale: Option<GainPlan>,
    /// Normalization of `y` where both are read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub norm: Option<NormPlan>,
    /// Constant on what `h` takes of the branch.
    pub factor: f64,
}

/// What stands between the projections of attention: normalization and scales of q and k, the scale of the scores, and a
/// factor on the mean of the values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttentionPlan {
    /// Normalization of each head of q and k after the rotation; it has no gain of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub qk_norm: Option<NormPlan>,
    /// Which of the two `qk_norm` normalizes.
    #[serde(default, skip_serializing_if = "Normed::is_both")]
    pub normed: Normed,
    /// One learned scale of `H K` entries on both q and k, after `qk_norm` (nGPT's `s_qk`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub qk_gain: Option<GainPlan>,
    /// Multiplies the scores before the softmax; 1 where `softmax_gain` does.
    pub softmax_scale: f64,
    /// One learned scalar that multiplies the scores in place of the constant (`g` of anGPT and GPT+, 2505.22014,
    /// Table 1).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub softmax_gain: Option<GainPlan>,
    /// Multiplies the mean of the values that a query takes.
    pub factor: AttentionFactor,
}

impl AttentionPlan {
    /// `softmax(q k / sqrt(K))` for heads of width `K`.
    pub fn plain(head: usize) -> Self {
        Self {
            qk_norm: None,
            normed: Normed::Both,
            qk_gain: None,
            softmax_scale: (head as f64).sqrt().recip(),
            softmax_gain: None,
            factor: AttentionFactor::None,
        }
    }
}

/// Which factors of a score are normalized after the rotation: queries and keys, or keys alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Normed {
    /// Queries and keys.
    #[default]
    Both,
    /// Keys alone: a query's own length says how sharp its softmax is (QUEST, 2604.00199).
    Keys,
}

impl Normed {
    /// Whether both are.
    #[allow(clippy::trivially_copy_pass_by_ref)] // what `serde` calls takes a reference
    pub fn is_both(&self) -> bool {
        *self == Self::Both
    }
}

/// What restores the length of a mean of values: weights `a_j` on independent unit vectors give `sqrt(sum_j a_j^2)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AttentionFactor {
    /// 1.
    None,
    /// `sqrt(n)` for a query that sees `n` keys: exact where it sees all of them alike.
    Dense,
    /// `1 / sqrt(sum_j a_j^2)` of each query and head, without a gradient.
    Exact,
}

/// Constants inside the MLP: `y = after * up * f(before * gate)`, or `y = after * f(before * up)` without a gate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MlpPlan {
    /// Constant on the argument of the activation.
    pub before: f64,
    /// Constant on what the branches make.
    pub after: f64,
    /// How the outputs of experts join; of no consequence where there is one network.
    pub combine: Combine,
}

/// How the outputs of a token's experts join.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Combine {
    /// `sum_i g_i y_i`.
    Sum,
    /// `sum_i g_i y_i / sqrt(sum_i g_i^2)`, the divisor without a gradient: keeps the length of independent vectors.
    UnitLength,
    /// `(sum_i sqrt(g_i) y_i + sum_s y_s) / sqrt(1 + S)` with `S` shared experts: keeps the length of independent vectors,
    /// too, and the gradient passes (`SqrtGate`, 2603.28743).
    Sqrt,
}

/// Distribution of a matrix at initialization.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Init {
    /// Normal with mean zero.
    Normal {
        /// Standard deviation.
        std: f64,
    },
    /// Normal, drawn again where it falls outside `cut` standard deviations.
    TruncatedNormal {
        /// Standard deviation before the cut.
        std: f64,
        /// Bound in standard deviations.
        cut: f64,
    },
    /// Directions uniform on the sphere: each slice along `along` has length 1.
    UnitSphere {
        /// The axis a slice runs along.
        along: Axis,
    },
}

/// Initial distribution, constraint and weight decay of a matrix.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WeightPlan {
    /// Its initial distribution.
    pub init: Init,
    /// The set it is projected onto after every optimizer step.
    pub constraint: Constraint,
    /// Whether weight decay applies to it.
    pub decay: bool,
}
