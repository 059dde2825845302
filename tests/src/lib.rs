//! Reference numbers and how the project is compared with them; the program under test.

pub mod bare;
pub mod cli;
pub mod docs;
pub mod exports;
pub mod optimizers;
mod options;
pub mod parity;
mod references;
mod summary;
