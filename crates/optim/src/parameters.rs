//! What there is to know of every parameter of a module, and of its gradient, before a step.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::{DType, Device, Tensor};
use evenburn_kernels::square_sum;

use crate::{OptimError, Rule};

/// A parameter as it stands in the module.
#[derive(Debug)]
pub(crate) struct Parameter {
    pub(crate) path: String,
    pub(crate) id: ParamId,
    pub(crate) shape: Vec<usize>,
    pub(crate) dtype: DType,
    pub(crate) device: Device,
    pub(crate) requires_grad: bool,
    pub(crate) gradient: Option<Gradient>,
}

/// What is known of a gradient before it is used.
#[derive(Debug)]
pub(crate) struct Gradient {
    pub(crate) shape: Vec<usize>,
    pub(crate) dtype: DType,
    /// `[1]`, still on the device: one read serves them all.
    squared_norm: Tensor<1>,
}

/// Shape and dtype, as errors say it.
pub(crate) fn describe(shape: &[usize], dtype: DType) -> String {
    format!("{shape:?} {dtype:?}")
}

/// Every float parameter in visiting order, with its gradient's norm where `grads` has one.
pub(crate) fn of<M: Module>(module: &M, grads: Option<&GradientsParams>) -> Vec<Parameter> {
    let mut visitor = Collect {
        path: Vec::new(),
        grads,
        parameters: Vec::new(),
    };
    module.visit(&mut visitor);
    visitor.parameters
}

struct Collect<'a> {
    path: Vec<String>,
    grads: Option<&'a GradientsParams>,
    parameters: Vec<Parameter>,
}

impl ModuleVisitor for Collect<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let value = param.base();
        let gradient = self
            .grads
            .and_then(|grads| grads.get::<D>(param.id))
            .map(|grad| {
                let grad = grad.inner();
                Gradient {
                    shape: grad.dims().to_vec(),
                    dtype: grad.dtype(),
                    squared_norm: square_sum(grad),
                }
            });
        self.parameters.push(Parameter {
            path: self.path.join("."),
            id: param.id,
            shape: value.dims().to_vec(),
            dtype: value.dtype(),
            device: value.device(),
            requires_grad: value.is_require_grad(),
            gradient,
        });
    }
}

/// Whether parameters and rules match one to one, and every rule can train its parameter.
pub(crate) fn check(
    parameters: &[Parameter],
    rules: &BTreeMap<String, Rule>,
) -> Result<(), OptimError> {
    let mut owners = HashMap::new();
    for parameter in parameters {
        if let Some(first) = owners.insert(parameter.id, &parameter.path) {
            return Err(OptimError::SharedParameter {
                first: first.clone(),
                second: parameter.path.clone(),
            });
        }
    }
    let paths: BTreeSet<&String> = parameters.iter().map(|p| &p.path).collect();
    let unclaimed: Vec<String> = parameters
        .iter()
        .filter(|p| !rules.contains_key(&p.path))
        .map(|p| p.path.clone())
        .collect();
    let unmatched: Vec<String> = rules
        .keys()
        .filter(|path| !paths.contains(path))
        .cloned()
        .collect();
    if !(unclaimed.is_empty() && unmatched.is_empty()) {
        return Err(OptimError::RuleMismatch {
            unclaimed,
            unmatched,
        });
    }
    for parameter in parameters {
        rules[&parameter.path].check(&parameter.path, &parameter.shape)?;
    }
    Ok(())
}

/// The squared norm of each gradient there is, in `f64`, by path.
pub(crate) fn squared_norms(
    parameters: &[Parameter],
    step: u64,
) -> Result<BTreeMap<String, f64>, OptimError> {
    let mut squares = Vec::new();
    for parameter in parameters {
        let Some(gradient) = &parameter.gradient else {
            continue;
        };
        if (&gradient.shape, gradient.dtype) != (&parameter.shape, parameter.dtype) {
            return Err(OptimError::GradientMismatch {
                step,
                parameter: parameter.path.clone(),
                expected: describe(&parameter.shape, parameter.dtype),
                found: describe(&gradient.shape, gradient.dtype),
            });
        }
        squares.push((&parameter.path, &gradient.squared_norm));
    }
    let values = read(&squares.iter().map(|&(_, t)| t).collect::<Vec<_>>());
    let paths = squares.into_iter().map(|(path, _)| path.clone());
    Ok(paths.zip(values).collect())
}

/// Squared norms in visiting order, once no parameter lacks its own and all are numbers.
pub(crate) fn complete<'p>(
    parameters: &'p [Parameter],
    squares: &BTreeMap<String, f64>,
    step: u64,
) -> Result<Vec<(&'p String, f64)>, OptimError> {
    let found = parameters
        .iter()
        .filter_map(|p| Some((&p.path, *squares.get(&p.path)?)));
    let found: Vec<(&String, f64)> = found.collect();
    let missing: Vec<String> = parameters
        .iter()
        .filter(|p| p.requires_grad && !squares.contains_key(&p.path))
        .map(|p| p.path.clone())
        .collect();
    if !missing.is_empty() || found.is_empty() {
        let everything = || parameters.iter().map(|p| p.path.clone()).collect();
        return Err(OptimError::MissingGradient {
            step,
            parameters: if found.is_empty() {
                everything()
            } else {
                missing
            },
        });
    }
    let total: f64 = found.iter().map(|(_, square)| square).sum();
    match found.iter().find(|(_, square)| !square.is_finite()) {
        None if total.is_finite() => Ok(found),
        // Only `f64` squares can overflow their sum alone: then the largest is to blame.
        culprit => Err(OptimError::NonFiniteGradient {
            step,
            parameter: culprit
                .or_else(|| found.iter().max_by(|(_, a), (_, b)| a.total_cmp(b)))
                .map(|(path, _)| (*path).clone())
                .unwrap_or_default(),
        }),
    }
}

/// Values of `[1]` tensors, with one read per device and dtype instead of one per tensor.
fn read(tensors: &[&Tensor<1>]) -> Vec<f64> {
    let mut values = vec![f64::NAN; tensors.len()];
    let mut batches: Vec<(Device, DType, Vec<usize>)> = Vec::new();
    for (i, tensor) in tensors.iter().enumerate() {
        let (device, dtype) = (tensor.device(), tensor.dtype());
        let batch = batches
            .iter_mut()
            .find(|(d, t, _)| *d == device && *t == dtype);
        match batch {
            Some((_, _, members)) => members.push(i),
            None => batches.push((device, dtype, vec![i])),
        }
    }
    for (_, _, members) in batches {
        let members_of = |&i: &usize| (*tensors[i]).clone();
        let together = Tensor::cat(members.iter().map(members_of).collect(), 0);
        for (i, value) in members.iter().zip(together.into_data().iter::<f64>()) {
            values[*i] = value;
        }
    }
    values
}
