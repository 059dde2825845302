//! The tasks that are known by name.

use std::path::Path;
use std::sync::Arc;

use super::{Definition, Group, Task};
use crate::EvalError;

/// The files of the tasks that come with the program.
const BUILT_IN: [(&str, &str); 11] = [
    ("hellaswag.toml", include_str!("../../tasks/hellaswag.toml")),
    ("piqa.toml", include_str!("../../tasks/piqa.toml")),
    ("arc_easy.toml", include_str!("../../tasks/arc_easy.toml")),
    (
        "arc_challenge.toml",
        include_str!("../../tasks/arc_challenge.toml"),
    ),
    (
        "winogrande.toml",
        include_str!("../../tasks/winogrande.toml"),
    ),
    (
        "openbookqa.toml",
        include_str!("../../tasks/openbookqa.toml"),
    ),
    ("sciq.toml", include_str!("../../tasks/sciq.toml")),
    (
        "lambada_openai.toml",
        include_str!("../../tasks/lambada_openai.toml"),
    ),
    ("blimp.toml", include_str!("../../tasks/blimp.toml")),
    ("wikitext.toml", include_str!("../../tasks/wikitext.toml")),
    ("pile_10k.toml", include_str!("../../tasks/pile_10k.toml")),
];

/// The tasks that a program knows by name.
///
/// ```
/// use evenburn_eval::TaskRegistry;
/// let registry = TaskRegistry::built_in().unwrap();
/// let selection = registry.select("lambada,blimp").unwrap();
/// assert_eq!(selection.tasks[0].name(), "lambada_openai");
/// assert_eq!(selection.tasks.len(), 68);
/// assert_eq!(selection.groups[0].tasks.len(), 67);
/// assert!(registry.select("helaswag").unwrap_err().to_string().contains("`hellaswag`"));
/// ```
#[derive(Debug, Clone, Default)]
pub struct TaskRegistry {
    definitions: Vec<Definition>,
}

/// Tasks in the order in which they were asked for, each once.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// The tasks.
    pub tasks: Vec<Arc<Task>>,
    /// The groups that were asked for.
    pub groups: Vec<Group>,
}

/// A line of a list of tasks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The name of a task or group.
    pub name: String,
    /// Other names for it.
    pub aliases: Vec<String>,
    /// The kind of its questions.
    pub kind: &'static str,
    /// How many tasks it is.
    pub tasks: usize,
    /// What it asks, in a line.
    pub description: String,
    /// The licence of its documents, where it is known.
    pub license: Option<String>,
}

impl TaskRegistry {
    /// The tasks that come with the program.
    ///
    /// # Errors
    /// The file of one is malformed, which the tests of this crate rule out.
    pub fn built_in() -> Result<Self, EvalError> {
        let mut registry = Self::default();
        for (name, toml) in BUILT_IN {
            registry.add(Definition::parse(toml, name, Path::new(""))?, name)?;
        }
        Ok(registry)
    }

    /// Adds what a file defines; `origin` is its name in messages.
    ///
    /// # Errors
    /// A name is taken.
    pub fn add(&mut self, definition: Definition, origin: &str) -> Result<(), EvalError> {
        if let Some(name) = names(&definition).find(|name| self.names().any(|known| known == *name))
        {
            return Err(EvalError::SameName {
                origin: origin.into(),
                name: name.into(),
            });
        }
        self.definitions.push(definition);
        Ok(())
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.definitions.iter().flat_map(names)
    }

    /// The tasks of a list such as `hellaswag,blimp,my.toml`: names and aliases of tasks and groups, and files of
    /// tasks.
    ///
    /// # Errors
    /// A name is unknown, which lists those that are like it, or a file is no task. Two tasks of one name can't be
    /// told apart.
    pub fn select(&self, names: &str) -> Result<Selection, EvalError> {
        let mut selection = Selection::default();
        for name in names
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty())
        {
            if Path::new(name)
                .extension()
                .is_some_and(|end| end.eq_ignore_ascii_case("toml"))
            {
                let definition = Definition::from_file(Path::new(name))?;
                // A file of one's own may have the name of a task that comes with the program, as long as both aren't
                // asked for.
                let taken = definition
                    .tasks
                    .iter()
                    .find(|task| selection.tasks.iter().any(|other| other.name == task.name));
                if let Some(task) = taken {
                    return Err(EvalError::SameName {
                        origin: name.into(),
                        name: task.name.clone(),
                    });
                }
                selection.push(&definition);
            } else {
                self.select_known(name, &mut selection)?;
            }
        }
        Ok(selection)
    }

    fn select_known(&self, name: &str, selection: &mut Selection) -> Result<(), EvalError> {
        for definition in &self.definitions {
            if let Some(group) = &definition.group
                && (group.name == name || group.aliases.iter().any(|alias| alias == name))
            {
                selection.push(definition);
                return Ok(());
            }
            let is_called = |task: &&Arc<Task>| {
                task.name == name || task.aliases.iter().any(|alias| alias == name)
            };
            if let Some(task) = definition.tasks.iter().find(is_called) {
                selection.push_task(task);
                return Ok(());
            }
        }
        Err(EvalError::UnknownTask {
            name: name.into(),
            near: self.near(name),
        })
    }

    /// The known names that are likest to one that isn't.
    fn near(&self, name: &str) -> Vec<String> {
        let mut near: Vec<_> = self
            .names()
            .map(|known| (strsim::jaro_winkler(known, name), known))
            .filter(|(likeness, _)| *likeness > 0.8)
            .collect();
        near.sort_by(|a, b| b.0.total_cmp(&a.0));
        near.into_iter()
            .take(3)
            .map(|(_, known)| known.to_owned())
            .collect()
    }

    /// All tasks and groups; the tasks of a group only as the group.
    pub fn list(&self) -> Vec<Listed> {
        let listed = |definition: &Definition| {
            let task = definition.tasks.first()?;
            let kind = task.kind.name();
            Some(match &definition.group {
                Some(group) => Listed {
                    name: group.name.clone(),
                    aliases: group.aliases.clone(),
                    kind,
                    tasks: group.tasks.len(),
                    description: group.description.clone(),
                    license: group.license.clone(),
                },
                None => Listed {
                    name: task.name.clone(),
                    aliases: task.aliases.clone(),
                    kind,
                    tasks: 1,
                    description: task.description.clone(),
                    license: task.license.clone(),
                },
            })
        };
        self.definitions.iter().filter_map(listed).collect()
    }
}

impl Selection {
    fn push(&mut self, definition: &Definition) {
        for task in &definition.tasks {
            self.push_task(task);
        }
        if let Some(group) = &definition.group
            && !self.groups.iter().any(|known| known.name == group.name)
        {
            self.groups.push(group.clone());
        }
    }

    fn push_task(&mut self, task: &Arc<Task>) {
        if !self.tasks.iter().any(|known| known.name == task.name) {
            self.tasks.push(Arc::clone(task));
        }
    }
}

/// Every name that a definition is known by.
fn names(definition: &Definition) -> impl Iterator<Item = &str> {
    let group = definition
        .group
        .iter()
        .flat_map(|group| std::iter::once(&group.name).chain(&group.aliases));
    let tasks = definition
        .tasks
        .iter()
        .flat_map(|task| std::iter::once(&task.name).chain(&task.aliases));
    group.chain(tasks).map(String::as_str)
}
