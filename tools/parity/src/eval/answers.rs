//! Everything that a folder asks for, computed of its model and documents.

use anyhow::{Context, Result, bail, ensure};
use evenburn_eval::{
    Document, Encoder as _, GroupResult, Metric, Options, Prepared, RequestFault, Task,
    TaskRegistry, TaskResult, TokenRequest, TokenScore, encode_request, prepare,
};
use serde_json::{Map, Value, json};
use std::sync::Arc;

use super::asked::{Asked, Setting};
use super::folder::{ENDINGS, Folder, documents_of, read};
use super::model::Model;

/// A number of this project alone, which no folder of cases has.
const OWN: &str = "acc_centered";

/// What came out.
#[derive(Debug)]
pub(super) struct Answers {
    /// `context`, `vocabulary` and `prefix_token`.
    pub(super) model: Value,
    /// Each task by the name of its entry.
    pub(super) tasks: Vec<Answered>,
    /// Each group as an entry of `groups`.
    pub(super) groups: Map<String, Value>,
    /// The single requests.
    pub(super) requests: Option<Vec<Value>>,
}

/// A task's result.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) name: String,
    /// Documents whose start the model doesn't see; none where texts are cut to windows.
    pub(super) cut: Option<usize>,
    /// The entry of `tasks`.
    pub(super) entry: Value,
}

impl Answers {
    /// The layout of `expected.json`.
    pub(super) fn json(&self) -> Value {
        let entries = self.tasks.iter();
        let tasks: Map<_, _> = entries.map(|t| (t.name.clone(), t.entry.clone())).collect();
        let cut = self.tasks.iter();
        let cut: Map<_, _> = cut
            .filter_map(|task| Some((task.name.clone(), json!(task.cut?))))
            .collect();
        json!({
            "model": self.model,
            "documents_cut_from_the_left": cut,
            "tasks": tasks,
            "groups": self.groups,
            "requests": self.requests.as_deref().unwrap_or_default(),
        })
    }
}

/// Asks the model everything.
pub(super) fn compute(
    folder: &Folder,
    model: &Model,
    registry: &TaskRegistry,
    asked: &Asked,
) -> Result<Answers> {
    let (mut tasks, mut results) = (Vec::new(), Vec::new());
    for setting in &asked.tasks {
        let result = task(folder, model, registry, setting);
        let (answered, result) = result.with_context(|| setting.name.clone())?;
        tasks.push(answered);
        results.push(result);
    }
    let single = folder.requests()?;
    Ok(Answers {
        model: json!({
            "context": model.context(),
            "vocabulary": model.vocabulary(),
            "prefix_token": model.encoder().prefix(),
        }),
        tasks,
        groups: groups(folder, registry, &results)?,
        requests: single.map(|single| requests(model, &single)).transpose()?,
    })
}

fn task(
    folder: &Folder,
    model: &Model,
    registry: &TaskRegistry,
    setting: &Setting,
) -> Result<(Answered, TaskResult)> {
    let selected = registry.select(&setting.base)?.tasks;
    let [task] = selected.as_slice() else {
        bail!("`{}` is a group; its tasks are computed", setting.base);
    };
    let options = Options {
        shots: setting.shots,
        sampler: setting.sampler,
        limit: setting.limit,
        ..Options::new(model.context())
    };
    let mut prepared: Option<Prepared> = None;
    for ending in ENDINGS {
        let Some(found) = questions(folder, model, task, &setting.base, ending, &options)? else {
            continue;
        };
        let Some(first) = &prepared else {
            prepared = Some(found);
            continue;
        };
        ensure!(
            first.requests() == found.requests(),
            "{} make different requests",
            ENDINGS
                .map(|end| format!("{}.{end}", setting.base))
                .join(" and ")
        );
    }
    let Some(prepared) = prepared else {
        bail!("tasks/{}.jsonl and .parquet are both missing", setting.base);
    };
    let scores = model.score(prepared.requests())?;
    let mut result = prepared.finish(&scores)?;
    // The name of the entry: a task may be called in more than one way, and asked so.
    result.name.clone_from(&setting.name);
    let rolling = matches!(
        result.docs.first(),
        Some(evenburn_eval::DocResult::Rolling(_))
    );
    let mut entry = json!({
        "num_fewshot": result.shots,
        "documents": result.documents,
        "metrics": metrics(&result.metrics),
        "docs": result.docs,
    });
    if !rolling {
        let more = result.more.iter().filter(|m| m.name != OWN);
        let more: Map<_, _> = more.map(|m| (m.name.to_owned(), json!(m.value))).collect();
        entry["more"] = Value::Object(more);
    }
    let answered = Answered {
        name: setting.name.clone(),
        cut: (!rolling).then_some(result.cut),
        entry,
    };
    Ok((answered, result))
}

