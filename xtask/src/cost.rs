//! `cargo xtask build-cost`: what building the program costs, and whether that grew.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::Args;
use evenburn_workspace::{cargo, program_arguments, root, run, say, units};
use serde::{Deserialize, Serialize};

/// Other systems build other crates and give the program another size.
const COMPARED: bool = cfg!(all(target_os = "linux", target_arch = "x86_64"));

/// Builds the program from nothing and prints what that took: processor and wall seconds, units, the longest of them, its size.
///
/// Units of compilation and bytes of the program more than 5 % above `benches/build.json` are an error, so that a new
/// dependency is weighed when it comes; --write records what was counted. Then the same for a crate that depends on
/// `evenburn-model` alone, in Cargo's own development profile, as in a workspace of one's own. Seconds are printed and not
/// compared: they are this machine's. CI counts units, which takes no build: `cargo xtask ci --only cost`. Builds under
/// `target/build-cost`, which is removed before and after.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  cargo xtask build-cost\n  cargo xtask build-cost --write")]
pub(crate) struct CostArgs {
    /// Record what was counted
    #[arg(long)]
    write: bool,
    /// How many of the longest units are printed
    #[arg(long, value_name = "N", default_value_t = 15)]
    longest: usize,
}

const RECORD: &str = "benches/build.json";

/// How much more than recorded a build may be.
const SLACK: f64 = 1.05;

/// What is recorded. Seconds are those of the machine that recorded them, and what `cargo xtask train` estimates its wait by.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cost {
    /// Units of compilation of the program, build scripts and their runs included.
    pub(crate) units: usize,
    /// Units of a crate that depends on `evenburn-model` alone.
    pub(crate) embedder_units: usize,
    /// Bytes of the program.
    pub(crate) bytes: u64,
    /// Processor seconds of the program's build from nothing, where the system told them.
    pub(crate) processor_seconds: Option<u64>,
}

/// The recorded cost.
pub(crate) fn recorded(root: &Path) -> Result<Cost> {
    let text =
        fs::read_to_string(root.join(RECORD)).with_context(|| format!("reading {RECORD}"))?;
    serde_json::from_str(&text).with_context(|| format!("reading {RECORD}"))
}

/// What the program is built for: the CPU, as `cargo xtask train` does without more.
const BACKEND: &str = "flex";

/// The example that depends on the model alone.
const EMBEDDER: &str = "norm-module";

impl CostArgs {
    pub(crate) fn run(&self) -> Result<()> {
        let root = root()?;
        let target = root.join("target").join("build-cost");
        remove(&target)?;
        let program = measure(
            cargo()
                .current_dir(&root)
                .arg("build")
                .args(program_arguments(&[BACKEND], false)),
            &target,
        )?;
        let binary = target
            .join("release")
            .join(format!("evenburn{}", std::env::consts::EXE_SUFFIX));
        let bytes = fs::metadata(&binary)
            .with_context(|| format!("looking at {}", binary.display()))?
            .len();
        say!("\nthe program: {}", program.line())?;
        say!(
            "its size: {:.1} MB, with the name of every function",
            bytes as f64 / 1e6
        )?;
        say!("{}", program.longest(self.longest))?;
        let alone = embedder(&root, &target.join("alone"))?;
        let model = measure(
            cargo().current_dir(&alone).args(["build", "--locked"]),
            &target.join("embedder"),
        )?;
        say!("\na crate that depends on evenburn-model: {}", model.line())?;
        say!("{}", model.longest(self.longest))?;
        remove(&target)?;
        let cost = Cost {
            units: program_units(&root)?,
            embedder_units: embedder_units(&root)?,
            bytes,
            processor_seconds: program.processor.map(|seconds| seconds as u64),
        };
        if !COMPARED {
            say!("not compared: the record is of Linux on x86-64")?;
            return Ok(());
        }
        if self.write {
            let text = serde_json::to_string_pretty(&cost)? + "\n";
            return fs::write(root.join(RECORD), text).with_context(|| format!("writing {RECORD}"));
        }
        let before = recorded(&root)?;
        compare(&[
            Figure::units(cost.units, &before),
            Figure::embedder_units(cost.embedder_units, &before),
            Figure {
                name: "bytes",
                now: cost.bytes,
                before: before.bytes,
            },
        ])
    }
}

/// The stage of CI: units alone, which Cargo counts without building.
pub(crate) fn check(root: &Path) -> Result<()> {
    if !COMPARED {
        say!("left out: the record is of Linux on x86-64")?;
        return Ok(());
    }
    let before = recorded(root)?;
    compare(&[
        Figure::units(program_units(root)?, &before),
        Figure::embedder_units(embedder_units(root)?, &before),
    ])
}

