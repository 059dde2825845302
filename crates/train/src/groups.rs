//! From the parameters of a plan to the rules of an optimizer.

use std::collections::BTreeMap;

use burn::module::Module;
use evenburn_geometry::Axis;
use evenburn_model::{Dims, ParamRef, ParamRole, ParamSpec, Place, Plan, Site};
use evenburn_optim::{Engine, HeadUse, Heads, OptimConfig, ParamInfo, Rule, rules};

use crate::error::TrainError;
use crate::step::check_qk_clip;

/// One rule for each parameter of a plan, by exact path.
///
/// # Errors
/// [`TrainError::Optim`] for a value out of range.
///
/// ```
/// use evenburn_model::{ModelConfig, Plan, strategy::AnGpt};
/// use evenburn_optim::OptimConfig;
///
/// let plan = Plan::new(&ModelConfig::default(), &AnGpt::default())?;
/// let rules = evenburn_train::groups::from_plan(&plan, &OptimConfig::default())?;
/// assert_eq!(rules.len(), plan.params().len());
/// assert_eq!(rules["embed.weight"].group, "embedding");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn from_plan(plan: &Plan, config: &OptimConfig) -> Result<BTreeMap<String, Rule>, TrainError> {
    let params = plan.params().into_iter().map(|spec| ParamInfo {
        stream: stream(&spec),
        heads: heads(&spec, plan.dims()),
        path: spec.path,
        role: match spec.role {
            ParamRole::Embedding => evenburn_optim::ParamRole::Embedding,
            ParamRole::Matrix => evenburn_optim::ParamRole::Matrix,
            ParamRole::Head => evenburn_optim::ParamRole::Head,
            ParamRole::Gain => evenburn_optim::ParamRole::Gain,
            ParamRole::Bias => evenburn_optim::ParamRole::Bias,
        },
        constraint: spec.constraint,
        decay: spec.decay,
    });
    Ok(rules(config, params)?)
}

/// The linear map that a matrix is.
fn site(spec: &ParamSpec) -> Option<Site> {
    let param = ParamRef::from_path(&spec.path).ok()?;
    match param.place {
        // A function behind a product may have matrices of its own.
        Place::Site(site) if param.part == "weight" => Some(site),
        _ => None,
    }
}

/// The axis of a parameter that is the residual stream.
fn stream(spec: &ParamSpec) -> Axis {
    match site(spec) {
        Some(Site::Q | Site::K | Site::V | Site::Gate | Site::Up | Site::Router | Site::Head) => {
            Axis::In
        }
        Some(Site::O | Site::Down | Site::Embedding | Site::Positions) | None => Axis::Out,
    }
}

/// The heads that the outputs of a matrix belong to.
fn heads(spec: &ParamSpec, d: &Dims) -> Option<Heads> {
    let (count, serves) = match site(spec)? {
        Site::Q => (d.heads, HeadUse::Scores),
        Site::K => (d.kv_heads, HeadUse::Scores),
        Site::V => (d.kv_heads, HeadUse::Values),
        _ => return None,
    };
    Some(Heads { count, serves })
}

/// The optimizer of a plan's module, every parameter claimed exactly once.
///
/// # Errors
/// [`TrainError::Optim`] listing parameters without a rule and rules without a parameter, or naming a value out of
/// range.
pub fn engine<M: Module>(
    plan: &Plan,
    config: &OptimConfig,
    steps: u64,
    module: &M,
) -> Result<Engine, TrainError> {
    config.check(steps)?;
    check_qk_clip(plan, config.qk_clip)?;
    let engine = Engine::new(from_plan(plan, config)?, config.clip());
    engine.check(module)?;
    Ok(engine)
}
