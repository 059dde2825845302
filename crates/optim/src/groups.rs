//! From what a parameter is to how it is trained.

use std::collections::BTreeMap;

use evenburn_geometry::{Axis, Constraint};
use glob::Pattern;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::{ConstraintName, HeadSplit, ScionForm};
use crate::{
    Adam, AdamMini, Blocks, GradientSpace, Lion, Magnitudes, OptimConfig, OptimError, Override,
    Recipe, RecipeName, Rule, Scaling, Space,
};

/// What a parameter is, as far as its training goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
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

    /// Whether it is a vector or a scalar.
    fn is_vector(self) -> bool {
        matches!(self, Self::Gain | Self::Bias)
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
    /// The axis that is the residual stream; [`Axis::Out`] for a vector.
    pub stream: Axis,
    /// The heads that its outputs belong to, where they do.
    pub heads: Option<Heads>,
}

/// The heads that the outputs of a matrix belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heads {
    /// How many.
    pub count: usize,
    /// What attention makes of them.
    pub serves: HeadUse,
}

/// What attention makes of a matrix's heads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadUse {
    /// Scores: queries and keys.
    Scores,
    /// Means: values.
    Values,
}

impl ParamInfo {
    /// The axis along which a row runs: what makes one output, or a token's vector.
    fn row(&self) -> Axis {
        match self.role {
            Role::Embedding => Axis::Out,
            Role::Matrix | Role::Head | Role::Gain | Role::Bias => Axis::In,
        }
    }

    fn blocks(&self) -> Blocks {
        match (self.role, self.heads) {
            (Role::Gain | Role::Bias, _) => Blocks::Tensor,
            (Role::Embedding, _) => Blocks::Input,
            // The code's partition: heads for q and k, which are told apart from v by the product they enter.
            (
                Role::Matrix,
                Some(Heads {
                    count,
                    serves: HeadUse::Scores,
                }),
            ) => Blocks::Heads(count),
            (Role::Matrix | Role::Head, _) => Blocks::Output,
        }
    }
}

/// What the recipes of a run have in common.
struct Recipes<'a> {
    config: &'a OptimConfig,
}

/// How a recipe trains one parameter.
struct Treatment {
    recipe: Recipe,
    lr: f64,
    weight_decay: f64,
    constraint: Constraint,
}

/// Muon's and the spheres' rates where `matrix_lr` is not given: Keller Jordan's, and the middle of what Hyperball's
/// authors use (2.5e-3 to 1e-2).
const MUON_LR: f64 = 0.02;
const SPHERE_LR: f64 = 5e-3;

