//! The file of a task: what TOML may say and what it means.

use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;

use super::template::{Expression, Template};
use super::{Choices, DataSet, Definition, Examples, Form, Group, Prompts, Question, Task};
use crate::EvalError;

/// What the questions of a task are like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskKind {
    /// Which of some continuations is the likeliest, or after which of some contexts is one?
    MultipleChoice,
    /// Is the right continuation the likeliest text?
    Cloze,
    /// Is the good one of two sentences likelier?
    MinimalPairs,
    /// How likely is a text?
    Rolling,
}

impl TaskKind {
    /// Its name in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::MultipleChoice => "multiple_choice",
            Self::Cloze => "cloze",
            Self::MinimalPairs => "minimal_pairs",
            Self::Rolling => "rolling",
        }
    }

    /// The fields that are of use to it, of those that not all kinds have.
    fn fields(self) -> &'static [&'static str] {
        match self {
            Self::MultipleChoice => &[
                "context",
                "contexts",
                "choices",
                "continuation",
                "gold",
                "normalized",
                "delimiter",
                "examples",
            ],
            Self::Cloze => &["context", "continuation", "delimiter", "examples"],
            Self::MinimalPairs => &["good", "bad", "delimiter"],
            Self::Rolling => &["text", "measured"],
        }
    }
}

/// The file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    #[serde(default)]
    aliases: Vec<String>,
    description: String,
    license: Option<String>,
    kind: TaskKind,
    shots: Option<usize>,
    variants: Option<Vec<String>>,
    dataset: DataSet,
    examples: Option<Examples>,
    delimiter: Option<String>,
    normalized: Option<bool>,
    context: Option<String>,
    contexts: Option<Vec<String>>,
    choices: Option<ListSource>,
    continuation: Option<String>,
    gold: Option<NumberSource>,
    good: Option<String>,
    bad: Option<String>,
    text: Option<String>,
    measured: Option<String>,
}

/// A list: an expression, or a template for each.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected an expression or a list of templates")]
enum ListSource {
    Expression(String),
    Templates(Vec<String>),
}

/// A number, or an expression.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a whole number or an expression")]
enum NumberSource {
    Number(u32),
    Expression(String),
}

/// A file that is being read, for messages.
struct Reading<'a> {
    origin: &'a str,
}

impl Reading<'_> {
    fn fault(&self, field: &str, message: impl Into<String>) -> EvalError {
        EvalError::Task {
            origin: self.origin.into(),
            field: Some(field.into()),
            message: message.into(),
        }
    }

    /// Refuses what can't be told from a path or a list.
    fn check_name(&self, field: &str, name: &str) -> Result<(), EvalError> {
        let fits = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | ':');
        if name.is_empty() || !name.chars().all(fits) {
            let message = format!("{name:?} is no name: letters, digits, _, - and : make one");
            return Err(self.fault(field, message));
        }
        Ok(())
    }

    fn template(&self, field: &str, source: &str) -> Result<Template, EvalError> {
        Template::new(source).map_err(|message| self.fault(field, message))
    }

    fn templates(&self, field: &str, sources: &[String]) -> Result<Vec<Template>, EvalError> {
        if sources.is_empty() {
            return Err(self.fault(field, "is empty"));
        }
        let template =
            |(i, source): (usize, &String)| self.template(&format!("{field}[{i}]"), source);
        sources.iter().enumerate().map(template).collect()
    }

    fn expression(&self, field: &str, source: &str) -> Result<Expression, EvalError> {
        Expression::new(source).map_err(|message| self.fault(field, message))
    }

    /// A template that a kind must have.
    fn needed(
        &self,
        field: &str,
        kind: TaskKind,
        source: Option<&String>,
    ) -> Result<Template, EvalError> {
        match source {
            Some(source) => self.template(field, source),
            None => Err(self.fault(
                field,
                format!("is missing; kind \"{}\" needs it", kind.name()),
            )),
        }
    }
}

impl Definition {
    /// Reads the file of a task. Its paths are relative to it.
    ///
    /// # Errors
    /// The file can't be read, or is no task: a field is missing, unknown or of another kind, a template is malformed.
    pub fn from_file(path: &Path) -> Result<Self, EvalError> {
        let toml = std::fs::read_to_string(path).map_err(|e| EvalError::io("read", path, e))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        Self::parse(&toml, &path.display().to_string(), folder)
    }

