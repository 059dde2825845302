//! Two models on the same documents.

use std::collections::HashMap;

use serde::Serialize;

use crate::metrics::{bits_per_byte, mean, stderr_of_mean};
use crate::{DocResult, TaskResult};

/// How much higher a number of one model is than that of another, over the documents that both were asked about.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// The number: `acc`, `acc_norm`, `bits_per_byte_with_space`, or `bits_per_byte` of whole texts.
    pub metric: &'static str,
    /// The mean of the documents' differences.
    pub difference: f64,
    /// Its standard error: the deviation of the differences by the root of their number.
    pub stderr: Option<f64>,
    /// How many documents there are.
    pub documents: usize,
}

/// The differences of a task's results from those of a first model. Of whole texts, documents count by their bytes, so that
/// the mean difference is that of the numbers of all texts.
pub fn differences(first: &TaskResult, other: &TaskResult) -> Vec<Difference> {
    let known: HashMap<usize, &DocResult> = first.docs.iter().map(|doc| (id(doc), doc)).collect();
    let pairs: Vec<_> = other
        .docs
        .iter()
        .filter_map(|doc| Some((*known.get(&id(doc))?, doc)))
        .collect();
    let by = |metric, value: fn(&DocResult) -> Option<f64>| {
        let pairs = pairs.iter();
        let values: Option<Vec<f64>> = pairs
            .map(|(first, other)| Some(value(other)? - value(first)?))
            .collect();
        difference(metric, &values?)
    };
    let mut found: Vec<_> = [
        by("acc", |doc| choice(doc).map(|it| f64::from(it.acc))),
        by("acc_norm", |doc| choice(doc)?.acc_norm.map(f64::from)),
        by("bits_per_byte_with_space", |doc| {
            let choice = choice(doc)?;
            let right = choice.requests.get(choice.gold.unwrap_or(0))?;
            Some(bits_per_byte(right.loglikelihood, right.continuation.len()))
        }),
    ]
    .into_iter()
    .flatten()
    .collect();
    found.extend(of_texts(&pairs));
    found
}

fn of_texts(pairs: &[(&DocResult, &DocResult)]) -> Option<Difference> {
    let values: Option<Vec<(f64, usize)>> = pairs
        .iter()
        .map(|pair| match pair {
            (DocResult::Rolling(first), DocResult::Rolling(other)) => {
                let more = other.loglikelihood - first.loglikelihood;
                Some((more, other.bytes))
            }
            _ => None,
        })
        .collect();
    let values = values?;
    let bytes = values.iter().map(|(_, bytes)| *bytes as f64).sum::<f64>();
    let each = bytes / values.len() as f64;
    let bits = |(more, _): &(f64, usize)| -more / each / std::f64::consts::LN_2;
    let values: Vec<f64> = values.iter().map(bits).collect();
    difference("bits_per_byte", &values)
}

fn difference(metric: &'static str, values: &[f64]) -> Option<Difference> {
    if values.is_empty() {
        return None;
    }
    Some(Difference {
        metric,
        difference: mean(values),
        stderr: stderr_of_mean(values),
        documents: values.len(),
    })
}

fn id(doc: &DocResult) -> usize {
    match doc {
        DocResult::Choice(choice) => choice.id,
        DocResult::Rolling(rolling) => rolling.id,
    }
}

fn choice(doc: &DocResult) -> Option<&crate::ChoiceRecord> {
    match doc {
        DocResult::Choice(choice) => Some(choice),
        DocResult::Rolling(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ChoiceRecord, RequestRecord, RollingRecord};

    fn result(docs: Vec<DocResult>) -> TaskResult {
        TaskResult {
            name: "a".into(),
            shots: 0,
            documents: docs.len(),
            skipped: 0,
            cut: 0,
            metrics: Vec::new(),
            more: Vec::new(),
            docs,
        }
    }

    fn asked(id: usize, acc: u8, loglikelihood: f64) -> DocResult {
        DocResult::Choice(ChoiceRecord {
            id,
            contexts: vec!["q".into()],
            context_tokens: vec![vec![1]],
            gold: Some(0),
            acc,
            acc_norm: None,
            requests: vec![RequestRecord {
                context: 0,
                continuation: " a".into(),
                continuation_tokens: vec![2],
                loglikelihood,
                is_greedy: false,
            }],
        })
    }

    #[test]
    fn documents_are_paired_by_their_numbers() {
        let ln2 = std::f64::consts::LN_2;
        let first = result(vec![
            asked(0, 0, -2.0 * ln2),
            asked(1, 1, -2.0 * ln2),
            asked(2, 0, 0.0),
        ]);
        let other = result(vec![asked(1, 1, -4.0 * ln2), asked(0, 1, -2.0 * ln2)]);
        let found = differences(&first, &other);
        let names: Vec<_> = found.iter().map(|it| (it.metric, it.documents)).collect();
        assert_eq!(names, [("acc", 2), ("bits_per_byte_with_space", 2)]);
        assert!((found[0].difference - 0.5).abs() < 1e-15);
        assert!((found[0].stderr.unwrap() - 0.5).abs() < 1e-15);
        assert!((found[1].difference - 0.5).abs() < 1e-15);
        assert!(differences(&first, &result(Vec::new())).is_empty());
    }

    #[test]
    fn long_texts_count_more() {
        let text = |id, bytes, loglikelihood| {
            DocResult::Rolling(RollingRecord {
                id,
                text: String::new(),
                tokens: 1,
                words: 1,
                bytes,
                loglikelihood,
                windows: Vec::new(),
            })
        };
        let ln2 = std::f64::consts::LN_2;
        let first = result(vec![text(0, 1, -ln2), text(1, 3, -3.0 * ln2)]);
        let other = result(vec![text(0, 1, -ln2), text(1, 3, -9.0 * ln2)]);
        let found = differences(&first, &other);
        // 10 bits in 4 bytes against 4.
        assert!((found[0].difference - 1.5).abs() < 1e-15);
    }
}
