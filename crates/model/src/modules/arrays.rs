//! Learned arrays that a function or a rule has beside the usual ones, by name.

use crate::init::Initializer;
use crate::plan::{ArrayInit, ArrayPlan};
use burn::module::{
    Content, Devices, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper, ModuleVisitor,
    Param,
};
use burn::tensor::{Device, Tensor, TensorData};
use std::fmt;

/// One learned array: a vector or a matrix.
#[derive(Debug, Clone)]
enum Array {
    Vector(Param<Tensor<1>>),
    Matrix(Param<Tensor<2>>),
}

/// Named learned arrays; a module whose parameters have these names.
#[derive(Debug, Clone, Default)]
pub struct Arrays {
    entries: Vec<(String, Array)>,
}

impl Arrays {
    /// The arrays of a plan at their initial values; a matrix is drawn by its name under `path`.
    pub fn new(plans: &[ArrayPlan], path: &str, init: Initializer, device: &Device) -> Self {
        let entries = plans.iter().map(|plan| {
            let array = match (plan.start, plan.shape.as_slice()) {
                (ArrayInit::Drawn(how), [rows, columns]) => {
                    let path = format!("{path}.{}", plan.name);
                    Array::Matrix(init.matrix(&path, how, [*rows, *columns], device))
                }
                (ArrayInit::Filled(value), [rows, columns]) => Array::Matrix(Param::from_tensor(
                    Tensor::full([*rows, *columns], value, device),
                )),
                (start, shape) => {
                    let value = match start {
                        ArrayInit::Filled(value) => value,
                        ArrayInit::Drawn(_) => 0.0,
                    };
                    let entries: usize = shape.iter().product();
                    Array::Vector(Param::from_tensor(Tensor::full([entries], value, device)))
                }
            };
            let array = match (plan.trained, array) {
                (true, array) => array,
                (false, Array::Vector(p)) => Array::Vector(p.set_require_grad(false)),
                (false, Array::Matrix(p)) => Array::Matrix(p.set_require_grad(false)),
            };
            (plan.name.clone(), array)
        });
        Self {
            entries: entries.collect(),
        }
    }

    /// The vector of a name; a vector of one 0 where there is none, which a function that names its own never asks for.
    pub fn vector(&self, name: &str) -> Tensor<1> {
        self.entries
            .iter()
            .find_map(|(own, array)| match array {
                Array::Vector(param) if own == name => Some(param.val()),
                _ => None,
            })
            .unwrap_or_else(|| Tensor::zeros([1], &self.device()))
    }

    /// The matrix `[in, out]` of a name; one 0 where there is none, which a function that names its own never asks for.
    pub fn matrix(&self, name: &str) -> Tensor<2> {
        self.entries
            .iter()
            .find_map(|(own, array)| match array {
                Array::Matrix(param) if own == name => Some(param.val()),
                _ => None,
            })
            .unwrap_or_else(|| Tensor::zeros([1, 1], &self.device()))
    }

    /// The same arrays with other values in the vector of a name.
    #[must_use]
    pub(crate) fn with(self, name: &str, values: &[f64]) -> Self {
        let entries = self.entries.into_iter().map(|(own, array)| {
            let array = match array {
                Array::Vector(param) if own == name => Array::Vector(param.map(|old| {
                    let dtype = old.dtype();
                    let data =
                        TensorData::new(values.to_vec(), [values.len()]).convert_dtype(dtype);
                    let new = Tensor::from_data(data, (&old.device(), dtype));
                    new.set_require_grad(old.is_require_grad())
                })),
                other => other,
            };
            (own, array)
        });
        Self {
            entries: entries.collect(),
        }
    }

    fn device(&self) -> Device {
        self.devices().into_iter().next().unwrap_or_default()
    }

    /// The same arrays, each changed by a function of its own rank.
    fn each(
        self,
        vector: impl Fn(Param<Tensor<1>>) -> Param<Tensor<1>>,
        matrix: impl Fn(Param<Tensor<2>>) -> Param<Tensor<2>>,
    ) -> Self {
        let entries = self.entries.into_iter().map(|(name, array)| {
            let array = match array {
                Array::Vector(param) => Array::Vector(vector(param)),
                Array::Matrix(param) => Array::Matrix(matrix(param)),
            };
            (name, array)
        });
        Self {
            entries: entries.collect(),
        }
    }
}

/// What visitors are told of the container.
const CONTAINER: &str = "Struct:Arrays";

impl Module for Arrays {
    fn collect_devices(&self, mut devices: Devices) -> Devices {
        for (_, array) in &self.entries {
            devices = match array {
                Array::Vector(param) => param.collect_devices(devices),
                Array::Matrix(param) => param.collect_devices(devices),
            };
        }
        devices
    }

    fn fork(self, device: &Device) -> Self {
        self.each(|p| p.fork(device), |p| p.fork(device))
    }

    fn to_device(self, device: &Device) -> Self {
        self.each(|p| p.to_device(device), |p| p.to_device(device))
    }

    fn train(self) -> Self {
        self.each(Module::train, Module::train)
    }

    fn valid(&self) -> Self {
        self.clone().each(|p| p.valid(), |p| p.valid())
    }

    fn materialize(self) -> Self {
        self.each(Module::materialize, Module::materialize)
    }

    fn visit<V: ModuleVisitor>(&self, visitor: &mut V) {
        for (name, array) in &self.entries {
            visitor.enter_module(name, CONTAINER);
            match array {
                Array::Vector(param) => param.visit(visitor),
                Array::Matrix(param) => param.visit(visitor),
            }
            visitor.exit_module(name, CONTAINER);
        }
    }

    fn map<M: ModuleMapper>(self, mapper: &mut M) -> Self {
        let entries = self.entries.into_iter().map(|(name, array)| {
            mapper.enter_module(&name, CONTAINER);
            let array = match array {
                Array::Vector(param) => Array::Vector(Module::map(param, mapper)),
                Array::Matrix(param) => Array::Matrix(Module::map(param, mapper)),
            };
            mapper.exit_module(&name, CONTAINER);
            (name, array)
        });
        Self {
            entries: entries.collect(),
        }
    }
}

impl fmt::Display for Arrays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.format(burn::module::DisplaySettings::default()))
    }
}

impl ModuleDisplayDefault for Arrays {
    fn content(&self, content: Content) -> Option<Content> {
        let names = self.entries.iter().map(|(name, _)| name.as_str());
        let content = names.fold(content, |content, name| {
            content.add_single(&name.to_owned())
        });
        content.optional()
    }

    fn num_params(&self) -> usize {
        Module::num_params(self)
    }
}

impl ModuleDisplay for Arrays {}
