//! Results for programs.

use super::compare::Compared;
use super::tasks::{Answered, Evaluated};
use evenburn_eval::Metric;
use serde_json::{Map, Value, json};

/// One object: of one model its results, of several a list of these with their differences from the first.
pub(super) fn of(
    evaluated: &[Evaluated],
    compared: &[Compared],
    is_one: bool,
    interrupted: bool,
) -> Value {
    let mut models: Vec<Value> = evaluated.iter().map(model).collect();
    let mut value = if is_one {
        models.pop().unwrap_or_default()
    } else {
        let differences: Vec<Value> = compared
            .iter()
            .flat_map(|it| differences(evaluated, it))
            .collect();
        json!({ "models": models, "differences": differences })
    };
    value["interrupted"] = interrupted.into();
    value
}

fn model(evaluated: &Evaluated) -> Value {
    let tasks = evaluated.tasks.iter();
    let tasks: Map<_, _> = tasks
        .map(|task| (task.result.name.clone(), self::task(task)))
        .collect();
    let groups = evaluated.groups.iter().map(|group| {
        let fields = json!({ "tasks": group.tasks, "metrics": metrics(&group.metrics) });
        (group.name.clone(), fields)
    });
    json!({
        "model": {
            "name": evaluated.name,
            "place": evaluated.place,
            "what": evaluated.what,
            "step": evaluated.step,
            "context": evaluated.context,
            "identity": evaluated.identity,
        },
        "tasks": tasks,
        "groups": groups.collect::<Map<_, _>>(),
    })
}

fn task(task: &Answered) -> Value {
    let result = &task.result;
    json!({
        "shots": result.shots,
        "documents": result.documents,
        "skipped": result.skipped,
        "skipped_first": task.skipped,
        "cut": result.cut,
        "metrics": metrics(&result.metrics),
        "more": metrics(&result.more),
        "data": task.documents,
        "examples": task.examples,
        "seconds": task.seconds,
        "documents_per_second": result.documents as f64 / task.seconds,
        "kept": task.kept,
    })
}

/// Numbers, each with its standard error, which is null where there is none.
fn metrics(metrics: &[Metric]) -> Map<String, Value> {
    let both = |metric: &Metric| {
        [
            (metric.name.to_owned(), json!(metric.value)),
            (format!("{}_stderr", metric.name), json!(metric.stderr)),
        ]
    };
    metrics.iter().flat_map(both).collect()
}

fn differences(evaluated: &[Evaluated], compared: &Compared) -> Vec<Value> {
    let name = |number: usize| evaluated.get(number).map(|it| it.name.as_str());
    let differences = compared.differences.iter();
    differences
        .map(|it| {
            json!({
                "model": name(compared.model),
                "from": name(0),
                "task": compared.task,
                "metric": it.metric,
                "difference": it.difference,
                "stderr": it.stderr,
                "documents": it.documents,
            })
        })
        .collect()
}
