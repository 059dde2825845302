//! The device a run computes on.

use burn::tensor::Device;

use crate::config::DeviceName;
use crate::error::TrainError;

/// Opens a device by its name in the configuration.
///
/// # Errors
/// [`TrainError::Device`] if this build has no such backend.
pub fn open(name: DeviceName) -> Result<Device, TrainError> {
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
