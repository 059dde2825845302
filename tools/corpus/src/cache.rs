//! The corpus on disk: deduplicated documents, one compressed JSON-lines file per split.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use serde::{Deserialize, Serialize};

use evenburn_files::{Draft, sha256};
use evenburn_workspace::short;

use super::list::{Source, Split};
use super::text::{self, Seen};

/// Raised whenever the same sources would give another text, so that no older cache is taken for it.
const FORMAT: u32 = 2;

/// The file beside the splits that says what they are; its presence and its hashes make a cache valid. Hidden, because it is
/// no document, and a run names every file of a folder that it leaves out.
const ABOUT: &str = ".about.json";

#[derive(Debug, Serialize)]
struct Line<'a> {
    text: &'a str,
    meta: Meta<'a>,
}

#[derive(Debug, Serialize)]
struct Meta<'a> {
    package: &'a str,
    file: &'a str,
    split: &'a str,
}

/// What a corpus folder holds.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct About {
    format: u32,
    /// The total hash of the list.
    list: String,
    splits: Vec<SplitAbout>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct SplitAbout {
    name: String,
    documents: usize,
    /// Of text, before JSON and compression.
    text_bytes: usize,
    /// Of the compressed file.
    sha256: String,
}

/// Documents of one split as JSON lines.
#[derive(Debug, Default)]
struct Part {
    lines: Vec<u8>,
    documents: usize,
    text_bytes: usize,
}

/// The folder with the corpus of `sources`: the cached one if it is whole, else a new one.
pub(crate) fn write(
    total: &str,
    sources: Vec<Source>,
    target: &Path,
    out: Option<&Path>,
) -> Result<PathBuf> {
    let folder = if let Some(out) = out {
        if out.exists() {
            bail!("{} exists already; nothing is overwritten", out.display());
        }
        out.to_path_buf()
    } else {
        let key = total
            .get(..16)
            .context("the list's total hash is too short")?;
        target.join("corpus").join(format!("{key}-{FORMAT}"))
    };
    if is_whole(&folder, total) {
        return Ok(folder);
    }
    let draft = Draft::begin(&folder)?;
    let about = build(total, sources, draft.path())
        .with_context(|| format!("writing the corpus to {}", draft.path().display()))?;
    if out.is_none() && folder.exists() {
        fs::remove_dir_all(&folder)
            .with_context(|| format!("removing the damaged cache {}", folder.display()))?;
    }
    if let Err(error) = draft.finish()
        // Another process may have been faster; then its corpus is this one.
        && !is_whole(&folder, total)
    {
        return Err(error).with_context(|| format!("naming the corpus {}", folder.display()));
    }
    for split in &about.splits {
        eprintln!(
            "corpus: {:>10}: {:>5} documents, {:.2} MB of text in {}",
            split.name,
            split.documents,
            split.text_bytes as f64 / 1e6,
            short(&split_file(&folder, &split.name)).display()
        );
    }
    Ok(folder)
}

fn split_file(folder: &Path, split: &str) -> PathBuf {
    folder.join(split).join("corpus.jsonl.zst")
}

/// Whether `folder` holds the corpus of this list and format, unharmed.
fn is_whole(folder: &Path, total: &str) -> bool {
    let about = fs::read(folder.join(ABOUT))
        .ok()
        .and_then(|bytes| serde_json::from_slice::<About>(&bytes).ok());
    about.is_some_and(|about| {
        about.format == FORMAT
            && about.list == total
            && about.splits.len() == Split::ALL.len()
            && about.splits.iter().all(|split| {
                fs::read(split_file(folder, &split.name))
                    .is_ok_and(|bytes| sha256(&bytes) == split.sha256)
            })
    })
}

