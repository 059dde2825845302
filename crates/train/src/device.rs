//! The device a run computes on.

use burn::tensor::{DType, Device};
use evenburn_model::Precision;

use crate::config::{
    DeviceId, DeviceList, DeviceName, Origin, Origins, PrecisionName, TrainConfig,
};
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
    open_local(train, 0)
}

/// The device of a rank, by its number among the ranks of this machine.
///
/// # Errors
/// As [`open`], and [`TrainError::Invalid`] if `train.device` has none for it.
pub fn open_local(train: &TrainConfig, local: usize) -> Result<Device, TrainError> {
    let id = train.device.of_rank(local)?;
    let device = by_id(id)?;
    if supports(&device, train.precision) {
        return Ok(device);
    }
    Err(TrainError::invalid(
        "train.precision",
        format!("{} has no {}", id.backend.name(), label(train.precision)),
    ))
}

/// What makes a training slower on its device than it could be, a line each.
pub(crate) fn slow_paths(train: &TrainConfig) -> Vec<String> {
    let all = [slow_precision(train), slow_operations(train)];
    all.into_iter().flatten().collect()
}

fn is_flex(train: &TrainConfig) -> bool {
    matches!(train.device.backend(), Ok(DeviceName::Flex))
}

/// A line where the processor has no instructions for the products that were asked for.
fn slow_precision(train: &TrainConfig) -> Option<String> {
    let slow = is_flex(train) && !Precision::from(train.precision).is_fast();
    slow.then(|| {
        "train.precision: this processor has no fast instructions for bf16 products; they take a little longer than f32"
            .to_owned()
    })
}

/// A line where operations on the CPU can't take their fused way.
fn slow_operations(train: &TrainConfig) -> Option<String> {
    let slow = is_flex(train) && !evenburn_kernels::has_cpu_kernels();
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
/// let train = TrainConfig { device: DeviceName::Rocm.into(), ..Default::default() };
/// let choice = evenburn_train::device::choose(&train, &Origins::default())?;
/// assert_eq!(choice.precision, PrecisionName::F32);
/// # Ok::<(), evenburn_train::TrainError>(())
/// ```
pub fn choose(train: &TrainConfig, origins: &Origins) -> Result<Choice, TrainError> {
    let asked = |key| origins.of(key) == Origin::CommandLine;
    let mut train = train.clone();
    let mut notes = Vec::new();
    let backend = train.device.backend().map_err(|e| e.locate(origins))?;
    if !BUILT_IN.contains(&backend) && !asked("train.device") {
        notes.push(format!(
            "train.device: this build has no {}, so the model is computed on flex",
            backend.name()
        ));
        train.device = DeviceList::default();
    }
    let id = train.device.of_rank(0)?;
    let device = by_id(id)?;
    if !supports(&device, train.precision) && !asked("train.precision") {
        notes.push(format!(
            "train.precision: {} has no {}, so the model is computed in f32",
            id.backend.name(),
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

#[cfg_attr(
    not(any(
        feature = "cuda",
        feature = "rocm",
        feature = "vulkan",
        feature = "metal",
        feature = "webgpu"
    )),
    expect(unused_variables, reason = "only GPUs are numbered")
)]
fn by_id(DeviceId { backend, index }: DeviceId) -> Result<Device, TrainError> {
    match backend {
        DeviceName::Flex => Ok(Device::flex()),
        #[cfg(feature = "cuda")]
        DeviceName::Cuda => Ok(Device::cuda(index)),
        #[cfg(feature = "rocm")]
        DeviceName::Rocm => Ok(Device::rocm(index)),
        #[cfg(feature = "vulkan")]
        DeviceName::Vulkan => Ok(Device::vulkan(gpu(index))),
        #[cfg(feature = "metal")]
        DeviceName::Metal => Ok(Device::metal(gpu(index))),
        // `Device::webgpu` is the browser's; natively the same runtime is `Device::wgpu`.
        #[cfg(feature = "webgpu")]
        DeviceName::Webgpu => Ok(Device::wgpu(gpu(index))),
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

/// The first is the system's choice, whatever kind of device it is.
#[cfg(any(feature = "vulkan", feature = "metal", feature = "webgpu"))]
fn gpu(index: usize) -> burn::tensor::DeviceKind {
    match index {
        0 => burn::tensor::DeviceKind::DefaultDevice,
        other => burn::tensor::DeviceKind::DiscreteGpu(other),
    }
}
