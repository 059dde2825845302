//! Several models beside the first.

use super::tasks::Evaluated;
use evenburn_eval::{Difference, differences};

/// The differences of a model from the first, in a task.
pub(super) struct Compared {
    /// The number of the model.
    pub(super) model: usize,
    pub(super) task: String,
    pub(super) differences: Vec<Difference>,
}

impl Compared {
    /// Every model and task that the first one has too.
    pub(super) fn with_first(evaluated: &[Evaluated]) -> Vec<Self> {
        let Some((first, others)) = evaluated.split_first() else {
            return Vec::new();
        };
        let mut found = Vec::new();
        for (model, other) in (1..).zip(others) {
            for task in &other.tasks {
                let name = &task.result.name;
                if let Some(own) = first.task(name) {
                    found.push(Self {
                        model,
                        task: name.clone(),
                        differences: differences(&own.result, &task.result),
                    });
                }
            }
        }
        found
    }
}
