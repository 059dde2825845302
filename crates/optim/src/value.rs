//! A new value for a parameter that stays the same to everything else.

use burn::module::Param;
use burn::tensor::Tensor;

/// Replaces a parameter's value by `update` of it outside of the autodiff graph, and keeps its id
/// and whatever it was to autodiff.
///
/// [`Tensor::from_inner`] alone gives a tensor that needs no gradient, is not distributed and has
/// the default checkpointing strategy; a model whose parameters mix two strategies panics in its
/// next forward pass.
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
