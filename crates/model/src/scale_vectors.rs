//! Scale vectors (2605.26895): where learned scales stand, how they are stored, which of them decay.
//!
//! A rewrite of a finished plan, so that it applies to any scheme that normalizes:
//!
//! ```text
//! N(x; g) = g * N(x)                                 one gain per normalization (standard)
//! y = (v * N(x)) W,          v per linear map        heterogeneous
//! y = u * ((v * N(x)) W)                             doubly placed
//! y = u * RMS((v * N(x)) W)                          doubly placed with an intermediate normalization
//! g = m * d | exp(m) * d | m sqrt(n) d / |d|         magnitude and direction
//! ```
//!
//! `unified`, the paper's combination, is heterogeneous + doubly placed and normalized + `product` + decay by role.
//! The paper's full text was not at hand: every choice that it leaves open is a switch here.

use crate::dims::Site;
use crate::error::{PlanError, place};
use crate::function::{Unit, gains_are_last};
use crate::plan::{
    Form, GainPlan, GainRole, LayerPlan, LinearPlan, NormPlan, Plan, ResidualPlan, SitePlan,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A named combination of the switches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ScaleVectors {
    /// As the scheme has them: one gain per normalization.
    #[default]
    Standard,
    /// No gain on any normalization.
    None,
    /// The combination of 2605.26895.
    Unified,
}

/// Which gains of normalizations stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Gains {
    /// All of them.
    All,
    /// Those that no linear map follows directly.
    Output,
    /// None.
    None,
}

/// Where the gain of a normalization stands when several linear maps read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Placement {
    /// At the normalization, one for all readers.
    Shared,
    /// At each linear map, one for each reader.
    Heterogeneous,
}

/// Whether a linear map has a scale on both sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Double {
    /// No.
    None,
    /// Before and after the product.
    Plain,
    /// The same, with an RMS normalization between the product and the scale after it.
    Normalized,
}

/// Which linear maps are doubly placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DoubleAt {
    /// All seven of a block.
    All,
    /// The two that write the residual stream.
    BlockOutputs,
}

/// How a scale is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stored {
    /// As the scheme stores it.
    Value,
    /// `magnitude * direction`.
    Product,
    /// `exp(magnitude) * direction`.
    ExpProduct,
    /// `magnitude * sqrt(n) * direction / |direction|`.
    UnitProduct,
}

/// Which scales decay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GainDecay {
    /// Those that the scheme decides.
    Scheme,
    /// Those that a linear map follows directly.
    Literal,
    /// Those that a later matrix could absorb: also the ones behind v and up.
    Absorbable,
}

/// Switches that replace what the named combination decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ScaleSwitches {
    /// Gains of normalizations that stay: `all`, `output` or `none`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gains: Option<Gains>,
    /// One gain for all readers of a normalization, or one for each: `shared` or `heterogeneous`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub placement: Option<Placement>,
    /// A scale on both sides of a linear map: `none`, `plain` or `normalized`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub double: Option<Double>,
    /// Linear maps that are doubly placed: `all` or `block_outputs`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub double_at: Option<DoubleAt>,
    /// How a scale is stored: `value`, `product`, `exp_product` or `unit_product`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stored: Option<Stored>,
    /// Scales that decay: `scheme`, `literal` or `absorbable`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decay: Option<GainDecay>,
}

