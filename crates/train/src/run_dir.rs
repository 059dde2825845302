//! The directory of a run: made whole, locked while in use.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::Registry;
use evenburn_data::DataConfig;

use crate::branch::Branch;
use crate::config::{self, Resolved, RunConfig};
use crate::error::TrainError;
use crate::provenance::Provenance;
use crate::{clock, durable};

pub(crate) const CONFIG: &str = "config.toml";
/// What the names of configurations that a run had earlier start with.
const EARLIER: &str = "config-until-";
/// The history of a run.
pub(crate) const METRICS: &str = "metrics.jsonl";
pub(crate) const PLAN: &str = "plan.toml";
const PROVENANCE: &str = "provenance.json";
/// The tokenizer the run was trained with, so that a run can be read without its data.
pub(crate) const TOKENIZER: &str = "tokenizer.json";
const LOCK: &str = "lock";
/// What a folder with a model and no training says of itself.
pub(crate) const WEIGHTS_ONLY: &str = "frozen.json";
/// The folder of the checkpoints.
pub(crate) const CHECKPOINTS: &str = "checkpoints";
/// Run directories under construction start with this.
const ASIDE: &str = ".new-";
/// Far more time than making a run directory takes.
const MAKING: Duration = Duration::from_mins(1);

/// A run directory this process holds the lock of.
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
    /// Held until the run is done; the operating system releases it with the process, however that ends.
    _lock: File,
}

