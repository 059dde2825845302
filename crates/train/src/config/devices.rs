// The devices that a run can name: each a backend, which is a feature of the program. Whoever includes this defines `devices!`:
// the configuration, and the project's own commands, which build for a backend before the trainer is there.
devices! {
    /// The CPU, in pure Rust.
    #[default]
    Flex = "flex",
    /// NVIDIA GPUs.
    Cuda = "cuda",
    /// GPUs through Vulkan.
    Vulkan = "vulkan",
    /// Apple GPUs.
    Metal = "metal",
    /// GPUs through WebGPU.
    Webgpu = "webgpu",
    /// AMD GPUs.
    Rocm = "rocm",
    /// The CPU through `CubeCL`.
    Cpu = "cpu",
}
