//! Which run and which of its checkpoints a path names, by whatever way it leads there.

use std::fs;
use std::path::{Path, PathBuf};

use crate::checkpoint;
use crate::error::TrainError;
use crate::run_dir;

/// A run, and one of its checkpoints if the path names one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) run: PathBuf,
    pub(crate) checkpoint: Option<PathBuf>,
}

impl Place {
    /// The checkpoint that is meant: the newest of the run where none is named.
    pub(crate) fn checkpoint(&self) -> Result<PathBuf, TrainError> {
        if let Some(checkpoint) = &self.checkpoint {
            return Ok(checkpoint.clone());
        }
        let newest = checkpoint::newest(&self.run.join(run_dir::CHECKPOINTS))?;
        newest.ok_or_else(|| TrainError::NotARun {
            path: self.run.clone(),
            missing: "checkpoint",
        })
    }
}

/// Finds the run of a path: that of a run, of one of its checkpoints, of the file `latest` among these, or of a link to
/// any of them.
///
/// # Errors
/// [`TrainError::NotARun`] for every other path.
pub(crate) fn locate(path: &Path) -> Result<Place, TrainError> {
    if !run_dir::is_run(path)
        && let Some(checkpoint) = checkpoint_at(path)
        && let Some((run, checkpoint)) = run_of(&checkpoint)
    {
        let checkpoint = Some(checkpoint);
        return Ok(Place { run, checkpoint });
    }
    run_dir::require_run(path)?;
    Ok(Place {
        run: path.to_owned(),
        checkpoint: None,
    })
}

fn checkpoint_at(path: &Path) -> Option<PathBuf> {
    let is_latest = path
        .file_name()
        .is_some_and(|name| name == checkpoint::LATEST);
    let path = if is_latest && path.is_file() {
        path.with_file_name(fs::read_to_string(path).ok()?.trim())
    } else {
        path.to_owned()
    };
    path.join(checkpoint::STATE).is_file().then_some(path)
}

/// The run around a checkpoint: the one it really lies in. Its path stays as it was written where that leads there too.
fn run_of(checkpoint: &Path) -> Option<(PathBuf, PathBuf)> {
    let around = |path: &Path| {
        let run = path.parent()?.parent()?;
        // The folder a relative path begins in has no name.
        let run = if run.as_os_str().is_empty() {
            Path::new(".")
        } else {
            run
        };
        run_dir::is_run(run).then(|| (run.to_owned(), path.to_owned()))
    };
    let real = fs::canonicalize(checkpoint)
        .ok()
        .and_then(|path| around(&path));
    let written = around(checkpoint);
    match (written, real) {
        (Some(written), Some(real)) if fs::canonicalize(&written.0).ok()? != real.0 => Some(real),
        (Some(written), _) => Some(written),
        (None, real) => real,
    }
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// Two runs with a checkpoint each, and links to them.
    fn runs() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        // The folder itself may be reached through a link.
        for run in ["a", "b"] {
            let checkpoint = dir.path().join(run).join("checkpoints/step-00000002");
            fs::create_dir_all(&checkpoint).unwrap();
            fs::write(checkpoint.join(checkpoint::STATE), "{}").unwrap();
            fs::write(dir.path().join(run).join("config.toml"), "").unwrap();
            let latest = dir.path().join(run).join("checkpoints/latest");
            fs::write(latest, "step-00000002\n").unwrap();
        }
        let link = |from: &str, to: &str| symlink(from, dir.path().join(to)).unwrap();
        link("a", "newest");
        link("a/checkpoints/step-00000002", "best");
        link("../../b/checkpoints/step-00000002", "a/checkpoints/theirs");
        fs::create_dir_all(dir.path().join("big/elsewhere/step-00000004")).unwrap();
        fs::write(
            dir.path().join("big/elsewhere/step-00000004/state.json"),
            "{}",
        )
        .unwrap();
        fs::create_dir(dir.path().join("c")).unwrap();
        fs::write(dir.path().join("c/config.toml"), "").unwrap();
        link("../big/elsewhere", "c/checkpoints");
        dir
    }

    #[test]
    fn every_way_to_a_run_or_a_checkpoint_leads_there() {
        let dir = runs();
        let at = |path: &str| dir.path().join(path);
        let real = fs::canonicalize(dir.path()).unwrap();
        let cases = [
            ("a", "a", None),
            ("a/", "a/", None),
            ("a/.", "a/.", None),
            ("newest", "newest", None),
            ("newest/", "newest/", None),
            (
                "a/checkpoints/step-00000002",
                "a",
                Some("a/checkpoints/step-00000002"),
            ),
            (
                "a/checkpoints/step-00000002/",
                "a",
                Some("a/checkpoints/step-00000002"),
            ),
            (
                "a/checkpoints/latest",
                "a",
                Some("a/checkpoints/step-00000002"),
            ),
            (
                "newest/checkpoints/latest",
                "newest",
                Some("newest/checkpoints/step-00000002"),
            ),
            // The checkpoints of a run may lie on another disk.
            (
                "c/checkpoints/step-00000004",
                "c",
                Some("c/checkpoints/step-00000004"),
            ),
        ];
        for (path, run, checkpoint) in cases {
            let expected = Place {
                run: at(run),
                checkpoint: checkpoint.map(at),
            };
            assert_eq!(locate(&at(path)).unwrap(), expected, "{path}");
        }
        // A link into another run means that run.
        for (path, run) in [("best", "a"), ("best/", "a"), ("a/checkpoints/theirs", "b")] {
            let found = locate(&at(path)).unwrap();
            assert_eq!(found.run, real.join(run), "{path}");
            let checkpoint = real.join(run).join("checkpoints/step-00000002");
            assert_eq!(found.checkpoint, Some(checkpoint), "{path}");
        }
    }

    #[test]
    fn other_paths_name_no_run() {
        let dir = runs();
        fs::write(dir.path().join("a/checkpoints/latest"), "step-00000009\n").unwrap();
        for path in [
            "",
            "nowhere",
            "a/checkpoints",
            "a/checkpoints/latest",
            "a/config.toml",
        ] {
            let error = locate(&dir.path().join(path)).unwrap_err();
            assert!(
                matches!(error, TrainError::NotARun { .. }),
                "{path}: {error}"
            );
        }
    }
}