impl ScaleSwitches {
    /// Whether no switch is set.
    #[allow(clippy::trivially_copy_pass_by_ref)] // serde's skip_serializing_if
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Every switch, decided.
#[derive(Debug, Clone, Copy)]
struct Resolved {
    gains: Gains,
    placement: Placement,
    double: Double,
    double_at: DoubleAt,
    stored: Stored,
    decay: GainDecay,
}

/// Epsilon of the intermediate normalization: that of RMSNorm in Llama.
const EPS: f64 = crate::strategy::RMS_EPS;

impl Resolved {
    fn new(named: ScaleVectors, switches: ScaleSwitches) -> Self {
        let standard = Self {
            gains: Gains::All,
            placement: Placement::Shared,
            double: Double::None,
            double_at: DoubleAt::All,
            stored: Stored::Value,
            decay: GainDecay::Scheme,
        };
        let base = match named {
            ScaleVectors::Standard => standard,
            ScaleVectors::None => Self {
                gains: Gains::None,
                ..standard
            },
            ScaleVectors::Unified => Self {
                placement: Placement::Heterogeneous,
                double: Double::Normalized,
                stored: Stored::Product,
                decay: GainDecay::Literal,
                ..standard
            },
        };
        Self {
            gains: switches.gains.unwrap_or(base.gains),
            placement: switches.placement.unwrap_or(base.placement),
            double: switches.double.unwrap_or(base.double),
            double_at: switches.double_at.unwrap_or(base.double_at),
            stored: switches.stored.unwrap_or(base.stored),
            decay: switches.decay.unwrap_or(base.decay),
        }
    }

