//! Operations of a decoder as kernels for GPUs, in `CubeCL`: CUDA, `ROCm`, Vulkan, Metal, WebGPU from one source.
//!
//! Each is the one pass over memory that plain tensor operations can't be fused into: a row is read once to be measured
//! and scaled, pairs of channels are turned where they lie, an activation's gradient needs no copy of what led to it.
//! The kernels know buffers and sizes alone; `evenburn-kernels` makes differentiable operations of them.
//!
//! Numbers are stored in any float format and computed with in f32.

// `#[define]` names a format that only the code behind the macro reads.
#![allow(clippy::used_underscore_binding)]

mod buffer;
pub mod normalize;
pub mod rotary;
pub mod swiglu;

pub use buffer::Buffer;

#[cfg(all(test, feature = "wgpu"))]
mod check;
