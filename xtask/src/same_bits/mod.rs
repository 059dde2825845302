//! `cargo xtask same-bits`: whether a change left every loss and weight as it was, bit for bit.

mod outcome;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::Args;
use evenburn_workspace::{build_tree, capture, corpus, root, run, say, short};

use self::outcome::Outcome;
use crate::presets;

/// Trains every preset for 20 steps with the program of another commit and with that of this working tree, and compares
/// every bit.
///
/// BASE is any revision of git's. Both programs are built in release under `target/same-bits`, which is kept, so that the
/// next comparison builds what changed. Each trains its own commit's files of `configs` and `configs/optimizers` on the
/// default corpus, and the default preset once more with two micro-batches a step; experts are a preset of their own. A
/// preset that brings a tokenizer of its own (slimpajama-*, openwebtext-*) gets the default preset's vocabulary and context
/// here, and no evaluation reads more than 4,096 tokens. Compared are the training loss of each step, and the names, types, shapes and
/// bytes of the checkpoint's weights. One that only one side has is named and not compared. Ends with 1 when anything
/// differs or fails.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    cargo xtask same-bits main\n  \
    cargo xtask same-bits HEAD~3 --only default,experts\n  \
    cargo xtask same-bits main --before old/evenburn --after target/release/evenburn")]
pub(crate) struct SameBitsArgs {
    /// The revision to compare with
    base: String,
    /// The program of BASE, built already
    #[arg(long, value_name = "PROGRAM")]
    before: Option<PathBuf>,
    /// The program of this working tree, built already
    #[arg(long, value_name = "PROGRAM")]
    after: Option<PathBuf>,
    /// Optimizer steps
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    steps: u32,
    /// Compare only these, by the names that are printed
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    only: Vec<String>,
}

/// What every run does without: time spent on something else than steps.
const BRIEF: [&str; 4] = [
    "--train.eval_tokens=4096",
    "--train.checkpoint_every=0",
    "--train.sample_tokens=0",
    "--train.log_every=1000",
];

/// Sizes of a preset whose tokenizer is not learned from the corpus: the default preset's, with which its 20 steps take
/// seconds and not minutes.
const SMALLER: [&str; 6] = [
    "--model.vocab_size=4096",
    "--data.tokenizer=train",
    "--data.tokenizer_vocab=4096",
    "--model.context=256",
    "--train.batch_size=4",
    "--train.accumulate=1",
];

/// The preset that is trained with several micro-batches a step too.
const ACCUMULATED: &str = "configs/default.toml";

/// A run that is made on both sides.
struct Case {
    name: String,
    /// Below either side's tree.
    preset: PathBuf,
    more: Vec<&'static str>,
}

/// A commit's files and its program.
struct Side {
    name: &'static str,
    tree: PathBuf,
    program: PathBuf,
}

impl SameBitsArgs {
    pub(crate) fn run(&self) -> Result<ExitCode> {
        let root = root()?;
        let scratch = root.join("target").join("same-bits");
        let tree = check_out(&root, &scratch, &self.base)?;
        let sides = [
            side("before", &tree, self.before.as_deref(), &scratch)?,
            side("after", &root, self.after.as_deref(), &scratch)?,
        ];
        let corpus = corpus(&root)?;
        let (mut cases, lone) = cases(&tree, &root)?;
        if let Some(unknown) = self
            .only
            .iter()
            .find(|name| cases.iter().all(|case| &case.name != *name))
        {
            bail!("neither commit has a run {unknown}");
        }
        cases.retain(|case| self.only.is_empty() || self.only.contains(&case.name));
        let mut wrong = Vec::new();
        for (i, case) in cases.iter().enumerate() {
            let start = Instant::now();
            let verdict = self.compare(case, &sides, &scratch, &corpus);
            let seconds = start.elapsed().as_secs_f64();
            let of = format!("{}/{}", i + 1, cases.len());
            let name = &case.name;
            match verdict {
                Ok((outcome, None)) => {
                    say!(
                        "{of:>6} {name:36} the same  loss {:<20} weights {}  {seconds:.0} s",
                        outcome.last_loss(),
                        outcome.hash()
                    )?;
                }
                Ok((_, Some(difference))) => {
                    say!("{of:>6} {name:36} DIFFERS   {difference}")?;
                    wrong.push(name.as_str());
                }
                Err(error) => {
                    say!("{of:>6} {name:36} FAILS     {error:#}")?;
                    wrong.push(name.as_str());
                }
            }
        }
        for name in &lone {
            say!("       {name:36} not compared: only one commit has it")?;
        }
        if wrong.is_empty() {
            say!(
                "all {} runs of {} steps are the same",
                cases.len(),
                self.steps
            )?;
            return Ok(ExitCode::SUCCESS);
        }
        say!(
            "{} of {} runs are not the same: {}",
            wrong.len(),
            cases.len(),
            wrong.join(", ")
        )?;
        Ok(ExitCode::FAILURE)
    }