    fn doubles(self, site: Site) -> bool {
        match self.double_at {
            DoubleAt::All => true,
            DoubleAt::BlockOutputs => site.writes_stream(),
        }
    }
}

/// A plan with its learned scales placed, stored and decayed as asked.
///
/// # Errors
/// [`PlanError::Clash`] when what is asked finds nothing to act on in the scheme.
pub(crate) fn rewrite(
    mut plan: Plan,
    named: ScaleVectors,
    switches: ScaleSwitches,
) -> Result<Plan, PlanError> {
    let want = Resolved::new(named, switches);
    drop_gains(&mut plan, want.gains);
    if want.placement == Placement::Heterogeneous {
        gains_are_last(&plan)?;
        let mut moved = 0;
        for layer in &mut plan.layers {
            moved += heterogeneous(layer);
        }
        if moved == 0 {
            return Err(PlanError::Clash {
                scheme: plan.scheme,
                place: "every block".to_owned(),
                first: "scale vectors per linear map".to_owned(),
                second: "no normalization with a gain before any of them".to_owned(),
            });
        }
    }
    if want.double != Double::None {
        for (index, layer) in plan.layers.iter_mut().enumerate() {
            for site in Site::BLOCK.into_iter().filter(|site| want.doubles(*site)) {
                double(layer, index, site, want.double, &plan.scheme)?;
            }
        }
    }
    each_gain(&mut plan, &mut |gain, literal| {
        if gain.form == Form::Direct {
            gain.form = match want.stored {
                Stored::Value => Form::Direct,
                Stored::Product => Form::Product,
                Stored::ExpProduct => Form::ExpProduct,
                Stored::UnitProduct => Form::UnitProduct,
            };
        }
        match want.decay {
            GainDecay::Scheme => {}
            GainDecay::Literal => gain.decay = literal == GainRole::Input,
            GainDecay::Absorbable => gain.decay = gain.role == GainRole::Input,
        }
    });
    Ok(plan)
}

/// The normalizations around a branch.
fn norms(plan: &mut ResidualPlan) -> impl Iterator<Item = &mut NormPlan> {
    [
        &mut plan.stream,
        &mut plan.input,
        &mut plan.output,
        &mut plan.skip,
        &mut plan.after,
    ]
    .into_iter()
    .flatten()
}

/// Every normalization of a plan.
fn each_norm(plan: &mut Plan, act: &mut impl FnMut(&mut NormPlan)) {
    plan.ends.embed_norm.iter_mut().for_each(&mut *act);
    plan.ends.final_norm.iter_mut().for_each(&mut *act);
    for layer in &mut plan.layers {
        norms(&mut layer.attn_residual).for_each(&mut *act);
        norms(&mut layer.mlp_residual).for_each(&mut *act);
        for site in layer.sites_mut() {
            site.linear.norm.iter_mut().for_each(&mut *act);
        }
    }
}

fn drop_gains(plan: &mut Plan, kept: Gains) {
    each_norm(plan, &mut |norm| {
        let drop = match kept {
            Gains::All => false,
            Gains::Output => norm
                .gain
                .as_ref()
                .is_some_and(|g| g.role == GainRole::Input),
            Gains::None => true,
        };
        if drop {
            norm.gain = None;
        }
    });
}

/// Every scale that multiplies activations, with the role that its place gives it. The step sizes of an
/// interpolation and the scale of the logits are none.
fn each_gain(plan: &mut Plan, act: &mut impl FnMut(&mut GainPlan, GainRole)) {
    // Where a normalization stands in the stream, its own role says what follows; behind a product no linear map
    // follows directly.
    let mut whole = |norm: &mut NormPlan| {
        if let Some(gain) = &mut norm.gain {
            let role = gain.role;
            act(gain, role);
        }
    };
    plan.ends.embed_norm.iter_mut().for_each(&mut whole);
    plan.ends.final_norm.iter_mut().for_each(&mut whole);
    for layer in &mut plan.layers {
        norms(&mut layer.attn_residual).for_each(&mut whole);
        norms(&mut layer.mlp_residual).for_each(&mut whole);
    }
    for site in plan.layers.iter_mut().flat_map(LayerPlan::sites_mut) {
        let LinearPlan {
            before,
            norm,
            after,
            ..
        } = &mut site.linear;
        if let Some(gain) = before {
            act(gain, GainRole::Input);
        }
        let behind = norm.iter_mut().filter_map(|n| n.gain.as_mut());
        for gain in behind.chain(after) {
            act(gain, GainRole::Output);
        }
    }
}

/// Takes the gains off the input normalizations of a block and gives one to each linear map that reads them; returns
/// how many normalizations had one.
fn heterogeneous(layer: &mut LayerPlan) -> usize {
    let mut moved = 0;
    let mut give = |from: &mut ResidualPlan, to: &mut [&mut SitePlan]| {
        let gain = from.input.as_mut().and_then(|norm| norm.gain.take());
        if let Some(gain) = gain {
            for site in to {
                site.linear.before = Some(gain.clone());
            }
            moved += 1;
        }
    };
    give(
        &mut layer.attn_residual,
        &mut [&mut layer.q, &mut layer.k, &mut layer.v],
    );
    let mut readers: Vec<_> = layer.gate.iter_mut().chain([&mut layer.up]).collect();
    give(&mut layer.mlp_residual, &mut readers);
    moved
}

/// Gives a linear map the scales on both sides that it lacks. Where the scheme already normalizes the product, that
/// normalization and its gain are the ones behind it.
fn double(
    layer: &mut LayerPlan,
    index: usize,
    site: Site,
    double: Double,
    scheme: &str,
) -> Result<(), PlanError> {
    let Some(plan) = layer.site_mut(site) else {
        return Ok(());
    };
    let linear = &mut plan.linear;
    if linear
        .norm
        .as_ref()
        .is_some_and(|n| n.function.is::<Unit>())
    {
        return Err(PlanError::Clash {
            scheme: scheme.to_owned(),
            place: place(index, site),
            first: "a product of unit length".to_owned(),
            second: "a doubly placed scale, which changes its length".to_owned(),
        });
    }
    // What reads the stream gets its scale from the normalization before it.
    if linear.before.is_none() && site.writes_stream() {
        linear.before = Some(GainPlan::ones(GainRole::Input));
    }
    if double == Double::Normalized && linear.norm.is_none() {
        linear.norm = Some(NormPlan {
            gain: None,
            ..NormPlan::rms(EPS, GainRole::Output)
        });
    }
    let gained = linear.norm.as_ref().is_some_and(|n| n.gain.is_some());
    if !gained && linear.after.is_none() {
        linear.after = Some(GainPlan::ones(GainRole::Output));
    }
    Ok(())
}
