//! Which way an operation takes.

use burn::backend::DispatchDevice;
use burn::tensor::{DType, Tensor};

/// Whether `x` lives on the CPU backend, through autodiff or not, and the kernels have vector instructions there.
pub(crate) fn on_flex<const D: usize>(x: &Tensor<D>) -> bool {
    let device = x.device();
    let mut device = device.as_dispatch();
    if let DispatchDevice::Autodiff(inner) = device {
        device = inner;
    }
    matches!(device, DispatchDevice::Flex(_)) && crate::flex::simd::available()
}

/// Whether the kernels can read `x`: single precision, and not empty.
pub(crate) fn is_plain<const D: usize>(x: &Tensor<D>) -> bool {
    x.dtype() == DType::F32 && x.shape().num_elements() > 0
}
