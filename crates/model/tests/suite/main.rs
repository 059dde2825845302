//! What the decoder, its schemes and its parts must hold to.

#![allow(clippy::unwrap_used)] // a test fails where it unwraps nothing

mod attention;
mod common;
mod conformance;
mod experts;
mod fold;
mod functions;
mod gradients;
mod likelihood;
mod modules;
mod open;
mod plans;
mod scale_vectors;
mod theory;
mod validation;