    /// What the first side computed, and in what the other differs.
    fn compare(
        &self,
        case: &Case,
        sides: &[Side; 2],
        scratch: &Path,
        corpus: &Path,
    ) -> Result<(Outcome, Option<String>)> {
        let [before, after] = sides
            .each_ref()
            .map(|side| self.train(case, side, scratch, corpus));
        let (before, after) = (before?, after?);
        let difference = before.difference(&after);
        Ok((before, difference))
    }

    fn train(&self, case: &Case, side: &Side, scratch: &Path, corpus: &Path) -> Result<Outcome> {
        let runs = scratch.join(side.name).join("run");
        presets::remove(&runs)?;
        let preset = side.tree.join(&case.preset);
        let own = presets::table(&preset)?;
        let learned = own
            .get("data")
            .is_some_and(|data| data.get("tokenizer_vocab").is_some());
        let mut command = Command::new(&side.program);
        command
            .args(["train", "--config"])
            .arg(&preset)
            .arg("--data.path")
            .arg(corpus)
            .arg("--run-dir")
            .arg(&runs)
            .arg(format!("--train.steps={}", self.steps))
            .args(BRIEF)
            .args(if learned { &[][..] } else { &SMALLER })
            .args(&case.more)
            // Tokens of one commit must not be taken for those of the other.
            .env("EVENBURN_CACHE", scratch.join(side.name).join("cache"));
        capture(&mut command).with_context(|| format!("the program {}", side.name))?;
        Outcome::read(&runs).with_context(|| format!("the run {}", side.name))
    }
}

/// The files of a revision, in a work tree of git's that is kept for the next time.
fn check_out(root: &Path, scratch: &Path, base: &str) -> Result<PathBuf> {
    let git = |folder: &Path| {
        let mut git = Command::new("git");
        git.arg("-C").arg(folder);
        git
    };
    let commit = format!("{base}^{{commit}}");
    let commit = capture(git(root).args(["rev-parse", "--verify", &commit]))?;
    let commit = commit.trim();
    let tree = scratch.join("base");
    fs::create_dir_all(scratch).with_context(|| format!("cannot make {}", scratch.display()))?;
    if tree.join(".git").exists() {
        run(git(&tree).args(["checkout", "--quiet", "--force", "--detach", commit]))?;
    } else {
        // One that was removed with `target` is still listed.
        run(git(root).args(["worktree", "prune"]))?;
        run(git(root)
            .args(["worktree", "add", "--quiet", "--detach"])
            .arg(&tree)
            .arg(commit))?;
    }
    Ok(tree)
}

/// The program of a tree, built or given, where the other's build leaves it alone.
fn side(name: &'static str, tree: &Path, given: Option<&Path>, scratch: &Path) -> Result<Side> {
    let program = if let Some(given) = given {
        given.to_path_buf()
    } else {
        // What both depend on is built once.
        let built = build_tree(tree, &scratch.join("target"))?;
        let folder = scratch.join(name);
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let kept = folder.join(built.file_name().context("the program has no name")?);
        fs::copy(&built, &kept).with_context(|| format!("cannot write {}", kept.display()))?;
        kept
    };
    if !program.is_file() {
        bail!("{} is no program", program.display());
    }
    say!("{name}: {}", short(&program).display())?;
    Ok(Side {
        name,
        tree: tree.to_path_buf(),
        program,
    })
}

/// The runs that both trees have, and the names of those that only one has.
fn cases(before: &Path, after: &Path) -> Result<(Vec<Case>, Vec<String>)> {
    let [before, after] = [presets::all(before)?, presets::all(after)?]
        .map(|presets| presets.into_iter().collect::<BTreeSet<_>>());
    let mut cases: Vec<Case> = before
        .intersection(&after)
        .map(|preset| Case {
            name: presets::name(preset),
            preset: preset.clone(),
            more: Vec::new(),
        })
        .collect();
    cases.push(Case {
        name: "default-accumulated".into(),
        preset: ACCUMULATED.into(),
        more: vec!["--train.batch_size=4", "--train.accumulate=2"],
    });
    let lone = before.symmetric_difference(&after);
    Ok((cases, lone.map(|preset| presets::name(preset)).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_one_commit_has_is_not_compared() {
        let folder = tempfile::tempdir().unwrap();
        let [before, after] = ["before", "after"].map(|name| folder.path().join(name));
        for (tree, presets) in [(&before, ["a", "old"]), (&after, ["a", "new"])] {
            fs::create_dir_all(tree.join("configs/optimizers")).unwrap();
            for preset in presets {
                let path = tree.join("configs").join(preset).with_extension("toml");
                fs::write(path, "[model]\ndim = 8\n").unwrap();
            }
        }
        let (cases, lone) = cases(&before, &after).unwrap();
        let names: Vec<_> = cases.iter().map(|case| case.name.as_str()).collect();
        assert_eq!(names, ["a", "default-accumulated"]);
        assert_eq!(lone, ["new", "old"]);
    }
}
