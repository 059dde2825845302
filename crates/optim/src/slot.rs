//! The state of one parameter, whatever its rank.

use burn::module::Param;
use burn::tensor::{Device, GradientCheckpointingStrategy, Tensor, TensorData};

use crate::adam::Moments;

/// State tensors of one parameter, flattened so that one map holds parameters of every rank
/// (a reshape moves no data).
#[derive(Debug, Clone)]
pub(crate) struct Slot {
    pub(crate) shape: Vec<usize>,
    /// Steps taken by this parameter.
    pub(crate) t: u64,
    pub(crate) tensors: Tensors,
}

#[derive(Debug, Clone)]
pub(crate) enum Tensors {
    Moments { m: Tensor<1>, v: Tensor<1> },
    Momentum { m: Tensor<1> },
}

impl Slot {
    pub(crate) fn of_moments<const D: usize>(moments: Moments<D>) -> Self {
        Self {
            shape: moments.m.dims().to_vec(),
            t: moments.t,
            tensors: Tensors::Moments {
                m: flat(moments.m),
                v: flat(moments.v),
            },
        }
    }

    pub(crate) fn of_momentum<const D: usize>(m: Tensor<D>, t: u64) -> Self {
        Self {
            shape: m.dims().to_vec(),
            t,
            tensors: Tensors::Momentum { m: flat(m) },
        }
    }

    pub(crate) fn into_moments<const D: usize>(self, shape: [usize; D]) -> Option<Moments<D>> {
        match self.tensors {
            Tensors::Moments { m, v } => Some(Moments {
                m: m.reshape(shape),
                v: v.reshape(shape),
                t: self.t,
            }),
            Tensors::Momentum { .. } => None,
        }
    }

    pub(crate) fn into_momentum<const D: usize>(self, shape: [usize; D]) -> Option<Tensor<D>> {
        match self.tensors {
            Tensors::Momentum { m } => Some(m.reshape(shape)),
            Tensors::Moments { .. } => None,
        }
    }

    /// Every tensor with the name of [`Recipe::state_names`](crate::Recipe::state_names) and the
    /// parameter's shape.
    pub(crate) fn export(&self) -> Vec<(&'static str, TensorData)> {
        let data = |t: &Tensor<1>| reshaped(t.to_data(), self.shape.clone());
        match &self.tensors {
            Tensors::Moments { m, v } => vec![("m", data(m)), ("v", data(v))],
            Tensors::Momentum { m } => vec![("m", data(m))],
        }
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

/// What a parameter loses while its value is updated outside of the autodiff graph.
///
/// [`Tensor::from_inner`] gives a tensor that needs no gradient, is not distributed and has the
/// default checkpointing strategy; a model whose parameters mix two strategies panics in its next
/// forward pass.
pub(crate) struct Context {
    autodiff: bool,
    requires_grad: bool,
    distributed: bool,
    checkpointing: Option<GradientCheckpointingStrategy>,
}

impl Context {
    /// Replaces a parameter's value by `update` of it, and keeps everything else.
    pub(crate) fn update<const D: usize>(
        param: Param<Tensor<D>>,
        update: impl FnOnce(Tensor<D>) -> Tensor<D>,
    ) -> Param<Tensor<D>> {
        let (id, value, mapper) = param.consume();
        let context = Self {
            autodiff: value.is_autodiff(),
            requires_grad: value.is_require_grad(),
            distributed: value.is_distributed(),
            checkpointing: value.gradient_checkpointing_strategy(),
        };
        let mut value = update(value.inner());
        if context.autodiff {
            value = Tensor::from_inner(value);
            if let Some(strategy) = context.checkpointing {
                value = value.with_gradient_checkpointing_strategy(strategy);
            }
            if context.requires_grad {
                value = value.require_grad();
            }
            if context.distributed {
                value = value.set_distributed(id);
            }
        }
        Param::from_mapped_value(id, value, mapper)
    }
}
