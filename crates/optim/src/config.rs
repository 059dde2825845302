//! Section `[optim]` of a run's configuration, and the rules it makes.

use std::collections::BTreeMap;

use evenburn_geometry::Constraint;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Adam, Adjust, Muon, NormFloor, OptimError, Recipe, Rule, Schedule, Shape, Warmup};

/// How the model is trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct OptimConfig {
    /// What trains the matrices inside the blocks. Everything else (embedding, head, gains,
    /// biases) is trained by `adamw`, or by `adam` if that is chosen here.
    pub recipe: RecipeName,
    /// Peak learning rate of all that `adamw` or `adam` trains.
    pub lr: f64,
    /// Decay of the mean of gradients in `adamw` and `adam`.
    pub beta1: f64,
    /// Decay of the mean of squared gradients in `adamw` and `adam`.
    pub beta2: f64,
    /// Added to the root of the squared gradients' mean in `adamw` and `adam`.
    pub eps: f64,
    /// Decoupled weight decay of the parameters that the scheme decays: each step multiplies them
    /// by `1 - rate * weight_decay`. `adam` ignores it.
    pub weight_decay: f64,
    /// Peak learning rate of the matrices that `muon` trains.
    pub muon_lr: f64,
    /// Decay of the mean of gradients in `muon`.
    pub muon_momentum: f64,
    /// Whether `muon` mixes the gradient into its momentum once more.
    pub muon_nesterov: bool,
    /// Newton-Schulz iterations of `muon`.
    pub muon_ns_steps: usize,
    /// Keeps the norm that `muon` divides by away from zero.
    pub muon_eps: f64,
    /// How `muon_eps` does that: `clamp` takes the larger of the two, `add` their sum.
    pub muon_floor: NormFloor,
    /// The factor on the rate of a matrix by its shape: `original` is sqrt(max(1, out / in)),
    /// `match_rms_adamw` is 0.2 sqrt(max(out, in)).
    pub muon_adjust: Adjust,
    /// Largest norm of all gradients together; larger ones are scaled down to it. 0 turns it off.
    pub clip: f64,
    /// What the rate does after the warm-up: `constant`, `linear`, `cosine`, or `wsd` (stable,
    /// then a linear decay over the last part of the run).
    pub schedule: ScheduleName,
    /// Warm-up as a fraction of the run.
    pub warmup_fraction: f64,
    /// Warm-up in steps; takes the place of `warmup_fraction` where it is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warmup_steps: Option<u64>,
    /// Length of the decay of `wsd`, as a fraction of the run.
    pub decay_fraction: f64,
    /// Where the rate ends, as a fraction of its peak.
    pub final_fraction: f64,
}

/// The recipes by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RecipeName {
    /// Adam with decoupled weight decay.
    #[default]
    #[serde(rename = "adamw")]
    AdamW,
    /// Adam without weight decay.
    Adam,
    /// Muon for the matrices, `adamw` for the rest.
    Muon,
}

/// The schedules by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ScheduleName {
    /// The peak rate throughout.
    Constant,
    /// A straight line down.
    #[default]
    Linear,
    /// Half a cosine down.
    Cosine,
    /// Stable, then a straight line down.
    Wsd,
}

impl Default for OptimConfig {
    /// The SimpleGPT training code's settings, with a rate for small models; Muon's are Keller
    /// Jordan's.
    fn default() -> Self {
        let (adam, muon) = (Adam::default(), Muon::default());
        Self {
            recipe: RecipeName::AdamW,
            lr: 1e-3,
            beta1: adam.beta1,
            beta2: adam.beta2,
            eps: adam.eps,
            weight_decay: 0.1,
            muon_lr: 0.02,
            muon_momentum: muon.momentum,
            muon_nesterov: muon.nesterov,
            muon_ns_steps: muon.ns_steps,
            muon_eps: muon.eps,
            muon_floor: muon.floor,
            muon_adjust: muon.adjust,
            clip: 1.0,
            schedule: ScheduleName::Linear,
            warmup_fraction: 0.01,
            warmup_steps: None,
            decay_fraction: 0.2,
            final_fraction: 0.0,
        }
    }
}

/// What a parameter is, as far as its training goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// The embedding table.
    Embedding,
    /// A linear map inside a block.
    Matrix,
    /// The map to the logits.
    Head,
    /// A learned scale.
    Gain,
    /// A learned shift.
    Bias,
}

impl Role {
    /// The group of the parameters of this role.
    pub fn group(self) -> &'static str {
        match self {
            Self::Embedding => "embedding",
            Self::Matrix => "matrices",
            Self::Head => "head",
            Self::Gain => "gains",
            Self::Bias => "biases",
        }
    }
}

/// What [`rules`] needs to know of a parameter.
#[derive(Debug, Clone, PartialEq)]
pub struct ParamInfo {
    /// Its exact path in the module.
    pub path: String,
    /// What it is.
    pub role: Role,
    /// What it is projected onto after each step.
    pub constraint: Constraint,
    /// Whether it decays.
    pub decay: bool,
}

