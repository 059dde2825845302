//! What things cost, beside PyTorch in the same run: `cargo xtask bench` and `cargo xtask profile`.

mod bench;
mod data;
mod decode;
mod eval;
mod optim;
mod plot;
mod profile;
mod ranks;
mod report;
mod scale;
mod schemes;
mod train;
mod worker;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use evenburn_workspace::{build_tool, end};

/// What this is started for.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Command {
    Bench(Box<bench::BenchArgs>),
    Profile(profile::ProfileArgs),
}

fn main() -> ExitCode {
    let result = match Command::parse() {
        Command::Bench(arguments) => arguments.run(),
        Command::Profile(arguments) => arguments.run(),
    };
    end(result.map(|()| ExitCode::SUCCESS))
}

/// Builds a program that is measured and returns its path.
fn build(root: &Path, name: &str, debug: bool) -> Result<PathBuf> {
    build_tool(root, name, debug)
}

/// The middle of an odd number of values, the upper of the two middle ones of an even number; NaN of none.
fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The values at a quarter, the middle and three quarters of the way through the sorted ones; NaN of none.
fn quartiles(values: &[f64]) -> [f64; 3] {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    [1, 2, 3].map(|quarter| {
        let place = values.len() * quarter / 4;
        values.get(place).copied().unwrap_or(f64::NAN)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_are_values() {
        let found = quartiles(&[5.0, 1.0, 3.0, 2.0, 4.0]).map(|it| it.to_string());
        assert_eq!(found, ["2", "3", "4"]);
        assert!(quartiles(&[]).iter().all(|it| it.is_nan()));
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert!((median(&[3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
        assert!(median(&[]).is_nan());
    }
}
