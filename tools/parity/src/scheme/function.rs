//! The function in place of RMSNorm, and what a case keeps of it as state.

use super::last_norm;
use crate::case::Case;
use evenburn_model::function::{Function, GatedNorm, Placed, PlacedAt, PreAffine, SeedNorm, Taper};
use serde_json::Value;

/// The function in place of RMSNorm, before the branches and, unless the case says that it is RMSNorm, at the end.
pub(super) fn function(case: &Case) -> Result<Option<Placed>, String> {
    let text = |key: &str| case.config.get(key).and_then(Value::as_str);
    let size = |key: &str, default: usize| match case.config.get(key) {
        None => Ok(default),
        Some(value) => match value.as_u64() {
            Some(n) => Ok(n as usize),
            None => Err(format!("`{key}` is {value}")),
        },
    };
    let norm = text("norm").unwrap_or("rms");
    let own: &[&str] = match norm {
        "seednorm" => &["seed_heads"],
        "gated" => &["gate_rank"],
        "taper" => &["gate", "taper_c"],
        _ => &[],
    };
    let others = ["seed_heads", "gate_rank", "gate", "taper_c"];
    if let Some(key) = others
        .iter()
        .find(|key| case.config.contains_key(**key) && !own.contains(*key))
    {
        return Err(format!("norm `{norm}` with key `{key}`"));
    }
    let function: Function = match norm {
        "seednorm" => {
            let heads = size("seed_heads", SeedNorm::default().heads)?;
            SeedNorm { heads }.into()
        }
        "gated" => {
            let rank = size("gate_rank", GatedNorm::default().rank)?;
            GatedNorm { rank }.into()
        }
        "preaffine" => PreAffine {}.into(),
        "taper" => Taper::fixed(1.0, 1.0).into(),
        _ => {
            return match text("scheme").and_then(|scheme| last_norm(case, scheme)) {
                Some(last) if text("scheme") == Some("pre") => {
                    Err(format!("final norm `{last}` with norm `{norm}`"))
                }
                _ => Ok(None),
            };
        }
    };
    let at = match last_norm(case, "pre") {
        None => PlacedAt::InputsAndFinal,
        Some("rms") => PlacedAt::Inputs,
        Some(other) => return Err(format!("final norm `{other}`")),
    };
    let at = Some(at);
    Ok(Some(Placed { function, at }))
}

/// The gate of a tapered case and the constant of each of its norms, those before the branches of a block one after the
/// other, then that at the end if it tapers too.
pub(super) fn state(case: &Case, layers: usize) -> Result<Vec<(String, f64)>, String> {
    let Some(gate) = case.config.get("gate") else {
        return Ok(Vec::new());
    };
    let gate = gate
        .as_f64()
        .ok_or_else(|| format!("`gate` is {gate}, not a number"))?;
    let constants = case.list("taper_c").map_err(|e| e.to_string())?;
    let inputs = (0..layers).flat_map(|layer| {
        ["attn", "mlp"].map(|branch| format!("blocks.{layer}.{branch}_residual.input"))
    });
    let mut places: Vec<String> = inputs.collect();
    if last_norm(case, "pre").is_none() {
        places.push("final_norm".to_owned());
    }
    if constants.len() != places.len() {
        let (found, wanted) = (constants.len(), places.len());
        return Err(format!("{found} entries of `taper_c` for {wanted} norms"));
    }
    let state = places.iter().zip(constants);
    Ok(state
        .flat_map(|(at, c)| [(format!("{at}.gate"), gate), (format!("{at}.c"), c)])
        .collect())
}
