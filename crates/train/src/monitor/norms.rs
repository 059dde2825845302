//! Norms of every parameter and of its gradient.

use burn::module::{Module, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use evenburn_kernels::square_sum;
use evenburn_model::weights::{self, ParameterVisitor};

use super::{GradientView, Monitor, MonitorError, Probes, Setup, StepView};
use crate::metrics::{MetricSpec, Record};
use crate::training_loop::due;

static SPECS: [MetricSpec; 2] = [
    MetricSpec::new(
        "norm/param/{path}",
        "",
        "every `metrics.norms_every` steps",
        "L2 norm of a parameter before the update.",
    ),
    MetricSpec::new(
        "norm/grad/{path}",
        "",
        "every `metrics.norms_every` steps",
        "L2 norm of its gradient, before clipping.",
    ),
];

/// Norms of a step, measured while its gradients are there.
pub(super) struct Norms {
    every: u64,
    measured: Vec<(String, f64)>,
}

impl Norms {
    pub(super) fn new(setup: &Setup<'_>) -> Self {
        Self {
            every: setup.config.metrics.norms_every,
            measured: Vec::new(),
        }
    }
}

impl Monitor for Norms {
    fn name(&self) -> &'static str {
        "norms"
    }

    fn specs(&self) -> &[MetricSpec] {
        &SPECS
    }

    fn wants(&self, step: u64) -> Probes {
        Probes {
            gradients: due(step, self.every),
            ..Probes::default()
        }
    }

    fn on_gradients(&mut self, view: &GradientView<'_>) -> Result<(), MonitorError> {
        self.measured = norms(&view.task.decoder, view.gradients);
        Ok(())
    }

    fn after_step(&mut self, _: &StepView<'_>, record: &mut Record) -> Result<(), MonitorError> {
        for (name, value) in self.measured.drain(..) {
            record.push(name, value);
        }
        Ok(())
    }
}

/// L2 norms by metric name, in visiting order.
fn norms<M: Module>(module: &M, gradients: &GradientsParams) -> Vec<(String, f64)> {
    let mut visitor = Visitor {
        gradients,
        found: Vec::new(),
    };
    weights::visit(module, &mut visitor);
    visitor.found
}

struct Visitor<'g> {
    gradients: &'g GradientsParams,
    found: Vec<(String, f64)>,
}

impl ParameterVisitor for Visitor<'_> {
    fn parameter<const D: usize>(&mut self, path: &str, param: &Param<Tensor<D>>) {
        self.found
            .push((format!("norm/param/{path}"), norm(param.val().inner())));
        if let Some(gradient) = self.gradients.get::<D>(param.id) {
            self.found
                .push((format!("norm/grad/{path}"), norm(gradient)));
        }
    }
}

/// A norm the device can't hand over is no number.
fn norm<const D: usize>(tensor: Tensor<D>) -> f64 {
    // In an order that the number of threads doesn't change.
    let squares = square_sum(tensor);
    squares.try_into_scalar::<f64>().map_or(f64::NAN, f64::sqrt)
}
