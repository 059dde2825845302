//! Residual rules: how a branch's output joins the stream, where neither a sum nor an interpolation says it. One file
//! each, one line each in the list.
//!
//! A program may bring its own: it implements [`MixRule`] and [`Recorded`] and registers the type in
//! [`Kinds`](crate::Kinds).

mod geodesic;

pub use geodesic::Geodesic;

use crate::modules::Arrays;
use crate::named::{Named, Recorded, Unknown, options_of};
use crate::plan::ArrayPlan;
use burn::tensor::Tensor;
use std::fmt::Debug;
use std::sync::Arc;

/// A residual rule: the stream behind a branch, from the stream before it and the branch's output.
pub trait MixRule: Debug + Send + Sync {
    /// What it is, for tables: `h + x / 2`.
    fn describe(&self) -> String;

    /// Its learned arrays for a stream of `width` channels.
    fn arrays(&self, _width: usize) -> Vec<ArrayPlan> {
        Vec::new()
    }

    /// The stream behind the branch, from the stream `h` before it and its output `x`.
    ///
    /// # Shapes
    /// - `h`: `[B, T, D]`
    /// - `x`: `[B, T, D]`
    /// - output: `[B, T, D]`
    fn forward(&self, h: Tensor<3>, x: Tensor<3>, arrays: &Arrays) -> Tensor<3>;

    /// Whether its options make a usable rule for `width` channels.
    ///
    /// # Errors
    /// What is wrong, as a sentence without its place.
    fn check(&self, _width: usize) -> Result<(), String> {
        Ok(())
    }
}

/// A residual rule as a plan has it.
pub type Rule = Named<dyn MixRule>;

impl<R: MixRule + Recorded> From<R> for Rule {
    fn from(rule: R) -> Self {
        Self::new(R::NAME.to_owned(), options_of(&rule), Arc::new(rule))
    }
}

/// Stands in for a rule that was read and isn't registered.
#[derive(Debug)]
struct Missing(String);

impl Unknown for dyn MixRule {
    fn unknown(name: &str) -> Arc<Self> {
        Arc::new(Missing(name.to_owned()))
    }
}

impl MixRule for Missing {
    fn describe(&self) -> String {
        self.0.clone()
    }

    fn forward(&self, h: Tensor<3>, x: Tensor<3>, _: &Arrays) -> Tensor<3> {
        h + x
    }

    fn check(&self, _: usize) -> Result<(), String> {
        Err(format!(
            "the residual rule `{}`, which this program doesn't know; it has to be registered",
            self.0
        ))
    }
}
