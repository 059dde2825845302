//! Benchmarks of one or several models.

use super::candidate::{self, Candidate};
use super::compare::Compared;
use super::kept::{self, Shelf};
use super::progress::Progress;
use super::questions::Questions;
use super::{json, samples, table};
use crate::args::{Benchmarks, Eval, Kernels, WhichCheckpoints};
use crate::failure::WrongInput;
use crate::output::{say, tell};
use crate::overrides::Overrides;
use crate::{signals, tokenizing};
use anyhow::{Result, bail};
use evenburn_data::DataError;
use evenburn_eval::{
    Benchmark, DataOrigin, DataSets, GroupResult, Passes, Scorer, Selection, TaskRegistry,
    TaskResult,
};
use evenburn_locations::{Settings, Storage};
use evenburn_train::Registry;
use evenburn_train::config::RunConfig;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

/// What a model has answered.
pub(super) struct Evaluated {
    /// As it was given, at the commit that was read.
    pub(super) place: String,
    /// Its place and its step.
    pub(super) name: String,
    pub(super) what: String,
    pub(super) step: Option<u64>,
    pub(super) context: usize,
    pub(super) identity: String,
    pub(super) tasks: Vec<Answered>,
    pub(super) groups: Vec<GroupResult>,
}

/// A task that a model has answered.
pub(super) struct Answered {
    pub(super) result: TaskResult,
    pub(super) skipped: Vec<String>,
    pub(super) documents: DataOrigin,
    pub(super) examples: Option<DataOrigin>,
    pub(super) seconds: f64,
    /// Whether an earlier evaluation has done it.
    pub(super) kept: bool,
}

/// How models are asked.
struct Asking<'a> {
    arguments: &'a Benchmarks,
    cache: PathBuf,
    stop: Arc<AtomicBool>,
    /// Whatever the answers depend on beside questions and model.
    how: String,
}

pub(super) fn run(
    registry: &Registry,
    kernels: Kernels,
    arguments: &Eval,
    overrides: &Overrides,
) -> Result<()> {
    let benchmarks = &arguments.benchmarks;
    let names = benchmarks.tasks.as_deref().unwrap_or_default();
    let selection = TaskRegistry::built_in()?.select(names)?;
    if selection.tasks.is_empty() {
        let why = "--tasks: names no task; --tasks list prints those that there are";
        return Err(WrongInput(why.to_owned()).into());
    }
    if let Some(folder) = benchmarks.data.as_deref().filter(|it| !it.is_dir()) {
        return Err(WrongInput(format!("--data: {} is no folder", folder.display())).into());
    }
    let places = candidate::places(&arguments.models, benchmarks.checkpoints)?;
    let config = RunConfig::load(registry, None, overrides)?.config.data;
    let cache = config.cache.unwrap_or_else(tokenizing::cache_folder);
    let storage = Storage::new(Settings::of_process(&cache)).map_err(DataError::Location)?;
    let data = DataSets::new(storage, benchmarks.data.clone());
    let asking = Asking {
        arguments: benchmarks,
        cache,
        stop: signals::stop_flag("printing what is finished")?,
        how: format!(
            "{} {:?} {} {kernels:?}",
            kept::program(),
            benchmarks.batch_size,
            benchmarks.one_by_one
        ),
    };
    let (mut evaluated, mut questions, mut interrupted) = (Vec::new(), None, false);
    for place in &places {
        let device = arguments.compute.device.as_ref();
        let candidate = Candidate::load(registry, place, device, overrides)?;
        let asked = Questions::of(&candidate, questions.take(), &selection, &data, benchmarks)?;
        if places.len() > 1 {
            tell!("{}", candidate.name());
        }
        let (tasks, whole) = asking.ask(&candidate, &asked.benchmarks)?;
        questions = Some(asked);
        let folder = benchmarks.log_samples.as_deref();
        if let Some(folder) = folder {
            let own = folder.join(samples::folder_of(&candidate.name()));
            let folder = if places.len() > 1 { &own } else { folder };
            for task in &tasks {
                samples::write(folder, &task.result)?;
            }
        }
        evaluated.push(Evaluated::new(candidate, tasks, &selection));
        if !whole {
            interrupted = true;
            break;
        }
    }
    print(arguments, &evaluated, interrupted)?;
    if interrupted {
        let all = selection.tasks.len() * places.len();
        let done: usize = evaluated.iter().map(|it| it.tasks.len()).sum();
        bail!(
            "interrupted: {done} of {all} tasks are finished; the same command goes on with the others"
        );
    }
    Ok(())
}

