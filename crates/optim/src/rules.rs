//! From what a parameter is to how it is trained.

use std::collections::BTreeMap;

use evenburn_geometry::Constraint;
use glob::Pattern;

use crate::config::ConstraintName;
use crate::{
    GradientSpace, OptimConfig, OptimError, Override, ParamContext, ParamInfo, ParamRole, Rule,
    Space, Treatment,
};

/// The rule of a parameter, in the group that claims it or in its role's.
fn rule(
    config: &OptimConfig,
    info: &ParamInfo,
    group: Option<&Override>,
) -> Result<Rule, OptimError> {
    let (recipe, role) = match group.and_then(|group| group.recipe.as_ref()) {
        Some(recipe) => (recipe, ParamRole::Matrix),
        None => (&config.recipe, info.role),
    };
    let param = ParamContext::new(info, role, config);
    let treatment = recipe.strategy()?.treatment(&param);
    let Treatment {
        update,
        mut lr,
        mut weight_decay,
        mut constraint,
    } = treatment;
    let mut name = info.role.group();
    if let Some(group) = group {
        name = &group.name;
        lr *= group.lr_factor;
        weight_decay = group.weight_decay.unwrap_or(weight_decay);
        constraint = match group.constraint {
            None => constraint,
            Some(ConstraintName::Free) => Constraint::Free,
            Some(ConstraintName::RowsAtMostOne) => Constraint::AtMost {
                along: info.row(),
                radius: 1.0,
            },
            Some(ConstraintName::RowsOne) => Constraint::Unit { along: info.row() },
        };
    }
    let on_sphere = update
        .composition()
        .is_some_and(|parts| parts.space == Space::Sphere);
    let gradient = if constraint != Constraint::Free || on_sphere {
        config.gradient
    } else {
        GradientSpace::Ambient
    };
    Ok(Rule {
        group: name.to_owned(),
        update: update.with_gradient(gradient),
        lr,
        weight_decay,
        constraint,
    })
}

/// One rule for each parameter, by path.
///
/// # Errors
/// [`OptimError::Config`] for a value out of range, a pattern that is none, a group that claims
/// nothing, and parameters that several groups claim; [`OptimError::UnknownRecipe`] for a recipe
/// that isn't registered; [`OptimError::DuplicateParameter`] for a path that comes twice.
///
/// ```
/// use evenburn_geometry::{Axis, Constraint};
/// use evenburn_optim::{Muon, OptimConfig, ParamInfo, ParamRole, rules};
///
/// let config = OptimConfig { recipe: Muon::default().into(), ..OptimConfig::default() };
/// let param = |path: &str, role| ParamInfo {
///     path: path.to_owned(), role, constraint: Constraint::Free, decay: role == ParamRole::Matrix,
///     stream: Axis::In, heads: None,
/// };
/// let rules = rules(
///     &config,
///     [param("blocks.0.attn.q.weight", ParamRole::Matrix), param("final_norm.gain", ParamRole::Gain)],
/// )?;
/// assert!(rules["blocks.0.attn.q.weight"].update.orthogonal().is_some());
/// assert!(rules["final_norm.gain"].update.orthogonal().is_none());
/// assert_eq!(rules["final_norm.gain"].weight_decay, 0.0);
/// # Ok::<(), evenburn_optim::OptimError>(())
/// ```
pub fn rules(
    config: &OptimConfig,
    params: impl IntoIterator<Item = ParamInfo>,
) -> Result<BTreeMap<String, Rule>, OptimError> {
    config.check_values()?;
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
        let rule = rule(config, &param, group)?;
        if rules.insert(param.path.clone(), rule).is_some() {
            return Err(OptimError::DuplicateParameter { path: param.path });
        }
    }
    let error = |reason: String| OptimError::config("groups", reason);
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
            let pattern = pattern.map_err(|error| {
                let why = format!("group `{}`: path: {error}", group.name);
                OptimError::config("groups", why)
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
