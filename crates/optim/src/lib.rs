//! Optimizers for models whose weights are keyed by path.
//!
//! - A [`Recipe`] says which [`Update`] trains which role of parameter. It has a name and options, and a configuration chooses
//!   it from an [`OptimizerRegistry`], to which a program may add its own ([`RecipeOptions`], [`OptimizerStrategy`]).
//! - An [`Update`] turns a gradient into a step: a [`Composition`] of parts, or an [`UpdateRule`] of one's own. The parts are a
//!   [`Direction`] ([`Adam`], [`AdamMini`], [`Lion`], [`Momentum`]), a [`Shaping`] of the whole (sign, [`Orthogonal`]), equal
//!   steps for every output ([`NeuronNorm`]), a [`Scaling`] by shape, and the [`Space`] the weight moves in.
//! - A [`Rule`] says how one parameter is trained: update, rate, weight decay, and the
//!   [`Constraint`](evenburn_geometry::Constraint) it is projected onto after the step.
//! - The [`Engine`] holds one rule per parameter path and all optimizer state. One
//!   [`step`](Engine::step) clips, steps every parameter (matrices of one shape together), and
//!   projects.
//! - A [`Schedule`] is the factor on the rate at each step, a [`Cooldown`] a decay started by hand.
//! - [`OptimConfig`] is the `[optim]` section of a run's configuration, and makes the rules.
//! - [`PerTensor`] is any composition as a Burn optimizer, for programs without an engine.
//!
//! Weights are stored `[In, Out]` (experts `[E, In, Out]`), the transpose of the papers'
//! `[Out, In]`. Formulas here are therefore written by role.

mod clip;
mod composition;
mod config;
mod counts;
mod engine;
mod error;
mod fused_adam;
mod linalg;
mod load;
mod matrices;
mod module_step;
mod param;
mod param_step;
mod parameters;
mod parts;
mod per_tensor;
mod qk_clip;
mod recipe;
mod registry;
mod rule;
mod rules;
mod schedule;
mod state;
mod update;
mod value;

pub use clip::Clip;
pub use composition::Composition;
pub use config::{ClipOver, ConstraintName, OptimConfig, Override, ScheduleName};
pub use counts::Counts;
pub use engine::{Engine, GroupReport, StepReport};
pub use error::OptimError;
pub use param::{HeadUse, Heads, ParamInfo, ParamRole};
pub use parts::{
    Accumulation, Adam, AdamMini, Blocks, Direction, GradientSpace, Lion, Lookahead, Magnitudes,
    Momentum, NeuronNorm, NormFloor, Orthogonal, Polynomial, Scaling, Shaping, Space,
    orthogonalize,
};
pub use per_tensor::{PerTensor, TensorState};
pub use qk_clip::{qk_clip, scale_heads};
pub use recipe::{
    AdamH, AdamMiniRecipe, AdamRecipe, AdamW, DecoupledAdam, DecoupledMuon, HeadSplit, LionRecipe,
    Moonlight, Muon, MuonH, MuonOptions, NorMuon, NormConstrainedAdam, OptimizerStrategy,
    ParamContext, PolarExpress, Recipe, RecipeOptions, Scion, ScionForm, Soap, SoapUpdate,
    Treatment, UnitNormAdam,
};
pub use registry::OptimizerRegistry;
pub use rule::Rule;
pub use rules::rules;
pub use schedule::{Cooldown, Descent, Schedule, ScheduleError, Shape, Warmup};
pub use state::{ParamState, StateTensor};
pub use update::{OwnUpdate, StepInfo, Update, UpdateError, UpdateRule};
pub use value::replace as replace_value;
