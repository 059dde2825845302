//! A decoder whose normalization is a choice.
//!
//! A scheme is a [`strategy::NormStrategy`]: it returns plain data, once, while a [`Plan`] is made. The
//! [`modules`] carry plans out and never ask which scheme runs; each is usable alone in any Burn model. Nothing here
//! names a backend: the device decides at run time.
//!
//! ```
//! use burn::tensor::{Device, Int, Tensor};
//! use evenburn_model::{Decoder, ModelConfig, Plan, strategy::SimpleNorm};
//!
//! let config = ModelConfig { vocab_size: 64, dim: 32, layers: 2, heads: 2, ..Default::default() };
//! let plan = Plan::new(&config, &SimpleNorm::default())?;
//! let device = Device::flex().autodiff();
//! let model = Decoder::new(&plan, 0, &device);
//! let tokens = Tensor::<2, Int>::from_ints([[1, 2, 3, 4]], &device);
//! let targets = Tensor::<2, Int>::from_ints([[2, 3, 4, 5]], &device);
//! let gradients = model.loss_sum(tokens, targets).backward();
//! assert!(model.embed.weight.grad(&gradients).is_some());
//! # Ok::<(), evenburn_model::PlanError>(())
//! ```

mod block;
mod cache;
mod config;
mod decoder;
mod dims;
mod error;
mod experts;
mod fold;
mod forward;
pub mod function;
mod init;
mod kinds;
mod likelihood;
pub mod modules;
mod named;
mod noise;
mod paths;
pub mod plan;
mod prefix_tree;
mod registry;
pub mod rule;
mod sample;
mod scale_vectors;
pub mod strategy;
mod tokens;
pub mod weights;

pub use block::Block;
pub use cache::KvCache;
pub use config::{Biases, HeadWeights, ModelConfig};
pub use decoder::Decoder;
pub use dims::{Activation, Branch, Dims, MlpKind, Positions, Site};
pub use error::{CacheError, FoldError, PlanError, SampleError, TokenError, WeightsError};
pub use evenburn_kernels::Precision;
pub use experts::{Balance, ExpertsConfig, Gates, Joined, Kept};
pub use fold::{Folded, fold, resolve_scales};
pub use forward::{ForwardContext, ForwardOutput, Objective};
pub use kinds::Kinds;
pub use likelihood::TargetScores;
pub use named::{Named, Options, Recorded};
pub use noise::Noise;
pub use plan::{Expert, ParamRef, ParamRole, ParamSpec, Place, Plan};
pub use prefix_tree::PrefixTree;
pub use registry::{Registry, RegistryError};
pub use sample::{Recompute, Sampler};
pub use scale_vectors::{
    Double, DoubleAt, GainDecay, Gains, HeadScale, NormalizedOver, OutputBefore, OutputInit,
    Placement, ScaleSwitches, ScaleVectors, Stored,
};
pub use strategy::{Scheme, SchemeOptions};
