//! Pre-training of language models whose normalization is a choice.
//!
//! One name for the project's libraries, and for the Burn they are built on:
//!
//! - [`geometry`]: axes by role, norms, projections onto constraint sets.
//! - [`kernels`]: fused differentiable operations.
//! - [`model`]: the decoder, its plans, the strategies that make them, the modules that carry them out.
//! - [`optim`]: optimizer recipes and the engine that steps a module by path.
//! - [`locations`]: files of hubs, object stores and web servers.
//! - [`data`]: a resumable stream of packed tokens.
//! - [`eval`]: benchmarks, scored as lm-evaluation-harness scores them.
//! - [`interchange`]: checkpoints of `transformers` in, and out to it.
//! - [`train`]: run configuration, the trainer, a task for a loop of one's own, checkpoints, metrics.
//! - [`burn`]: tensors, devices and modules, in the one version that all of these take.
//!
//! The [`prelude`] has what a strategy is written with. From a plan to the optimizer of its module leads [`engine`]. A
//! program with the command line is made of `evenburn-cli`; nothing here parses arguments, listens to signals, draws on a
//! terminal or chooses an allocator. (A run directory records the command line it was started with.)
//!
//! A strategy of one's own, its model, and a step of training:
//!
//! ```
//! use evenburn::burn::tensor::Device;
//! use evenburn::data::{Batch, Boundaries, DocumentMask, Sample};
//! use evenburn::model::{Decoder, function::Moment};
//! use evenburn::optim::OptimConfig;
//! use evenburn::prelude::*;
//! use evenburn::train::{Task, step::StepInfo};
//!
//! /// Normalizes what a branch writes instead of what it reads.
//! #[derive(Debug)]
//! struct OutputNorm;
//!
//! impl NormStrategy for OutputNorm {
//!     fn name(&self) -> &str {
//!         "output_norm"
//!     }
//!     fn residual(&self, _: usize, _: Branch, _: &Dims) -> ResidualPlan {
//!         let output = Some(NormPlan::rms(1e-5, GainRole::Output));
//!         ResidualPlan { output, ..ResidualPlan::plain() }
//!     }
//! }
//!
//! let sizes = ModelConfig { vocab_size: 64, dim: 32, layers: 2, heads: 2, context: 4, ..Default::default() };
//! let plan = Plan::new(&sizes, &OutputNorm)?;
//! let model = Decoder::new(&plan, 0, &Device::flex().autodiff());
//! let mut engine = evenburn::engine(&plan, &OptimConfig::default(), 100, &model)?;
//!
//! let mut batch = Batch::new(4);
//! batch.push(&Sample { tokens: vec![1, 2, 3, 4, 5], bytes: None }, Boundaries { eod: 0, bos: None });
//! let info = StepInfo { seed: 0, before: Moment { step: 0, total: 100 }, factor: 1.0, qk_clip: 0.0 };
//! let (task, updated) = Task::new(model, DocumentMask::Within).step(&mut engine, vec![batch], &info)?;
//! assert!(updated.loss > 0.0 && updated.optimizer.grad_norm > 0.0);
//! # let _ = task;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub use burn;
pub use evenburn_data as data;
pub use evenburn_eval as eval;
pub use evenburn_geometry as geometry;
pub use evenburn_interchange as interchange;
pub use evenburn_kernels as kernels;
pub use evenburn_locations as locations;
pub use evenburn_model as model;
pub use evenburn_optim as optim;
pub use evenburn_ranks as ranks;
pub use evenburn_train as train;

pub use evenburn_model::RegistryError;
pub use evenburn_train::Registry;
pub use evenburn_train::groups::{engine, from_plan as optimizer_rules};

pub mod prelude;
