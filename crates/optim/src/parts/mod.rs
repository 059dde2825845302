//! The parts that recipes are put together from, each with the code it stands for.

mod adam;
mod adam_mini;
mod direction;
mod lion;
mod magnitudes;
mod momentum;
mod neurons;
mod orthogonal;
mod scaling;
mod shaping;
mod space;
mod tangent;

pub use adam::Adam;
pub use adam_mini::{AdamMini, Blocks};
pub use direction::Direction;
pub use lion::Lion;
pub use magnitudes::Magnitudes;
pub use momentum::{Accumulation, Lookahead, Momentum};
pub use neurons::NeuronNorm;
pub use orthogonal::{NormFloor, Orthogonal, Polynomial, orthogonalize};
pub use scaling::Scaling;
pub use shaping::Shaping;
pub use space::Space;
pub use tangent::GradientSpace;

pub(crate) use direction::Scaled;
pub(crate) use magnitudes::Frame;
pub(crate) use space::{step_on_sphere, step_to_sphere};

/// Whether a decay rate of a running mean is one.
fn check_decay(name: &str, value: f64) -> Result<(), String> {
    if (0.0..1.0).contains(&value) {
        return Ok(());
    }
    Err(format!("{name} must be in [0, 1), not {value}"))
}

fn check_eps(eps: f64) -> Result<(), String> {
    if eps.is_finite() && eps > 0.0 {
        return Ok(());
    }
    Err(format!("eps must be positive and finite, not {eps}"))
}
