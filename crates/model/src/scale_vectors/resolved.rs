//! The switches with the named combination behind them: what each place is to get.

use super::{
    Double, DoubleAt, GainDecay, Gains, HeadScale, NormalizedOver, OutputBefore, OutputInit,
    Placement, ScaleSwitches, ScaleVectors, Stored,
};
use crate::dims::Site;
use crate::error::PlanError;
use crate::plan::{GainPlan, Plan};

/// Every switch, decided.
#[derive(Debug, Clone, Copy)]
pub(super) struct Resolved {
    pub(super) gains: Gains,
    pub(super) placement: Placement,
    pub(super) double: Double,
    pub(super) double_at: DoubleAt,
    pub(super) normalized_over: NormalizedOver,
    pub(super) output_init: OutputInit,
    pub(super) output_before: OutputBefore,
    pub(super) head: HeadScale,
    pub(super) stored: Stored,
    pub(super) decay: GainDecay,
}

impl Resolved {
    pub(super) fn new(named: ScaleVectors, switches: ScaleSwitches) -> Self {
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
    pub(super) fn doubles(self, site: Site) -> bool {
        self.double != Double::None
            && match self.double_at {
                DoubleAt::Readers => !site.writes_stream(),
                DoubleAt::All => true,
                DoubleAt::BlockOutputs => site.writes_stream(),
            }
    }

    /// Whether a map that writes the stream gets a scale on its input. One that reads it has that of the normalization.
    pub(super) fn before(self, site: Site) -> bool {
        site.writes_stream()
            && match self.output_before {
                OutputBefore::Paired => self.doubles(site) && self.double.before(),
                OutputBefore::None => false,
                OutputBefore::Gain => true,
            }
    }

    /// Where the scale behind a linear map starts.
    pub(super) fn start(self, site: Site, layers: usize, gain: &mut GainPlan) {
        if self.output_init == OutputInit::PerLayer && site.writes_stream() {
            let start = (layers as f64).sqrt().recip();
            // Stored as itself: an Adam step moves it by the rate.
            (gain.init, gain.scale) = (start, start);
        }
    }
}

impl Resolved {
    /// Refuses switches that contradict each other.
    pub(super) fn check(self, plan: &Plan) -> Result<(), PlanError> {
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

/// Two decisions about every block that contradict each other.
pub(super) fn clash(plan: &Plan, first: &str, second: &str) -> PlanError {
    PlanError::Clash {
        scheme: plan.scheme.clone(),
        place: "every block".to_owned(),
        first: first.to_owned(),
        second: second.to_owned(),
    }
}