impl RunDir {
    /// Makes a run directory: `at`, or `<run.dir>/<utc>-<run.name>`. It appears under its name complete, with what a
    /// branch has of its past.
    ///
    /// # Errors
    /// [`TrainError::Invalid`] if there already is a run or something else, [`TrainError::Io`] if it can't be written.
    pub(crate) fn create(
        at: Option<&Path>,
        resolved: &Resolved,
        plan: &str,
        tokenizer: &str,
        ranks: usize,
        branch: Option<&Branch>,
    ) -> Result<Self, TrainError> {
        let config = &resolved.config;
        let path = match at {
            Some(path) => path.to_owned(),
            None => free_name(&config.run.dir, &config.run.name),
        };
        let parent = path
            .parent()
            .filter(|p| !p.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        fs::create_dir_all(parent).map_err(|e| TrainError::io("create", parent, e))?;
        remove_unfinished(parent)?;
        if is_occupied(&path) {
            let why = format!(
                "{} already exists; resume it, or name another",
                path.display()
            );
            return Err(TrainError::invalid("run directory", why));
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let aside = parent.join(format!("{ASIDE}{name}-{}", std::process::id()));
        fs::create_dir(&aside).map_err(|e| TrainError::io("create", &aside, e))?;
        let lock = lock(&aside)?;
        let provenance = Provenance::now(&resolved.origins, ranks, branch);
        let json = serde_json::to_vec_pretty(&provenance).map_err(|e| TrainError::Unwritable {
            what: "the provenance",
            why: e.to_string(),
        })?;
        durable::write(&aside.join(CONFIG), config.to_toml()?.as_bytes())?;
        durable::write(&aside.join(PLAN), plan.as_bytes())?;
        durable::write(&aside.join(PROVENANCE), &json)?;
        durable::write(&aside.join(TOKENIZER), tokenizer.as_bytes())?;
        for folder in [CHECKPOINTS, "samples", "tb"] {
            let folder = aside.join(folder);
            fs::create_dir(&folder).map_err(|e| TrainError::io("create", &folder, e))?;
        }
        if let Some(branch) = branch {
            branch.copy(&aside)?;
        }
        durable::sync_folder(&aside)?;
        durable::rename(&aside, &path)?;
        Ok(Self { path, _lock: lock })
    }

    /// Opens a run directory to continue it.
    ///
    /// # Errors
    /// [`TrainError::NotARun`] if it isn't one, [`TrainError::Locked`] if another process works in it.
    pub fn open(path: &Path) -> Result<Self, TrainError> {
        require_run(path)?;
        Ok(Self {
            path: path.to_owned(),
            _lock: lock(path)?,
        })
    }

    /// Replaces the recorded configuration by one that the run goes on with after `step` steps; the one before is kept.
    ///
    /// # Errors
    /// [`TrainError::Io`] if it can't be written.
    pub(crate) fn record(&self, config: &RunConfig, step: u64) -> Result<(), TrainError> {
        let mut config = config.clone();
        config.train.reset_optimizer = false;
        let recorded = config_of(&self.path);
        keep_config(&recorded, &self.path, step)?;
        Ok(durable::replace(&recorded, config.to_toml()?.as_bytes())?)
    }

    /// Takes down where the text of the run lies now and how it is read, where that has changed.
    ///
    /// # Errors
    /// [`TrainError::Io`] if it can't be written.
    pub(crate) fn record_data(
        &self,
        registry: &Registry,
        data: &DataConfig,
    ) -> Result<(), TrainError> {
        let recorded = config_of(&self.path);
        let mut config = config(registry, &self.path)?;
        let now = DataConfig {
            path: data.path.clone(),
            validation_path: data.validation_path.clone(),
            config: data.config.clone(),
            split_names: data.split_names,
            tokenizer: data.tokenizer.clone(),
            text_field: data.text_field.clone(),
            on_bad_record: data.on_bad_record,
            sources: data.sources.clone(),
            ..config.data.clone()
        };
        if config.data == now {
            return Ok(());
        }
        config.data = now;
        Ok(durable::replace(&recorded, config.to_toml()?.as_bytes())?)
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `metrics.jsonl`.
    pub fn metrics(&self) -> PathBuf {
        self.path.join(METRICS)
    }

    /// The folder of the checkpoints.
    pub fn checkpoints(&self) -> PathBuf {
        self.path.join(CHECKPOINTS)
    }

    /// The folder of the TensorBoard events.
    pub fn events(&self) -> PathBuf {
        self.path.join("tb")
    }

    /// The folder of the generated text.
    pub fn samples(&self) -> PathBuf {
        self.path.join("samples")
    }

    /// The log of the program.
    pub fn log(&self) -> PathBuf {
        self.path.join("run.log")
    }

    /// The plan the run was started with, as TOML.
    ///
    /// # Errors
    /// [`TrainError::Io`] if it can't be read.
    pub fn plan(&self) -> Result<String, TrainError> {
        plan_of(&self.path)
    }
}

/// Path of the configuration of a run.
pub(crate) fn config_of(run: &Path) -> PathBuf {
    run.join(CONFIG)
}

/// The configuration that a run recorded.
pub(crate) fn config(registry: &Registry, run: &Path) -> Result<RunConfig, TrainError> {
    Ok(RunConfig::recorded(registry, run, &config_of(run), &[])?.config)
}

/// Keeps a configuration that a run had until it had taken `step` steps; the first one of a step is the one it trained
/// with.
pub(crate) fn keep_config(config: &Path, run: &Path, step: u64) -> Result<(), TrainError> {
    let kept = run.join(format!("{EARLIER}{step:08}.toml"));
    if kept.exists() {
        return Ok(());
    }
    let text = fs::read(config).map_err(|e| TrainError::io("read", config, e))?;
    Ok(durable::replace(&kept, &text)?)
}

/// Paths of the configurations that a run has had, each with the step until which it had it; the recorded one is the last.
pub(crate) fn configs(run: &Path) -> Result<Vec<(u64, PathBuf)>, TrainError> {
    let until = |name: &str| -> Option<u64> {
        let step = name.strip_prefix(EARLIER)?.strip_suffix(".toml")?;
        step.parse().ok()
    };
    let mut all: Vec<_> = durable::entries(run, |name| until(name).is_some())?
        .into_iter()
        .filter_map(|name| Some((until(&name)?, run.join(name))))
        .collect();
    all.sort();
    all.push((u64::MAX, config_of(run)));
    Ok(all)
}

/// The configuration that a run took step `step` with.
pub(crate) fn config_at(
    registry: &Registry,
    run: &Path,
    step: u64,
) -> Result<RunConfig, TrainError> {
    let path = path_at(run, step)?;
    Ok(RunConfig::recorded(registry, run, &path, &[])?.config)
}

/// Whether that configuration is of the time when every run had the options of all recipes, and has some of other recipes that
/// aren't at their defaults.
pub(crate) fn sets_other_recipes(
    registry: &Registry,
    run: &Path,
    step: u64,
) -> Result<bool, TrainError> {
    config::sets_other_recipes(registry, &path_at(run, step)?)
}

/// Path of the configuration that a run took step `step` with.
fn path_at(run: &Path, step: u64) -> Result<PathBuf, TrainError> {
    let mut until = configs(run)?
        .into_iter()
        .filter(|(until, _)| *until >= step);
    let path = until.next();
    Ok(path.map_or_else(|| config_of(run), |(_, path)| path))
}

/// The recorded plan of a run, as TOML.
pub(crate) fn plan_of(run: &Path) -> Result<String, TrainError> {
    let path = run.join(PLAN);
    fs::read_to_string(&path).map_err(|e| TrainError::io("read", &path, e))
}

/// Whether a folder holds a run.
pub(crate) fn is_run(path: &Path) -> bool {
    config_of(path).is_file()
}

/// Whether a folder holds a run that can go on.
fn is_live(path: &Path) -> bool {
    is_run(path) && !path.join(WEIGHTS_ONLY).exists()
}

pub(crate) fn require_run(path: &Path) -> Result<(), TrainError> {
    if is_run(path) {
        return Ok(());
    }
    Err(TrainError::NotARun {
        path: path.to_owned(),
        missing: CONFIG,
    })
}

/// The run in a folder of runs that was started last, of those that can go on. Of two that were started at once it is the
/// later name, and a folder rather than a link to it.
pub(crate) fn newest(dir: &Path) -> Result<Option<PathBuf>, TrainError> {
    let names = durable::entries(dir, |name| !name.starts_with('.'))?;
    let runs = names
        .into_iter()
        .map(|name| (dir.join(&name), name))
        .filter(|(path, _)| is_live(path));
    let newest =
        runs.max_by_key(|(path, name)| (started(path, name), !path.is_symlink(), name.clone()));
    Ok(newest.map(|(path, _)| path))
}

/// When a run was started, to be compared with others: what its provenance says, else its name. What is left of a run that
/// has neither is the time at which its plan was written, which nothing rewrites.
fn started(run: &Path, name: &str) -> String {
    let said = || {
        let text = fs::read_to_string(run.join(PROVENANCE)).ok()?;
        let record: serde_json::Value = serde_json::from_str(&text).ok()?;
        Some(clock::order(record.get("started")?.as_str()?)?.to_owned())
    };
    let named = || Some(clock::order(name.split('-').next()?)?.to_owned());
    let written = || {
        let time = fs::metadata(run.join(PLAN))
            .and_then(|m| m.modified())
            .ok()?;
        Some(clock::order(&clock::moment(time))?.to_owned())
    };
    said().or_else(named).or_else(written).unwrap_or_default()
}

pub(crate) fn free_name(dir: &Path, name: &str) -> PathBuf {
    let first = format!("{}-{name}", clock::stamp());
    let mut candidates =
        std::iter::once(first.clone()).chain((2..).map(|n| format!("{first}-{n}")));
    let free = candidates.find(|name| !dir.join(name).exists());
    dir.join(free.unwrap_or(first))
}

/// Whether something is at a path that a rename would destroy or fail on.
pub(crate) fn is_occupied(path: &Path) -> bool {
    match fs::read_dir(path) {
        Ok(mut entries) => entries.next().is_some(),
        Err(e) => e.kind() != std::io::ErrorKind::NotFound,
    }
}

/// Removes what killed processes left under construction. What a living one works on is locked, or so young that its
/// process may be about to lock it.
fn remove_unfinished(dir: &Path) -> Result<(), TrainError> {
    for name in durable::entries(dir, |name| name.starts_with(ASIDE))? {
        let path = dir.join(name);
        let age = fs::metadata(&path)
            .and_then(|m| m.modified())
            .ok()
            .and_then(|time| time.elapsed().ok());
        if age.is_some_and(|age| age > MAKING)
            && let Ok(_held) = lock(&path)
        {
            fs::remove_dir_all(&path).map_err(|e| TrainError::io("remove", &path, e))?;
        }
    }
    Ok(())
}

fn lock(dir: &Path) -> Result<File, TrainError> {
    let path = dir.join(LOCK);
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|e| TrainError::io("open", &path, e))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(TrainError::Locked {
            path: dir.to_owned(),
        }),
        Err(TryLockError::Error(e)) => Err(TrainError::io("lock", &path, e)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_nobody_is_making_any_more_is_removed() {
        let runs = tempfile::tempdir().unwrap();
        let long_ago = std::time::SystemTime::now() - 2 * MAKING;
        let make = |name: &str| {
            let path = runs.path().join(name);
            fs::create_dir(&path).unwrap();
            path
        };
        let (young, old, held) = (
            make(".new-young-1"),
            make(".new-old-2"),
            make(".new-held-3"),
        );
        let _lock = lock(&held).unwrap();
        for path in [&old, &held] {
            File::open(path).unwrap().set_modified(long_ago).unwrap();
        }
        remove_unfinished(runs.path()).unwrap();
        assert_eq!(
            [young.exists(), old.exists(), held.exists()],
            [true, false, true]
        );
        assert_eq!(newest(runs.path()).unwrap(), None);
    }

    /// A folder that looks like a run, with its provenance.
    fn run(runs: &Path, name: &str, provenance: &str) {
        let path = runs.join(name);
        fs::create_dir(&path).unwrap();
        fs::write(path.join(CONFIG), "").unwrap();
        fs::write(path.join(PLAN), "").unwrap();
        if !provenance.is_empty() {
            fs::write(path.join(PROVENANCE), provenance).unwrap();
        }
    }

    #[test]
    fn the_newest_run_is_the_one_started_last() {
        let said = |time: &str| format!("{{\"started\": \"{time}\"}}");
        let early = said("20261123T100000Z");
        let late = said("20261123T110000Z");
        // What is there, by name and provenance, and what is the newest of it.
        let cases: [(&[(&str, &str)], &str); 9] = [
            (
                &[("baseline", &early), ("20261123T110000Z-run", &late)],
                "20261123T110000Z-run",
            ),
            (&[("a", &late), ("z", &early)], "a"),
            // By the fraction of a second, and a time without one is that second's first.
            (
                &[
                    ("a", &said("20261123T100000.2Z")),
                    ("b", &said("20261123T100000.1Z")),
                    ("c", &early),
                ],
                "a",
            ),
            (&[("a", &early), ("b", &early)], "b"),
            // Where the provenance is of no use, the name.
            (
                &[("20261123T120000Z-run", ""), ("b", &late)],
                "20261123T120000Z-run",
            ),
            (&[("20261123T090000Z-run", "{"), ("b", &early)], "b"),
            (
                &[("20261123T120000Z-run", &said("yesterday")), ("b", &late)],
                "20261123T120000Z-run",
            ),
            // Where the name is of no use either, the files: these are written now.
            (&[("a", ""), ("b", &late)], "a"),
            (&[("a", "{\"started\": 7}"), ("b", &late)], "a"),
        ];
        for (runs, expected) in cases {
            let dir = tempfile::tempdir().unwrap();
            for (name, provenance) in runs {
                run(dir.path(), name, provenance);
            }
            // Made last, and no run that can go on.
            run(dir.path(), "zz-folded", &said("20991231T000000Z"));
            fs::write(dir.path().join("zz-folded").join(WEIGHTS_ONLY), "").unwrap();
            run(dir.path(), ".new-run-7", &said("20991231T000000Z"));
            fs::create_dir(dir.path().join("zz-empty")).unwrap();
            let found = newest(dir.path()).unwrap();
            assert_eq!(found, Some(dir.path().join(expected)), "{runs:?}");
        }
    }

    #[test]
    fn each_step_has_the_configuration_it_was_taken_with() {
        let dir = tempfile::tempdir().unwrap();
        let run = dir.path();
        let write = |steps: u64| {
            fs::write(config_of(run), format!("[train]\nsteps = {steps}\n")).unwrap();
        };
        for (steps, until) in [(10, 10), (20, 15), (30, 15), (40, 1000)] {
            write(steps);
            keep_config(&config_of(run), run, until).unwrap();
        }
        write(50);
        // What was recorded again before another step was taken trained nothing.
        for (step, steps) in [(0, 10), (10, 10), (11, 20), (15, 20), (16, 40), (1001, 50)] {
            let found = config_at(&Registry::default(), run, step)
                .unwrap()
                .train
                .steps
                .unwrap();
            assert_eq!(found.get(), steps, "{step}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_link_to_a_run_is_that_run() {
        let dir = tempfile::tempdir().unwrap();
        run(dir.path(), "a", "{\"started\": \"20261123T100000Z\"}");
        std::os::unix::fs::symlink("a", dir.path().join("latest")).unwrap();
        assert_eq!(newest(dir.path()).unwrap(), Some(dir.path().join("a")));
        fs::create_dir(dir.path().join("elsewhere")).unwrap();
        run(
            &dir.path().join("elsewhere"),
            "b",
            "{\"started\": \"20261123T110000Z\"}",
        );
        std::os::unix::fs::symlink("elsewhere/b", dir.path().join("b")).unwrap();
        assert_eq!(newest(dir.path()).unwrap(), Some(dir.path().join("b")));
    }
}
