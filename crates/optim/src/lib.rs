//! Optimizers for models whose weights are keyed by path.
//!
//! - A [`Recipe`] turns a gradient into a step. It is put together from parts: a [`Direction`]
//!   ([`Adam`], [`AdamMini`], [`Lion`], [`Momentum`]), a [`Shaping`] of the whole (sign,
//!   [`Orthogonal`]), equal steps for every output ([`NeuronNorm`]), a [`Scaling`] by shape, and
//!   the [`Space`] the weight moves in.
//! - A [`Rule`] says how one parameter is trained: recipe, rate, weight decay, and the
//!   [`Constraint`](evenburn_geometry::Constraint) it is projected onto after the step.
//! - The [`Engine`] holds one rule per parameter path and all optimizer state. One
//!   [`step`](Engine::step) clips, steps every parameter (matrices of one shape together), and
//!   projects.
//! - A [`Schedule`] is the factor on the rate at each step, a [`Cooldown`] a decay started by hand.
//! - [`OptimConfig`] is the `[optim]` section of a run's configuration, and makes the rules.
//! - [`PerTensor`] is any recipe as a Burn optimizer, for programs without an engine.
//!
//! Weights are stored `[In, Out]` (experts `[E, In, Out]`), the transpose of the papers'
//! `[Out, In]`. Formulas here are therefore written by role.

mod clip;
mod config;
mod counts;
mod engine;
mod error;
mod groups;
mod load;
mod matrices;
mod parts;
mod per_tensor;
mod qk_clip;
mod recipe;
mod rule;
mod schedule;
mod slot;
mod step;
mod survey;
mod walk;
mod whole;

pub use clip::Clip;
pub use config::{
    ClipOver, ConstraintName, HeadSplit, OptimConfig, Override, RecipeName, ScheduleName, ScionForm,
};
pub use counts::Counts;
pub use engine::{Engine, GroupReport, StepReport};
pub use error::OptimError;
pub use groups::{HeadUse, Heads, ParamInfo, Role, rules};
pub use parts::{
    Accumulation, Adam, AdamMini, Blocks, Direction, GradientSpace, Lion, Lookahead, Magnitudes,
    Momentum, NeuronNorm, NormFloor, Orthogonal, Polynomial, Scaling, Shaping, Space,
    orthogonalize,
};
pub use per_tensor::{PerTensor, TensorState};
pub use qk_clip::{qk_clip, scale_heads};
pub use recipe::Recipe;
pub use rule::Rule;
pub use schedule::{Cooldown, Descent, Schedule, ScheduleError, Shape, Warmup};
