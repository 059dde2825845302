//! The number format of matrix products.

/// The format that the factors of a matrix product are rounded to.
///
/// Products are summed in single precision on the CPU; where Burn multiplies, on GPUs and in the references, that is up to
/// the backend, and the result may have been rounded to the format as well. Tensors keep their own format: those of parameters,
/// gradients and activations stay in single precision.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use evenburn_kernels::{Precision, linear};
/// let device = Device::flex();
/// // 257 has nine significant bits, one too many.
/// let x = || Tensor::<2>::from_floats([[257.0]], &device);
/// let weight = || Tensor::<2>::from_floats([[3.0]], &device);
/// let y = linear(x(), weight(), 1.0, Precision::F32).into_scalar::<f32>();
/// assert!((y - 771.0).abs() < f32::EPSILON);
/// let y = linear(x(), weight(), 1.0, Precision::Bf16).into_scalar::<f32>();
/// assert!((y - 768.0).abs() < f32::EPSILON);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// As they are.
    #[default]
    F32,
    /// bfloat16: the range of single precision with 8 significant bits, rounded to nearest, ties to even.
    Bf16,
}

impl Precision {
    /// Whether products in this format take no more time than those of single precision on this processor.
    ///
    /// bf16 wants the instructions of AVX512-BF16 for that, where they are as fast as others, which is measured once: a Xeon of
    /// the fifth generation starts them a quarter as often (docs/log.md, "Products in bf16"). Elsewhere factors are rounded and
    /// multiplied in single precision: the same numbers, a little later than without rounding.
    pub fn is_fast(self) -> bool {
        match self {
            Self::F32 => true,
            #[cfg(all(feature = "flex", target_arch = "x86_64"))]
            Self::Bf16 => crate::flex::bf16::instructions::are_faster(),
            #[cfg(not(all(feature = "flex", target_arch = "x86_64")))]
            Self::Bf16 => false,
        }
    }
}
