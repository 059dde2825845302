//! Writes models for `transformers` with the logits they must have: `exports DIR`.

use anyhow::{Context, Result};
use std::path::PathBuf;

fn main() -> Result<()> {
    let folder = std::env::args_os()
        .nth(1)
        .map(PathBuf::from)
        .context("usage: exports DIR")?;
    let written = evenburn_parity::exports::write(&folder)?;
    println!("{written} models in {}", folder.display());
    Ok(())
}