fn print(arguments: &Eval, evaluated: &[Evaluated], interrupted: bool) -> Result<()> {
    let is_curve = arguments.benchmarks.checkpoints == WhichCheckpoints::All;
    let compared = if is_curve {
        Vec::new()
    } else {
        Compared::with_first(evaluated)
    };
    if arguments.json {
        let is_one = evaluated.len() == 1 && !is_curve;
        say!("{}", json::of(evaluated, &compared, is_one, interrupted))?;
        return Ok(());
    }
    let lines = match evaluated {
        _ if is_curve => table::curve(evaluated),
        [one] => table::one(one),
        several => table::several(several, &compared),
    };
    for line in lines {
        say!("{line}")?;
    }
    Ok(())
}

impl Asking<'_> {
    /// Asks a model all tasks; whether it was asked all, or somebody stopped it.
    fn ask(&self, model: &Candidate, tasks: &[Benchmark]) -> Result<(Vec<Answered>, bool)> {
        let mut scorer = Scorer::new(&model.decoder, model.context);
        if self.arguments.one_by_one {
            scorer = scorer.passes(Passes::OneByOne);
        } else if let Some(sequences) = self.arguments.batch_size {
            let tokens = usize::from(sequences).saturating_mul(model.context);
            scorer = scorer.passes(Passes::Tokens(tokens));
        }
        let mut answered = Vec::new();
        for benchmark in tasks {
            match self.answer(model, benchmark, &scorer)? {
                Some(task) => answered.push(task),
                None => return Ok((answered, false)),
            }
        }
        Ok((answered, true))
    }

    /// Asks a model one task, unless its answers are kept; none where somebody stops it.
    fn answer(
        &self,
        model: &Candidate,
        benchmark: &Benchmark,
        scorer: &Scorer<'_>,
    ) -> Result<Option<Answered>> {
        let prepared = benchmark.prepared();
        let name = prepared.task().name();
        let shelf = Shelf::new(&self.cache, &model.identity, prepared, &self.how);
        let found = shelf.take(prepared).filter(|_| !self.arguments.fresh);
        let (scores, seconds, is_kept) = if let Some(kept) = found {
            tell!("{name}: kept from an earlier evaluation (--fresh evaluates it again)");
            (kept.scores(), kept.seconds, true)
        } else {
            let progress = Progress::new(name, prepared.requests().len(), &self.stop);
            if progress.at(0).is_break() {
                return Ok(None);
            }
            let start = Instant::now();
            let scores = scorer.score(prepared.requests(), &mut |done| progress.at(done));
            let scores = match scores.map_err(|e| benchmark.fault(e)) {
                Err(error) if error.is_interrupted() => return Ok(None),
                other => other?,
            };
            let seconds = start.elapsed().as_secs_f64();
            shelf.put(name, &scores, seconds);
            (scores, seconds, false)
        };
        let skipped = prepared.skipped();
        if skipped.count > 0 {
            tell!("{name}: {} documents are left out", skipped.count);
            for why in &skipped.first {
                tell!("    {why}");
            }
        }
        Ok(Some(Answered {
            result: prepared.finish(&scores)?,
            skipped: skipped.first.clone(),
            documents: benchmark.documents().clone(),
            examples: benchmark.examples().cloned(),
            seconds,
            kept: is_kept,
        }))
    }
}

impl Evaluated {
    fn new(candidate: Candidate, tasks: Vec<Answered>, selection: &Selection) -> Self {
        let results: Vec<TaskResult> = tasks
            .iter()
            .map(|task| without_documents(&task.result))
            .collect();
        let groups = selection.groups.iter();
        Self {
            name: candidate.name(),
            place: candidate.place,
            what: candidate.what,
            step: candidate.step,
            context: candidate.context,
            identity: candidate.identity,
            groups: groups
                .filter_map(|group| GroupResult::new(group, &results))
                .collect(),
            tasks,
        }
    }

    /// The answers to a task.
    pub(super) fn task(&self, name: &str) -> Option<&Answered> {
        self.tasks.iter().find(|task| task.result.name == name)
    }

    /// The last part of its place.
    pub(super) fn short(&self) -> String {
        let path = Path::new(&self.name);
        let last = path.file_name().unwrap_or_default().to_string_lossy();
        last.into_owned()
    }
}

/// The numbers of a result alone.
fn without_documents(result: &TaskResult) -> TaskResult {
    TaskResult {
        name: result.name.clone(),
        metrics: result.metrics.clone(),
        more: result.more.clone(),
        docs: Vec::new(),
        ..*result
    }
}
