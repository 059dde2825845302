//! The `[model.experts]` section: many feed-forward networks, a few of them for each token.

use crate::error::PlanError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// From the router's logits to the weights of the experts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Gates {
    /// A softmax over all experts: Switch, Mixtral.
    Softmax,
    /// A sigmoid of each logit by itself: `DeepSeek`-V3.
    Sigmoid,
}

/// What becomes of the weights of the chosen experts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kept {
    /// They are divided by their sum.
    Renormalized,
    /// They stay as they are.
    AsIs,
}

/// What keeps the load even.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Balance {
    /// Nothing.
    None,
    /// Switch's loss in each block: `E sum_i f_i P_i`, averaged over the blocks (2101.03961).
    LayerLoss,
    /// The same with `f` and `P` averaged over all blocks first, as `transformers` computes it.
    PooledLoss,
    /// A bias on the choice alone, moved after each step by the sign of the missing load (2408.15664).
    Bias,
}

/// How the outputs of a token's experts join.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Joined {
    /// As the scheme decides: weighted by the gates, or that divided by the length of the gates.
    #[default]
    Scheme,
    /// Weighted by the square roots of the gates; with `S` shared experts everything by `1 / sqrt(1 + S)` besides
    /// (`SqrtGate`, 2603.28743).
    Sqrt,
}

impl Joined {
    #[allow(clippy::trivially_copy_pass_by_ref)] // serde's skip_serializing_if
    fn is_schemes(&self) -> bool {
        *self == Self::Scheme
    }
}

/// A mixture of experts in every block.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ExpertsConfig {
    /// Experts a token chooses from; 0 for a plain MLP.
    pub count: usize,
    /// Experts each token chooses.
    #[schemars(range(min = 1))]
    pub top_k: usize,
    /// Experts that every token has besides.
    pub shared: usize,
    /// Width inside those; as wide as the others when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub shared_hidden: Option<usize>,
    /// Weights of the experts: `softmax` or `sigmoid`.
    pub gates: Gates,
    /// Weights of the chosen ones: `renormalized` or `as_is`.
    pub kept: Kept,
    /// Constant on the weights of the chosen ones.
    pub scale: f64,
    /// How the outputs of a token's experts join: `scheme` (as it decides) or `sqrt`.
    #[serde(skip_serializing_if = "Joined::is_schemes")]
    pub combine: Joined,
    /// What keeps the load even: `none`, `layer_loss`, `pooled_loss` or `bias`.
    pub balance: Balance,
    /// Weight of a balancing loss. It is the loss of each micro-batch by itself, averaged over those of a step: the smaller
    /// they are (`train.batch_size`, whatever `train.accumulate` makes of it), the more uneven is each one's load and the
    /// larger the loss of the same router. `bias` looks at the load of the whole step.
    pub balance_coef: f64,
    /// How far a balancing bias moves in a step.
    pub bias_rate: f64,
    /// Weight of the mean squared logsumexp of the router's logits (2202.08906).
    pub z_coef: f64,
}

impl Default for ExpertsConfig {
    fn default() -> Self {
        Self {
            count: 0,
            top_k: 2,
            shared: 0,
            shared_hidden: None,
            gates: Gates::Softmax,
            kept: Kept::Renormalized,
            scale: 1.0,
            combine: Joined::Scheme,
            balance: Balance::LayerLoss,
            // Switch's alpha and ST-MoE's c_z; the rate is DeepSeek-V3's gamma.
            balance_coef: 0.01,
            bias_rate: 1e-3,
            z_coef: 1e-3,
        }
    }
}

impl ExpertsConfig {
    /// Whether there are any.
    pub fn is_dense(&self) -> bool {
        self.count == 0
    }

    /// Checks that the numbers fit together.
    ///
    /// # Errors
    /// [`PlanError::Size`] names the key.
    pub(crate) fn check(&self) -> Result<(), PlanError> {
        if self.top_k == 0 {
            return Err(PlanError::size("experts.top_k", "must be at least 1"));
        }
        if self.top_k > self.count {
            let why = format!(
                "each token chooses {} experts, but model.experts.count is {}",
                self.top_k, self.count
            );
            return Err(PlanError::size("experts.top_k", why));
        }
        if self.shared_hidden == Some(0) {
            return Err(PlanError::size(
                "experts.shared_hidden",
                "must be at least 1",
            ));
        }
        if self.shared_hidden.is_some() && self.shared == 0 {
            let why = "there are no shared experts: model.experts.shared is 0";
            return Err(PlanError::size("experts.shared_hidden", why));
        }
        for (key, value) in [
            ("experts.scale", self.scale),
            ("experts.balance_coef", self.balance_coef),
            ("experts.bias_rate", self.bias_rate),
            ("experts.z_coef", self.z_coef),
        ] {
            if !(value.is_finite() && value >= 0.0) {
                return Err(PlanError::size(key, "must be a number of at least 0"));
            }
        }
        Ok(())
    }
}
