//! The learned scales of a case.

use crate::case::Case;
use evenburn_model::{
    Double, DoubleAt, GainDecay, Gains, HeadScale, NormalizedOver, OutputBefore, Placement,
    ScaleSwitches, ScaleVectors, Stored,
};
use serde_json::Value;

/// Keys of `sv`.
const SCALE_KEYS: &[&str] = &[
    "none",
    "hg",
    "pre",
    "post",
    "pre_out",
    "mid",
    "mid_over",
    "at",
    "head_post",
];

/// What a case says of its learned scales, as switches: a named combination would hide a wrong one.
pub(super) fn scale_vectors(case: &Case) -> Result<(ScaleVectors, ScaleSwitches), String> {
    let stored = match case.config.get("form").and_then(Value::as_str) {
        None | Some("direct") => Stored::Value,
        Some("or") => Stored::Product,
        Some("er") => Stored::ExpProduct,
        Some("wn") => Stored::UnitProduct,
        Some("er_centered") => Stored::CenteredExp,
        Some(other) => return Err(format!("gains of form `{other}`")),
    };
    let mut switches = ScaleSwitches {
        stored: Some(stored),
        ..ScaleSwitches::default()
    };
    let decays = case.config.get("optimizer").and_then(|o| o.get("decays"));
    if decays.and_then(Value::as_str) == Some("tensors of rank >= 2 and input gains") {
        switches.decay = Some(GainDecay::Literal);
    }
    let Some(sv) = case.config.get("sv") else {
        return Ok((ScaleVectors::Standard, switches));
    };
    let sv = sv.as_object().ok_or("`sv` is not an object")?;
    if let Some(key) = sv.keys().find(|key| !SCALE_KEYS.contains(&key.as_str())) {
        return Err(format!("scale vectors `{key}`"));
    }
    let on = |key: &str| sv.get(key) == Some(&Value::Bool(true));
    let before = sv.get("pre") != Some(&Value::Bool(false));
    let readers = match sv.get("at").map(Value::as_str) {
        None | Some(Some("all")) => false,
        Some(Some("readers")) => true,
        Some(other) => return Err(format!("scale vectors at {other:?}")),
    };
    if on("none") {
        switches.gains = Some(Gains::None);
    }
    if on("hg") {
        switches.placement = Some(Placement::Heterogeneous);
    }
    // At the readers, the scale before the product is the one that the normalization had.
    switches.double = match (on("post"), before, on("mid")) {
        (false, true, false) => None,
        (true, true, false) => Some(Double::Plain),
        (true, true, true) => Some(Double::Normalized),
        (true, false, false) => Some(Double::After),
        (true, false, true) => Some(Double::NormalizedAfter),
        _ => return Err("normalized products or bare pre-norms without scales".to_owned()),
    };
    switches.output_before = Some(if on("pre_out") {
        OutputBefore::Gain
    } else {
        OutputBefore::None
    });
    switches.double_at = Some(if readers {
        DoubleAt::Readers
    } else {
        DoubleAt::All
    });
    switches.normalized_over = Some(match sv.get("mid_over").map(Value::as_str) {
        None | Some(Some("full")) => NormalizedOver::Full,
        Some(Some("head")) => NormalizedOver::Head,
        Some(other) => return Err(format!("scale vectors normalized over {other:?}")),
    });
    if on("head_post") {
        switches.head = Some(HeadScale::Gain);
    }
    Ok((ScaleVectors::Standard, switches))
}
