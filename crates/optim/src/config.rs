//! Section `[optim]` of a run's configuration.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Adam, Clip, Descent, GradientSpace, Lion, Lookahead, OptimError, Role, Scaling, Schedule,
    Shape, Warmup,
};

/// How the model is trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct OptimConfig {
    /// What trains the model; docs/optimizers.md says what each does with matrices, embedding, output layer and
    /// vectors.
    pub recipe: RecipeName,
    /// Peak learning rate.
    pub lr: f64,
    /// Peak learning rate of the matrices inside the blocks under a recipe that treats them in a way of its own
    /// (Muon's family, the spheres, Scion); when not given what docs/optimizers.md says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matrix_lr: Option<f64>,
    /// Decay of the mean of gradients in the Adam family.
    pub beta1: f64,
    /// Decay of the mean of squared gradients in the Adam family.
    pub beta2: f64,
    /// Added to the root of the squared gradients' mean in the Adam family.
    pub eps: f64,
    /// Share of the mean in what `lion` takes the sign of.
    pub lion_beta1: f64,
    /// Decay of the mean of gradients in `lion`.
    pub lion_beta2: f64,
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
    /// How far Scion's steps reach for a rate of 1, in the matrices inside the blocks.
    pub scion_radius: f64,
    /// The same in the embedding and the output layer.
    pub scion_sign_radius: f64,
    /// Whether Scion's weights shrink towards the ball of that radius: `unconstrained` or `constrained`.
    pub scion_form: ScionForm,
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
    /// Groups of parameters that are trained otherwise. A parameter is in one of them at most.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<Override>,
}

/// The recipes by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RecipeName {
    /// Adam with decoupled weight decay (1711.05101).
    #[default]
    #[serde(rename = "adamw")]
    AdamW,
    /// Adam without weight decay (1412.6980).
    Adam,
    /// Adam with one mean square per head, output, or vector of the embedding (2406.16793).
    AdamMini,
    /// Signs of momentum (2302.06675).
    Lion,
    /// Adam, and rows of matrices of length at most 1 after each step (anGPT, 2505.22014).
    NormConstrainedAdam,
    /// Adam, and vectors of matrices along the stream of length 1 after each step (nGPT, 2410.01131).
    UnitNormAdam,
    /// Adam on the sphere of each matrix's first norm (Hyperball).
    AdamH,
    /// Keller Jordan's Muon (github.com/KellerJordan/Muon) as `torch.optim.Muon` has it.
    Muon,
    /// Moonlight's Muon, with steps of `AdamW`'s size (2502.16982).
    Moonlight,
    /// Muon with equal steps for every output (2510.05491).
    NorMuon,
    /// Muon with the Polar Express (2505.16932).
    PolarExpress,
    /// Muon on the sphere of each matrix's first norm (Hyperball).
    MuonH,
    /// Scion: spectral steps in the blocks, signs at the ends (2502.07529).
    Scion,
    /// Adam on directions beside learned magnitudes (2606.25971).
    DecoupledAdam,
    /// Muon on directions beside learned magnitudes (2606.25971).
    DecoupledMuon,
}

impl RecipeName {
    /// All of them, in the order of the documentation.
    pub const ALL: [Self; 15] = [
        Self::AdamW,
        Self::Adam,
        Self::AdamMini,
        Self::Lion,
        Self::NormConstrainedAdam,
        Self::UnitNormAdam,
        Self::AdamH,
        Self::Muon,
        Self::Moonlight,
        Self::NorMuon,
        Self::PolarExpress,
        Self::MuonH,
        Self::Scion,
        Self::DecoupledAdam,
        Self::DecoupledMuon,
    ];
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

/// Whether Scion's weights are held in a ball.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ScionForm {
    /// `w - rate radius u`.
    #[default]
    Unconstrained,
    /// `(1 - rate) w - rate radius u`.
    Constrained,
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
    pub role: Option<Role>,
    /// A pattern of paths.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Trains them as this recipe trains the matrices inside the blocks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recipe: Option<RecipeName>,
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
    /// The SimpleGPT training code's settings, with a rate for small models; Scion's radii are
    /// those of its example.
    fn default() -> Self {
        let (adam, lion) = (Adam::default(), Lion::default());
        Self {
            recipe: RecipeName::AdamW,
            lr: 1e-3,
            matrix_lr: None,
            beta1: adam.beta1,
            beta2: adam.beta2,
            eps: adam.eps,
            lion_beta1: lion.beta1,
            lion_beta2: lion.beta2,
            momentum: None,
            lookahead: None,
            orthogonal_steps: crate::Orthogonal::default().steps,
            scaling: None,
            heads: HeadSplit::Joined,
            scion_radius: 50.0,
            scion_sign_radius: 3000.0,
            scion_form: ScionForm::Unconstrained,
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

    pub(crate) fn check_values(&self) -> Result<(), OptimError> {
        let not_negative = [
            ("lr", Some(self.lr)),
            ("matrix_lr", self.matrix_lr),
            ("weight_decay", Some(self.weight_decay)),
            ("clip", Some(self.clip)),
            ("qk_clip", Some(self.qk_clip)),
        ];
        for (key, value) in not_negative {
            if let Some(value) = value.filter(|value| !(value.is_finite() && *value >= 0.0)) {
                return Err(bad(key, "must be a finite number of at least 0", value));
            }
        }
        let positive = [
            ("eps", self.eps),
            ("scion_radius", self.scion_radius),
            ("scion_sign_radius", self.scion_sign_radius),
        ];
        for (key, value) in positive {
            if !(value.is_finite() && value > 0.0) {
                return Err(bad(key, "must be a finite number above 0", value));
            }
        }
        let decays = [
            ("beta1", Some(self.beta1)),
            ("beta2", Some(self.beta2)),
            ("lion_beta1", Some(self.lion_beta1)),
            ("lion_beta2", Some(self.lion_beta2)),
            ("momentum", self.momentum),
        ];
        for (key, value) in decays {
            if let Some(value) = value.filter(|value| !(0.0..1.0).contains(value)) {
                return Err(bad(key, "must be at least 0 and below 1", value));
            }
        }
        self.groups.iter().try_for_each(Override::check)
    }
}

impl Override {
    fn check(&self) -> Result<(), OptimError> {
        let error = |reason: String| OptimError::Config {
            key: "groups",
            reason: format!("group `{}`: {reason}", self.name),
        };
        if self.role.is_none() && self.path.is_none() {
            return Err(error("give role or path, or both".to_owned()));
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

fn bad(key: &'static str, what: &str, value: f64) -> OptimError {
    OptimError::Config {
        key,
        reason: format!("{what}, not {value}"),
    }
}
