//! Results for people.

use super::compare::Compared;
use super::tasks::{Answered, Evaluated};
use evenburn_eval::Metric;
use indicatif::HumanCount;

/// Cells of a table, in rows.
struct Table {
    /// Columns from this one on are numbers, and stand at the right.
    numbers: usize,
    rows: Vec<Vec<String>>,
}

impl Table {
    fn new(numbers: usize, head: &[&str]) -> Self {
        let head = head.iter().map(|&cell| cell.to_owned()).collect();
        Self {
            numbers,
            rows: vec![head],
        }
    }

    /// The lines, each column as wide as its widest cell.
    fn lines(&self) -> Vec<String> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let line = |row: &Vec<String>| {
            let cells = row.iter().zip(&widths).enumerate();
            let cells = cells.map(|(column, (cell, &width))| {
                if column < self.numbers {
                    format!("{cell:<width$}")
                } else {
                    format!("{cell:>width$}")
                }
            });
            let line = cells.collect::<Vec<_>>().join("  ");
            line.trim_end().to_owned()
        };
        self.rows.iter().map(line).collect()
    }
}

/// One model: a row for each task and metric.
pub(super) fn one(evaluated: &Evaluated) -> Vec<String> {
    let mut table = Table::new(
        3,
        &[
            "task",
            "shots",
            "metric",
            "value",
            "±",
            "centered",
            "bits/byte",
            "documents",
        ],
    );
    for task in &evaluated.tasks {
        let result = &task.result;
        for (number, metric) in result.metrics.iter().enumerate() {
            let of = |name: &str| result.metric(name).map(|it| decimals(it.value));
            let centered = of("acc_centered").filter(|_| metric.name == "acc");
            let bits = of("bits_per_byte_with_space").filter(|_| number == 0);
            table.rows.push(vec![
                result.name.clone(),
                result.shots.to_string(),
                metric.name.to_owned(),
                decimals(metric.value),
                stderr(metric.stderr),
                centered.unwrap_or_default(),
                bits.unwrap_or_default(),
                documents(task),
            ]);
        }
    }
    for group in &evaluated.groups {
        for metric in &group.metrics {
            table.rows.push(vec![
                format!("{} ({} tasks)", group.name, group.tasks.len()),
                String::new(),
                metric.name.to_owned(),
                decimals(metric.value),
                stderr(metric.stderr),
            ]);
        }
    }
    let mut lines = vec![title(evaluated)];
    lines.extend(table.lines());
    lines
}

/// The first line.
fn title(evaluated: &Evaluated) -> String {
    let step = evaluated
        .step
        .map(|step| format!(" after step {}", HumanCount(step)));
    format!(
        "{}: {}{}, context {}",
        evaluated.place,
        evaluated.what,
        step.unwrap_or_default(),
        HumanCount(evaluated.context as u64)
    )
}

/// Several models side by side; from the second on, with the mean of the differences of their documents.
pub(super) fn several(evaluated: &[Evaluated], compared: &[Compared]) -> Vec<String> {
    let mut lines = Vec::new();
    let mut head = vec!["task".to_owned(), "shots".to_owned(), "metric".to_owned()];
    for (number, model) in (1..).zip(evaluated) {
        lines.push(format!("[{number}] {}", title(model)));
        head.extend([format!("[{number}]"), "±".to_owned()]);
        if number > 1 {
            head.extend([format!("[{number}]-[1]"), "±".to_owned()]);
        }
    }
    let mut table = Table {
        numbers: 3,
        rows: vec![head],
    };
    let Some(first) = evaluated.first() else {
        return lines;
    };
    for task in &first.tasks {
        let result = &task.result;
        let more = ["bits_per_byte_with_space"];
        let more = more.iter().filter_map(|name| result.metric(name));
        for metric in result.metrics.iter().chain(more) {
            let mut row = vec![
                result.name.clone(),
                result.shots.to_string(),
                metric.name.to_owned(),
            ];
            for (number, model) in evaluated.iter().enumerate() {
                let own = model.task(&result.name);
                let own = own.and_then(|task| task.result.metric(metric.name));
                row.push(own.map_or_else(String::new, |it| decimals(it.value)));
                row.push(own.map_or_else(String::new, |it| stderr(it.stderr)));
                if number > 0 {
                    let of_task = |it: &&Compared| it.model == number && it.task == result.name;
                    let found = compared.iter().find(of_task);
                    let mut found = found.into_iter().flat_map(|it| &it.differences);
                    let found = found.find(|it| it.metric == metric.name);
                    // Without the sign of a zero.
                    let signed = |value: f64| format!("{:+.4}", value + 0.0);
                    row.push(found.map_or_else(String::new, |it| signed(it.difference)));
                    row.push(found.map_or_else(String::new, |it| stderr(it.stderr)));
                }
            }
            table.rows.push(row);
        }
    }
    lines.extend(table.lines());
    lines
}

/// The checkpoints of a run: a row for each.
pub(super) fn curve(evaluated: &[Evaluated]) -> Vec<String> {
    let Some(first) = evaluated.first() else {
        return Vec::new();
    };
    let shown = |task: &Answered| -> Vec<(String, &'static str)> {
        let result = &task.result;
        let more = ["bits_per_byte_with_space"];
        let more = more.iter().filter_map(|name| result.metric(name));
        let metrics = result.metrics.iter().chain(more);
        metrics
            .map(|metric: &Metric| (result.name.clone(), metric.name))
            .collect()
    };
    let columns: Vec<_> = first.tasks.iter().flat_map(shown).collect();
    let mut head = vec!["step".to_owned()];
    head.extend(
        columns
            .iter()
            .map(|(task, metric)| format!("{task} {metric}")),
    );
    let mut table = Table {
        numbers: 0,
        rows: vec![head],
    };
    for model in evaluated {
        let mut row = vec![
            model
                .step
                .map_or_else(|| model.short(), |step| step.to_string()),
        ];
        row.extend(columns.iter().map(|(task, metric)| {
            let own = model.task(task).and_then(|task| task.result.metric(metric));
            own.map_or_else(String::new, |it| decimals(it.value))
        }));
        table.rows.push(row);
    }
    let mut lines = vec![format!("{}, context {}", first.what, first.context)];
    lines.extend(table.lines());
    lines
}

/// Four decimals, or as many digits as numbers beyond all bounds need.
fn decimals(value: f64) -> String {
    if value.abs() < 1e6 {
        format!("{value:.4}")
    } else {
        format!("{value:.4e}")
    }
}

fn stderr(stderr: Option<f64>) -> String {
    stderr.map_or_else(String::new, decimals)
}

/// How many there were, and what became of some.
fn documents(task: &Answered) -> String {
    let result = &task.result;
    let mut text = HumanCount(result.documents as u64).to_string();
    for (count, what) in [(result.cut, "cut"), (result.skipped, "left out")] {
        if count > 0 {
            text += &format!(", {count} {what}");
        }
    }
    text
}
