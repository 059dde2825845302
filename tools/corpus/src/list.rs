//! `configs/corpus.toml`: the packages and files whose text makes the default corpus.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use evenburn_files::sha256;
use serde::{Deserialize, Serialize};

use super::graph::{Metadata, Package};
use super::text;

/// The list's place in the repository.
pub(crate) const PATH: &str = "configs/corpus.toml";

const HEADER: &str = "\
# The default corpus: prose in crates that the Flex build needs on every host.
# `cargo xtask corpus --update` writes the versions, files and hashes (SHA-256) of the packages named here;
# `cargo xtask corpus --candidates` prints the table they were chosen from.
# To change the choice, edit the names and splits and run the update.
";

/// Which part of the corpus a package's text belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Split {
    /// Held out. Comes first, so that a paragraph in both stays here and training never sees it.
    Validation,
    Train,
}

impl Split {
    pub(crate) const ALL: [Self; 2] = [Self::Validation, Self::Train];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Validation => "validation",
            Self::Train => "train",
        }
    }
}

/// The whole list.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct List {
    /// The hash over all that follows; empty in a list that was edited and not yet updated.
    #[serde(default)]
    pub(crate) total: String,
    #[serde(rename = "package")]
    pub(crate) packages: Vec<Entry>,
}

/// One package of the list.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) split: Split,
    #[serde(default)]
    pub(crate) version: String,
    /// From a file's path in the package to its hash.
    #[serde(default)]
    pub(crate) files: BTreeMap<String, String>,
}

/// A listed file with its content, its hash checked.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) package: String,
    pub(crate) file: String,
    pub(crate) split: Split,
    pub(crate) content: String,
}

impl List {
    /// Reads the list of the repository at `root`.
    pub(crate) fn load(root: &Path) -> Result<Self> {
        let text =
            fs::read_to_string(root.join(PATH)).with_context(|| format!("reading {PATH}"))?;
        toml::from_str(&text).with_context(|| format!("reading {PATH}"))
    }

    /// The listed files in the order of the corpus: validation first, then by package and path.
    ///
    /// # Errors
    /// Anything that differs from the list, each difference with its package.
    pub(crate) fn sources(&self, metadata: &Metadata) -> Result<Vec<Source>> {
        let packages = metadata.registry();
        let mut sources = Vec::new();
        let mut faults = Vec::new();
        for entry in &self.packages {
            match entry.sources(&packages) {
                Ok(found) => sources.extend(found),
                Err(fault) => faults.push(format!("  {}: {fault:#}", entry.name)),
            }
        }
        if faults.is_empty() && self.total != self.hash() {
            faults.push(format!(
                "  the total hash of {PATH} is not that of its entries"
            ));
        }
        if !faults.is_empty() {
            bail!(
                "{PATH} does not match the crates that Cargo.lock names:\n{}\n\
                 If that is intended (a version has changed), accept it with `cargo xtask corpus --update`.",
                faults.join("\n")
            );
        }
        sources.sort_by(|a, b| (a.split, &a.package, &a.file).cmp(&(b.split, &b.package, &b.file)));
        Ok(sources)
    }

    /// The same packages and splits with the versions and files that `metadata` has now.
    ///
    /// `usable` names the packages that every host builds; of several versions the newest of those counts.
    pub(crate) fn updated(
        &self,
        metadata: &Metadata,
        usable: &BTreeSet<(String, String)>,
    ) -> Result<Self> {
        let packages = metadata.registry();
        let mut list = Self {
            total: String::new(),
            packages: Vec::new(),
        };
        for entry in &self.packages {
            let package = packages
                .iter()
                .find(|package| {
                    package.name == entry.name
                        && usable.contains(&(package.name.clone(), package.version.clone()))
                })
                .with_context(|| {
                    format!(
                        "{} is not part of the Flex build on every host; take it out of {PATH}",
                        entry.name
                    )
                })?;
            list.packages.push(Entry {
                name: entry.name.clone(),
                split: entry.split,
                version: package.version.clone(),
                files: prose_files(package.folder())?,
            });
        }
        list.packages.sort_by(|a, b| a.name.cmp(&b.name));
        if let Some(twice) = list
            .packages
            .windows(2)
            .find(|pair| pair[0].name == pair[1].name)
        {
            bail!("{PATH} names {} twice", twice[0].name);
        }
        list.total = list.hash();
        Ok(list)
    }

