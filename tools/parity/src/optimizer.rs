//! From a case's description to rules for the engine.

use super::case::Case;
use anyhow::{Context, Result, bail};
use evenburn_geometry::Constraint;
use evenburn_model::{ParamRole, ParamSpec};
use evenburn_optim::{Adam, Clip, Composition, Engine, Lookahead, NormFloor, Rule, Scaling};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The engine that trains as the case was trained.
///
/// # Errors
/// When the description lacks something or asks for what does not exist.
pub(super) fn engine(case: &Case, specs: &[ParamSpec]) -> Result<Engine> {
    let optimizer = object(&case.config, "optimizer")?;
    let constrained = case.config.get("after_step").and_then(Value::as_str) != Some("none");
    let rules = specs
        .iter()
        .map(|spec| {
            let constraint = if constrained {
                spec.constraint
            } else {
                Constraint::Free
            };
            if constrained && constraint == Constraint::Free && spec.shape.len() > 1 {
                bail!(
                    "the case projects after each step, the plan leaves `{}` free",
                    spec.path
                );
            }
            Ok((spec.path.clone(), rule(optimizer, spec, constraint)?))
        })
        .collect::<Result<BTreeMap<_, _>>>()?;
    let clip = match optimizer.get("clip_global_norm").and_then(Value::as_f64) {
        Some(max) => Clip::All { max },
        None => Clip::None,
    };
    Ok(Engine::new(rules, clip))
}

fn rule(optimizer: &Map<String, Value>, spec: &ParamSpec, constraint: Constraint) -> Result<Rule> {
    let (options, recipe) = if optimizer.contains_key("muon") {
        let muon = object(optimizer, "muon")?;
        if muon.get("on").and_then(Value::as_str) != Some("block matrices") {
            bail!("muon on {:?}", muon.get("on"));
        }
        if spec.role == ParamRole::Matrix {
            (muon, muon_recipe(muon)?)
        } else {
            let adamw = object(optimizer, "adamw")?;
            (adamw, Composition::adam(adam(adamw)?))
        }
    } else {
        match optimizer.get("name").and_then(Value::as_str) {
            Some("adamw") => (optimizer, Composition::adam(adam(optimizer)?)),
            other => bail!("optimizer {other:?}"),
        }
    };
    let decays = match options.get("decays").and_then(Value::as_str) {
        None | Some("every parameter") => true,
        Some("tensors of rank >= 2") => spec.shape.len() >= 2,
        // The plan's own rule, which is what the case is about.
        Some("tensors of rank >= 2 and input gains") => spec.decay,
        Some(other) => bail!("decay of {other}"),
    };
    Ok(Rule {
        group: format!("{:?}", spec.role),
        update: recipe.into(),
        lr: number(options, "lr")?,
        weight_decay: if decays {
            number(options, "weight_decay")?
        } else {
            0.0
        },
        constraint,
    })
}

fn adam(options: &Map<String, Value>) -> Result<Adam> {
    let betas = options
        .get("betas")
        .and_then(Value::as_array)
        .context("`betas` is missing")?;
    let beta = |i: usize| {
        betas
            .get(i)
            .and_then(Value::as_f64)
            .context("`betas` are two numbers")
    };
    Ok(Adam {
        beta1: beta(0)?,
        beta2: beta(1)?,
        eps: number(options, "eps")?,
    })
}

fn muon_recipe(options: &Map<String, Value>) -> Result<Composition> {
    let coefficients = options.get("ns_coefficients").cloned().unwrap_or_default();
    let ours = serde_json::json!([3.4445, -4.775, 2.0315]);
    if coefficients != ours {
        bail!("Newton-Schulz coefficients {coefficients}");
    }
    let (beta, steps) = (number(options, "momentum")?, number(options, "ns_steps")?);
    let eps = number(options, "eps")?;
    let lookahead = match options.get("nesterov").and_then(Value::as_bool) {
        Some(true) => Lookahead::Nesterov,
        Some(false) => Lookahead::None,
        None => bail!("`nesterov` is missing"),
    };
    let recipe = Composition::muon()
        .with_momentum(|m| (m.beta, m.lookahead) = (beta, lookahead))
        .with_orthogonal(|o| (o.steps, o.eps, o.floor) = (steps as usize, eps, NormFloor::Clamp));
    let scaling = match options.get("adjust_lr").and_then(Value::as_str) {
        Some("original") => Scaling::Original,
        Some("match_rms_adamw") => Scaling::MatchRmsAdamw,
        other => bail!("muon's adjust_lr {other:?}"),
    };
    Ok(Composition { scaling, ..recipe })
}

fn object<'a>(map: &'a Map<String, Value>, key: &str) -> Result<&'a Map<String, Value>> {
    map.get(key)
        .and_then(Value::as_object)
        .with_context(|| format!("`{key}` is not an object"))
}

fn number(map: &Map<String, Value>, key: &str) -> Result<f64> {
    map.get(key)
        .and_then(Value::as_f64)
        .with_context(|| format!("`{key}` is not a number"))
}
