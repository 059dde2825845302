//! The tables of `docs/architecture.md`, which tell the arrows to people.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::ARROWS;

/// The page whose table says the same.
const PAGE: &str = "docs/architecture.md";

/// What the page tells otherwise.
pub(super) fn check(root: &Path) -> Result<Vec<String>> {
    let page = fs::read_to_string(root.join(PAGE)).with_context(|| format!("reading {PAGE}"))?;
    Ok(untold(&page))
}

/// What the page's table says of the packages otherwise than [`ARROWS`]. A row has the folder's name, the package's in
/// parentheses where it is another, what it is, and the folders that it knows.
fn untold(page: &str) -> Vec<String> {
    let rows: Vec<(&str, &str, BTreeSet<&str>)> = page.lines().filter_map(row).collect();
    let package = |folder: &str| {
        let row = rows.iter().find(|(known, ..)| *known == folder);
        row.map_or_else(
            || folder.to_owned(),
            |(_, package, _)| (*package).to_owned(),
        )
    };
    let mut faults = Vec::new();
    for (_, package, _) in &rows {
        if ARROWS.iter().all(|(name, _)| name != package) {
            faults.push(format!("{PAGE} has {package}, which is no package"));
        }
    }
    for (name, arrows) in ARROWS {
        let Some((.., knows)) = rows.iter().find(|(_, package, _)| *package == name) else {
            faults.push(format!("{PAGE} has no {name}"));
            continue;
        };
        let told: BTreeSet<String> = knows.iter().map(|folder| package(folder)).collect();
        let known: BTreeSet<String> = arrows.iter().map(|name| (*name).to_owned()).collect();
        for other in told.symmetric_difference(&known) {
            faults.push(format!(
                "{PAGE} and xtask/src/arrows disagree on {name} -> {other}"
            ));
        }
    }
    faults
}

/// Folder, package and the folders it knows, of a line such as ``| `a` (`evenburn-a`) | text | b, c |``.
fn row(line: &str) -> Option<(&str, &str, BTreeSet<&str>)> {
    let cells: Vec<&str> = line
        .strip_prefix("| `")?
        .strip_suffix(" |")?
        .split(" | ")
        .collect();
    let [names, _, knows] = cells[..] else {
        return None;
    };
    let (folder, rest) = names.split_once('`')?;
    let package = rest
        .strip_prefix(" (`")
        .and_then(|rest| rest.strip_suffix("`)"))
        .unwrap_or(folder);
    let knows = knows.split(", ").filter(|folder| *folder != "nothing");
    Some((folder, package, knows.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_tells_every_arrow() {
        assert_eq!(
            row("| `a` (`evenburn-a`) | text, more | b, c |"),
            Some(("a", "evenburn-a", BTreeSet::from(["b", "c"])))
        );
        assert_eq!(
            row("| `xtask` | text | nothing |"),
            Some(("xtask", "xtask", BTreeSet::new()))
        );
        assert_eq!(row("|---|---|---|"), None);
        let root = evenburn_workspace::root().unwrap();
        let page = fs::read_to_string(root.join(PAGE)).unwrap();
        assert_eq!(untold(&page), Vec::<String>::new());
        let lost = page.replace("| `files` (`evenburn-files`)", "| `file` (`evenburn-file`)");
        let faults = untold(&lost);
        for fault in [
            "docs/architecture.md has evenburn-file, which is no package",
            "docs/architecture.md has no evenburn-files",
        ] {
            assert!(faults.iter().any(|found| found == fault), "{faults:?}");
        }
    }
}
