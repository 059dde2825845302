//! The recipes as their papers have them, one number at a time.
//!
//! A matrix is `[out, in]`, a row for each output, as the papers have it.

pub(crate) mod directions;
pub(crate) mod matrix;
pub(crate) mod spaces;

pub(crate) use matrix::Rows;

/// What a gradient says about where to go.
pub(crate) trait Direction {
    fn direction(&mut self, g: &Rows) -> Rows;
}

/// A whole step.
pub(crate) trait Reference {
    fn step(&mut self, w: &mut Rows, g: &Rows, lr: f64, decay: f64);
}