    /// The list as it is committed.
    pub(crate) fn render(&self) -> String {
        let mut text = format!("{HEADER}\ntotal = \"{}\"\n", self.total);
        for entry in &self.packages {
            // Writing to a String cannot fail.
            let _ = write!(
                text,
                "\n[[package]]\nname = \"{}\"\nversion = \"{}\"\nsplit = \"{}\"\n[package.files]\n",
                entry.name,
                entry.version,
                entry.split.name()
            );
            for (file, hash) in &entry.files {
                let _ = writeln!(text, "{file:?} = \"{hash}\"");
            }
        }
        text
    }

    /// The hash over every name, version, split, path and file hash.
    fn hash(&self) -> String {
        let mut lines = String::new();
        for entry in &self.packages {
            let _ = writeln!(
                lines,
                "{} {} {}",
                entry.name,
                entry.version,
                entry.split.name()
            );
            for (file, hash) in &entry.files {
                let _ = writeln!(lines, "{hash} {file}");
            }
        }
        sha256(lines.as_bytes())
    }
}

impl Entry {
    fn sources(&self, packages: &[&Package]) -> Result<Vec<Source>> {
        let named: Vec<_> = packages
            .iter()
            .filter(|package| package.name == self.name)
            .collect();
        let Some(newest) = named.first() else {
            bail!("not among the crates of the Flex build");
        };
        let Some(package) = named.iter().find(|package| package.version == self.version) else {
            bail!(
                "the list has version {:?}, Cargo.lock has {}",
                self.version,
                newest.version
            );
        };
        self.files
            .iter()
            .map(|(file, hash)| {
                let bytes = fs::read(package.folder().join(file))
                    .with_context(|| format!("cannot read {file}"))?;
                if &sha256(&bytes) != hash {
                    bail!("{file} of version {} has another hash", self.version);
                }
                Ok(Source {
                    package: self.name.clone(),
                    file: file.clone(),
                    split: self.split,
                    content: String::from_utf8(bytes)
                        .with_context(|| format!("{file} is not UTF-8"))?,
                })
            })
            .collect()
    }
}

/// One line per package whose version differs between two lists.
pub(crate) fn changes(old: &List, new: &List) -> Vec<String> {
    new.packages
        .iter()
        .filter_map(|entry| {
            let before = old.packages.iter().find(|other| other.name == entry.name)?;
            let (name, to) = (&entry.name, &entry.version);
            match before.version.as_str() {
                from if from == to => None,
                "" => Some(format!("{name}: {to}")),
                from => Some(format!("{name}: {from} -> {to}")),
            }
        })
        .collect()
}

/// The files below `folder` that have enough prose for a document, with their hashes.
pub(crate) fn prose_files(folder: &Path) -> Result<BTreeMap<String, String>> {
    let mut files = BTreeMap::new();
    let mut open = vec![folder.to_path_buf()];
    while let Some(current) = open.pop() {
        let entries = fs::read_dir(&current)
            .with_context(|| format!("reading the folder {}", current.display()))?;
        for entry in entries {
            let entry = entry?;
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            let kind = entry.file_type()?;
            if kind.is_dir() && is_prose_folder(&name) {
                open.push(path);
            } else if kind.is_file() && is_prose_file(&name) {
                let bytes = fs::read(&path)?;
                let hash = sha256(&bytes);
                let Ok(content) = String::from_utf8(bytes) else {
                    continue;
                };
                let Some(file) = relative(folder, &path) else {
                    continue;
                };
                if text::document(&text::paragraphs(&file, &content)).is_some() {
                    files.insert(file, hash);
                }
            }
        }
    }
    Ok(files)
}

/// The path below `folder` with `/` between its parts, whatever the host writes.
fn relative(folder: &Path, path: &Path) -> Option<String> {
    let parts: Option<Vec<&str>> = path
        .strip_prefix(folder)
        .ok()?
        .components()
        .map(|part| part.as_os_str().to_str())
        .collect();
    Some(parts?.join("/"))
}

/// Tests and benchmarks explain little, and a dot hides what isn't the package's own.
fn is_prose_folder(name: &str) -> bool {
    !name.starts_with('.')
        && !matches!(
            name,
            "tests" | "test" | "testdata" | "benches" | "bench" | "target"
        )
}

