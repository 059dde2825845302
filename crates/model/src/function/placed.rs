//! The `[model.function]` section: another function in place of a scheme's RMSNorm.
//!
//! A rewrite of a finished plan, so that it applies to any scheme that normalizes what its branches read:
//!
//! ```text
//! h + branch(rms(h; gain))    ->    h + branch(f(h; gain))
//! ```

use super::{Function, NormFunction, Rms};
use crate::error::PlanError;
use crate::kinds::Kinds;
use crate::named::{Named, Options, Recorded, Unknown};
use crate::plan::{GainPlan, GainRole, NormPlan, Plan};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::borrow::Cow;
use toml::Value;

/// Which normalizations of a scheme a function takes the place of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PlacedAt {
    /// Those of what the branches read.
    Inputs,
    /// The same, and the one before the output layer.
    InputsAndFinal,
}

/// Which function normalizes in place of a scheme's RMSNorm, and where.
///
/// In a file its options stand beside its name:
///
/// ```toml
/// [model.function]
/// name = "seed_norm"
/// heads = 4
/// at = "inputs"
/// ```
///
/// ```
/// use evenburn_model::function::{Placed, SeedNorm};
/// use evenburn_model::{ModelConfig, Plan, strategy::PreNorm};
/// let function = Some(Placed::from(SeedNorm { heads: 4 }));
/// let plan = Plan::new(&ModelConfig { function, ..Default::default() }, &PreNorm::default())?;
/// let paths: Vec<_> = plan.params().into_iter().map(|p| p.path).collect();
/// assert!(paths.contains(&"final_norm.seed".to_owned()));
/// # Ok::<(), evenburn_model::PlanError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Placed {
    /// The function; one that was read from a file does nothing until [`Kinds::resolve_config`] has given it its object.
    pub function: Function,
    /// Where; as [`NormFunction::placed_at`] says when not given.
    pub at: Option<PlacedAt>,
}

impl<F: NormFunction + Recorded> From<F> for Placed {
    fn from(function: F) -> Self {
        Self {
            function: function.into(),
            at: None,
        }
    }
}

/// Key of the function's name.
pub(crate) const NAME: &str = "name";
/// Key of its place.
pub(crate) const AT: &str = "at";

impl Serialize for Placed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut all = self.function.options().clone();
        all.insert(NAME.to_owned(), Value::from(self.function.name()));
        if let Some(at) = self.at {
            let at = Value::try_from(at).map_err(serde::ser::Error::custom)?;
            all.insert(AT.to_owned(), at);
        }
        all.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Placed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut options = Options::deserialize(deserializer)?;
        let Some(Value::String(name)) = options.remove(NAME) else {
            return Err(de::Error::custom("a function needs its `name`"));
        };
        let at = match options.remove(AT) {
            Some(at) => Some(PlacedAt::deserialize(at).map_err(de::Error::custom)?),
            None => None,
        };
        let made = <dyn NormFunction>::unknown(&name);
        Ok(Self {
            function: Named::new(name, options, made),
            at,
        })
    }
}

impl JsonSchema for Placed {
    fn schema_name() -> Cow<'static, str> {
        "Placed".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Kinds::default().placed_schema(generator)
    }
}

/// The plan with a function in place of its RMS norms.
///
/// # Errors
/// [`PlanError::Clash`] where the scheme has none there.
pub(crate) fn rewrite(mut plan: Plan, placed: Option<&Placed>) -> Result<Plan, PlanError> {
    let Some(placed) = placed else {
        return Ok(plan);
    };
    let at = placed.at.unwrap_or_else(|| placed.function.placed_at());
    if at == PlacedAt::InputsAndFinal && placed.function.final_norm().is_some() {
        return Err(PlanError::Clash {
            scheme: plan.scheme,
            place: "final norm".to_owned(),
            first: format!(
                "`{}` at the end, by model.function.at = \"inputs_and_final\"",
                placed.function.name()
            ),
            second: "the loss of its schedule, which holds the size of what a final RMSNorm reads"
                .to_owned(),
        });
    }
    let inputs = plan.layers.iter_mut().flat_map(|layer| {
        [
            &mut layer.attn_residual.input,
            &mut layer.mlp_residual.input,
        ]
    });
    let last = match at {
        PlacedAt::Inputs => None,
        PlacedAt::InputsAndFinal => Some(&mut plan.ends.head.final_norm),
    };
    let mut replaced = 0;
    for norm in inputs.chain(last).flatten() {
        if norm.function.is::<Rms>() {
            replace(norm, &placed.function);
            replaced += 1;
        }
    }
    if replaced > 0 {
        let beside = placed.function.final_norm();
        let end = plan.ends.head.final_norm.as_mut().zip(beside);
        if let Some((norm, function)) = end
            && norm.function.is::<Rms>()
        {
            norm.function = function;
        }
        return Ok(plan);
    }
    let second = match at {
        PlacedAt::Inputs => "a scheme without RMSNorm before its branches",
        PlacedAt::InputsAndFinal => "a scheme without RMSNorm before its branches or at its end",
    };
    Err(PlanError::Clash {
        scheme: plan.scheme,
        place: "every block".to_owned(),
        first: format!(
            "model.function.name = \"{}\" in place of RMSNorm",
            placed.function.name()
        ),
        second: second.to_owned(),
    })
}

fn replace(norm: &mut NormPlan, function: &Function) {
    norm.function = function.clone();
    if !function.gain_is_last() {
        let kept = |gain| GainPlan {
            // What comes behind the gain keeps a matrix from absorbing it.
            role: GainRole::Output,
            ..gain
        };
        norm.gain = norm.gain.take().map(kept);
    }
}

/// Refuses to move the gains of input norms elsewhere where they aren't what is multiplied last.
///
/// # Errors
/// [`PlanError::Clash`] with the place.
pub(crate) fn gains_are_last(plan: &Plan) -> Result<(), PlanError> {
    for (index, layer) in plan.layers.iter().enumerate() {
        for (branch, residual) in layer.residuals() {
            if let Some(norm) = &residual.input
                && norm.gain.is_some()
                && !norm.function.gain_is_last()
            {
                return Err(PlanError::Clash {
                    scheme: plan.scheme.clone(),
                    place: format!("block {index}, {}, input norm", branch.path()),
                    first: format!(
                        "`{}`, which doesn't multiply by its gain last",
                        norm.function.name()
                    ),
                    second: "scale vectors per linear map, which take that gain along".to_owned(),
                });
            }
        }
    }
    Ok(())
}
