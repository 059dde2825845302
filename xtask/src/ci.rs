//! `cargo xtask ci`: the whole of CI, the same everywhere, cheapest stage first.

use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use evenburn_workspace::{cargo, mpi, root, run, say, tool};

use crate::{arrows, cost, instructions, test, tidy};

/// Checks everything that a change has to pass, cheapest first, and stops at the first failure.
///
/// The stages, each timed: formatting, tidiness, the arrows between the packages, the units that a build has, the lints and the documentation with the
/// backends for CUDA and WebGPU compiled in, the list of the default corpus, the kernels for GPUs on an adapter, the
/// instructions of a training step, and all tests. Needs Rust, a Vulkan adapter (Mesa's lavapipe is one in software) or another that `wgpu` finds, and,
/// on Linux, valgrind.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  cargo xtask ci\n  cargo xtask ci --only fmt,tidy,arrows")]
pub(crate) struct CiArgs {
    /// Run only these stages
    #[arg(long, value_name = "STAGES", value_delimiter = ',')]
    only: Vec<String>,
}

/// One named check.
struct Stage {
    name: &'static str,
    run: fn(&Path) -> Result<()>,
}

const STAGES: [Stage; 10] = [
    Stage {
        name: "fmt",
        run: |root| run(cargo().current_dir(root).args(["fmt", "--all", "--check"])),
    },
    Stage {
        name: "tidy",
        run: tidy::check,
    },
    Stage {
        name: "arrows",
        run: arrows::check,
    },
    Stage {
        name: "cost",
        run: cost::check,
    },
    Stage {
        name: "clippy",
        run: |root| run(everything(root, "clippy").args(["--all-targets", "--", "-D", "warnings"])),
    },
    Stage {
        name: "doc",
        run: |root| {
            // With examples Cargo adds to the features those that only tests depend on: the dependencies are clippy's.
            run(everything(root, "doc")
                .env("RUSTDOCFLAGS", "-D warnings")
                .args(["--no-deps", "--lib", "--bins", "--examples"]))
        },
    },
    // After clippy, which has fetched the crates that the corpus is read from.
    Stage {
        name: "corpus",
        run: |root| run(tool(root, "evenburn-corpus").arg("--check")),
    },
    Stage {
        name: "adapter",
        // xtask's profile again: what these tests wait for is the compilation of `wgpu`.
        run: |root| {
            run(cargo().current_dir(root).args([
                "test",
                "--locked",
                "--profile=xtask",
                "--package=evenburn-cube",
                "--features=wgpu",
            ]))
            .context("the kernels for GPUs run on any Vulkan adapter; Mesa's lavapipe is one in software")
        },
    },
    Stage {
        name: "instructions",
        run: instructions::check,
    },
    Stage {
        name: "test",
        run: |root| test::all(root, &[]),
    },
];

/// A command of Cargo's on all packages with the backends for GPUs, so that a single pass checks all there is.
///
/// The profile is xtask's: its build scripts and macros compile soonest. A build for CUDA downloads LLVM, which only
/// linking needs: with `DOCS_RS` its build script leaves that out. No real build uses the same profile, so none meets what
/// this leaves behind.
fn everything(root: &Path, subcommand: &str) -> Command {
    let mut command = cargo();
    command.current_dir(root).env("DOCS_RS", "1").args([
        subcommand,
        "--locked",
        "--profile=xtask",
        "--workspace",
        "--features=evenburn-cli/cuda,evenburn-cli/webgpu,evenburn-kernels/wgpu,evenburn-cube/wgpu",
    ]);
    if mpi::is_there() {
        command.arg(format!("--features={}", mpi::FOR_ALL));
    }
    command
}

impl CiArgs {
    pub(crate) fn run(&self) -> Result<ExitCode> {
        let root = root()?;
        let stages = chosen(&self.only)?;
        let mut times = Vec::new();
        let mut failure = None;
        for stage in stages {
            say!("==> {}", stage.name)?;
            let start = Instant::now();
            let result = (stage.run)(&root);
            times.push((stage.name, start.elapsed(), result.is_ok()));
            if let Err(error) = result {
                eprintln!("error: {}: {error:#}", stage.name);
                failure = Some(stage.name);
                break;
            }
        }
        say!("{}", summary(&times).trim_end())?;
        Ok(match failure {
            None => ExitCode::SUCCESS,
            Some(_) => ExitCode::FAILURE,
        })
    }
}

/// All stages, or those named, in their own order.
fn chosen(only: &[String]) -> Result<Vec<&'static Stage>> {
    if let Some(unknown) = only
        .iter()
        .find(|name| STAGES.iter().all(|stage| stage.name != name.as_str()))
    {
        let names: Vec<_> = STAGES.iter().map(|stage| stage.name).collect();
        bail!(
            "no stage is called {unknown}; there are {}",
            names.join(", ")
        );
    }
    Ok(STAGES
        .iter()
        .filter(|stage| only.is_empty() || only.iter().any(|name| name == stage.name))
        .collect())
}

/// One line per stage that ran, and the sum.
fn summary(times: &[(&str, Duration, bool)]) -> String {
    let line = |name: &str, time: Duration, verdict: &str| {
        format!("{name:<12} {:>8.1} s  {verdict}\n", time.as_secs_f64())
    };
    let mut text = String::from("\n");
    for (name, time, passed) in times {
        text += &line(name, *time, if *passed { "ok" } else { "FAILED" });
    }
    let passed = times.iter().all(|(_, _, passed)| *passed);
    let total = times.iter().map(|(_, time, _)| *time).sum();
    text + &line("total", total, if passed { "ok" } else { "FAILED" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tests_are_the_last_stage() {
        assert_eq!(STAGES.last().map(|stage| stage.name), Some("test"));
    }

    #[test]
    fn stages_are_chosen_by_name_in_their_own_order() {
        let names = |only: &[&str]| {
            let only: Vec<_> = only.iter().map(|name| (*name).to_owned()).collect();
            chosen(&only).map(|stages| stages.iter().map(|stage| stage.name).collect::<Vec<_>>())
        };
        assert_eq!(names(&["tidy", "fmt"]).unwrap(), ["fmt", "tidy"]);
        assert_eq!(names(&[]).unwrap().len(), STAGES.len());
        assert!(
            names(&["nothing"])
                .unwrap_err()
                .to_string()
                .contains("nothing")
        );
    }

    #[test]
    fn the_summary_names_the_failed_stage() {
        let second = Duration::from_secs(1);
        let text = summary(&[("fmt", second, true), ("tidy", second, false)]);
        assert_eq!(
            text,
            "\nfmt               1.0 s  ok\ntidy              1.0 s  FAILED\ntotal             2.0 s  FAILED\n"
        );
    }
}