fn build(total: &str, sources: Vec<Source>, folder: &Path) -> Result<About> {
    let mut about = About {
        format: FORMAT,
        list: total.to_owned(),
        splits: Vec::new(),
    };
    for (split, part) in documents(sources)? {
        let bytes = compress_to_vec(part.lines.as_slice(), CompressionLevel::Fastest);
        let path = split_file(folder, split.name());
        fs::create_dir_all(path.parent().unwrap_or(folder))?;
        evenburn_files::write(&path, &bytes)?;
        about.splits.push(SplitAbout {
            name: split.name().to_owned(),
            documents: part.documents,
            text_bytes: part.text_bytes,
            sha256: sha256(&bytes),
        });
    }
    evenburn_files::write(&folder.join(ABOUT), &serde_json::to_vec_pretty(&about)?)?;
    Ok(about)
}

/// The documents of each split. `sources` come in the order of the corpus, validation first.
fn documents(sources: Vec<Source>) -> Result<Vec<(Split, Part)>> {
    let mut seen = Seen::default();
    let mut parts: Vec<_> = Split::ALL.map(|split| (split, Part::default())).into();
    for source in sources {
        let paragraphs = seen.fresh(text::paragraphs(&source.file, &source.content));
        let Some(document) = text::document(&paragraphs) else {
            continue;
        };
        let Some((split, part)) = parts.iter_mut().find(|(split, _)| *split == source.split) else {
            continue;
        };
        let line = Line {
            text: &document,
            meta: Meta {
                package: &source.package,
                file: &source.file,
                split: split.name(),
            },
        };
        serde_json::to_writer(&mut part.lines, &line)?;
        part.lines.push(b'\n');
        part.documents += 1;
        part.text_bytes += document.len();
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources() -> Vec<Source> {
        let shared = "A paragraph that both packages carry, word for word, as copies of a text do.";
        let page = |own: &str| format!("# Title\n\n{shared}\n\n{}\n", own.repeat(12));
        let source = |package: &str, split, own| Source {
            package: package.to_owned(),
            file: "README.md".to_owned(),
            split,
            content: page(own),
        };
        vec![
            source("held", Split::Validation, "Held-out words are here. "),
            source("seen", Split::Train, "Words to learn from are here. "),
        ]
    }

    fn decode(path: &Path) -> String {
        let bytes = fs::read(path).unwrap();
        let mut decoder = ruzstd::decoding::StreamingDecoder::new(bytes.as_slice()).unwrap();
        let mut text = String::new();
        std::io::Read::read_to_string(&mut decoder, &mut text).unwrap();
        text
    }

    #[test]
    fn a_shared_paragraph_stays_in_validation_only() {
        let folder = tempfile::tempdir().unwrap();
        let made = write(&"0".repeat(64), sources(), folder.path(), None).unwrap();
        let held = decode(&split_file(&made, "validation"));
        let seen = decode(&split_file(&made, "train"));
        assert!(held.contains("both packages carry"));
        assert!(!seen.contains("both packages carry"));
        let line: serde_json::Value = serde_json::from_str(seen.trim_end()).unwrap();
        assert_eq!(line["meta"]["package"], "seen");
        assert_eq!(line["meta"]["split"], "train");
        assert!(line["text"].as_str().unwrap().contains("Words to learn"));
    }

    #[test]
    fn the_cache_is_reused_when_whole_and_rebuilt_when_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let total = "a".repeat(64);
        let made = write(&total, sources(), folder.path(), None).unwrap();
        let file = split_file(&made, "train");
        let first = fs::read(&file).unwrap();
        // Had it been built again, these empty sources would show.
        assert_eq!(
            write(&total, Vec::new(), folder.path(), None).unwrap(),
            made
        );
        assert_eq!(fs::read(&file).unwrap(), first);
        fs::write(&file, b"damaged").unwrap();
        write(&total, sources(), folder.path(), None).unwrap();
        assert_eq!(
            fs::read(&file).unwrap(),
            first,
            "the bytes depend on the sources alone"
        );
        let left: Vec<_> = fs::read_dir(folder.path().join("corpus"))
            .unwrap()
            .collect();
        assert_eq!(left.len(), 1, "nothing stays beside the cache");
    }

    #[test]
    fn an_existing_output_folder_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let error = write("", Vec::new(), folder.path(), Some(folder.path())).unwrap_err();
        assert!(error.to_string().contains("nothing is overwritten"));
    }
}
