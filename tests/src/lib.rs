//! The program under test, and what its runs leave behind.

pub mod cli;
