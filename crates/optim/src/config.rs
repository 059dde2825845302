//! Section `[optim]` of a run's configuration.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::recipe::as_given;
use crate::{
    Adam, Clip, Descent, GradientSpace, OptimError, ParamRole, Recipe, Schedule, Shape, Warmup,
};

/// How the model is trained: a recipe with its options, and the keys that all recipes have.
///
/// As a section of a file it is a flat table: `recipe`, its options and these keys, read by an
/// [`OptimizerRegistry`](crate::OptimizerRegistry).
///
/// ```
/// use evenburn_optim::{Muon, OptimConfig};
/// let config = OptimConfig { recipe: Muon::default().into(), lr: 3e-3, ..OptimConfig::default() };
/// assert_eq!(config.recipe.name(), "muon");
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct OptimConfig {
    /// What trains the model, with its options; which there are, a registry knows, and reads them.
    #[serde(flatten, skip_deserializing)]
    #[schemars(skip)]
    pub recipe: Recipe,
    /// Peak learning rate.
    pub lr: f64,
    /// Decay of the mean of gradients in the Adam family.
    pub beta1: f64,
    /// Decay of the mean of squared gradients in the Adam family.
    pub beta2: f64,
    /// Added to the root of the squared gradients' mean in the Adam family.
    pub eps: f64,
    /// Which part of the gradient is seen: `ambient` (all of it) or `tangent` (what a constraint leaves of it).
    pub gradient: GradientSpace,
    /// Decoupled weight decay of the parameters that the scheme decays: each step multiplies them
    /// by `1 - rate * weight_decay`. Recipes that keep norms, and `adam`, ignore it.
    pub weight_decay: f64,
    /// Largest norm of the gradients; larger ones are scaled down to it. 0 turns it off.
    pub clip: f64,
    /// Whose norm that is: `all` gradients together or those of each of the `groups`.
    pub clip_over: ClipOver,
    /// Largest attention score (QK-clip): after a step, heads of q and k above it are scaled down to it, as measured on the
    /// step's last micro-batch; 100 in its paper. 0 turns it off.
    pub qk_clip: f64,
    /// What the rate does after the warm-up: `constant`, `linear`, `cosine`, `wsd` (stable,
    /// then a decay over the last part of the run) or `inverse_sqrt`.
    pub schedule: ScheduleName,
    /// Warm-up as a fraction of the run.
    pub warmup_fraction: f64,
    /// Warm-up in steps; takes the place of `warmup_fraction` where it is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warmup_steps: Option<u64>,
    /// Length of the decay of `wsd`, as a fraction of the run.
    pub decay_fraction: f64,
    /// The way down of `wsd`, and of a decay started by hand: `linear`, `cosine` or `one_minus_sqrt`.
    pub decay_shape: Descent,
    /// Where the rate ends, as a fraction of its peak.
    pub final_fraction: f64,
    /// Groups of parameters that are trained otherwise, each a table of `name`, `role` or `path` or both, and what is other:
    /// `recipe` with its options, `lr_factor`, `weight_decay`, `constraint`. A parameter is in one of them at most.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<Override>,
}

/// Whose norm is clipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClipOver {
    /// That of all gradients together.
    #[default]
    All,
    /// That of each group's.
    Groups,
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
    /// Stable, then a decay.
    Wsd,
    /// The inverse root of the step.
    InverseSqrt,
}

/// Parameters that are trained otherwise than their role.
///
/// `role` and `path` both narrow the choice; at least one is given. In a path `*` stands for any
/// characters: `blocks.*.attn.[qk].weight`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Override {
    /// The group's name in reports.
    pub name: String,
    /// `embedding`, `matrix`, `head`, `gain` or `bias`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<ParamRole>,
    /// A pattern of paths.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Trains them as this recipe trains the matrices inside the blocks. Its options may stand beside it; those that don't are
    /// the run's where it is the run's recipe, and its defaults elsewhere.
    #[serde(flatten, skip_deserializing, serialize_with = "as_given")]
    #[schemars(skip)]
    pub recipe: Option<Recipe>,
    /// Multiplies the rate they would have.
    #[serde(default = "one")]
    pub lr_factor: f64,
    /// Their weight decay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight_decay: Option<f64>,
    /// What they are projected onto: `free`, `rows_at_most_one` or `rows_one`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub constraint: Option<ConstraintName>,
}

impl Default for Override {
    /// No name and no parameters: at least the name and one of `role` and `path` are to be given.
    ///
    /// ```
    /// use evenburn_optim::{Override, ParamRole};
    /// let gains = Override { name: "gains".into(), role: Some(ParamRole::Gain), ..Override::default() };
    /// assert_eq!(gains.lr_factor, 1.0);
    /// ```
    fn default() -> Self {
        Self {
            name: String::new(),
            role: None,
            path: None,
            recipe: None,
            lr_factor: one(),
            weight_decay: None,
            constraint: None,
        }
    }
}

