//! Whether an operation takes a kernel or its reference.

#[cfg(any(feature = "flex", feature = "cube"))]
use burn::backend::DispatchDevice;
#[cfg(any(feature = "flex", feature = "cube"))]
use burn::tensor::{DType, Tensor};
use std::sync::atomic::{AtomicBool, Ordering};

static REFERENCES: AtomicBool = AtomicBool::new(false);

/// Has every operation of this process take its [`mod@crate::reference`] from now on.
///
/// What a program computes differently then is rounding; more would be a mistake in a fast path. That is what it is
/// for: to tell whether one is to blame.
///
/// ```standalone_crate
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

/// Whether there are fused operations for the CPU backend: this build has the feature `flex`, and the processor the vector
/// instructions that they are written in. Without them training takes more than half again as long, and twice the memory.
pub fn has_cpu_kernels() -> bool {
    #[cfg(feature = "flex")]
    {
        crate::flex::simd::available()
    }
    #[cfg(not(feature = "flex"))]
    {
        false
    }
}

/// Whether `x` lives on the CPU backend, through autodiff or not, the kernels have vector instructions there, and
/// [`use_references`] was not called.
#[cfg(feature = "flex")]
pub(crate) fn on_flex<const D: usize>(x: &Tensor<D>) -> bool {
    lies(x, |device| matches!(device, DispatchDevice::Flex(_)))
        && crate::flex::simd::available()
        && !REFERENCES.load(Ordering::Relaxed)
}

/// Whether `x` lives on a GPU backend, through autodiff or not, in a format that its kernels read and not empty, and
/// [`use_references`] was not called.
#[cfg(feature = "cube")]
pub(crate) fn on_cube<const D: usize>(x: &Tensor<D>) -> bool {
    lies(x, |device| matches!(device, DispatchDevice::Cube(_)))
        && matches!(x.dtype(), DType::F32 | DType::F16 | DType::BF16)
        && x.shape().num_elements() > 0
        && !REFERENCES.load(Ordering::Relaxed)
}

#[cfg(any(feature = "flex", feature = "cube"))]
fn lies<const D: usize>(x: &Tensor<D>, on: impl Fn(&DispatchDevice) -> bool) -> bool {
    let device = x.device();
    let device = device.as_dispatch();
    if let DispatchDevice::Autodiff(inner) = device {
        on(inner)
    } else {
        on(device)
    }
}

/// Whether the kernels can read `x`: single precision, and not empty.
#[cfg(feature = "flex")]
pub(crate) fn is_plain<const D: usize>(x: &Tensor<D>) -> bool {
    x.dtype() == DType::F32 && x.shape().num_elements() > 0
}
