//! Bounded attention scores.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Tensor, TensorData};

use crate::value::replace;

/// What the query and the key heads of an attention are multiplied by so that no score stays above `threshold`
/// (QK-clip of Kimi K2, arXiv 2507.20534, section 2.1): with `eta = min(1, threshold / largest)` of each query head,
///
/// ```text
/// key head *= sqrt(eta of its lowest query head),   query head *= eta / that
/// ```
///
/// which is the paper's `sqrt(eta)` for both where each key head serves one query head. `largest` has an entry for each
/// query head, neighbouring ones share a key head.
///
/// ```
/// use evenburn_optim::qk_clip;
///
/// let (queries, keys) = qk_clip(&[400.0, 50.0], 2, 100.0);
/// assert_eq!((queries, keys), (vec![0.5, 1.0], vec![0.5, 1.0]));
/// // Two query heads on one key head.
/// let (queries, keys) = qk_clip(&[400.0, 50.0], 1, 100.0);
/// assert_eq!((queries, keys), (vec![0.5, 2.0], vec![0.5]));
/// ```
pub fn qk_clip(largest: &[f64], kv_heads: usize, threshold: f64) -> (Vec<f64>, Vec<f64>) {
    let eta = |score: &f64| {
        if *score > threshold {
            threshold / score
        } else {
            1.0
        }
    };
    let each = (largest.len() / kv_heads.max(1)).max(1);
    let keys: Vec<f64> = largest
        .chunks(each)
        .map(|heads| heads.iter().map(eta).fold(1.0, f64::min).sqrt())
        .collect();
    let queries = largest
        .iter()
        .enumerate()
        .map(|(head, score)| eta(score) / keys[head / each])
        .collect();
    (queries, keys)
}

/// Multiplies the outputs of parameters, each cut into as many equal heads as there are factors for its path.
///
/// Parameters without factors stay as they are; so do ids and whatever autodiff knows of a parameter.
pub fn scale_heads<M: Module>(module: M, factors: &BTreeMap<String, Vec<f64>>) -> M {
    module.map(&mut Scale {
        path: Vec::new(),
        factors,
    })
}

struct Scale<'a> {
    path: Vec<String>,
    factors: &'a BTreeMap<String, Vec<f64>>,
}

impl ModuleMapper for Scale<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(factors) = self.factors.get(&self.path.join(".")) else {
            return param;
        };
        replace(param, |w| {
            let mut shape = [1; D];
            let outputs = w.dims()[D - 1];
            shape[D - 1] = outputs;
            let width = outputs / factors.len().max(1);
            let each: Vec<f64> = (0..outputs)
                .map(|output| factors.get(output / width.max(1)).copied().unwrap_or(1.0))
                .collect();
            let data = TensorData::new(each, shape).convert_dtype(w.dtype());
            let each = Tensor::<D>::from_data(data, (&w.device(), w.dtype()));
            w.mul(each)
        })
    }
}
