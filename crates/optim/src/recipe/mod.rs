//! Recipes: which update trains which role of parameter, one file each.
//!
//! A recipe is a struct of its options that implements [`OptimizerStrategy`], which is consulted while rules are made and
//! never again, and [`RecipeOptions`], by which a configuration can choose it. `registry.rs` lists those that are built in.

mod adam;
mod adam_h;
mod adam_mini;
mod adamw;
mod chosen;
mod context;
mod decoupled_adam;
mod decoupled_muon;
mod lion;
mod moonlight;
mod muon;
mod muon_family;
mod muon_h;
mod nor_muon;
mod norm_constrained_adam;
mod polar_express;
mod registry;
mod scion;
mod soap;
mod unit_norm_adam;

pub use adam::AdamRecipe;
pub use adam_h::AdamH;
pub use adam_mini::AdamMiniRecipe;
pub use adamw::AdamW;
pub use chosen::{Recipe, RecipeOptions};
pub use context::{ParamContext, Treatment};
pub use decoupled_adam::DecoupledAdam;
pub use decoupled_muon::DecoupledMuon;
pub use lion::LionRecipe;
pub use moonlight::Moonlight;
pub use muon::Muon;
pub use muon_family::{HeadSplit, MuonOptions};
pub use muon_h::MuonH;
pub use nor_muon::NorMuon;
pub use norm_constrained_adam::NormConstrainedAdam;
pub use polar_express::PolarExpress;
pub use scion::{Scion, ScionForm};
pub use soap::{Soap, SoapUpdate};
pub use unit_norm_adam::UnitNormAdam;

pub(crate) use chosen::{Entry, TAG, as_given, from_options};
pub(crate) use registry::built_in;

use std::fmt;

use crate::OptimError;

/// Which update trains which parameter: asked once for every parameter of a module, when its rules are made.
pub trait OptimizerStrategy: fmt::Debug + Send + Sync {
    /// How a parameter is trained.
    fn treatment(&self, param: &ParamContext<'_>) -> Treatment;

    /// Whether the options are in their ranges.
    ///
    /// # Errors
    /// [`OptimError::Config`] that names the option.
    fn check(&self) -> Result<(), OptimError> {
        Ok(())
    }
}
