//! The tables and the plot of training.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::plot;
use crate::train::Figure;
use crate::worker::{Cost, Measured, Peak};
use evenburn_workspace::capture;

/// One model with one scheme.
pub(crate) struct Case {
    /// This project's first.
    pub(crate) figures: Vec<Figure>,
    pub(crate) peak: Peak,
    /// Where this project's time goes.
    pub(crate) parts: Measured,
    pub(crate) sizes: Sizes,
}

/// What tells the products of attention from those of the feed-forward network.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    pub(crate) dim: usize,
    pub(crate) hidden: usize,
}

/// The contender whose speed the ratios are to, and the one whose memory they are to.
const SPEED_OF: &str = "torch-compile-f32";
const MEMORY_OF: &str = "torch-eager-f32";

impl Case {
    fn of(&self, contender: &str) -> Option<&Figure> {
        self.figures.iter().find(|f| f.contender == contender)
    }
}

/// Every contender of every case.
pub(crate) fn table(cases: &[Case]) -> String {
    let mut text = String::from(
        "| model | scheme | contender | tokens/s | to `torch.compile` f32 | peak memory, MiB | to eager | share of the peak of products |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    for case in cases {
        for figure in &case.figures {
            let speed = case
                .of(SPEED_OF)
                .map(|f| figure.tokens_per_sec / f.tokens_per_sec);
            let bytes = |figure: &Figure| figure.peak_rss_bytes.map(|bytes| bytes as f64);
            let memory = bytes(figure).zip(case.of(MEMORY_OF).and_then(bytes));
            let or_dash = |x: Option<String>| x.unwrap_or_else(|| "-".to_owned());
            let _ = writeln!(
                text,
                "| {} | `{}` | {} | {:.0} | {} | {} | {} | {:.0} % |",
                figure.model,
                figure.scheme,
                figure.contender,
                figure.tokens_per_sec,
                or_dash(speed.map(|x| format!("{x:.2}"))),
                or_dash(bytes(figure).map(|x| format!("{:.0}", x / f64::from(1 << 20)))),
                or_dash(memory.map(|(ours, theirs)| format!("{:.2}", ours / theirs))),
                100.0 * figure.mfu,
            );
        }
    }
    text
}

/// Parts of a step in the order in which they come.
const PARTS: [&str; 6] = [
    "embedding",
    "norms",
    "attention",
    "feed-forward",
    "residuals",
    "head and loss",
];

/// The part of a step that an operation belongs to; none for the optimizer's, which are timed together.
fn part(cost: &Cost, sizes: Sizes) -> Option<&'static str> {
    Some(match cost.operation.as_str() {
        "embedding" => "embedding",
        "normalize" => "norms",
        "rotary" | "causal_attention" => "attention",
        "swiglu" | "normalized_swiglu" => "feed-forward",
        "linear" if cost.shape.get(1..) == Some(&[sizes.dim, sizes.dim]) => "attention",
        "linear" if cost.shape.get(1..)?.contains(&sizes.hidden) => "feed-forward",
        "interpolate" => "residuals",
        "linear_cross_entropy" => "head and loss",
        _ => return None,
    })
}

/// Milliseconds of each part of a step, forward and backward.
fn parts_table(cases: &[Case]) -> String {
    let mut text = String::from("| model | scheme | data |");
    for part in PARTS {
        let _ = write!(text, " {part} |");
    }
    text += " clipping and optimizer | everything else | step |\n|---|---|---|";
    text += &"---|".repeat(PARTS.len() + 3);
    text += "\n";
    for case in cases {
        let measured = &case.parts;
        let ms = |seconds: f64| seconds * 1e3 / measured.steps as f64;
        let mut sums: BTreeMap<(&str, &str), f64> = BTreeMap::new();
        for cost in &measured.costs {
            if let Some(part) = part(cost, case.sizes) {
                *sums.entry((part, &cost.pass)).or_default() += cost.seconds;
            }
        }
        let all: f64 = sums.values().sum();
        let Some(ours) = case.figures.first() else {
            continue;
        };
        let _ = write!(
            text,
            "| {} | `{}` | {:.1} |",
            ours.model,
            ours.scheme,
            ms(measured.data)
        );
        for part in PARTS {
            let of = |pass| ms(sums.get(&(part, pass)).copied().unwrap_or_default());
            let _ = write!(text, " {:.1} + {:.1} |", of("forward"), of("backward"));
        }
        let rest = measured.seconds - measured.data - measured.update - all;
        let _ = writeln!(
            text,
            " {:.1} | {:.1} | {:.0} |",
            ms(measured.update),
            ms(rest),
            ms(measured.seconds)
        );
    }
    text
}

/// Writes the page and its plot.
pub(crate) fn write(root: &Path, out: &Path, debug_build: bool, cases: &[Case]) -> Result<()> {
    fs::create_dir_all(out).with_context(|| format!("making {}", out.display()))?;
    let figures: Vec<&Figure> = cases.iter().flat_map(|case| &case.figures).collect();
    plot::bars(&out.join("training.svg"), &figures)?;
    let rounds = figures.first().map_or(0, |figure| figure.rounds);
    let (mut gflops, mut gbytes) = (Vec::new(), Vec::new());
    for case in cases {
        gflops.push(case.peak.gflops);
        gbytes.push(case.peak.gbytes_per_sec);
    }
    let text = format!(
        "# Training\n\n\
         <!-- Written by `cargo xtask bench`. -->\n\n\
         Medians over {rounds} rounds, in each of which every contender took its turn; the models are the files of\n\
         `benches/models`, the peer is `tools/bench/torch/train.py` with the packages of `tools/reference`. A step is the forward\n\
         and backward pass, clipping and AdamW.\n\n\
         {about}\
         - measured peaks: {gflops:.0} GFLOP/s in a product of two matrices of side 1536, {gbytes:.1} GB/s in a copy\n\n\
         ![tokens per second](training.svg)\n\n\
         {table}\n\
         The share of the peak counts the products of the model (attention over what is visible), forward and backward, whatever\n\
         a contender computes besides.\n\n\
         ## Where a step goes\n\n\
         Milliseconds in the operations of each part, forward + backward. The output layer's gradients are computed with the loss,\n\
         `simple_norm`'s norms of gate and up with the feed-forward network's activation.\n\n\
         {parts}",
        about = about(root, debug_build)?,
        gflops = crate::median(&gflops),
        gbytes = crate::median(&gbytes),
        table = table(cases),
        parts = parts_table(cases),
    );
    let path = out.join("training.md");
    fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
}