fn program_units(root: &Path) -> Result<usize> {
    units(root, &program_arguments(&[BACKEND], false))
}

fn embedder_units(root: &Path) -> Result<usize> {
    units(root, &["--locked".into(), format!("--package={EMBEDDER}")])
}

/// Something that is counted, now and in the record.
struct Figure {
    name: &'static str,
    now: u64,
    before: u64,
}

impl Figure {
    fn units(now: usize, before: &Cost) -> Self {
        Self {
            name: "units",
            now: now as u64,
            before: before.units as u64,
        }
    }

    fn embedder_units(now: usize, before: &Cost) -> Self {
        Self {
            name: "units of a crate on the model",
            now: now as u64,
            before: before.embedder_units as u64,
        }
    }
}

fn compare(figures: &[Figure]) -> Result<()> {
    let mut grown = Vec::new();
    for Figure { name, now, before } in figures {
        let ratio = *now as f64 / *before as f64;
        say!("{name}: {now}, {ratio:.3} of {before}")?;
        if ratio > SLACK {
            grown.push(format!("{now} {name} for {before}"));
        }
    }
    if grown.is_empty() {
        return Ok(());
    }
    bail!(
        "the build grew by more than 5 %: {}; if that is worth it, record it: cargo xtask build-cost --write",
        grown.join(", ")
    )
}

/// What a build took.
struct Build {
    wall: f64,
    /// Unknown where the system doesn't tell.
    processor: Option<f64>,
    units: Vec<Unit>,
}

/// A unit as Cargo's own report of a build lists it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Unit {
    name: String,
    version: String,
    /// `run-custom-build` for a build script that runs.
    mode: String,
    /// ` build-script` and the like; empty for a library.
    target: String,
    /// Seconds of wall clock.
    duration: f64,
}

impl Build {
    fn line(&self) -> String {
        let processor = self.processor.map_or_else(String::new, |seconds| {
            format!("{seconds:.0} s of processor time, ")
        });
        format!(
            "{processor}{:.0} s of wall clock, {} units",
            self.wall,
            self.units.len()
        )
    }

    fn longest(&self, count: usize) -> String {
        let mut units: Vec<_> = self.units.iter().collect();
        units.sort_by(|a, b| b.duration.total_cmp(&a.duration));
        let lines: Vec<_> = units
            .iter()
            .take(count)
            .map(|unit| {
                let run = if unit.mode == "run-custom-build" {
                    " (its build script runs)"
                } else {
                    ""
                };
                format!(
                    "  {:>7.1} s  {} {}{}{run}",
                    unit.duration, unit.name, unit.version, unit.target
                )
            })
            .collect();
        lines.join("\n")
    }
}

/// Runs a build of Cargo's into a folder of its own.
fn measure(command: &mut Command, target: &Path) -> Result<Build> {
    command.arg("--timings").arg("--target-dir").arg(target);
    let start = Instant::now();
    let before = processor_of_children();
    run(command)?;
    let wall = start.elapsed().as_secs_f64();
    let processor = processor_of_children()
        .zip(before)
        .map(|(after, before)| after - before);
    let report = target.join("cargo-timings").join("cargo-timing.html");
    let text =
        fs::read_to_string(&report).with_context(|| format!("reading {}", report.display()))?;
    let units =
        units_of_report(&text).with_context(|| format!("{} lists no units", report.display()))?;
    Ok(Build {
        wall,
        processor,
        units,
    })
}

/// The list that the page of `--timings` draws.
fn units_of_report(page: &str) -> Option<Vec<Unit>> {
    let (_, rest) = page.split_once("const UNIT_DATA = ")?;
    let mut values = serde_json::Deserializer::from_str(rest).into_iter();
    values.next()?.ok()
}

/// Processor seconds of all processes that this one has started and waited for, theirs included.
#[cfg(target_os = "linux")]
fn processor_of_children() -> Option<f64> {
    /// Of `/proc`: `USER_HZ`, which is 100 on every architecture that Rust builds for.
    const TICKS: f64 = 100.0;
    children_ticks(&fs::read_to_string("/proc/self/stat").ok()?).map(|ticks| ticks as f64 / TICKS)
}

