//! The state of one parameter.

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor, TensorData};

use crate::matrices::row_major;

/// A tensor that is kept between steps: its name, and its shape as a batch of matrices.
pub type StateTensor = (&'static str, [usize; 3]);

/// What is kept of one parameter between steps: named tensors `[N, In, Out]` or smaller, in the number format and on the
/// device of the parameter.
///
/// An [`UpdateRule`](crate::UpdateRule) names its tensors in [`init`](crate::UpdateRule::init); they are zero before its
/// first step, saved in checkpoints under `PATH/NAME`, and handed to it at every step.
#[derive(Debug, Clone)]
pub struct ParamState {
    /// The parameter's shape.
    shape: Vec<usize>,
    /// Steps taken by this parameter.
    pub(crate) t: u64,
    tensors: BTreeMap<&'static str, Tensor<3>>,
}

impl ParamState {
    /// A tensor of this state.
    ///
    /// # Panics
    /// For a name that the rule's `init` doesn't have.
    pub fn get(&self, name: &str) -> Tensor<3> {
        self.tensors[name].clone()
    }

    /// Puts a tensor in the place of one of the same shape and number format; another one fails the step.
    ///
    /// # Panics
    /// For a name that the rule's `init` doesn't have.
    pub fn set(&mut self, name: &str, tensor: Tensor<3>) {
        self.update(name, |_| tensor);
    }

    /// Replaces a tensor by what `change` makes of it, and returns that. It is handed over whole, so that operations can write
    /// where it lies.
    ///
    /// # Panics
    /// For a name that the rule's `init` doesn't have.
    pub fn update(&mut self, name: &str, change: impl FnOnce(Tensor<3>) -> Tensor<3>) -> Tensor<3> {
        let Some((name, before)) = self.tensors.remove_entry(name) else {
            let known: Vec<&str> = self.tensors.keys().copied().collect();
            panic!("an update rule asks for state `{name}`; its `init` has {known:?}");
        };
        let after = row_major(change(before));
        self.tensors.insert(name, after.clone());
        after
    }

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