/// A line of what Linux tells of the processor.
fn processor(name: &str) -> Option<String> {
    let info = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = info.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// What the processor multiplies with, of what makes a difference.
fn vectors() -> Vec<&'static str> {
    let flags = processor("flags").unwrap_or_default();
    ["avx2", "avx512f", "avx512_bf16", "amx_bf16"]
        .into_iter()
        .filter(|wanted| flags.split(' ').any(|flag| flag == *wanted))
        .collect()
}

/// Whether the processor has instructions for products in bfloat16, as far as the system tells.
pub(crate) fn multiplies_bf16() -> bool {
    vectors().iter().any(|name| name.ends_with("bf16"))
}

/// The processor, as far as the system tells.
fn machine() -> String {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let name = processor("model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    format!("{name}, {threads} threads, {}", vectors().join(", "))
}

/// What was measured, and on what: a list for the head of a page.
pub(crate) fn about(root: &Path, debug_build: bool) -> Result<String> {
    let build = if debug_build {
        "dev profile, in which the kernels and Burn are optimized"
    } else {
        "release"
    };
    Ok(format!(
        "- machine: {}\n- commit: {}\n- build: {build}\n",
        machine(),
        commit(root)?
    ))
}

/// The commit that was measured.
fn commit(root: &Path) -> Result<String> {
    let git = |arguments: &[&str]| capture(Command::new("git").current_dir(root).args(arguments));
    let commit = git(&["rev-parse", "--short", "HEAD"])?;
    // What a benchmark has just written is no change.
    let tracked = ["status", "--porcelain", "--untracked-files=no"];
    let changed = git(&[&tracked[..], &["--", ".", ":!docs/benchmarks"]].concat())?;
    let note = if changed.is_empty() {
        ""
    } else {
        ", with changes"
    };
    Ok(commit.trim().to_owned() + note)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(operation: &str, shape: &[usize]) -> Cost {
        Cost {
            operation: operation.to_owned(),
            pass: "forward".to_owned(),
            shape: shape.to_vec(),
            calls: 1,
            seconds: 1.0,
            flops: 0.0,
            bytes: 0.0,
        }
    }

    fn figure(contender: &str, tokens_per_sec: f64, peak_rss_bytes: u64) -> Figure {
        Figure {
            model: "S".to_owned(),
            scheme: "angpt".to_owned(),
            contender: contender.to_owned(),
            tokens_per_sec,
            peak_rss_bytes: Some(peak_rss_bytes),
            mfu: 0.5,
            rounds: 1,
            parameters: 1,
            step_seconds: vec![1.0],
        }
    }

    fn case(figures: Vec<Figure>) -> Case {
        Case {
            figures,
            peak: Peak {
                gflops: 1.0,
                gbytes_per_sec: 1.0,
            },
            parts: Measured {
                steps: 2,
                seconds: 4.0,
                data: 0.5,
                update: 0.5,
                costs: vec![cost("linear", &[8, 4, 4]), cost("linear", &[8, 4, 6])],
            },
            sizes: Sizes { dim: 4, hidden: 6 },
        }
    }

    #[test]
    fn products_are_told_apart_by_their_sizes() {
        let sizes = Sizes { dim: 4, hidden: 6 };
        assert_eq!(part(&cost("linear", &[8, 4, 4]), sizes), Some("attention"));
        assert_eq!(
            part(&cost("linear", &[8, 6, 4]), sizes),
            Some("feed-forward")
        );
        assert_eq!(part(&cost("adam", &[1, 4, 4]), sizes), None);
    }

    #[test]
    fn ratios_are_to_the_contenders_they_name() {
        let cases = [case(vec![
            figure("evenburn-f32", 300.0, 100 << 20),
            figure(SPEED_OF, 200.0, 400 << 20),
            figure(MEMORY_OF, 100.0, 200 << 20),
        ])];
        let text = table(&cases);
        assert!(
            text.contains("| evenburn-f32 | 300 | 1.50 | 100 | 0.50 | 50 % |"),
            "{text}"
        );
        let alone = table(&[case(vec![figure("evenburn-f32", 300.0, 100 << 20)])]);
        assert!(alone.contains("| 300 | - | 100 | - |"), "{alone}");
    }

    #[test]
    fn the_parts_add_up_to_the_step() {
        let text = parts_table(&[case(vec![figure("evenburn-f32", 1.0, 1)])]);
        assert!(
            text.contains("| 250.0 | 0.0 + 0.0 | 0.0 + 0.0 | 500.0 + 0.0 | 500.0 + 0.0 |"),
            "{text}"
        );
        assert!(text.contains("| 250.0 | 500.0 | 2000 |"), "{text}");
    }
}
