//! The state of one parameter.

use std::collections::BTreeMap;

use burn::module::Param;
use burn::tensor::{Device, Tensor, TensorData};

/// A tensor that a recipe keeps between steps: its name, and its shape as a batch of matrices.
pub(crate) type Kept = (&'static str, [usize; 3]);

/// What a recipe keeps of one parameter between steps.
#[derive(Debug, Clone)]
pub(crate) struct Slot {
    /// The parameter's shape.
    shape: Vec<usize>,
    /// Steps taken by this parameter.
    pub(crate) t: u64,
    tensors: BTreeMap<&'static str, Tensor<3>>,
}

impl Slot {
    /// Nothing yet, after so many steps.
    pub(crate) fn new(shape: &[usize], t: u64) -> Self {
        Self {
            shape: shape.to_vec(),
            t,
            tensors: BTreeMap::new(),
        }
    }

    /// Hands a tensor over; whoever takes it puts its successor back.
    pub(crate) fn take(&mut self, name: &'static str) -> Option<Tensor<3>> {
        self.tensors.remove(name)
    }

    pub(crate) fn put(&mut self, name: &'static str, tensor: Tensor<3>) {
        self.tensors.insert(name, tensor);
    }

    pub(crate) fn tensors(&self) -> impl Iterator<Item = (&'static str, &Tensor<3>)> {
        self.tensors.iter().map(|(name, tensor)| (*name, tensor))
    }

    pub(crate) fn to_device(&self, device: &Device) -> Self {
        let moved = self
            .tensors()
            .map(|(name, tensor)| (name, tensor.clone().to_device(device)));
        Self {
            shape: self.shape.clone(),
            t: self.t,
            tensors: moved.collect(),
        }
    }

    /// Every tensor under its name. One with an entry for each of the parameter's has the parameter's shape.
    pub(crate) fn export(&self) -> Vec<(&'static str, TensorData)> {
        self.tensors()
            .map(|(name, tensor)| {
                let shape = saved_shape(tensor.dims(), &self.shape);
                (name, reshaped(tensor.to_data(), shape))
            })
            .collect()
    }
}

/// The shape in which a kept tensor is saved.
pub(crate) fn saved_shape(kept: [usize; 3], parameter: &[usize]) -> Vec<usize> {
    if kept == crate::matrices::batched(parameter) {
        parameter.to_vec()
    } else {
        kept.to_vec()
    }
}

/// A saved tensor back on the device of its parameter.
pub(crate) fn restore(data: TensorData, kept: [usize; 3], device: &Device) -> Tensor<3> {
    let dtype = data.dtype();
    Tensor::<3>::from_data(reshaped(data, kept.to_vec()), (device, dtype)).inner()
}

fn reshaped(data: TensorData, shape: Vec<usize>) -> TensorData {
    let (bytes, _, dtype) = data.into_parts();
    TensorData::from_bytes(bytes, shape, dtype)
}

/// Replaces a parameter's value by `update` of it outside of the autodiff graph, and keeps its id
/// and whatever it was to autodiff.
///
/// [`Tensor::from_inner`] alone gives a tensor that needs no gradient, is not distributed and has
/// the default checkpointing strategy; a model whose parameters mix two strategies panics in its
/// next forward pass.
pub(crate) fn update<const D: usize>(
    param: Param<Tensor<D>>,
    update: impl FnOnce(Tensor<D>) -> Tensor<D>,
) -> Param<Tensor<D>> {
    let (id, value, mapper) = param.consume();
    // Only tensors on an autodiff device may be asked the rest.
    if !value.is_autodiff() {
        return Param::from_mapped_value(id, update(value), mapper);
    }
    let requires_grad = value.is_require_grad();
    let distributed = value.is_distributed();
    let checkpointing = value.gradient_checkpointing_strategy();

    let mut value = Tensor::from_inner(update(value.inner()));
    if let Some(strategy) = checkpointing {
        value = value.with_gradient_checkpointing_strategy(strategy);
    }
    if requires_grad {
        value = value.require_grad();
    }
    if distributed {
        value = value.set_distributed(id);
    }
    Param::from_mapped_value(id, value, mapper)
}
