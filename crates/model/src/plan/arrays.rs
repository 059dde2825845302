//! Learned arrays that a normalization function or a residual rule has of its own.

use super::{Init, ParamRole};

/// How an array starts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ArrayInit {
    /// Every entry the same.
    Filled(f64),
    /// A matrix, drawn.
    Drawn(Init),
}

/// One learned array of a function or a rule.
#[derive(Debug, Clone, PartialEq)]
pub struct ArrayPlan {
    /// Its name; it ends the parameter's path.
    pub name: String,
    /// Its shape, of rank 1 or 2; matrices are `[in, out]`.
    pub shape: Vec<usize>,
    /// How it starts.
    pub start: ArrayInit,
    /// Its kind, by which an optimizer chooses how to update it.
    pub role: ParamRole,
    /// Whether weight decay applies.
    pub decay: bool,
    /// Whether gradients move it; else it is state that checkpoints hold.
    pub trained: bool,
}

impl ArrayPlan {
    /// An array whose entries all start at `value`; it doesn't decay.
    pub fn filled(name: &str, shape: Vec<usize>, value: f64, role: ParamRole) -> Self {
        Self {
            name: name.to_owned(),
            shape,
            start: ArrayInit::Filled(value),
            role,
            decay: false,
            trained: true,
        }
    }

    /// A matrix `[in, out]` that starts as `init` and decays, to optimizers like any other.
    pub fn matrix(name: &str, shape: [usize; 2], init: Init) -> Self {
        Self {
            name: name.to_owned(),
            shape: shape.to_vec(),
            start: ArrayInit::Drawn(init),
            role: ParamRole::Matrix,
            decay: true,
            trained: true,
        }
    }

    /// The same array, with or without weight decay.
    #[must_use]
    pub fn decayed(mut self, decay: bool) -> Self {
        self.decay = decay;
        self
    }

    /// The same array as state that no gradient moves.
    #[must_use]
    pub fn state(mut self) -> Self {
        self.trained = false;
        self
    }
}
