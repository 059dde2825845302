//! Numbers of tensors and of modules, in f64.

use burn::module::Module;
use burn::tensor::{Gradients, Tensor, TensorData};
use evenburn_model::weights;
use std::collections::BTreeMap;

/// The entries of a tensor.
pub fn numbers<const D: usize>(x: Tensor<D>) -> Vec<f64> {
    x.into_data().convert::<f64>().try_to_vec().unwrap()
}

/// The largest difference of two lists of equal length; NaN where one of their numbers is.
pub fn distance(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).fold(0.0, |m: f64, (a, b)| {
        if (a - b).is_nan() {
            f64::NAN
        } else {
            m.max((a - b).abs())
        }
    })
}

/// The gradient of every parameter that has one, by path.
pub fn by_path<M: Module>(module: &M, gradients: &Gradients) -> BTreeMap<String, Vec<f64>> {
    weights::gradients(module, gradients)
        .into_iter()
        .map(|(path, data)| (path, data.convert::<f64>().try_to_vec().unwrap()))
        .collect()
}

/// Every parameter, by path.
pub fn values<M: Module>(module: &M) -> BTreeMap<String, Vec<f64>> {
    weights::collect(module)
        .into_iter()
        .map(|(path, data)| (path, data.convert::<f64>().try_to_vec().unwrap()))
        .collect()
}

/// The module with these values, of the shapes that it has, in f64.
pub fn with<M: Module>(module: M, values: &BTreeMap<String, Vec<f64>>) -> M {
    let data = weights::collect(&module).into_iter().map(|(path, old)| {
        let new = TensorData::new(values[&path].clone(), old.shape().clone());
        (path, new)
    });
    weights::replace(module, data).unwrap()
}