impl OptimConfig {
    /// The schedule these keys describe.
    pub fn schedule(&self) -> Schedule {
        Schedule {
            shape: match self.schedule {
                ScheduleName::Constant => Shape::Constant,
                ScheduleName::Linear => Shape::Linear,
                ScheduleName::Cosine => Shape::Cosine,
                ScheduleName::Wsd => Shape::Wsd {
                    decay_fraction: self.decay_fraction,
                },
            },
            warmup: match self.warmup_steps {
                Some(steps) => Warmup::Steps(steps),
                None => Warmup::Fraction(self.warmup_fraction),
            },
            final_fraction: self.final_fraction,
        }
    }

    /// The largest global gradient norm, `None` for no clipping.
    pub fn max_grad_norm(&self) -> Option<f64> {
        (self.clip > 0.0).then_some(self.clip)
    }

    /// Whether these values can train a run of `total` steps.
    ///
    /// # Errors
    /// [`OptimError::Config`] naming the key, or [`OptimError::Schedule`].
    pub fn check(&self, total: u64) -> Result<(), OptimError> {
        self.check_values()?;
        Ok(self.schedule().check(total)?)
    }

    fn check_values(&self) -> Result<(), OptimError> {
        let not_negative = [
            ("lr", self.lr),
            ("weight_decay", self.weight_decay),
            ("muon_lr", self.muon_lr),
            ("clip", self.clip),
        ];
        for (key, value) in not_negative {
            if !(value.is_finite() && value >= 0.0) {
                return Err(bad(key, "must be a finite number of at least 0", value));
            }
        }
        for (key, value) in [("eps", self.eps), ("muon_eps", self.muon_eps)] {
            if !(value.is_finite() && value > 0.0) {
                return Err(bad(key, "must be a finite number above 0", value));
            }
        }
        let decays = [
            ("beta1", self.beta1),
            ("beta2", self.beta2),
            ("muon_momentum", self.muon_momentum),
        ];
        for (key, value) in decays {
            if !(0.0..1.0).contains(&value) {
                return Err(bad(key, "must be at least 0 and below 1", value));
            }
        }
        Ok(())
    }

    fn adam(&self) -> Adam {
        Adam {
            beta1: self.beta1,
            beta2: self.beta2,
            eps: self.eps,
        }
    }

    fn muon(&self) -> Muon {
        Muon {
            momentum: self.muon_momentum,
            nesterov: self.muon_nesterov,
            ns_steps: self.muon_ns_steps,
            eps: self.muon_eps,
            floor: self.muon_floor,
            adjust: self.muon_adjust,
        }
    }

    fn recipe_for(&self, role: Role) -> Recipe {
        match (self.recipe, role) {
            (RecipeName::Muon, Role::Matrix) => Recipe::Muon(self.muon()),
            (RecipeName::Adam, _) => Recipe::Adam(self.adam()),
            (RecipeName::AdamW | RecipeName::Muon, _) => Recipe::AdamW(self.adam()),
        }
    }
}

fn bad(key: &'static str, what: &str, value: f64) -> OptimError {
    OptimError::Config {
        key,
        reason: format!("{what}, not {value}"),
    }
}

/// One rule for each parameter, by path.
///
/// # Errors
/// [`OptimError::Config`] for a value out of range, [`OptimError::DuplicateParameter`] for a path
/// that comes twice.
///
/// ```
/// use evenburn_geometry::Constraint;
/// use evenburn_optim::{OptimConfig, ParamInfo, RecipeName, Role, rules};
///
/// let config = OptimConfig { recipe: RecipeName::Muon, ..OptimConfig::default() };
/// let param = |path: &str, role| ParamInfo {
///     path: path.to_owned(), role, constraint: Constraint::Free, decay: role == Role::Matrix,
/// };
/// let rules = rules(
///     &config,
///     [param("blocks.0.attn.q.weight", Role::Matrix), param("final_norm.gain", Role::Gain)],
/// )?;
/// assert_eq!(rules["blocks.0.attn.q.weight"].recipe.name(), "muon");
/// assert_eq!(rules["final_norm.gain"].recipe.name(), "adamw");
/// assert_eq!(rules["final_norm.gain"].weight_decay, 0.0);
/// # Ok::<(), evenburn_optim::OptimError>(())
/// ```
pub fn rules(
    config: &OptimConfig,
    params: impl IntoIterator<Item = ParamInfo>,
) -> Result<BTreeMap<String, Rule>, OptimError> {
    config.check_values()?;
    let mut rules = BTreeMap::new();
    for param in params {
        let recipe = config.recipe_for(param.role);
        let (lr, decays) = match recipe {
            Recipe::AdamW(_) => (config.lr, param.decay),
            Recipe::Adam(_) => (config.lr, false),
            Recipe::Muon(_) => (config.muon_lr, param.decay),
        };
        let rule = Rule {
            group: param.role.group().to_owned(),
            recipe,
            lr,
            weight_decay: if decays { config.weight_decay } else { 0.0 },
            constraint: param.constraint,
        };
        if rules.insert(param.path.clone(), rule).is_some() {
            return Err(OptimError::DuplicateParameter { path: param.path });
        }
    }
    Ok(rules)
}