impl Recipes<'_> {
    fn adam(&self) -> Adam {
        Adam {
            beta1: self.config.beta1,
            beta2: self.config.beta2,
            eps: self.config.eps,
        }
    }

    fn magnitudes(&self) -> Magnitudes {
        Magnitudes {
            adam: self.adam(),
            ..Magnitudes::default()
        }
    }

    /// A recipe of Muon's family under this configuration.
    fn muon(&self, recipe: Recipe, param: &ParamInfo) -> Recipe {
        let config = self.config;
        let mut recipe = recipe
            .with_momentum(|m| {
                m.beta = config.momentum.unwrap_or(m.beta);
                m.lookahead = config.lookahead.unwrap_or(m.lookahead);
            })
            .with_orthogonal(|o| {
                o.steps = config.orthogonal_steps;
                o.heads = match config.heads {
                    HeadSplit::Joined => 1,
                    HeadSplit::Split => param.heads.map_or(1, |heads| heads.count),
                };
            });
        if recipe.orthogonal().is_some() {
            recipe.scaling = config.scaling.unwrap_or(recipe.scaling);
        }
        recipe
    }

    fn matrix_lr(&self, default: f64) -> f64 {
        self.config.matrix_lr.unwrap_or(default)
    }

    /// Adam as a recipe's companion for what it leaves alone.
    fn beside(&self, param: &ParamInfo) -> Treatment {
        self.decayed(Recipe::adam(self.adam()), self.config.lr, param)
    }

    /// With the weight decay that the scheme asks for.
    fn decayed(&self, recipe: Recipe, lr: f64, param: &ParamInfo) -> Treatment {
        Treatment {
            recipe,
            lr,
            weight_decay: if param.decay {
                self.config.weight_decay
            } else {
                0.0
            },
            constraint: param.constraint,
        }
    }

    /// Without weight decay, confined where the scheme leaves it free.
    fn confined(recipe: Recipe, lr: f64, param: &ParamInfo, to: Constraint) -> Treatment {
        let constraint = match param.constraint {
            Constraint::Free => to,
            given => given,
        };
        Treatment {
            recipe,
            lr,
            weight_decay: 0.0,
            constraint,
        }
    }

    /// Scion's: the radius is part of the rate.
    fn scion(&self, recipe: Recipe, radius: f64, param: &ParamInfo) -> Treatment {
        Treatment {
            lr: self.matrix_lr(self.config.lr) * radius,
            weight_decay: match self.config.scion_form {
                ScionForm::Unconstrained => 0.0,
                ScionForm::Constrained => radius.recip(),
            },
            recipe: self.muon(recipe, param),
            constraint: param.constraint,
        }
    }

    /// How a recipe trains a parameter of some role.
    fn treatment(&self, name: RecipeName, role: Role, param: &ParamInfo) -> Treatment {
        let config = self.config;
        let (lr, adam) = (config.lr, Recipe::adam(self.adam()));
        let matrix = role == Role::Matrix;
        let free = Constraint::Free;
        let rest = |to: Constraint| Self::confined(adam, lr, param, to);
        match name {
            RecipeName::AdamW => self.decayed(adam, lr, param),
            RecipeName::AdamMini => {
                let mini = AdamMini {
                    adam: self.adam(),
                    blocks: param.blocks(),
                };
                self.decayed(Recipe::adam_mini(mini), lr, param)
            }
            RecipeName::Lion => {
                let lion = Lion {
                    beta1: config.lion_beta1,
                    beta2: config.lion_beta2,
                };
                self.decayed(Recipe::lion(lion), lr, param)
            }
            RecipeName::NormConstrainedAdam if !role.is_vector() => rest(Constraint::AtMost {
                along: param.row(),
                radius: 1.0,
            }),
            RecipeName::UnitNormAdam if !role.is_vector() => rest(Constraint::Unit {
                along: param.stream,
            }),
            RecipeName::AdamH if matrix || role == Role::Head => {
                self.on_sphere(Recipe::adam_h(self.adam()), param)
            }
            RecipeName::MuonH if matrix => {
                self.on_sphere(self.muon(Recipe::muon_h(), param), param)
            }
            RecipeName::MuonH if role == Role::Head => {
                self.on_sphere(Recipe::adam_h(self.adam()), param)
            }
            RecipeName::Muon | RecipeName::NorMuon | RecipeName::PolarExpress if matrix => {
                let recipe = match name {
                    RecipeName::NorMuon => Recipe::nor_muon(),
                    RecipeName::PolarExpress => Recipe::polar_express(),
                    _ => Recipe::muon(),
                };
                self.decayed(self.muon(recipe, param), self.matrix_lr(MUON_LR), param)
            }
            RecipeName::Moonlight if matrix => {
                let recipe = self.muon(Recipe::moonlight(), param);
                self.decayed(recipe, self.matrix_lr(lr), param)
            }
            RecipeName::Scion if matrix => {
                self.scion(Recipe::scion_spectral(), config.scion_radius, param)
            }
            RecipeName::Scion if role == Role::Head => {
                let sign = Recipe::scion_sign(Scaling::PerInput);
                self.scion(sign, config.scion_sign_radius, param)
            }
            RecipeName::Scion if role == Role::Embedding => {
                // The step of the official example, where both ends share one table.
                let sign = Recipe::scion_sign(Scaling::PerOutput);
                self.scion(sign, config.scion_sign_radius, param)
            }
            RecipeName::DecoupledAdam if matrix => Treatment {
                recipe: adam.decoupled(self.magnitudes()),
                lr: self.matrix_lr(lr),
                weight_decay: 0.0,
                constraint: param.constraint,
            },
            RecipeName::DecoupledMuon if matrix => Treatment {
                recipe: self
                    .muon(Recipe::decoupled_muon(), param)
                    .decoupled(self.magnitudes()),
                lr: self.matrix_lr(MUON_LR),
                weight_decay: 0.0,
                constraint: param.constraint,
            },
            RecipeName::DecoupledAdam | RecipeName::DecoupledMuon if !role.is_vector() => {
                rest(Constraint::Unit {
                    along: param.stream,
                })
            }
            // What is left to Adam: vectors, and ends that a recipe has no way of its own for.
            RecipeName::Adam
            | RecipeName::NormConstrainedAdam
            | RecipeName::UnitNormAdam
            | RecipeName::AdamH
            | RecipeName::MuonH
            | RecipeName::DecoupledAdam
            | RecipeName::DecoupledMuon => rest(free),
            RecipeName::Muon
            | RecipeName::NorMuon
            | RecipeName::PolarExpress
            | RecipeName::Moonlight
            | RecipeName::Scion => self.beside(param),
        }
    }

    fn on_sphere(&self, recipe: Recipe, param: &ParamInfo) -> Treatment {
        Treatment {
            recipe,
            lr: self.matrix_lr(SPHERE_LR),
            weight_decay: 0.0,
            constraint: param.constraint,
        }
    }

    /// The rule of a parameter, in the group that claims it or in its role's.
    fn rule(&self, param: &ParamInfo, group: Option<&Override>) -> Rule {
        let treatment = match group.and_then(|group| group.recipe) {
            Some(recipe) => self.treatment(recipe, Role::Matrix, param),
            None => self.treatment(self.config.recipe, param.role, param),
        };
        let Treatment {
            mut recipe,
            mut lr,
            mut weight_decay,
            mut constraint,
        } = treatment;
        let mut name = param.role.group();
        if let Some(group) = group {
            name = &group.name;
            lr *= group.lr_factor;
            weight_decay = group.weight_decay.unwrap_or(weight_decay);
            constraint = match group.constraint {
                None => constraint,
                Some(ConstraintName::Free) => Constraint::Free,
                Some(ConstraintName::RowsAtMostOne) => Constraint::AtMost {
                    along: param.row(),
                    radius: 1.0,
                },
                Some(ConstraintName::RowsOne) => Constraint::Unit { along: param.row() },
            };
        }
        if constraint != Constraint::Free || recipe.space == Space::Sphere {
            recipe.gradient = self.config.gradient;
        } else {
            recipe.gradient = GradientSpace::Ambient;
        }
        Rule {
            group: name.to_owned(),
            recipe,
            lr,
            weight_decay,
            constraint,
        }
    }
}

