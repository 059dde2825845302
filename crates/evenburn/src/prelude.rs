//! What a normalization strategy is written with: `use evenburn::prelude::*`.
//!
//! The trait and its options, the sizes and places it is asked about, every part of the plan it answers with, and what a
//! program registers it in.

pub use evenburn_geometry::{Axis, Constraint};
pub use evenburn_model::plan::{
    AttentionFactor, AttentionPlan, BiasPlan, Combine, CompanionPlan, EmbeddingPlan, Form,
    GainPlan, GainRole, GainShape, HeadPlan, Init, JoinPlan, LerpFactor, LinearPlan, MixPlan,
    MlpPlan, NormPlan, Normed, Over, ResidualPlan, WeightPlan,
};
pub use evenburn_model::strategy::NormStrategy;
pub use evenburn_model::{
    Branch, Dims, ModelConfig, Plan, PlanError, RegistryError, SchemeOptions, Site,
};

pub use crate::Registry;
