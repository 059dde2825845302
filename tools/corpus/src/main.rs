//! `cargo xtask corpus`: the default corpus, from prose that building the project has already brought.

mod cache;
mod candidates;
mod docs;
mod graph;
mod list;
mod text;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use evenburn_workspace::{end, root, say, short};

use self::graph::Metadata;
use self::list::List;

/// Makes the default corpus from the documentation of the crates that the project is built from.
///
/// `configs/corpus.toml` lists packages, files and hashes. Their Markdown pages and doc comments become one document
/// per file, deduplicated, in the layout of SlimPajama: `train/corpus.jsonl.zst` and `validation/corpus.jsonl.zst`
/// with one `{"text": …, "meta": {"package": …, "file": …, "split": …}}` a line. The folder is cached under
/// `target/corpus/` by the list's total hash, and its path is printed. No network is used once the crates are there.
#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask corpus",
    bin_name = "cargo xtask corpus",
    after_help = "Example: cargo xtask corpus --out /data/docs"
)]
struct CorpusArgs {
    /// Accept the crates that Cargo.lock names now: rewrite versions and hashes in configs/corpus.toml
    #[arg(long, conflicts_with_all = ["check", "candidates"])]
    update: bool,
    /// Only verify that the list matches the crates; write nothing
    #[arg(long, conflicts_with_all = ["candidates", "out"])]
    check: bool,
    /// Print every package the corpus could use with its size, the table the list was chosen from
    #[arg(long, conflicts_with = "out")]
    candidates: bool,
    /// Write the corpus into this folder, which must not exist, instead of the cache
    #[arg(long, value_name = "PATH")]
    out: Option<PathBuf>,
}

fn main() -> ExitCode {
    end(CorpusArgs::parse().run().map(|()| ExitCode::SUCCESS))
}

impl CorpusArgs {
    fn run(&self) -> Result<()> {
        let root = root()?;
        if self.candidates {
            return candidates::print(&root);
        }
        if self.update {
            update(&root)?;
        }
        if self.check {
            return check(&root);
        }
        let folder = make(&root, self.out.as_deref())?;
        say!("{}", short(&folder).display())?;
        Ok(())
    }
}

/// Verifies the list against the crates.
fn check(root: &Path) -> Result<()> {
    let list = List::load(root)?;
    let sources = list.sources(&Metadata::load(root)?)?;
    say!(
        "{} files of {} packages match {}",
        sources.len(),
        list.packages.len(),
        list::PATH
    )?;
    Ok(())
}

/// The folder of the corpus, made if it isn't there yet.
///
/// # Errors
/// The list does not match the crates, or the folder can't be written.
fn make(root: &Path, out: Option<&Path>) -> Result<PathBuf> {
    let list = List::load(root)?;
    let metadata = Metadata::load(root)?;
    let sources = list.sources(&metadata)?;
    cache::write(&list.total, sources, &metadata.target_directory, out)
}

fn update(root: &Path) -> Result<()> {
    let metadata = Metadata::load(root)?;
    let everywhere = graph::on_every_host(root)?;
    let old = List::load(root)?;
    let new = old.updated(&metadata, &everywhere)?;
    for line in list::changes(&old, &new) {
        eprintln!("{line}");
    }
    let path = root.join(list::PATH);
    Ok(evenburn_files::replace(&path, new.render().as_bytes())?)
}
