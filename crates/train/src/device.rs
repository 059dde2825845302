//! The device a run computes on.

use burn::tensor::{DType, Device};
use evenburn_model::Precision;

use crate::config::{DeviceName, Origin, Origins, PrecisionName, TrainConfig};
use crate::error::TrainError;

/// The backends of this build.
const BUILT_IN: &[DeviceName] = &[
    DeviceName::Flex,
    #[cfg(feature = "cuda")]
    DeviceName::Cuda,
    #[cfg(feature = "vulkan")]
    DeviceName::Vulkan,
    #[cfg(feature = "metal")]
    DeviceName::Metal,
    #[cfg(feature = "webgpu")]
    DeviceName::Webgpu,
    #[cfg(feature = "rocm")]
    DeviceName::Rocm,
    #[cfg(feature = "cpu")]
    DeviceName::Cpu,
];

/// Opens the device of a configuration, which has to know the number format of its matrix products.
///
/// # Errors
/// [`TrainError::Device`] if this build has no such backend; [`TrainError::Invalid`] if the device can't take a tensor in
/// `train.precision`.
///
/// ```
/// use evenburn_train::config::{PrecisionName, TrainConfig};
/// let train = TrainConfig { precision: PrecisionName::Bf16, ..Default::default() };
/// evenburn_train::device::open(&train)?;
/// # Ok::<(), evenburn_train::TrainError>(())
/// ```
pub fn open(train: &TrainConfig) -> Result<Device, TrainError> {
    let device = by_name(train.device)?;
    if supports(&device, train.precision) {
        return Ok(device);
    }
    Err(TrainError::invalid(
        "train.precision",
        format!("{} has no {}", train.device.name(), label(train.precision)),
    ))
}

/// What makes a training slower on its device than it could be, a line each.
pub(crate) fn slow_paths(train: &TrainConfig) -> Vec<String> {
    let all = [slow_precision(train), slow_operations(train)];
    all.into_iter().flatten().collect()
}

/// A line where the processor has no instructions for the products that were asked for.
fn slow_precision(train: &TrainConfig) -> Option<String> {
    let slow = train.device == DeviceName::Flex && !Precision::from(train.precision).is_fast();
    slow.then(|| {
        "train.precision: this processor has no fast instructions for bf16 products; they take a little longer than f32"
            .to_owned()
    })
}

/// A line where operations on the CPU can't take their fused way.
fn slow_operations(train: &TrainConfig) -> Option<String> {
    let slow = train.device == DeviceName::Flex && !evenburn_kernels::has_cpu_kernels();
    slow.then(|| {
        let why = if cfg!(feature = "flex") {
            "this processor has no AVX2 or no FMA"
        } else {
            "this build lacks the feature `flex`"
        };
        format!("{why}: operations aren't fused, so that a step takes more than half again as long, and twice the memory")
    })
}

/// Where and how a trained model computes.
#[derive(Debug, Clone)]
pub struct Choice {
    /// The device.
    pub device: Device,
    /// The number format of its matrix products.
    pub precision: PrecisionName,
    /// What the run recorded and had to give way to something else here, a line each.
    pub notes: Vec<String>,
}

/// The device for a model that is trained no more. What the command line says is done or refused; what the run recorded
/// is done where this build and the device can, and otherwise gives way to `flex` and `f32`, with a note: a run that was
/// trained on a GPU can be read everywhere.
///
/// # Errors
/// As [`open`], for a device or a precision that the command line names.
///
/// ```
/// use evenburn_train::config::{DeviceName, PrecisionName, Origins, TrainConfig};
/// let train = TrainConfig { device: DeviceName::Rocm, ..Default::default() };
/// let choice = evenburn_train::device::choose(&train, &Origins::default())?;
/// assert_eq!(choice.precision, PrecisionName::F32);
/// # Ok::<(), evenburn_train::TrainError>(())
/// ```
pub fn choose(train: &TrainConfig, origins: &Origins) -> Result<Choice, TrainError> {
    let asked = |key| origins.of(key) == Origin::CommandLine;
    let mut train = train.clone();
    let mut notes = Vec::new();
    if !BUILT_IN.contains(&train.device) && !asked("train.device") {
        notes.push(format!(
            "train.device: this build has no {}, so the model is computed on flex",
            train.device.name()
        ));
        train.device = DeviceName::Flex;
    }
    let device = by_name(train.device)?;
    if !supports(&device, train.precision) && !asked("train.precision") {
        notes.push(format!(
            "train.precision: {} has no {}, so the model is computed in f32",
            train.device.name(),
            label(train.precision)
        ));
        train.precision = PrecisionName::F32;
    }
    Ok(Choice {
        device: open(&train).map_err(|e| e.locate(origins))?,
        precision: train.precision,
        notes,
    })
}

fn supports(device: &Device, precision: PrecisionName) -> bool {
    device.supports_dtype(match precision {
        PrecisionName::F32 => DType::F32,
        PrecisionName::Bf16 => DType::BF16,
    })
}

fn label(precision: PrecisionName) -> String {
    format!("{precision:?}").to_lowercase()
}

fn by_name(device: DeviceName) -> Result<Device, TrainError> {
    match device {
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
        other => {
            let built_in: Vec<&str> = BUILT_IN.iter().map(|device| device.name()).collect();
            Err(TrainError::Device {
                device: other.name().to_owned(),
                built_in: built_in.join(", "),
            })
        }
    }
}