fn one() -> f64 {
    1.0
}

/// Constraints by name. A row is what makes one output, in the embedding the vector of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConstraintName {
    /// None.
    Free,
    /// Rows of length at most 1.
    RowsAtMostOne,
    /// Rows of length 1.
    RowsOne,
}

impl Default for OptimConfig {
    /// The SimpleGPT training code's settings, with a rate for small models.
    fn default() -> Self {
        let adam = Adam::default();
        Self {
            recipe: Recipe::default(),
            lr: 1e-3,
            beta1: adam.beta1,
            beta2: adam.beta2,
            eps: adam.eps,
            gradient: GradientSpace::Ambient,
            weight_decay: 0.1,
            clip: 1.0,
            clip_over: ClipOver::All,
            qk_clip: 0.0,
            schedule: ScheduleName::Linear,
            warmup_fraction: 0.01,
            warmup_steps: None,
            decay_fraction: 0.2,
            decay_shape: Descent::Linear,
            final_fraction: 0.0,
            groups: Vec::new(),
        }
    }
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
                    descent: self.decay_shape,
                },
                ScheduleName::InverseSqrt => Shape::InverseSqrt,
            },
            warmup: match self.warmup_steps {
                Some(steps) => Warmup::Steps(steps),
                None => Warmup::Fraction(self.warmup_fraction),
            },
            final_fraction: self.final_fraction,
        }
    }

    /// How gradients are clipped.
    pub fn clip(&self) -> Clip {
        match self.clip_over {
            _ if self.clip == 0.0 => Clip::None,
            ClipOver::All => Clip::All { max: self.clip },
            ClipOver::Groups => Clip::Groups { max: self.clip },
        }
    }

    /// Whether these values can train a run of `total` steps.
    ///
    /// # Errors
    /// [`OptimError::Config`] naming the key, or [`OptimError::Schedule`].
    pub fn check(&self, total: u64) -> Result<(), OptimError> {
        self.check_values()?;
        Ok(self.schedule().check(total)?)
    }

    /// Whether the program knows its recipe and those of its groups, so that rules can be made.
    ///
    /// # Errors
    /// [`OptimError::UnknownRecipe`] with its name and where it was recorded.
    pub fn check_known(&self) -> Result<(), OptimError> {
        self.recipe.strategy()?;
        for recipe in self.groups.iter().filter_map(|group| group.recipe.as_ref()) {
            recipe.strategy()?;
        }
        Ok(())
    }

    pub(crate) fn check_values(&self) -> Result<(), OptimError> {
        check_rate("lr", Some(self.lr))?;
        check_rate("weight_decay", Some(self.weight_decay))?;
        check_rate("clip", Some(self.clip))?;
        check_rate("qk_clip", Some(self.qk_clip))?;
        check_positive("eps", self.eps)?;
        check_decay("beta1", self.beta1)?;
        check_decay("beta2", self.beta2)?;
        self.recipe.check()?;
        self.groups.iter().try_for_each(Override::check)
    }
}

impl Override {
    fn check(&self) -> Result<(), OptimError> {
        let error = |reason: String| {
            OptimError::config("groups", format!("group `{}`: {reason}", self.name))
        };
        if self.role.is_none() && self.path.is_none() {
            return Err(error("give role or path, or both".to_owned()));
        }
        if let Some(recipe) = &self.recipe {
            recipe.check().map_err(|e| error(e.to_string()))?;
        }
        for (key, value) in [
            ("lr_factor", Some(self.lr_factor)),
            ("weight_decay", self.weight_decay),
        ] {
            if let Some(value) = value.filter(|value| !(value.is_finite() && *value >= 0.0)) {
                let why = format!("{key} must be a finite number of at least 0, not {value}");
                return Err(error(why));
            }
        }
        Ok(())
    }
}

/// Whether a rate, or something else that isn't negative, is one.
pub(crate) fn check_rate(key: &'static str, value: Option<f64>) -> Result<(), OptimError> {
    match value.filter(|value| !(value.is_finite() && *value >= 0.0)) {
        Some(value) => Err(bad(key, "must be a finite number of at least 0", value)),
        None => Ok(()),
    }
}

/// Whether something that has to be above 0 is.
pub(crate) fn check_positive(key: &'static str, value: f64) -> Result<(), OptimError> {
    if value.is_finite() && value > 0.0 {
        return Ok(());
    }
    Err(bad(key, "must be a finite number above 0", value))
}

/// Whether the decay of a running mean is one.
pub(crate) fn check_decay(key: &'static str, value: f64) -> Result<(), OptimError> {
    if (0.0..1.0).contains(&value) {
        return Ok(());
    }
    Err(bad(key, "must be at least 0 and below 1", value))
}

fn bad(key: &'static str, what: &str, value: f64) -> OptimError {
    OptimError::config(key, format!("{what}, not {value}"))
}
