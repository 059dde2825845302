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

use crate::dims::Site;
use crate::error::{PlanError, place};
use crate::function::{Unit, gains_are_last};
use crate::plan::{
    Form, GainPlan, GainRole, LayerPlan, LinearPlan, NormPlan, Place, Plan, ResidualPlan, SitePlan,
    Spot, VisitMut,
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

/// Every switch, decided.
#[derive(Debug, Clone, Copy)]
struct Resolved {
    gains: Gains,
    placement: Placement,
    double: Double,
    double_at: DoubleAt,
    normalized_over: NormalizedOver,
    output_init: OutputInit,
    output_before: OutputBefore,
    head: HeadScale,
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
            double_at: DoubleAt::Readers,
            normalized_over: NormalizedOver::Head,
            output_init: OutputInit::One,
            output_before: OutputBefore::Paired,
            head: HeadScale::None,
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
                head: HeadScale::Gain,
                stored: Stored::UnitProduct,
                decay: GainDecay::Literal,
                ..standard
            },
        };
        Self {
            gains: switches.gains.unwrap_or(base.gains),
            placement: switches.placement.unwrap_or(base.placement),
            double: switches.double.unwrap_or(base.double),
            double_at: switches.double_at.unwrap_or(base.double_at),
            normalized_over: switches.normalized_over.unwrap_or(base.normalized_over),
            output_init: switches.output_init.unwrap_or(base.output_init),
            output_before: switches.output_before.unwrap_or(base.output_before),
            head: switches.head.unwrap_or(base.head),
            stored: switches.stored.unwrap_or(base.stored),
            decay: switches.decay.unwrap_or(base.decay),
        }
    }

    /// Whether a linear map of a block has a scale behind it.
    fn doubles(self, site: Site) -> bool {
        self.double != Double::None
            && match self.double_at {
                DoubleAt::Readers => !site.writes_stream(),
                DoubleAt::All => true,
                DoubleAt::BlockOutputs => site.writes_stream(),
            }
    }

    /// Whether a map that writes the stream gets a scale on its input. One that reads it has that of the normalization.
    fn before(self, site: Site) -> bool {
        site.writes_stream()
            && match self.output_before {
                OutputBefore::Paired => self.doubles(site) && self.double.before(),
                OutputBefore::None => false,
                OutputBefore::Gain => true,
            }
    }

    /// Where the scale behind a linear map starts.
    fn start(self, site: Site, layers: usize, gain: &mut GainPlan) {
        if self.output_init == OutputInit::PerLayer && site.writes_stream() {
            let start = (layers as f64).sqrt().recip();
            // Stored as itself: an Adam step moves it by the rate.
            (gain.init, gain.scale) = (start, start);
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
    want.check(&plan)?;
    plan.visit_mut(&mut DropGains(want.gains));
    if want.placement == Placement::Heterogeneous {
        gains_are_last(&plan)?;
        let moved: usize = plan.layers.iter_mut().map(heterogeneous).sum();
        if moved == 0 {
            return Err(clash(
                &plan,
                "scale vectors per linear map",
                "no normalization with a gain before any of them",
            ));
        }
    }
    double(&mut plan, want)?;
    if want.head == HeadScale::Gain {
        plan.ends.head.logit_gain.get_or_insert_with(|| GainPlan {
            form: want.stored.form(),
            ..GainPlan::ones(GainRole::Output)
        });
    }
    plan.visit_mut(&mut Scales(want));
    Ok(plan)
}

/// Two decisions about every block that contradict each other.
fn clash(plan: &Plan, first: &str, second: &str) -> PlanError {
    PlanError::Clash {
        scheme: plan.scheme.clone(),
        place: "every block".to_owned(),
        first: first.to_owned(),
        second: second.to_owned(),
    }
}

impl Resolved {
    /// Refuses switches that contradict each other.
    fn check(self, plan: &Plan) -> Result<(), PlanError> {
        let on_input = self.placement == Placement::Heterogeneous;
        let off_input = self.doubles(Site::Q) && !self.double.before();
        if on_input && off_input {
            return Err(clash(
                plan,
                "a scale for the input of each linear map (scale.placement)",
                "scales behind the maps alone (scale.double)",
            ));
        }
        let alone = self.doubles(Site::O) && !self.double.before();
        if self.output_before == OutputBefore::Gain && alone {
            return Err(clash(
                plan,
                "a scale for the input of o and down (scale.output_before)",
                "scales behind the maps alone (scale.double)",
            ));
        }
        if self.output_init == OutputInit::PerLayer && !self.doubles(Site::O) {
            return Err(clash(
                plan,
                "where the scales behind o and down start (scale.output_init)",
                "no scale behind them (scale.double, scale.double_at)",
            ));
        }
        Ok(())
    }
}

/// Takes away the gains of normalizations that are not kept.
struct DropGains(Gains);

impl VisitMut for DropGains {
    fn norm(&mut self, _: &Spot, plan: &mut NormPlan) {
        let role = plan.gain.as_ref().map(|gain| gain.role);
        let drop = match self.0 {
            Gains::All => false,
            Gains::Output => role == Some(GainRole::Input),
            Gains::None => true,
        };
        if drop {
            plan.gain = None;
        }
    }
}

/// Stores and decays every scale that multiplies activations. The step sizes of an interpolation, the scales of the
/// scores and those of the embedding and of the logits are none.
struct Scales(Resolved);

impl VisitMut for Scales {
    fn gain(&mut self, at: &Spot, gain: &mut GainPlan) {
        let part = at.param.part.as_str();
        // Where a normalization stands in the stream, its own role says what follows; behind a product no linear map
        // follows directly.
        let literal = match at.param.place {
            Place::Site(Site::Embedding) if part == "norm.gain" => gain.role,
            Place::Site(Site::Embedding | Site::Head) | Place::Scores | Place::Experts => return,
            Place::Site(_) if part == "before" => GainRole::Input,
            Place::Site(_) => GainRole::Output,
            Place::Residual(_) if part == "mix.alpha" => return,
            Place::Residual(_) | Place::Join | Place::FinalNorm => gain.role,
        };
        let Self(want) = self;
        if gain.form == Form::Direct {
            gain.form = want.stored.form();
        }
        match want.decay {
            GainDecay::Scheme => {}
            GainDecay::Literal => gain.decay = literal == GainRole::Input,
            GainDecay::Absorbable => gain.decay = gain.role == GainRole::Input,
        }
    }
}

/// Takes the gains off the input normalizations of a block and gives one to each linear map that reads them; returns
/// how many normalizations had one. The router of a mixture reads the bare normalization.
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

/// Gives each linear map that is asked for the scales that it lacks, and takes those away that are to stand behind it
/// alone.
fn double(plan: &mut Plan, want: Resolved) -> Result<(), PlanError> {
    let (scheme, layers) = (&plan.scheme, plan.dims.layers);
    for (index, layer) in plan.layers.iter_mut().enumerate() {
        if want.doubles(Site::Q) && !want.double.before() {
            for residual in [&mut layer.attn_residual, &mut layer.mlp_residual] {
                if let Some(norm) = &mut residual.input {
                    norm.gain = None;
                }
            }
        }
        for site in Site::BLOCK {
            let Some(SitePlan { linear, .. }) = layer.site_mut(site) else {
                continue;
            };
            if want.doubles(site) {
                behind(linear, site, want, layers).map_err(|()| PlanError::Clash {
                    scheme: scheme.clone(),
                    place: place(index, site),
                    first: "a product of unit length".to_owned(),
                    second: "a doubly placed scale, which changes its length".to_owned(),
                })?;
            }
            if want.before(site) {
                let ones = || GainPlan::ones(GainRole::Input);
                linear.before.get_or_insert_with(ones);
            }
        }
    }
    Ok(())
}

/// The scale behind one linear map, and none before it where it stands alone. Where the scheme already normalizes the
/// product, that normalization and its gain are the ones behind it.
///
/// # Errors
/// When the product has unit length.
fn behind(linear: &mut LinearPlan, site: Site, want: Resolved, layers: usize) -> Result<(), ()> {
    let norm = linear.norm.as_ref();
    if norm.is_some_and(|norm| norm.function.is::<Unit>()) {
        return Err(());
    }
    if !want.double.before() {
        linear.before = None;
    }
    if want.double.normalizes() && linear.norm.is_none() {
        let norm = NormPlan {
            gain: None,
            ..NormPlan::rms(EPS, GainRole::Output)
        };
        let headed = matches!(site, Site::Q | Site::K | Site::V);
        linear.norm = Some(match want.normalized_over {
            NormalizedOver::Head if headed => norm.per_head(),
            _ => norm,
        });
    }
    let own = linear.norm.as_mut().and_then(|norm| norm.gain.as_mut());
    let ones = || GainPlan::ones(GainRole::Output);
    let gain = own.unwrap_or_else(|| linear.after.get_or_insert_with(ones));
    want.start(site, layers, gain);
    Ok(())
}
