//! What operations that run block by block have in common.
//!
//! Where a backend has no kernel for an operation with a large intermediate result, plain operations compute that result in
//! blocks of rows, and compute it again in the backward pass. This is written over any backend, so that the tests can run it
//! on the CPU's.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, TensorMetadata};
use burn::tensor::{DType, FloatDType};

/// What sums and exponentials are computed in: single precision, and double for inputs of double.
pub(crate) fn wide(dtype: DType) -> FloatDType {
    match dtype {
        DType::F64 => FloatDType::F64,
        _ => FloatDType::F32,
    }
}

/// `x` in another format.
pub(crate) fn cast<B: Backend>(x: FloatTensor<B>, dtype: FloatDType) -> FloatTensor<B> {
    if FloatDType::from(x.dtype()) == dtype {
        x
    } else {
        B::float_cast(x, dtype)
    }
}
