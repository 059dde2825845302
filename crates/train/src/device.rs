//! The device a run computes on.

use burn::tensor::{DType, Device};

use crate::config::{DeviceName, Precision, TrainConfig};
use crate::error::TrainError;

/// Opens the device of a configuration, which has to know the number format of its matrix products.
///
/// # Errors
/// [`TrainError::Device`] if this build has no such backend; [`TrainError::Invalid`] if the device can't take a tensor in
/// `train.precision`.
///
/// ```
/// use evenburn_train::config::{Precision, TrainConfig};
/// let train = TrainConfig { precision: Precision::Bf16, ..Default::default() };
/// evenburn_train::device::open(&train)?;
/// # Ok::<(), evenburn_train::TrainError>(())
/// ```
pub fn open(train: &TrainConfig) -> Result<Device, TrainError> {
    let device = by_name(train.device)?;
    let dtype = match train.precision {
        Precision::F32 => DType::F32,
        Precision::Bf16 => DType::BF16,
    };
    if device.supports_dtype(dtype) {
        return Ok(device);
    }
    Err(TrainError::Invalid {
        key: "train.precision".to_owned(),
        why: format!("the device has no {dtype:?}").to_lowercase(),
        origin: None,
    })
}

fn by_name(name: DeviceName) -> Result<Device, TrainError> {
    match name {
        DeviceName::Flex => Ok(Device::flex()),
        #[cfg(feature = "cuda")]
        DeviceName::Cuda => Ok(Device::cuda(0)),
        #[cfg(feature = "rocm")]
        DeviceName::Rocm => Ok(Device::rocm(0)),
        #[cfg(feature = "vulkan")]
        DeviceName::Vulkan => Ok(Device::vulkan(burn::tensor::DeviceKind::DefaultDevice)),
        #[cfg(feature = "metal")]
        DeviceName::Metal => Ok(Device::metal(burn::tensor::DeviceKind::DefaultDevice)),
        // `Device::webgpu` is the browser's; natively the same runtime is `Device::wgpu`.
        #[cfg(feature = "webgpu")]
        DeviceName::Webgpu => Ok(Device::wgpu(burn::tensor::DeviceKind::DefaultDevice)),
        #[cfg(feature = "cpu")]
        DeviceName::Cpu => Ok(Device::cpu()),
        #[cfg(not(all(
            feature = "cuda",
            feature = "rocm",
            feature = "vulkan",
            feature = "metal",
            feature = "webgpu",
            feature = "cpu"
        )))]
        other => Err(TrainError::Device {
            device: format!("{other:?}").to_lowercase(),
        }),
    }
}
