//! Examples before a question.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::python::Random;
use crate::task::Task;
use crate::{Document, EvalError};

/// What the harness seeds every task's generator with.
const SEED: u64 = 1234;

/// How examples are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sampler {
    /// Drawn anew for each document by one generator, in the order of documents: a limit on documents keeps the
    /// examples of those that are left.
    #[default]
    Default,
    /// The first ones, for all documents.
    FirstN,
}

/// The examples of a task's documents, which are drawn in the order of documents.
pub(crate) struct FewShot<'a> {
    task: &'a Task,
    pool: &'a [Document],
    shots: usize,
    sampler: Sampler,
    without_document: bool,
    random: Random,
    /// Examples as text, by their place in the pool.
    texts: HashMap<usize, String>,
}

impl<'a> FewShot<'a> {
    /// # Errors
    /// The task has no examples, or too few.
    pub(crate) fn new(
        task: &'a Task,
        pool: &'a [Document],
        shots: usize,
        sampler: Sampler,
    ) -> Result<Self, EvalError> {
        let without_document = match task.examples() {
            Some(examples) => examples.without_document(),
            None if shots == 0 => false,
            None => {
                return Err(EvalError::Examples {
                    task: task.name().into(),
                    message: format!(
                        "{shots} examples are asked for, and its file has no [examples]"
                    ),
                });
            }
        };
        let few = Self {
            task,
            pool,
            shots,
            sampler,
            without_document,
            random: Random::new(SEED),
            texts: HashMap::new(),
        };
        if shots > 0 && few.drawn() > pool.len() {
            return Err(few.too_few());
        }
        Ok(few)
    }

    /// How many are drawn for a document.
    fn drawn(&self) -> usize {
        let one_more = self.without_document && self.sampler == Sampler::Default;
        self.shots + usize::from(one_more)
    }

    fn too_few(&self) -> EvalError {
        EvalError::Examples {
            task: self.task.name().into(),
            message: format!(
                "{} examples are asked for, and there are {}",
                self.shots,
                self.pool.len()
            ),
        }
    }

    /// What stands before the question of the next document.
    ///
    /// # Errors
    /// An example can't be written, or none is left where the document itself was drawn.
    pub(crate) fn before(&mut self, document: &Document) -> Result<String, EvalError> {
        if self.shots == 0 {
            return Ok(String::new());
        }
        let drawn = match self.sampler {
            Sampler::FirstN => (0..self.pool.len()).collect(),
            Sampler::Default => {
                let drawn = self.random.sample(self.pool.len(), self.drawn());
                drawn.ok_or_else(|| self.too_few())?
            }
        };
        let is_other =
            |i: &usize| !self.without_document || self.pool[*i].fields != document.fields;
        let chosen: Vec<_> = drawn
            .into_iter()
            .filter(is_other)
            .take(self.shots)
            .collect();
        if chosen.len() < self.shots {
            return Err(self.too_few());
        }
        let mut before = String::new();
        for i in chosen {
            if !self.texts.contains_key(&i) {
                let text = self.task.example(&self.pool[i])?;
                self.texts.insert(i, text);
            }
            before.push_str(&self.texts[&i]);
        }
        Ok(before)
    }
}