/// Rust sources, and Markdown that isn't a list of changes, people or terms.
fn is_prose_file(name: &str) -> bool {
    let lower = name.to_lowercase();
    if !text::is_markdown(&lower) {
        return text::has_extension(&lower, "rs") && !lower.ends_with("tests.rs");
    }
    ![
        "change",
        "release",
        "history",
        "license",
        "licence",
        "copying",
        "copyright",
        "authors",
        "contributors",
        "code_of_conduct",
        "code-of-conduct",
        "third_party",
        "notice",
        "summary",
    ]
    .iter()
    .any(|start| lower.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROSE: &str = "//! A crate whose first page says what it is for, at a length that makes a document.\n//!\n//! It goes on with a second paragraph, since one alone would be too short to be taken for prose, and ends here, after these words.\n";

    /// A list of one package `demo`, whose sources are in the returned folder.
    fn demo() -> (tempfile::TempDir, List, Metadata) {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("src")).unwrap();
        fs::write(folder.path().join("src/lib.rs"), PROSE).unwrap();
        fs::write(folder.path().join("src/short.rs"), "//! Too short.\n").unwrap();
        fs::write(folder.path().join("LICENSE.md"), "Terms. ".repeat(60)).unwrap();
        let metadata = metadata(folder.path(), "1.2.3");
        let unhashed = toml::from_str("[[package]]\nname = \"demo\"\nsplit = \"train\"\n");
        let list: List = unhashed.unwrap();
        let list = list.updated(&metadata, &usable("1.2.3")).unwrap();
        (folder, list, metadata)
    }

    fn metadata(folder: &Path, version: &str) -> Metadata {
        serde_json::from_value(serde_json::json!({
            "target_directory": "target",
            "packages": [{
                "name": "demo",
                "version": version,
                "manifest_path": folder.join("Cargo.toml"),
                "source": "registry+https://example.org/index",
            }],
        }))
        .unwrap()
    }

    fn usable(version: &str) -> BTreeSet<(String, String)> {
        BTreeSet::from([("demo".to_owned(), version.to_owned())])
    }

    #[test]
    fn an_update_lists_the_files_with_prose_and_reads_back() {
        let (_folder, list, metadata) = demo();
        let files: Vec<_> = list.packages[0].files.keys().collect();
        assert_eq!(files, ["src/lib.rs"]);
        assert_eq!(toml::from_str::<List>(&list.render()).unwrap(), list);
        let sources = list.sources(&metadata).unwrap();
        assert_eq!(sources.len(), 1);
        assert_eq!(sources[0].content, PROSE);
    }

    #[test]
    fn a_changed_file_is_named_with_its_package() {
        let (folder, list, metadata) = demo();
        fs::write(folder.path().join("src/lib.rs"), format!("{PROSE} ")).unwrap();
        let message = list.sources(&metadata).unwrap_err().to_string();
        assert!(
            message.contains("demo: src/lib.rs of version 1.2.3 has another hash"),
            "{message}"
        );
        assert!(message.contains("cargo xtask corpus --update"), "{message}");
    }

    #[test]
    fn another_version_in_the_lock_file_is_named_with_both_versions() {
        let (folder, list, _) = demo();
        let bumped = metadata(folder.path(), "1.3.0");
        let message = list.sources(&bumped).unwrap_err().to_string();
        assert!(
            message.contains("demo: the list has version \"1.2.3\", Cargo.lock has 1.3.0"),
            "{message}"
        );
        let accepted = list.updated(&bumped, &usable("1.3.0")).unwrap();
        assert_eq!(changes(&list, &accepted), ["demo: 1.2.3 -> 1.3.0"]);
        assert_ne!(accepted.total, list.total);
        assert!(accepted.sources(&bumped).is_ok());
    }

    #[test]
    fn an_edited_list_and_a_package_that_some_host_lacks_are_refused() {
        let (_folder, mut list, metadata) = demo();
        let message = list.updated(&metadata, &BTreeSet::new()).unwrap_err();
        assert!(
            message
                .to_string()
                .contains("demo is not part of the Flex build")
        );
        list.packages[0].split = Split::Validation;
        let message = list.sources(&metadata).unwrap_err().to_string();
        assert!(message.contains("total hash"), "{message}");
    }
}
