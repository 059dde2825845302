//! Learned scales: how they are stored, what follows them, which of them decay.

use serde::{Deserialize, Serialize};

/// How the stored value of a learned scale becomes the used one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// `used = stored * init / scale`.
    Direct,
    /// `used = |stored * init / scale|`, as nGPT does for its step sizes.
    Absolute,
    /// `used = 1 + stored`, as Gemma stores its gains: weight decay pulls the gain to 1.
    OnePlus,
    /// `used = magnitude * stored` with a learned scalar `magnitude` (2605.26895, magnitude and direction).
    Product,
    /// `used = exp(magnitude) * stored`.
    ExpProduct,
    /// `used = magnitude * sqrt(n) * stored / |stored|` for `n` entries, as weight normalization does.
    UnitProduct,
    /// `used = exp(magnitude) * exp(stored - mean(stored))`: positive (2605.26895, ER).
    CenteredExp,
}

impl Form {
    /// Whether a learned scalar stands beside the stored vector.
    pub fn has_magnitude(self) -> bool {
        matches!(
            self,
            Self::Product | Self::ExpProduct | Self::UnitProduct | Self::CenteredExp
        )
    }
}

/// How many entries a learned scale has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GainShape {
    /// One entry per channel of the place it stands at.
    Vector,
    /// One entry for all channels.
    Scalar,
}

/// Whether a linear map directly follows a learned scale and could absorb it. Weight decay may go by it:
/// [`GainDecay`](crate::GainDecay) (2605.26895, Input-Norm and Output-Norm).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GainRole {
    /// A linear map follows, which could absorb it.
    Input,
    /// No linear map follows directly; or the function that it belongs to doesn't multiply by it last.
    Output,
}

/// A learned scale: how it starts, how it is stored, whether it decays.
///
/// The parameter starts at `scale` and `used = form(stored * init / scale)`, so the value starts at `init` and an
/// Adam step of size `lr` moves it by `lr * init / scale` (nGPT, 2410.01131, section 2.5).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GainPlan {
    /// One entry a channel, or one for all.
    pub shape: GainShape,
    /// Used value at initialization.
    pub init: f64,
    /// Stored value at initialization.
    pub scale: f64,
    /// How the stored value becomes the used one.
    pub form: Form,
    /// Whether a linear map follows it.
    pub role: GainRole,
    /// Whether weight decay applies to the stored value and to its magnitude.
    pub decay: bool,
}

impl GainPlan {
    /// The stored value at initialization.
    pub fn stored_init(&self) -> f64 {
        match self.form {
            Form::OnePlus => self.init - 1.0,
            Form::CenteredExp => 0.0,
            _ => self.scale,
        }
    }

    /// The magnitude at initialization, so that the used value starts at `init`; none where the form has none.
    pub fn magnitude_init(&self) -> Option<f64> {
        match self.form {
            Form::Direct | Form::Absolute | Form::OnePlus => None,
            Form::Product => Some(self.init / self.scale),
            Form::ExpProduct => Some((self.init / self.scale).ln()),
            Form::UnitProduct => Some(self.init * self.scale.signum()),
            Form::CenteredExp => Some(self.init.ln()),
        }
    }

    /// The constant between the stored and the used value.
    pub fn ratio(&self) -> f64 {
        match self.form {
            Form::Direct | Form::Absolute => self.init / self.scale,
            _ => 1.0,
        }
    }

    /// A gain as normalization layers have it: a vector of ones, stored as itself, not decayed.
    pub fn ones(role: GainRole) -> Self {
        Self {
            shape: GainShape::Vector,
            init: 1.0,
            scale: 1.0,
            form: Form::Direct,
            role,
            decay: false,
        }
    }

    /// One scalar for all channels, stored as itself, not decayed.
    pub fn scalar(init: f64) -> Self {
        Self {
            shape: GainShape::Scalar,
            init,
            scale: init,
            ..Self::ones(GainRole::Output)
        }
    }

    /// The same gain, with or without weight decay.
    #[must_use]
    pub fn decayed(mut self, decay: bool) -> Self {
        self.decay = decay;
        self
    }
}
