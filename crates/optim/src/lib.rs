//! Optimizers for models whose weights are keyed by path.
//!
//! - A [`Recipe`] turns a gradient into a direction: [`Adam`] (with decay: `AdamW`) or [`Muon`].
//!   It is put together from small parts: moments or momentum, [`orthogonalize`], a scale by
//!   role ([`Adjust`]).
//! - A [`Rule`] says how one parameter is trained: recipe, rate, weight decay, and the
//!   [`Constraint`](evenburn_geometry::Constraint) it is projected onto after the step.
//! - The [`Engine`] holds one rule per parameter path and all optimizer state. One
//!   [`step`](Engine::step) clips by the global norm, steps every parameter (matrices of one shape
//!   together), and projects.
//! - A [`Schedule`] is the factor on the rate at each step.
//! - [`OptimConfig`] is the `[optim]` section of a run's configuration, and makes the rules.
//! - [`PerTensor`] is any recipe as a Burn optimizer, for programs without an engine.
//!
//! Weights are stored `[In, Out]` (experts `[E, In, Out]`), the transpose of the papers'
//! `[Out, In]`. Formulas here are therefore written by role.

mod adam;
mod config;
mod counts;
mod engine;
mod error;
mod load;
mod muon;
mod newton_schulz;
mod per_tensor;
mod recipe;
mod rule;
mod schedule;
mod slot;
mod survey;
mod update;
mod walk;

pub use adam::Adam;
pub use config::{OptimConfig, ParamInfo, RecipeName, Role, ScheduleName, rules};
pub use counts::Counts;
pub use engine::{Engine, StepReport};
pub use error::OptimError;
pub use muon::{Adjust, Muon};
pub use newton_schulz::{NormFloor, orthogonalize};
pub use per_tensor::{PerTensor, TensorState};
pub use recipe::Recipe;
pub use rule::Rule;
pub use schedule::{Schedule, ScheduleError, Shape, Warmup};