/// The fields `cutime` and `cstime` of a line of `/proc/PID/stat` (proc(5)).
#[cfg(target_os = "linux")]
fn children_ticks(line: &str) -> Option<u64> {
    // The second field is the program's name in parentheses and may hold anything.
    let (_, rest) = line.rsplit_once(") ")?;
    let mut fields = rest.split(' ').skip(13);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

#[cfg(not(target_os = "linux"))]
fn processor_of_children() -> Option<f64> {
    None
}

/// The example as a user's own crate: outside the workspace, so without its profiles and its unified features.
fn embedder(root: &Path, folder: &Path) -> Result<PathBuf> {
    let example = root.join("examples").join("norm_module");
    let read = |path: &Path| {
        fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
    };
    let burn = read(&root.join("Cargo.toml"))?
        .parse::<toml::Table>()
        .context("Cargo.toml")?["workspace"]["dependencies"]["burn"]["version"]
        .as_str()
        .context("Cargo.toml pins no Burn")?
        .to_owned();
    let model = toml::Value::from(root.join("crates").join("model").display().to_string());
    let manifest = format!(
        "[package]\nname = \"{EMBEDDER}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[workspace]\n\n[dependencies]\n\
         evenburn-model = {{ path = {model} }}\n\
         burn = {{ version = {burn:?}, default-features = false, features = [\"std\", \"autodiff\", \"flex\", \"optim\"] }}\n",
    );
    fs::create_dir_all(folder.join("src"))
        .with_context(|| format!("creating {}", folder.display()))?;
    fs::write(folder.join("Cargo.toml"), manifest)?;
    fs::write(
        folder.join("src/main.rs"),
        read(&example.join("src/main.rs"))?,
    )?;
    fs::copy(root.join("Cargo.lock"), folder.join("Cargo.lock"))?;
    // The lock file loses what this crate doesn't need; versions stay.
    run(cargo()
        .current_dir(folder)
        .args(["metadata", "--format-version=1", "--quiet"])
        .stdout(std::process::Stdio::null()))?;
    Ok(folder.to_path_buf())
}

fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", folder.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grows_by_more_than_five_percent_is_named() {
        let figure = |name, now| Figure {
            name,
            now,
            before: 400,
        };
        assert!(compare(&[figure("units", 420), figure("bytes", 10)]).is_ok());
        let error = compare(&[figure("units", 420), figure("bytes", 421)]).unwrap_err();
        assert!(
            error.to_string().contains(": 421 bytes for 400;"),
            "{error}"
        );
    }

    #[test]
    fn the_record_is_whole() {
        let cost = recorded(&root().unwrap()).unwrap();
        assert!(cost.units > cost.embedder_units && cost.embedder_units > 0);
        assert!(cost.bytes > 0 && cost.processor_seconds.is_some_and(|seconds| seconds > 0));
    }

    #[test]
    fn units_are_read_from_the_page_of_timings() {
        let page = "<script>\nconst UNIT_DATA = [{\"i\":0,\"name\":\"a\",\"version\":\"1.0.0\",\"mode\":\"todo\",\
                    \"target\":\"\",\"features\":[],\"start\":0.1,\"duration\":2.5}];\nconst X = 1;";
        let units = units_of_report(page).unwrap();
        assert_eq!((units[0].name.as_str(), units[0].duration), ("a", 2.5));
        assert_eq!(units_of_report("nothing"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn processor_time_of_children_is_read_behind_any_name() {
        let line = "7 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 11 12 130 40 20 0 1";
        assert_eq!(children_ticks(line), Some(170));
        let before = processor_of_children().unwrap();
        // `rustc` for a program is a tenth of a second at least.
        let mut rustc = Command::new("rustc");
        rustc.args(["--crate-name=a", "--emit=metadata", "--out-dir"]);
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("a.rs");
        fs::write(&source, "fn main() { println!(\"{:?}\", [1, 2, 3]); }").unwrap();
        run(rustc.arg(folder.path()).arg(&source)).unwrap();
        assert!(processor_of_children().unwrap() > before);
    }

    /// Lines of code were 264 of the 305 MB that the program had; without its symbols a backtrace would name no function.
    #[test]
    fn the_program_is_built_without_lines_and_with_names() {
        let root = root().unwrap();
        let text = fs::read_to_string(root.join("Cargo.toml")).unwrap();
        let manifest: toml::Table = text.parse().unwrap();
        let release = &manifest["profile"]["release"];
        assert_eq!(release["debug"].as_bool(), Some(false));
        assert_eq!(release["strip"].as_str(), Some("debuginfo"));
        let packages = release["package"].as_table().unwrap();
        assert!(
            packages
                .values()
                .all(|package| package.get("debug").is_none())
        );
    }
}
