//! Reference numbers and how the project is compared with them.

pub mod parity;
