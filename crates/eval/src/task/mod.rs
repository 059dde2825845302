//! Tasks as data: where documents lie and how they become questions.

mod ask;
mod bracketed;
mod file;
mod filters;
mod registry;
mod template;
mod wikitext;

use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;

pub(crate) use ask::{Asked, Whole};
pub use file::TaskKind;
pub use registry::{Listed, Selection, TaskRegistry};
use template::Fields;
use template::{Expression, Template};

/// Where documents lie.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataSet {
    /// A path or an address: a file, a folder, `hf://datasets/OWNER/NAME`.
    pub path: String,
    /// The configuration, where the data set has several.
    pub config: Option<String>,
    /// The split; none where the file is all there is.
    pub split: Option<String>,
}

impl DataSet {
    /// Takes a path as relative to a folder.
    fn resolve(&mut self, folder: &Path) {
        if !self.path.contains("://") {
            self.path = folder.join(&self.path).display().to_string();
        }
    }
}

/// Where the examples of few-shot questions come from.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Examples {
    path: Option<String>,
    config: Option<String>,
    split: Option<String>,
    /// Whether one more is drawn than needed, and the document that is asked about left out. The harness does so
    /// where a task's split for examples is the one that it tests on, and by a slip where it has neither.
    #[serde(default)]
    without_document: bool,
    /// Path and configuration of the documents, where the file says nothing else.
    #[serde(skip, default = "nowhere")]
    dataset: DataSet,
}

fn nowhere() -> DataSet {
    DataSet {
        path: String::new(),
        config: None,
        split: None,
    }
}

impl Examples {
    /// Where they lie.
    pub fn dataset(&self) -> &DataSet {
        &self.dataset
    }

    /// Whether one more is drawn than needed and the document itself left out.
    pub fn without_document(&self) -> bool {
        self.without_document
    }

    fn place(&self, documents: &DataSet, folder: &Path) -> DataSet {
        match &self.path {
            Some(path) => {
                let mut place = DataSet {
                    path: path.clone(),
                    config: self.config.clone(),
                    split: self.split.clone(),
                };
                place.resolve(folder);
                place
            }
            None => DataSet {
                path: documents.path.clone(),
                config: self.config.clone().or(documents.config.clone()),
                split: self.split.clone().or(documents.split.clone()),
            },
        }
    }
}

/// A benchmark.
#[derive(Debug)]
pub struct Task {
    name: String,
    group: Option<String>,
    aliases: Vec<String>,
    description: String,
    license: Option<String>,
    kind: TaskKind,
    shots: Option<usize>,
    dataset: DataSet,
    examples: Option<Examples>,
    pub(crate) form: Form,
}

impl Task {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The group that it belongs to.
    pub fn group(&self) -> Option<&str> {
        self.group.as_deref()
    }

    /// Other names for it.
    pub fn aliases(&self) -> &[String] {
        &self.aliases
    }

    /// What it asks, in a line.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// The licence of its documents, where it is known.
    pub fn license(&self) -> Option<&str> {
        self.license.as_deref()
    }

    /// What its questions are like.
    pub fn kind(&self) -> TaskKind {
        self.kind
    }

    /// Where its documents lie.
    pub fn dataset(&self) -> &DataSet {
        &self.dataset
    }

    /// Where its examples come from.
    pub fn examples(&self) -> Option<&Examples> {
        self.examples.as_ref()
    }

    /// How many examples stand before a question where so many are asked for: a task may have a number of its own.
    pub fn shots(&self, asked: usize) -> usize {
        self.shots.unwrap_or(asked)
    }
}

/// How documents become questions.
#[derive(Debug)]
pub(crate) enum Form {
    Question(Question),
    /// `measured` is the text whose words and bytes count, where it isn't the text itself.
    Rolling {
        text: Template,
        measured: Option<Template>,
    },
}

/// Questions with a context.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) prompts: Prompts,
    /// The number of the right one; without it there is one alone.
    pub(crate) gold: Option<Expression>,
    /// Whether scores are also compared by the length of choices.
    pub(crate) normalized: bool,
    /// What stands between a context and what continues it, where the template of the latter doesn't have it.
    pub(crate) delimiter: String,
}

/// Contexts and what continues them.
#[derive(Debug)]
pub(crate) enum Prompts {
    Choices {
        context: Template,
        choices: Choices,
    },
    Contexts {
        contexts: Vec<Template>,
        continuation: Template,
    },
    /// The continuation has its own space.
    Cloze {
        context: Template,
        continuation: Template,
    },
}

/// Some texts.
#[derive(Debug)]
pub(crate) enum Choices {
    Templates(Vec<Template>),
    Expression(Expression),
}

/// Tasks whose results are put together.
#[derive(Debug, Clone)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Other names for it.
    pub aliases: Vec<String>,
    /// What it asks, in a line.
    pub description: String,
    /// The licence of its documents, where it is known.
    pub license: Option<String>,
    /// The names of its tasks.
    pub tasks: Vec<String>,
}

/// What a file defines: a task, or a group of tasks.
#[derive(Debug, Clone)]
pub struct Definition {
    /// The tasks.
    pub tasks: Vec<Arc<Task>>,
    /// The group that they are, where they are one.
    pub group: Option<Group>,
}
