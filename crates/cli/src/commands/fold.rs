//! `evenburn fold`.

use super::{load, tokenizer_json};
use crate::args::Fold;
use crate::output::say;
use crate::overrides::Overrides;
use anyhow::Result;
use evenburn_model::{fold, weights};
use evenburn_train::Registry;
use evenburn_train::weights_only::{ModelOrigin, WeightsOnlyModel};
use std::collections::BTreeSet;

pub(super) fn run(registry: &Registry, arguments: Fold, overrides: Overrides) -> Result<()> {
    let run = load(registry, &arguments.run, arguments.compute, overrides)?;
    let device = run.decoder.embed.weight.val().device();
    let folded = fold(&run.plan, &run.decoder, &device)?;
    let tokenizer = tokenizer_json(&run)?;
    let beside = run.checkpoint.parent().and_then(|all| all.parent());
    let name = run.checkpoint.file_name().unwrap_or_default();
    let place = arguments
        .out
        .or_else(|| Some(beside?.join("folded").join(name)));
    let before = run.plan.params().len();
    let kept = per_block(&folded.kept);
    let written = WeightsOnlyModel {
        origin: ModelOrigin::Folding {
            checkpoint: run.checkpoint.clone(),
            kept: folded.kept.clone(),
            texts: run.origin.as_ref().and_then(ModelOrigin::texts).cloned(),
        },
        config: &run.config,
        plan: &folded.plan,
        weights: weights::collect(&folded.decoder),
        tokenizer: tokenizer.as_deref(),
        trained: (run.state.step, run.state.tokens),
    }
    .write(place.as_deref())?;
    say!(
        "folded {}: {before} tensors became {}",
        run.checkpoint.display(),
        folded.plan.params().len()
    )?;
    if kept.is_empty() {
        say!("no learned scale is left")?;
    } else {
        let list: Vec<_> = kept.into_iter().collect();
        say!("no matrix can carry: {}", list.join(", "))?;
    }
    say!("folded model: {}", written.display())?;
    Ok(())
}

/// Names of scales with the block's number left out.
fn per_block(paths: &[String]) -> BTreeSet<String> {
    let general = |path: &String| match path.strip_prefix("blocks.") {
        Some(rest) => {
            let (_, inside) = rest.split_once('.').unwrap_or(("", rest));
            format!("blocks.*.{inside}")
        }
        None => path.clone(),
    };
    paths.iter().map(general).collect()
}
