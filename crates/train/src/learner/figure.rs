//! The figures of the dashboard, as burn-train asks for them.

use std::collections::BTreeMap;
use std::sync::Arc;

use burn::tensor::{ExecutionError, TensorReadError};
use burn_train::ItemLazy;
use burn_train::metric::{
    Adaptor, Metric, MetricAttributes, MetricMetadata, MetricName, Numeric, NumericAttributes,
    NumericEntry, SerializedEntry,
};

use crate::metrics::Record;

/// The values of a record that figures show, by metric.
#[derive(Debug, Clone, Default)]
pub(super) struct Values(BTreeMap<&'static str, f64>);

impl Values {
    pub(super) fn new(record: &Record, figures: &[Figure]) -> Self {
        let of = |figure: &Figure| Some((figure.metric, record.get(figure.metric)?));
        Self(figures.iter().filter_map(of).collect())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl ItemLazy for Values {
    fn sync(self) -> Result<Self, ExecutionError> {
        Ok(self)
    }
}

impl Adaptor<Self> for Values {
    fn adapt(&self) -> Self {
        self.clone()
    }
}

/// One figure of the dashboard.
#[derive(Clone)]
pub(super) struct Figure {
    name: MetricName,
    /// What it shows, as records call it.
    metric: &'static str,
    unit: Option<&'static str>,
    rising: bool,
    last: Option<f64>,
}

impl Figure {
    fn new(name: &str, metric: &'static str, unit: Option<&'static str>, rising: bool) -> Self {
        Self {
            name: Arc::new(name.to_owned()),
            metric,
            unit,
            rising,
            last: None,
        }
    }

    /// What is shown of every step.
    pub(super) fn of_training() -> [Self; 4] {
        [
            Self::new("Loss", "train/loss", Some("nats"), false),
            Self::new("Learning rate", "train/lr", None, false),
            Self::new("Gradient norm", "train/grad_norm", None, false),
            Self::new("Tokens per second", "perf/tokens_per_sec", None, true),
        ]
    }

    /// What is shown of every evaluation.
    pub(super) fn of_evaluation() -> [Self; 2] {
        [
            Self::new("Loss", "val/loss", Some("nats"), false),
            Self::new("Bits per byte", "val/bpb", None, false),
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
    type Input = Values;

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
        values: &Values,
        _: &MetricMetadata,
    ) -> Result<SerializedEntry, TensorReadError> {
        self.last = values.0.get(self.metric).copied();
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
