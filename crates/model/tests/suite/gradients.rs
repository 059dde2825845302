//! Gradients by path, and models whose learned vectors are random.

use crate::theory::Normal;
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Gradients, Int, Tensor, TensorData};
use evenburn_model::{Decoder, Plan, weights};
use std::collections::BTreeMap;

/// The gradient of every parameter that has one.
pub(crate) fn by_path<M: Module>(module: &M, gradients: &Gradients) -> BTreeMap<String, Vec<f64>> {
    struct Visitor<'a> {
        path: Vec<String>,
        gradients: &'a Gradients,
        found: BTreeMap<String, Vec<f64>>,
    }
    impl ModuleVisitor for Visitor<'_> {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.path.push(name.to_owned());
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.path.pop();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(gradient) = param.val().grad(self.gradients) {
                let values = gradient.into_data().convert::<f64>();
                self.found
                    .insert(self.path.join("."), values.try_to_vec().unwrap());
            }
        }
    }
    let mut visitor = Visitor {
        path: Vec::new(),
        gradients,
        found: BTreeMap::new(),
    };
    module.visit(&mut visitor);
    visitor.found
}

/// Every parameter in f64.
pub(crate) fn values<M: Module>(module: &M) -> BTreeMap<String, Vec<f64>> {
    weights::collect(module)
        .into_iter()
        .map(|(path, data)| (path, data.convert::<f64>().try_to_vec().unwrap()))
        .collect()
}

/// The module with these values, of the shapes that it has.
pub(crate) fn with<M: Module>(module: M, values: &BTreeMap<String, Vec<f64>>) -> M {
    let data = weights::collect(&module)
        .into_iter()
        .map(|(path, old)| {
            let new = TensorData::new(values[&path].clone(), old.shape().clone());
            (path, new)
        })
        .collect();
    weights::replace(module, data).unwrap()
}

/// A decoder in f64 that a seed decides: its matrices as the plan draws them, its learned vectors away from where they
/// start.
pub(crate) fn random_decoder(plan: &Plan, seed: u64, device: &Device) -> Decoder {
    let model = Decoder::new(plan, seed, device);
    let mut draw = Normal::new(seed);
    let mut all = values(&model);
    for spec in plan.params() {
        if spec.shape.len() == 1 {
            for v in all.get_mut(&spec.path).unwrap() {
                let z = 0.2 * draw.next();
                // What starts at zero is added, the rest multiplies.
                *v = if *v == 0.0 { z } else { *v * z.exp() };
            }
        }
    }
    with(model, &all)
}

/// Random tokens `[B, T]`.
pub(crate) fn random_tokens(
    shape: [usize; 2],
    vocab: usize,
    seed: u64,
    device: &Device,
) -> Tensor<2, Int> {
    let mut draw = Normal::new(seed);
    let count = shape[0] * shape[1];
    let values: Vec<i32> = (0..count)
        .map(|_| (draw.next().abs() * 1e6) as i32 % vocab as i32)
        .collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}