    /// Reads the contents of the file of a task. `origin` is its name in messages; paths are relative to `folder`.
    ///
    /// # Errors
    /// As [`Definition::from_file`].
    ///
    /// ```
    /// use std::path::Path;
    /// use evenburn_eval::Definition;
    /// let toml = r#"
    ///     name = "capitals"
    ///     description = "What is the capital of a country?"
    ///     kind = "multiple_choice"
    ///     context = "The capital of {{ country | strip }} is"  # a template: text with fields of the document
    ///     choices = "cities"                                    # an expression that is a list, or a list of templates
    ///     gold = "cities | index_of(capital)"                   # an expression that is a number, or a number
    ///
    ///     [dataset]
    ///     path = "capitals.jsonl"                               # beside this file
    ///
    ///     [examples]
    ///     path = "more.jsonl"
    /// "#;
    /// let definition = Definition::parse(toml, "capitals.toml", Path::new("tasks")).unwrap();
    /// assert_eq!(definition.tasks[0].name(), "capitals");
    /// ```
    pub fn parse(toml: &str, origin: &str, folder: &Path) -> Result<Self, EvalError> {
        let file: File = toml::from_str(toml).map_err(|e| EvalError::Task {
            origin: match e.span() {
                Some(span) => format!("{origin}, line {}", line_of(toml, span.start)),
                None => origin.to_owned(),
            },
            field: None,
            message: e.message().to_owned(),
        })?;
        file.define(&Reading { origin }, folder)
    }
}

/// The number of the line at a byte, from 1.
fn line_of(text: &str, byte: usize) -> usize {
    let before = text.as_bytes().iter().take(byte);
    1 + before.filter(|byte| **byte == b'\n').count()
}

impl File {
    fn define(mut self, reading: &Reading<'_>, folder: &Path) -> Result<Definition, EvalError> {
        reading.check_name("name", &self.name)?;
        for alias in &self.aliases {
            reading.check_name("aliases", alias)?;
        }
        self.check_fields(reading)?;
        self.dataset.resolve(folder);
        if let Some(examples) = &mut self.examples {
            examples.dataset = examples.place(&self.dataset, folder);
        }
        let Some(variants) = self.variants.take() else {
            let name = self.name.clone();
            let aliases = self.aliases.clone();
            let task = self.task(reading, name, aliases, None)?;
            return Ok(Definition {
                tasks: vec![Arc::new(task)],
                group: None,
            });
        };
        let mut tasks = Vec::with_capacity(variants.len());
        for variant in &variants {
            reading.check_name("variants", variant)?;
            let name = format!("{}_{variant}", self.name);
            let task = self.task(reading, name, Vec::new(), Some(variant))?;
            tasks.push(Arc::new(task));
        }
        if tasks.is_empty() {
            return Err(reading.fault("variants", "is empty"));
        }
        let group = Group {
            name: self.name,
            aliases: self.aliases,
            description: self.description,
            license: self.license,
            tasks: tasks.iter().map(|task| task.name.clone()).collect(),
        };
        Ok(Definition {
            tasks,
            group: Some(group),
        })
    }

    /// Refuses what the kind has no use for.
    fn check_fields(&self, reading: &Reading<'_>) -> Result<(), EvalError> {
        let given = [
            ("context", self.context.is_some()),
            ("contexts", self.contexts.is_some()),
            ("choices", self.choices.is_some()),
            ("continuation", self.continuation.is_some()),
            ("gold", self.gold.is_some()),
            ("good", self.good.is_some()),
            ("bad", self.bad.is_some()),
            ("text", self.text.is_some()),
            ("measured", self.measured.is_some()),
            ("normalized", self.normalized.is_some()),
            ("delimiter", self.delimiter.is_some()),
            ("examples", self.examples.is_some()),
        ];
        let known = self.kind.fields();
        match given
            .iter()
            .find(|(field, given)| *given && !known.contains(field))
        {
            Some((field, _)) => Err(reading.fault(
                field,
                format!("is of no use to kind \"{}\"", self.kind.name()),
            )),
            None => Ok(()),
        }
    }