/// One rule for each parameter, by path.
///
/// # Errors
/// [`OptimError::Config`] for a value out of range, a pattern that is none, a group that claims
/// nothing, and parameters that several groups claim; [`OptimError::DuplicateParameter`] for a
/// path that comes twice.
///
/// ```
/// use evenburn_geometry::{Axis, Constraint};
/// use evenburn_optim::{OptimConfig, ParamInfo, RecipeName, Role, rules};
///
/// let config = OptimConfig { recipe: RecipeName::Muon, ..OptimConfig::default() };
/// let param = |path: &str, role| ParamInfo {
///     path: path.to_owned(), role, constraint: Constraint::Free, decay: role == Role::Matrix,
///     stream: Axis::In, heads: None,
/// };
/// let rules = rules(
///     &config,
///     [param("blocks.0.attn.q.weight", Role::Matrix), param("final_norm.gain", Role::Gain)],
/// )?;
/// assert!(rules["blocks.0.attn.q.weight"].recipe.orthogonal().is_some());
/// assert!(rules["final_norm.gain"].recipe.orthogonal().is_none());
/// assert_eq!(rules["final_norm.gain"].weight_decay, 0.0);
/// # Ok::<(), evenburn_optim::OptimError>(())
/// ```
pub fn rules(
    config: &OptimConfig,
    params: impl IntoIterator<Item = ParamInfo>,
) -> Result<BTreeMap<String, Rule>, OptimError> {
    config.check_values()?;
    let recipes = Recipes { config };
    let groups = Groups::new(&config.groups)?;
    let mut claims = vec![0usize; config.groups.len()];
    let mut contested = Vec::new();
    let mut rules = BTreeMap::new();
    for param in params {
        let claiming = groups.claiming(&param);
        if let [first, second, ..] = claiming[..] {
            let [a, b] = [first, second].map(|i| &config.groups[i].name);
            contested.push(format!("`{}` (`{a}` and `{b}`)", param.path));
        }
        for index in &claiming {
            claims[*index] += 1;
        }
        let group = claiming.first().map(|i| &config.groups[*i]);
        let rule = recipes.rule(&param, group);
        if rules.insert(param.path.clone(), rule).is_some() {
            return Err(OptimError::DuplicateParameter { path: param.path });
        }
    }
    let error = |reason: String| OptimError::Config {
        key: "groups",
        reason,
    };
    if !contested.is_empty() {
        let list = contested.join(", ");
        return Err(error(format!("claimed by more than one group: {list}")));
    }
    if let Some(empty) = claims.iter().position(|count| *count == 0) {
        let name = &config.groups[empty].name;
        return Err(error(format!("group `{name}` claims no parameter")));
    }
    Ok(rules)
}

/// The groups of a configuration with their patterns.
struct Groups<'a>(Vec<(&'a Override, Option<Pattern>)>);

impl<'a> Groups<'a> {
    fn new(groups: &'a [Override]) -> Result<Self, OptimError> {
        let with_pattern = |group: &'a Override| {
            let pattern = group.path.as_deref().map(Pattern::new).transpose();
            let pattern = pattern.map_err(|error| OptimError::Config {
                key: "groups",
                reason: format!("group `{}`: path: {error}", group.name),
            })?;
            Ok((group, pattern))
        };
        groups
            .iter()
            .map(with_pattern)
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// The groups that a parameter matches, by index.
    fn claiming(&self, param: &ParamInfo) -> Vec<usize> {
        let matches = |(group, pattern): &(&Override, Option<Pattern>)| {
            group.role.is_none_or(|role| role == param.role)
                && pattern.as_ref().is_none_or(|p| p.matches(&param.path))
        };
        let all = self.0.iter().enumerate();
        all.filter(|(_, group)| matches(group))
            .map(|(index, _)| index)
            .collect()
    }
}
