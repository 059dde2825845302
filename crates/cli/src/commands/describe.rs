//! `evenburn describe`.

use crate::args::Describe;
use crate::output::say;
use crate::overrides::Overrides;
use anyhow::Result;
use evenburn_model::Plan;
use evenburn_optim::Rule;
use evenburn_train::Registry;
use evenburn_train::config::RunConfig;
use evenburn_train::{estimate, groups, recorded};
use indicatif::HumanCount;
use std::collections::BTreeMap;

pub(super) fn run(registry: &Registry, arguments: &Describe, overrides: &Overrides) -> Result<()> {
    let (config, plan) = match &arguments.config {
        Some(run) if run.is_dir() => {
            let run = recorded(registry, run, overrides)?;
            (run.config, run.plan)
        }
        file => {
            let config = RunConfig::load(registry, file.as_deref(), overrides)?.config;
            let plan = config.norm.plan(&config.model)?;
            (config, plan)
        }
    };
    let cost = plan.cost();
    say!("{plan}")?;
    say!(
        "{}",
        group_table(&plan, &groups::from_plan(&plan, &config.optim)?)
    )?;
    say!(
        "parameters: {} ({} outside embedding and output layer)",
        HumanCount(cost.params as u64),
        HumanCount(cost.non_embedding as u64)
    )?;
    if cost.active < cost.params {
        say!(
            "parameters active per token: {}",
            HumanCount(cost.active as u64)
        )?;
    }
    say!(
        "operations per token: {:.4e} forward, {:.4e} forward and backward, at context {}",
        cost.forward_flops_per_token,
        cost.train_flops_per_token,
        config.model.context
    )?;
    let memory = estimate::memory(&plan, &config)?;
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    say!(
        "memory of a training step (estimate): {:.0} MiB: weights {:.0}, gradients {:.0}, optimizer {:.0}, activations {:.0}, program and data {:.0}",
        mib(memory.total()),
        mib(memory.weights),
        mib(memory.gradients),
        mib(memory.optimizer),
        mib(memory.activations),
        mib(memory.fixed)
    )?;
    if let Some(ranks) = arguments.ranks {
        let memory = estimate::memory_of_rank(&plan, &config, ranks.get())?;
        say!(
            "memory of each of {ranks} ranks (estimate, the largest): {:.0} MiB: weights {:.0}, optimizer {:.0}, program and data {:.0}, and \
             gradients {:.0} with activations {:.0}, or {:.0} to exchange gradients and to save",
            mib(memory.total()),
            mib(memory.weights),
            mib(memory.optimizer),
            mib(memory.fixed),
            mib(memory.gradients),
            mib(memory.activations),
            mib(memory.exchange)
        )?;
    }
    Ok(())
}

/// One row per group of parameters with the same rule.
fn group_table(plan: &Plan, rules: &BTreeMap<String, Rule>) -> String {
    #[derive(Default)]
    struct Row {
        tensors: usize,
        numbers: u64,
    }
    // Equal rules make one row; its text has what the counts stand between.
    let mut rows: BTreeMap<(String, String), Row> = BTreeMap::new();
    let width = rules.values().map(|rule| rule.group.len()).max();
    let width = width.unwrap_or_default().max("group".len());
    for spec in plan.params() {
        let Some(rule) = rules.get(&spec.path) else {
            continue;
        };
        let left = format!(
            "{:<width$} {:>10.3e} {:>8} {:<26}",
            rule.group,
            rule.lr,
            rule.weight_decay,
            rule.constraint.to_string()
        );
        let row = rows.entry((left, rule.update.to_string())).or_default();
        row.tensors += 1;
        row.numbers += spec.len() as u64;
    }
    let mut table = format!(
        "{:<width$} {:>10} {:>8} {:<26} {:>8} {:>12}  recipe\n",
        "group", "rate", "decay", "constraint", "tensors", "numbers"
    );
    for ((left, recipe), row) in rows {
        table += &format!(
            "{left} {:>8} {:>12}  {recipe}\n",
            row.tensors,
            HumanCount(row.numbers).to_string()
        );
    }
    table
}