/// The questions of the documents in one format, where they are there in it.
fn questions(
    folder: &Folder,
    model: &Model,
    task: &Arc<Task>,
    base: &str,
    ending: &str,
    options: &Options,
) -> Result<Option<Prepared>> {
    let Some(file) = folder.file(base, ending) else {
        return Ok(None);
    };
    let pool = if task.shots(options.shots) == 0 {
        Vec::new()
    } else {
        let name = format!("{base}.train");
        let pool = [ending].into_iter().chain(ENDINGS);
        let pool = pool.into_iter().find_map(|end| folder.file(&name, end));
        read(&pool.with_context(|| format!("tasks/{name}.{ending} is missing"))?)?
    };
    let prepared = prepare(task, documents_of(&file)?, &pool, options, model.encoder())?;
    Ok(Some(prepared))
}

/// Each number, and its standard error beside it.
fn metrics(metrics: &[Metric]) -> Value {
    let mut all = Map::new();
    for metric in metrics {
        let stderr = metric.stderr.map_or(json!("N/A"), |stderr| json!(stderr));
        all.insert(metric.name.to_owned(), json!(metric.value));
        all.insert(format!("{}_stderr", metric.name), stderr);
    }
    Value::Object(all)
}

/// The groups that `expected.json` names, or else all of which there is a task.
fn groups(
    folder: &Folder,
    registry: &TaskRegistry,
    results: &[TaskResult],
) -> Result<Map<String, Value>> {
    let expected = folder.expected().map(|expected| expected.get("groups"));
    let names: Vec<String> = match expected {
        Some(groups) => {
            let groups = groups.and_then(Value::as_object);
            groups.into_iter().flat_map(Map::keys).cloned().collect()
        }
        None => registry.list().into_iter().map(|it| it.name).collect(),
    };
    let mut all = Map::new();
    for name in names {
        for group in registry.select(&name)?.groups {
            if let Some(result) = GroupResult::new(&group, results) {
                let entry = json!({ "tasks": result.tasks, "metrics": metrics(&result.metrics) });
                all.insert(name.clone(), entry);
            }
        }
    }
    Ok(all)
}

/// Each request, asked alone.
fn requests(model: &Model, documents: &[Document]) -> Result<Vec<Value>> {
    let mut all = Vec::with_capacity(documents.len());
    for document in documents {
        let text = |field: &str| {
            let text = document.fields.get(field).and_then(Value::as_str);
            text.with_context(|| format!("{}: `{field}` is no text", document.place))
        };
        let (context, continuation) = (text("context")?, text("continuation")?);
        let tokens = encode_request(model.encoder(), context, continuation);
        let tokens = tokens.and_then(|tokens| {
            tokens.check_length(model.context())?;
            Ok(tokens)
        });
        all.push(match tokens {
            Ok(tokens) => alone(model, &tokens)?,
            Err(fault) => json!({ "error": exception(model, context, continuation, fault)? }),
        });
    }
    Ok(all)
}

fn alone(model: &Model, tokens: &TokenRequest) -> Result<Value> {
    let scores = model.score(std::slice::from_ref(tokens))?;
    let [score]: [TokenScore; 1] = scores
        .try_into()
        .map_err(|all: Vec<_>| anyhow::anyhow!("{} answers to one request", all.len()))?;
    Ok(json!({
        "context_tokens": tokens.head,
        "continuation_tokens": tokens.tail,
        "loglikelihood": score.log_likelihood,
        "is_greedy": score.greedy,
    }))
}

/// What the harness raises where a request is no question.
fn exception(
    model: &Model,
    context: &str,
    continuation: &str,
    fault: RequestFault,
) -> Result<&'static str> {
    match fault {
        // It looks at the first token of the continuation.
        RequestFault::EmptyTail
            if context.is_empty() && model.encoder().encode_bare(continuation)?.is_empty() =>
        {
            Ok("IndexError")
        }
        RequestFault::Tokenizer(error) => Err((*error).into()),
        _ => Ok("AssertionError"),
    }
}