    fn task(
        &self,
        reading: &Reading<'_>,
        name: String,
        aliases: Vec<String>,
        variant: Option<&String>,
    ) -> Result<Task, EvalError> {
        let mut dataset = self.dataset.clone();
        if let Some(variant) = variant {
            dataset.config = Some(variant.clone());
        }
        let never = matches!(self.kind, TaskKind::MinimalPairs | TaskKind::Rolling);
        Ok(Task {
            name,
            group: variant.map(|_| self.name.clone()),
            aliases,
            description: self.description.clone(),
            license: self.license.clone(),
            kind: self.kind,
            shots: self.shots.or(never.then_some(0)),
            dataset,
            examples: self.examples.clone(),
            form: self.form(reading)?,
        })
    }

    fn form(&self, reading: &Reading<'_>) -> Result<Form, EvalError> {
        let kind = self.kind;
        let needed =
            |field: &str, source: &Option<String>| reading.needed(field, kind, source.as_ref());
        let delimiter = self.delimiter.clone().unwrap_or_else(|| " ".into());
        let question = match kind {
            TaskKind::MultipleChoice => {
                let gold = match &self.gold {
                    Some(NumberSource::Number(number)) => {
                        reading.expression("gold", &number.to_string())?
                    }
                    Some(NumberSource::Expression(source)) => reading.expression("gold", source)?,
                    None => {
                        return Err(
                            reading.fault("gold", "is missing; kind \"multiple_choice\" needs it")
                        );
                    }
                };
                let (prompts, normalized) = self.prompts(reading)?;
                Question {
                    prompts,
                    gold: Some(gold),
                    normalized,
                    delimiter,
                }
            }
            TaskKind::Cloze => Question {
                prompts: Prompts::Cloze {
                    context: needed("context", &self.context)?,
                    continuation: needed("continuation", &self.continuation)?,
                },
                gold: None,
                normalized: false,
                delimiter,
            },
            TaskKind::MinimalPairs => Question {
                prompts: Prompts::Choices {
                    context: reading.template("context", "")?,
                    choices: Choices::Templates(vec![
                        needed("good", &self.good)?,
                        needed("bad", &self.bad)?,
                    ]),
                },
                gold: Some(reading.expression("gold", "0")?),
                normalized: false,
                delimiter,
            },
            TaskKind::Rolling => {
                let text = needed("text", &self.text)?;
                let measured = match &self.measured {
                    Some(source) => Some(reading.template("measured", source)?),
                    None => None,
                };
                return Ok(Form::Rolling { text, measured });
            }
        };
        Ok(Form::Question(question))
    }

    /// One context and some choices, or some contexts and one continuation; and whether scores are normalized by
    /// default.
    fn prompts(&self, reading: &Reading<'_>) -> Result<(Prompts, bool), EvalError> {
        match (
            &self.context,
            &self.choices,
            &self.contexts,
            &self.continuation,
        ) {
            (Some(context), Some(choices), None, None) => {
                let choices = match choices {
                    ListSource::Expression(source) => {
                        Choices::Expression(reading.expression("choices", source)?)
                    }
                    ListSource::Templates(sources) => {
                        Choices::Templates(reading.templates("choices", sources)?)
                    }
                };
                let prompts = Prompts::Choices {
                    context: reading.template("context", context)?,
                    choices,
                };
                Ok((prompts, self.normalized.unwrap_or(true)))
            }
            (None, None, Some(contexts), Some(continuation)) => {
                if self.normalized == Some(true) {
                    let message = "has no meaning where all contexts have the same continuation";
                    return Err(reading.fault("normalized", message));
                }
                let prompts = Prompts::Contexts {
                    contexts: reading.templates("contexts", contexts)?,
                    continuation: reading.template("continuation", continuation)?,
                };
                Ok((prompts, false))
            }
            _ => {
                let pairs = [
                    ("context", self.context.is_some()),
                    ("choices", self.choices.is_some()),
                    ("contexts", self.contexts.is_some()),
                    ("continuation", self.continuation.is_some()),
                ];
                let several = self.contexts.is_some() && self.context.is_none();
                let wanted = if several {
                    ["contexts", "continuation"]
                } else {
                    ["context", "choices"]
                };
                let lacking = pairs
                    .iter()
                    .find(|(field, given)| wanted.contains(field) && !given);
                let (field, message) = match lacking {
                    Some((field, _)) => (*field, "is missing"),
                    None => ("continuation", "is too many"),
                };
                let rule = "kind \"multiple_choice\" needs `context` and `choices`, or `contexts` and `continuation`";
                Err(reading.fault(field, format!("{message}; {rule}")))
            }
        }
    }
}
