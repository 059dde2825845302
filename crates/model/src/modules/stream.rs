//! The residual stream between branches, and where its two components become one.
//!
//! `B` batch, `T` time, `D` model.

use super::Norm;
use super::residual::apply;
use crate::dims::Dims;
use crate::init::Initializer;
use crate::plan::{JoinPlan, NormPlan};
use burn::module::Module;
use burn::tensor::{Device, Tensor};

/// The residual stream between two branches.
#[derive(Debug, Clone)]
pub struct Stream {
    /// The stream, `[B, T, D]`.
    pub h: Tensor<3>,
    /// Its second component, `[B, T, D]`, in schemes that have one.
    pub companion: Option<Tensor<3>>,
}

impl From<Tensor<3>> for Stream {
    /// A stream of one component.
    fn from(h: Tensor<3>) -> Self {
        let companion = None;
        Self { h, companion }
    }
}

/// Where a stream of two components becomes one: `stream(h) + companion(y)`.
///
/// Its parameters are those of its normalizations, as `stream.gain.value`.
#[derive(Module, Debug)]
pub struct Join {
    /// Normalization of the first component.
    pub stream: Option<Norm>,
    /// Normalization of the second one.
    pub companion: Option<Norm>,
}

impl Join {
    /// Carries out a join plan on components of `d.model` channels; matrices of its normalizations depend on the initializer.
    pub fn new(plan: &JoinPlan, d: &Dims, init: Initializer, device: &Device) -> Self {
        let norm = |name: &str, plan: &Option<NormPlan>| {
            let path = format!("join.{name}");
            let plan = plan.as_ref();
            plan.map(|plan| Norm::new(plan, [d.model, d.head], &path, init, device))
        };
        Self {
            stream: norm("stream", &plan.stream),
            companion: norm("companion", &plan.companion),
        }
    }

    /// `stream(h) + companion(y)`: both components as one.
    ///
    /// # Shapes
    /// - both components of `stream`: `[B, T, D]`
    /// - output: `[B, T, D]`
    pub fn forward(&self, stream: Stream) -> Tensor<3> {
        let h = apply(self.stream.as_ref(), stream.h);
        match stream.companion {
            Some(y) => h + apply(self.companion.as_ref(), y),
            None => h,
        }
    }
}
