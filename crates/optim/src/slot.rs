//! The state of one parameter, whatever its rank.

use burn::module::Param;
use burn::tensor::{Device, Tensor, TensorData};

use crate::adam::Moments;

/// State tensors of one parameter, flattened so that one map holds parameters of every rank
/// (a reshape moves no data).
#[derive(Debug, Clone)]
pub(crate) struct Slot {
    pub(crate) shape: Vec<usize>,
    /// Steps taken by this parameter.
    pub(crate) t: u64,
    pub(crate) m: Tensor<1>,
    /// Only Adam's.
    pub(crate) v: Option<Tensor<1>>,
}

impl Slot {
    pub(crate) fn of_moments<const D: usize>(moments: Moments<D>) -> Self {
        let v = Some(flat(moments.v));
        Self {
            v,
            ..Self::of_momentum(moments.m, moments.t)
        }
    }

    pub(crate) fn of_momentum<const D: usize>(m: Tensor<D>, t: u64) -> Self {
        Self {
            shape: m.dims().to_vec(),
            t,
            m: flat(m),
            v: None,
        }
    }

    pub(crate) fn into_moments<const D: usize>(self, shape: [usize; D]) -> Option<Moments<D>> {
        Some(Moments {
            m: self.m.reshape(shape),
            v: self.v?.reshape(shape),
            t: self.t,
        })
    }

    pub(crate) fn into_momentum<const D: usize>(self, shape: [usize; D]) -> Tensor<D> {
        self.m.reshape(shape)
    }

    /// Every tensor with the name of [`Recipe::state_names`](crate::Recipe::state_names) and the
    /// parameter's shape.
    pub(crate) fn export(&self) -> Vec<(&'static str, TensorData)> {
        let data = |t: &Tensor<1>| reshaped(t.to_data(), self.shape.clone());
        let m = ("m", data(&self.m));
        let v = self.v.as_ref().map(|v| ("v", data(v)));
        [Some(m), v].into_iter().flatten().collect()
    }
}

fn flat<const D: usize>(t: Tensor<D>) -> Tensor<1> {
    let n = t.dims().iter().product::<usize>();
    t.reshape([n])
}

/// A saved tensor back on the device of its parameter, flattened.
pub(crate) fn restore(data: TensorData, device: &Device) -> Tensor<1> {
    let (dtype, n) = (data.dtype(), data.num_elements());
    Tensor::<1>::from_data(reshaped(data, vec![n]), (device, dtype)).inner()
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
