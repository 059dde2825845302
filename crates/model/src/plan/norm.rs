//! Normalization layers.

use super::gain::{Form, GainPlan, GainRole};
use crate::function::{Function, Layer, Rms, Unit};
use serde::{Deserialize, Serialize};

/// Over which channels a normalization runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Over {
    /// All channels of the vector.
    Full,
    /// Each head by itself; a gain has the width of one head and serves them all.
    PerHead,
}

/// A normalization layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NormPlan {
    /// What it does to a vector; `kind` in files.
    #[serde(rename = "kind")]
    pub function: Function,
    /// Added under the square root.
    pub eps: f64,
    /// Channels it runs over.
    pub over: Over,
    /// Learned scale after it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gain: Option<GainPlan>,
    /// Constant on the result, before the bias.
    pub factor: f64,
    /// Learned vector that is added last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bias: Option<BiasPlan>,
}

/// A learned vector that is added; it starts at 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct BiasPlan {
    /// Whether weight decay applies to it.
    pub decay: bool,
}

impl NormPlan {
    /// RMS normalization of the whole vector with a gain of ones.
    pub fn rms(eps: f64, role: GainRole) -> Self {
        Self {
            function: Rms {}.into(),
            eps,
            over: Over::Full,
            gain: Some(GainPlan::ones(role)),
            factor: 1.0,
            bias: None,
        }
    }

    /// LayerNorm of the whole vector with a gain of ones and no bias.
    pub fn layer(eps: f64, role: GainRole) -> Self {
        Self {
            function: Layer {}.into(),
            ..Self::rms(eps, role)
        }
    }

    /// A pointwise function in place of a normalization, with a gain of ones and a bias.
    pub fn pointwise(function: impl Into<Function>, role: GainRole) -> Self {
        Self {
            function: function.into(),
            bias: Some(BiasPlan::default()),
            ..Self::rms(0.0, role)
        }
    }

    /// Unit length of the whole vector: no epsilon and no gain, as nGPT and anGPT normalize.
    pub fn unit() -> Self {
        Self {
            function: Unit {}.into(),
            eps: 0.0,
            over: Over::Full,
            gain: None,
            factor: 1.0,
            bias: None,
        }
    }

    /// The same normalization, head by head.
    #[must_use]
    pub fn per_head(mut self) -> Self {
        self.over = Over::PerHead;
        self
    }

    /// The same normalization with its learned vectors decayed or not.
    #[must_use]
    pub fn decayed(mut self, decay: bool) -> Self {
        self.gain = self.gain.map(|gain| gain.decayed(decay));
        self.bias = self.bias.map(|_| BiasPlan { decay });
        self
    }

    /// The same normalization with its gain stored in another form.
    #[must_use]
    pub fn stored_as(mut self, form: Form) -> Self {
        self.gain = self.gain.map(|gain| GainPlan { form, ..gain });
        self
    }

    /// The same normalization with a constant on its result.
    #[must_use]
    pub fn scaled(mut self, factor: f64) -> Self {
        self.factor = factor;
        self
    }
}
