//! The figures of a run, as burn-train asks for them.

use std::sync::Arc;

use burn::tensor::TensorReadError;
use burn_train::metric::{
    Metric, MetricAttributes, MetricMetadata, MetricName, Numeric, NumericAttributes, NumericEntry,
    SerializedEntry,
};

use crate::task::Shown;

/// One figure of the dashboard.
#[derive(Clone)]
pub(crate) struct Figure {
    name: MetricName,
    unit: Option<&'static str>,
    rising: bool,
    of: fn(&Shown) -> Option<f64>,
    last: Option<f64>,
}

impl Figure {
    fn new(
        name: &str,
        unit: Option<&'static str>,
        rising: bool,
        of: fn(&Shown) -> Option<f64>,
    ) -> Self {
        Self {
            name: Arc::new(name.to_owned()),
            unit,
            rising,
            of,
            last: None,
        }
    }

    /// What is shown of every step.
    pub(crate) fn of_training() -> [Self; 4] {
        [
            Self::new("Loss", Some("nats"), false, |s| Some(s.loss)),
            Self::new("Learning rate", None, false, |s| s.lr),
            Self::new("Gradient norm", None, false, |s| s.grad_norm),
            Self::new("Tokens per second", None, true, |s| s.tokens_per_sec),
        ]
    }

    /// What is shown of every evaluation.
    pub(crate) fn of_evaluation() -> [Self; 2] {
        [
            Self::new("Loss", Some("nats"), false, |s| Some(s.loss)),
            Self::new("Bits per byte", None, false, |s| s.bpb),
        ]
    }

    fn entry(&self) -> SerializedEntry {
        match (self.last, self.unit) {
            (None, unit) => SerializedEntry::not_available(unit),
            (Some(value), unit) => {
                let shown = if value == 0.0 || (1e-2..1e5).contains(&value.abs()) {
                    format!("{value:.4}")
                } else {
                    format!("{value:.3e}")
                };
                let unit = unit.map(|u| format!(" {u}")).unwrap_or_default();
                SerializedEntry::new(format!("{shown}{unit}"), value.to_string())
            }
        }
    }
}

impl Metric for Figure {
    type Input = Shown;

    fn name(&self) -> MetricName {
        Arc::clone(&self.name)
    }

    fn attributes(&self) -> MetricAttributes {
        NumericAttributes {
            unit: self.unit.map(str::to_owned),
            higher_is_better: self.rising,
        }
        .into()
    }

    fn update(
        &mut self,
        shown: &Shown,
        _: &MetricMetadata,
    ) -> Result<SerializedEntry, TensorReadError> {
        self.last = (self.of)(shown);
        Ok(self.entry())
    }

    fn compute(&mut self) -> Result<SerializedEntry, TensorReadError> {
        Ok(self.entry())
    }

    fn clear(&mut self) {}
}

impl Numeric for Figure {
    fn value(&self) -> Option<NumericEntry> {
        self.last.map(NumericEntry::Value)
    }

    fn running_value(&self) -> Option<NumericEntry> {
        self.value()
    }

    fn final_value(&self) -> NumericEntry {
        NumericEntry::Final(self.last.unwrap_or(f64::NAN))
    }
}
