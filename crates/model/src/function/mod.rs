//! Normalization functions: one file each, one line each in the list.
//!
//! A function is what a normalization layer does to a vector before its constant factor and its bias: it divides by a
//! statistic, or squashes each channel, with or without learned arrays of its own. A program may bring its own: it
//! implements [`NormFunction`] and [`Recorded`] and registers the type in [`Kinds`](crate::Kinds).

mod anchored;
mod erf;
mod gated_norm;
mod layer;
mod placed;
mod pre_affine;
mod rms;
mod scheduled;
mod seed_norm;
mod tanh;
mod taper;
mod unit;

pub use anchored::Anchored;
pub use erf::Erf;
pub use gated_norm::GatedNorm;
pub use layer::Layer;
pub(crate) use placed::{AT, NAME, gains_are_last, rewrite};
pub use placed::{Placed, PlacedAt};
pub use pre_affine::PreAffine;
pub use rms::Rms;
pub use scheduled::{Moment, Scheduled};
pub use seed_norm::SeedNorm;
pub use tanh::Tanh;
pub use taper::{GateSchedule, Taper};
pub use unit::Unit;

use crate::modules::Arrays;
use crate::named::{Named, Recorded, Unknown, options_of};
use crate::plan::ArrayPlan;
use burn::tensor::Tensor;
use evenburn_kernels::Size;
use std::fmt::Debug;
use std::sync::Arc;

/// What a normalization does to the size of a vector, as far as the vectors around it are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It divides by a size of the vector, so that the result has a known one: RMS, unit length.
    Size,
    /// The same after the mean is taken out: LayerNorm.
    CentredSize,
    /// The size of the vector makes no difference, and the result is no multiple of the vector.
    Invariant,
    /// Anything else.
    Other,
}

/// The gain, the epsilon and the learned arrays that a function is applied with.
#[derive(Debug)]
pub struct Around<'a> {
    /// The gain of the layer, one entry for each channel.
    pub gain: Option<Tensor<1>>,
    /// Added under a square root.
    pub eps: f64,
    /// The function's own learned arrays.
    pub arrays: &'a Arrays,
}

/// Learned arrays in f64 by name; empty where there is none of that name.
pub type Scales<'a> = &'a dyn Fn(&str) -> Vec<f64>;

/// A normalization function `f` of vectors: a layer is `bias + factor * f(x; gain)`.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use evenburn_model::function::{Around, NormFunction};
/// use evenburn_model::plan::NormPlan;
/// use evenburn_model::Recorded;
/// use schemars::JsonSchema;
/// use serde::{Deserialize, Serialize};
///
/// /// Divides by the largest magnitude.
/// #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
/// struct Largest {}
///
/// impl Recorded for Largest {
///     const NAME: &'static str = "largest";
///     const ABOUT: &'static str = "Divides by the largest magnitude.";
/// }
///
/// impl NormFunction for Largest {
///     fn describe(&self) -> String {
///         "largest magnitude".to_owned()
///     }
///     fn forward(&self, x: Tensor<2>, around: &Around<'_>) -> Tensor<2> {
///         around.gained(x.clone() / x.abs().max_dim(1))
///     }
/// }
///
/// let device = Device::flex();
/// let plan = NormPlan { function: Largest {}.into(), gain: None, ..NormPlan::unit() };
/// let y = plan.init_full(2, &device).forward(Tensor::<2>::from_floats([[3.0, -4.0]], &device));
/// let y = y.into_data().try_to_vec::<f32>().map_err(|e| format!("{e:?}"))?;
/// assert_eq!(y, [0.75, -1.0]);
/// # Ok::<(), String>(())
/// ```
pub trait NormFunction: Debug + Send + Sync {
    /// What it is, for tables: `RMS`.
    fn describe(&self) -> String;

    /// Its own learned arrays for vectors of `width` channels; `decay` tells whether the layer's gain decays.
    fn arrays(&self, _width: usize, _decay: bool) -> Vec<ArrayPlan> {
        Vec::new()
    }

    /// The function of each row, its gain included.
    ///
    /// # Shapes
    /// - `x`: `[N, width]`
    /// - output: that of `x`
    fn forward(&self, x: Tensor<2>, around: &Around<'_>) -> Tensor<2>;

    /// The statistic that fused operations divide by, where that and the gain are all there is to the function.
    fn fused(&self) -> Option<Size> {
        None
    }

    /// What it does to the size of a vector.
    fn effect(&self) -> Effect {
        Effect::Other
    }

    /// Whether the gain multiplies the result last, so that a linear map behind it could absorb it.
    fn gain_is_last(&self) -> bool {
        true
    }

    /// Which normalizations of a scheme it takes the place of, unless a configuration says so: see [`Placed`].
    fn placed_at(&self) -> PlacedAt {
        PlacedAt::InputsAndFinal
    }

    /// What becomes of the scheme's last RMSNorm where this function doesn't take its place.
    fn final_norm(&self) -> Option<Function> {
        None
    }

    /// Its schedule, if it changes in the course of training.
    fn scheduled(&self) -> Option<&dyn Scheduled> {
        None
    }

    /// The scale of each channel that it is with these arrays, `f(x; gain) = scale * x`, where it is one: folding then takes
    /// the whole layer into what reads it.
    fn as_scale(&self, _arrays: Scales<'_>) -> Option<Vec<f64>> {
        None
    }

    /// Whether its options and `eps` make a usable function of `width` channels.
    ///
    /// # Errors
    /// What is wrong, as a sentence without its place.
    fn check(&self, _width: usize, _eps: f64) -> Result<(), String> {
        Ok(())
    }
}

impl Around<'_> {
    /// `gain * x`.
    pub fn gained(&self, x: Tensor<2>) -> Tensor<2> {
        match &self.gain {
            Some(gain) => x * gain.clone().unsqueeze(),
            None => x,
        }
    }
}

/// A normalization function as a plan has it.
pub type Function = Named<dyn NormFunction>;

impl<F: NormFunction + Recorded> From<F> for Function {
    fn from(function: F) -> Self {
        Self::new(
            F::NAME.to_owned(),
            options_of(&function),
            Arc::new(function),
        )
    }
}

/// Stands in for a function that was read and isn't registered.
#[derive(Debug)]
struct Missing(String);

impl Unknown for dyn NormFunction {
    fn unknown(name: &str) -> Arc<Self> {
        Arc::new(Missing(name.to_owned()))
    }
}

impl NormFunction for Missing {
    fn describe(&self) -> String {
        self.0.clone()
    }

    fn forward(&self, x: Tensor<2>, _: &Around<'_>) -> Tensor<2> {
        x
    }

    fn check(&self, _: usize, _: f64) -> Result<(), String> {
        Err(format!(
            "the normalization function `{}`, which this program doesn't know; it has to be registered",
            self.0
        ))
    }
}
