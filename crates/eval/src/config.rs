//! The section `[eval]` of a run: which benchmarks are measured while it trains.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Options;

/// Benchmarks of a run.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EvalConfig {
    /// Benchmarks that are measured on the way: names of tasks and groups, or files that define tasks (`.toml`), as a list or as one
    /// text with commas between. `evenburn eval --tasks list` prints what there is.
    #[serde(skip_serializing_if = "TaskNames::is_empty")]
    pub tasks: TaskNames,
    /// Steps between two measurements of them; they are also measured after the last step, with 0 only then. As `train.eval_every`
    /// if unset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every: Option<u64>,
    /// Documents of each task that are asked about, the first ones in their order; all if unset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<NonZeroUsize>,
    /// Examples before each question; none if unset. A task may have a number of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shots: Option<usize>,
    /// Folder that holds the documents of all tasks, `TASK.jsonl` or `TASK.parquet`, in place of where they lie.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<PathBuf>,
    /// Benchmarks with settings of their own, each a table: `name`, and `every`, `limit` and `shots` where they are others than
    /// those above.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub task: Vec<TaskConfig>,
}

/// A benchmark with settings of its own.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TaskConfig {
    /// The name of a task or group, or the file of a task.
    pub name: String,
    /// Steps between two measurements.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every: Option<u64>,
    /// Documents.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<NonZeroUsize>,
    /// Examples before each question.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shots: Option<usize>,
}

/// Benchmarks that are measured together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskSelection {
    /// Their names, with commas between.
    pub names: String,
    /// Steps between two measurements, where that is said.
    pub every: Option<u64>,
    /// How they are asked.
    pub options: Options,
}

impl EvalConfig {
    /// Whether no benchmark is asked for.
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty() && self.task.is_empty()
    }

    /// What is measured, for a model that sees `context_length` tokens.
    ///
    /// ```
    /// use evenburn_eval::EvalConfig;
    /// let config: EvalConfig = toml::from_str(
    ///     "tasks = 'piqa,blimp'\nlimit = 100\n[[task]]\nname = 'arc_easy'\nshots = 5\nevery = 500",
    /// )?;
    /// let [all, arc] = &config.selections(256)[..] else { panic!() };
    /// assert_eq!((all.names.as_str(), all.every, all.options.shots), ("piqa,blimp", None, 0));
    /// assert_eq!((arc.every, arc.options.shots, arc.options.limit), (Some(500), 5, Some(100)));
    /// # Ok::<(), toml::de::Error>(())
    /// ```
    pub fn selections(&self, context_length: usize) -> Vec<TaskSelection> {
        let of = |names: String, own: &TaskConfig| TaskSelection {
            names,
            every: own.every.or(self.every),
            options: Options {
                shots: own.shots.or(self.shots).unwrap_or(0),
                limit: own.limit.or(self.limit).map(NonZeroUsize::get),
                ..Options::new(context_length)
            },
        };
        let together =
            (!self.tasks.is_empty()).then(|| of(self.tasks.0.join(","), &TaskConfig::default()));
        let single = self.task.iter().map(|task| of(task.name.clone(), task));
        together.into_iter().chain(single).collect()
    }
}

/// Names of benchmarks: a list, or one text with commas between.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(from = "OneOrMany", into = "OneOrMany")]
#[schemars(with = "OneOrMany")]
pub struct TaskNames(pub Vec<String>);

impl TaskNames {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl From<OneOrMany> for TaskNames {
    fn from(value: OneOrMany) -> Self {
        let texts = match value {
            OneOrMany::One(text) => vec![text],
            OneOrMany::Many(texts) => texts,
        };
        let names = texts.iter().flat_map(|text| text.split(','));
        let names = names.map(str::trim).filter(|name| !name.is_empty());
        Self(names.map(str::to_owned).collect())
    }
}

impl From<TaskNames> for OneOrMany {
    fn from(names: TaskNames) -> Self {
        Self::Many(names.0)
    }
}
