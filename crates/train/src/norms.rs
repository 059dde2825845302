//! Norms of every parameter and of its gradient, `norm/{param,grad}/<path>`.

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;

/// L2 norms by metric name, in visiting order.
pub(crate) fn norms<M: Module>(module: &M, gradients: &GradientsParams) -> Vec<(String, f64)> {
    let mut visitor = Norms {
        path: Vec::new(),
        gradients,
        found: Vec::new(),
    };
    module.visit(&mut visitor);
    visitor.found
}

struct Norms<'g> {
    path: Vec<String>,
    gradients: &'g GradientsParams,
    found: Vec<(String, f64)>,
}

impl ModuleVisitor for Norms<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let path = self.path.join(".");
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
    let squares = tensor.square().sum();
    squares.try_into_scalar::<f64>().map_or(f64::NAN, f64::sqrt)
}
