//! Axes by role, norms and projections onto constraint sets.
//!
//! A weight matrix of this project is stored `[In, Out]` (Burn's `Linear`), an embedding table is
//! `[vocabulary, model]`, so its rows run along [`Axis::Out`], and experts put a third axis in
//! front: `[E, In, Out]`. Papers and `PyTorch` write `[Out, In]`. Code here and elsewhere
//! therefore never names an axis by its number: it says [`Axis::In`] or [`Axis::Out`].
//!
//! A [`Constraint`] is a value; [`project`] is the one function that enforces it.
//!
//! ```
//! use burn::tensor::{Device, Tensor};
//! use evenburn_geometry::{Axis, Constraint, l2_norm_along, project};
//!
//! // A linear map from 2 inputs to 3 outputs; every output's weights run along `In`.
//! let w = Tensor::<2>::from_data([[3.0, 0.0, 0.3], [4.0, 2.0, 0.4]], &Device::flex());
//! let rows_at_most_one = Constraint::AtMost { along: Axis::In, radius: 1.0 };
//!
//! let norms = l2_norm_along(project(w, rows_at_most_one), Axis::In);
//! let norms: Vec<f32> = norms.into_data().try_to_vec().unwrap();
//! for (norm, expected) in norms.iter().zip([1.0, 1.0, 0.5]) {
//!     assert!((norm - expected).abs() < 1e-6);
//! }
//! ```

mod axis;
mod constraint;
mod project;

pub use axis::Axis;
pub use constraint::{Constraint, GeometryError};
pub use project::{l2_norm_along, project};
