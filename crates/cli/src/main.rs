//! The `evenburn` command.
fn main() {}
