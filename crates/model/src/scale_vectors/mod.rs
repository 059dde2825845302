//! Scale vectors (2605.26895v1): where learned scales stand, how they are stored, which of them decay.
//!
//! A rewrite of a finished plan, so that it applies to any scheme that normalizes. For a linear map `W` that reads the
//! normalized stream `n = N(x)`, as the paper prints them (section 3, equations 4 to 9, and Table 1):
//!
//! ```text
//! y = (g * n) W                  one gain per normalization                   (what every scheme has)
//! y = (g_b * n) W                a gain per linear map                 HG     placement = "heterogeneous"
//! y = g_a * (n W)                behind the map alone                  AP     double = "after"
//! y = g_a * ((g_b * n) W)        on both sides                         DP     double = "plain"
//! y = g_a * N((g_b * n) W)       with a normalization between          DNP    double = "normalized"
//! g = b sqrt(n) a / |a|          magnitude and direction               OR     stored = "unit_product"
//! g = exp(b) exp(a - mean(a))    the same, positive                    ER     stored = "centered_exp"
//! ```
//!
//! The maps are q, k, v, gate and up, and the output layer, which is the one reader of the final normalization; o and
//! down, which read no normalization, stay as they are (`double_at = "readers"`). `g_a` has the width of the output. The
//! normalization of DNP runs over each head of q, k and v and over the whole output of gate and up
//! (`normalized_over = "head"`); on q and k it is the q/k norm. IWD decays what a linear map follows directly: the gains
//! of pre-norms and of the final norm and every `g_b` (`decay = "literal"`).
//!
//! `unified`, the paper's combination, is HG + DNP + OR + IWD and a gain on the logits (`head = "gain"`; whether DNP would
//! also normalize them is not printed, the parameter counts say the gain alone). Not printed either and decided here: both
//! parts of a scale under OR and ER decay or neither does; the epsilon of the normalization between; gains start at 1.
//!
//! Not from the paper: `double_at = "all"` and `"block_outputs"`, `output_before`, `stored = "product"` (`b a`) and `"exp_product"`
//! (`exp(b) a`), `decay = "absorbable"`. `double = "normalized_after"` at all seven maps is SDD (2502.15499, equation 1),
//! with `output_init = "per_layer"`.

mod resolved;
mod rewrite;

pub(crate) use rewrite::rewrite;

use crate::plan::Form;
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
    /// The combination of 2605.26895: `heterogeneous`, `normalized` at the `readers` per `head`, `unit_product`, `literal`
    /// and a gain on the logits.
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

/// On which sides of a linear map scales stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Double {
    /// On its input alone.
    None,
    /// Before and after the product.
    Plain,
    /// The same, with an RMS normalization between the product and the scale after it.
    Normalized,
    /// After the product alone: the normalization that the map reads loses its gain.
    After,
    /// The same, with an RMS normalization between the product and the scale after it.
    NormalizedAfter,
}

impl Double {
    /// Whether the product is normalized.
    fn normalizes(self) -> bool {
        matches!(self, Self::Normalized | Self::NormalizedAfter)
    }

    /// Whether the input has a scale too.
    fn before(self) -> bool {
        matches!(self, Self::Plain | Self::Normalized)
    }
}

/// Which linear maps have a scale behind them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DoubleAt {
    /// Those at the start of a branch: q, k, v, gate and up.
    Readers,
    /// All seven of a block.
    All,
    /// The two that write the residual stream.
    BlockOutputs,
}

/// Over which channels the normalization between a product and its scale runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NormalizedOver {
    /// Each head of q, k and v; the whole output of the other maps.
    Head,
    /// The whole output.
    Full,
}

/// Where the scales behind the maps that write the stream start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OutputInit {
    /// At 1.
    One,
    /// At `1 / sqrt(layers)` (SDD, 2502.15499).
    PerLayer,
}

/// Whether the maps that write the stream have a scale on their input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OutputBefore {
    /// Where they have a scale behind them and `double` puts scales on both sides.
    Paired,
    /// Nowhere.
    None,
    /// Everywhere, also where no scale stands behind them.
    Gain,
}

/// Whether the logits have a scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HeadScale {
    /// As the scheme decides.
    None,
    /// A learned scale of each logit, where the scheme has none.
    Gain,
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
    /// `magnitude * sqrt(n) * direction / |direction|`: OR.
    UnitProduct,
    /// `exp(magnitude) * exp(direction - mean(direction))`: ER.
    CenteredExp,
}

impl Stored {
    /// The form of a gain that the scheme stores as itself.
    fn form(self) -> Form {
        match self {
            Self::Value => Form::Direct,
            Self::Product => Form::Product,
            Self::ExpProduct => Form::ExpProduct,
            Self::UnitProduct => Form::UnitProduct,
            Self::CenteredExp => Form::CenteredExp,
        }
    }
}

/// Which scales decay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GainDecay {
    /// Those that the scheme decides.
    Scheme,
    /// Those that a linear map follows directly: IWD.
    Literal,
    /// Those that a later matrix could absorb, also the ones behind v and up: this project's reading for schemes that
    /// normalize products.
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
    /// Scales behind a linear map: `none`, `plain` (on both sides), `normalized` (the same around a normalization),
    /// `after` (behind it alone) or `normalized_after`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub double: Option<Double>,
    /// Linear maps that have them: `readers` (unless given), `all` or `block_outputs`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub double_at: Option<DoubleAt>,
    /// What that normalization runs over at q, k and v: `head` (unless given) or `full`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub normalized_over: Option<NormalizedOver>,
    /// Where scales behind the maps that write the stream start: `one` (unless given) or `per_layer`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_init: Option<OutputInit>,
    /// A scale on the input of the maps that write the stream, o and down: `paired` (unless given: where they have one
    /// behind them and `double` says both sides), `none` or `gain`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_before: Option<OutputBefore>,
    /// A scale of each logit: `none` (as the scheme decides) or `gain`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head: Option<HeadScale>,
    /// How a scale is stored: `value`, `product`, `exp_product`, `unit_product` or `centered_exp`.
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
