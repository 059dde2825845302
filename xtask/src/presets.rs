//! The presets that come with the project, and what a run of one leaves behind.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Map, Value};

/// Where presets lie that train on the default corpus.
pub(crate) const FOLDERS: [&str; 2] = ["configs", "configs/optimizers"];

/// All presets of a repository, as paths below it.
pub(crate) fn all(root: &Path) -> Result<Vec<PathBuf>> {
    let mut presets = Vec::new();
    for folder in FOLDERS {
        let entries = fs::read_dir(root.join(folder))
            .with_context(|| format!("cannot list {}", root.join(folder).display()))?;
        for entry in entries {
            let path = entry?.path();
            if path.extension().is_some_and(|end| end == "toml") && is_preset(&path)? {
                let name = path.file_name().unwrap_or_default();
                presets.push(Path::new(folder).join(name));
            }
        }
    }
    presets.sort();
    Ok(presets)
}

/// What a TOML file holds.
pub(crate) fn table(path: &Path) -> Result<toml::Table> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    text.parse()
        .with_context(|| format!("{} is no TOML", path.display()))
}

/// Whether a file describes a model; the list of the default corpus doesn't.
fn is_preset(path: &Path) -> Result<bool> {
    Ok(table(path)?.contains_key("model"))
}

/// A preset's folder, if it isn't `configs`, and name.
pub(crate) fn name(preset: &Path) -> String {
    let stem = |path: &Path| path.file_stem().map(|x| x.to_string_lossy().into_owned());
    let folder = preset.parent().and_then(stem).filter(|x| x != "configs");
    let parts = [folder, stem(preset)];
    parts.into_iter().flatten().collect::<Vec<_>>().join("-")
}

/// A run's `metrics.jsonl`, a step an object.
pub(crate) fn metrics(run: &Path) -> Result<Vec<Map<String, Value>>> {
    let path = run.join("metrics.jsonl");
    let text =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let lines = text.lines().enumerate();
    lines
        .map(|(i, line)| {
            serde_json::from_str(line)
                .with_context(|| format!("{}, line {}", path.display(), i + 1))
        })
        .collect()
}

/// Removes a folder that may not be there.
pub(crate) fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_have_names_of_their_own() {
        let names =
            ["configs/angpt.toml", "configs/optimizers/muon.toml"].map(|x| name(Path::new(x)));
        assert_eq!(names, ["angpt", "optimizers-muon"]);
    }

    #[test]
    fn every_preset_is_found_and_the_list_of_the_corpus_is_none() {
        let found = all(&evenburn_workspace::root().unwrap()).unwrap();
        assert!(found.contains(&PathBuf::from("configs/default.toml")));
        assert!(found.contains(&PathBuf::from("configs/optimizers/muon.toml")));
        assert!(!found.contains(&PathBuf::from("configs/corpus.toml")));
    }
}
