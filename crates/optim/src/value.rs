//! A new value for a parameter that stays the same to everything else.

use burn::module::Param;
use burn::tensor::Tensor;

/// Replaces a parameter's value by `update` of it outside of the autodiff graph, and keeps its id
/// and whatever it was to autodiff.
///
/// [`Tensor::from_inner`] alone gives a tensor that needs no gradient, is not distributed and has
/// the default checkpointing strategy; a model whose parameters mix two strategies panics in its
/// next forward pass.
///
/// ```
/// use burn::module::Param;
/// use burn::tensor::{Device, Tensor};
/// use evenburn_optim::replace_value;
///
/// let device = Device::flex().autodiff();
/// let before = Param::from_tensor(Tensor::<1>::from_floats([1.0, 2.0], &device));
/// let id = before.id;
/// let after = replace_value(before, |value| value * 3.0);
/// assert_eq!(after.id, id);
/// assert!(after.val().is_require_grad());
/// assert_eq!(after.val().into_data().try_to_vec::<f32>().unwrap(), [3.0, 6.0]);
/// ```
pub fn replace<const D: usize>(
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
