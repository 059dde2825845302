//! What the ways on GPU backends have in common.

pub(crate) mod extension;

use burn::tensor::{DType, Shape};
use burn_cubecl::cubecl::ir::ElemType;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use burn_cubecl::tensor::CubeTensor;
use evenburn_cube::Buffer;

/// A tensor whose numbers lie one after another.
pub(crate) fn contiguous(x: CubeTensor) -> CubeTensor {
    into_contiguous(x)
}

/// The numbers of a tensor that went through [`contiguous`] or comes from [`empty`].
pub(crate) fn buffer(x: &CubeTensor) -> Buffer {
    Buffer::new(x.handle.clone(), x.meta.num_elements())
}

/// The format of a tensor's numbers, of those that `route` lets through.
pub(crate) fn element(x: &CubeTensor) -> ElemType {
    burn::backend::cubecl::dtype_to_storage_type(x.dtype)
}

/// A tensor with arbitrary numbers beside `like`.
pub(crate) fn empty(like: &CubeTensor, shape: impl Into<Shape>, dtype: DType) -> CubeTensor {
    let (client, device) = (like.client.clone(), like.device.clone());
    empty_device_contiguous_dtype(client, device, shape.into(), dtype)
}
