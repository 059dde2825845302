//! Which way an operation takes.

#[cfg(feature = "flex")]
use burn::backend::DispatchDevice;
#[cfg(feature = "flex")]
use burn::tensor::{DType, Tensor};
use std::sync::atomic::{AtomicBool, Ordering};

static REFERENCES: AtomicBool = AtomicBool::new(false);

/// Has every operation of this process take its [`mod@crate::reference`] from now on.
///
/// What a program computes differently then is rounding; more would be a mistake in a fast path. That is what it is
/// for: to tell whether one is to blame.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use evenburn_kernels::{Size, normalize};
/// let x = || Tensor::<2>::from_floats([[3.0, 4.0]], &Device::flex());
/// let fused = normalize(x(), None, Size::L2, 0.0, 2);
/// evenburn_kernels::use_references();
/// let plain = normalize(x(), None, Size::L2, 0.0, 2);
/// assert!((fused - plain).abs().max().into_scalar::<f32>() < 1e-6);
/// ```
pub fn use_references() {
    REFERENCES.store(true, Ordering::Relaxed);
}

/// Whether `x` lives on the CPU backend, through autodiff or not, the kernels have vector instructions there, and nobody
/// asked for references.
#[cfg(feature = "flex")]
pub(crate) fn on_flex<const D: usize>(x: &Tensor<D>) -> bool {
    let device = x.device();
    let mut device = device.as_dispatch();
    if let DispatchDevice::Autodiff(inner) = device {
        device = inner;
    }
    matches!(device, DispatchDevice::Flex(_))
        && crate::flex::simd::available()
        && !REFERENCES.load(Ordering::Relaxed)
}

/// Whether the kernels can read `x`: single precision, and not empty.
#[cfg(feature = "flex")]
pub(crate) fn is_plain<const D: usize>(x: &Tensor<D>) -> bool {
    x.dtype() == DType::F32 && x.shape().num_elements() > 0
}
