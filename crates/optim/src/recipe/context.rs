//! What a recipe is asked about, and what it answers.

use evenburn_geometry::Constraint;

use crate::{Adam, Composition, OptimConfig, ParamInfo, ParamRole, Update};

/// A parameter that a recipe is to train, and the keys that all recipes have.
#[derive(Debug, Clone, Copy)]
pub struct ParamContext<'a> {
    info: &'a ParamInfo,
    role: ParamRole,
    config: &'a OptimConfig,
}

/// How a recipe trains one parameter.
#[derive(Debug, Clone)]
pub struct Treatment {
    /// How its gradient becomes a step.
    pub update: Update,
    /// Peak learning rate.
    pub lr: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// What it is projected onto after each step.
    pub constraint: Constraint,
}

impl<'a> ParamContext<'a> {
    /// A parameter, trained as one of its own role, or of another that a group of `optim.groups` asks for.
    pub(crate) fn new(info: &'a ParamInfo, role: ParamRole, config: &'a OptimConfig) -> Self {
        Self { info, role, config }
    }

    /// What it is to be trained as: its own role, or [`ParamRole::Matrix`] in a group with a recipe of its own.
    pub fn role(&self) -> ParamRole {
        self.role
    }

    /// The parameter.
    pub fn info(&self) -> &'a ParamInfo {
        self.info
    }

    /// The keys of `[optim]` that all recipes have.
    pub fn config(&self) -> &'a OptimConfig {
        self.config
    }

    /// `optim.lr`.
    pub fn lr(&self) -> f64 {
        self.config.lr
    }

    /// Adam with `optim.beta1`, `beta2` and `eps`.
    pub fn adam(&self) -> Adam {
        Adam {
            beta1: self.config.beta1,
            beta2: self.config.beta2,
            eps: self.config.eps,
        }
    }

    /// Plain Adam at `optim.lr` with the weight decay that the scheme asks for: `AdamW`.
    pub fn adamw(&self) -> Treatment {
        self.decayed(Composition::adam(self.adam()), self.lr())
    }

    /// Plain Adam at `optim.lr` without weight decay.
    pub fn plain_adam(&self) -> Treatment {
        self.undecayed(Composition::adam(self.adam()), self.lr())
    }

    /// An update with `optim.weight_decay`, if the scheme decays the parameter.
    pub fn decayed(&self, update: impl Into<Update>, lr: f64) -> Treatment {
        let decay = if self.info.decay {
            self.config.weight_decay
        } else {
            0.0
        };
        Treatment {
            weight_decay: decay,
            ..self.undecayed(update, lr)
        }
    }

    /// An update without weight decay.
    pub fn undecayed(&self, update: impl Into<Update>, lr: f64) -> Treatment {
        Treatment {
            update: update.into(),
            lr,
            weight_decay: 0.0,
            constraint: self.info.constraint,
        }
    }
}

impl Treatment {
    /// The same, projected onto a set where the scheme leaves the parameter free.
    pub fn confined(mut self, to: Constraint) -> Self {
        if self.constraint == Constraint::Free {
            self.constraint = to;
        }
        self
    }
}
