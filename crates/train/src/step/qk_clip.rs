//! Attention scores held below a bound (QK-clip).

use std::collections::BTreeMap;

use evenburn_data::Batch;
use evenburn_geometry::Constraint;
use evenburn_model::{ParamRef, Place, Plan, Site};
use evenburn_optim::{qk_clip, scale_heads};

use crate::error::TrainError;
use crate::evaluate::read_all;
use crate::task::Task;

/// Whether the size of q's and k's weights decides the scores of a plan, so that scaling them bounds these.
///
/// # Errors
/// [`TrainError::Invalid`] naming what takes the size away.
pub(crate) fn check(plan: &Plan, threshold: f64) -> Result<(), TrainError> {
    if threshold == 0.0 {
        return Ok(());
    }
    let refuse = |why: &str| Err(TrainError::invalid("optim.qk_clip", why));
    for layer in &plan.layers {
        let normalized = [Site::Q, Site::K]
            .into_iter()
            .any(|site| layer.site(site).is_some_and(|s| s.linear.norm.is_some()));
        if normalized || layer.attention.qk_norm.is_some() {
            return refuse(
                "the scheme normalizes q and k, so their weights don't decide the scores",
            );
        }
    }
    let held = plan.params().into_iter().any(|spec| {
        let q_or_k = ParamRef::from_path(&spec.path)
            .is_ok_and(|param| matches!(param.place, Place::Site(Site::Q | Site::K)));
        q_or_k
            && matches!(
                spec.constraint,
                Constraint::Unit { .. } | Constraint::Frobenius { .. }
            )
    });
    if held {
        return refuse(
            "the scheme holds the weights of q and k at a length that scaling would change",
        );
    }
    Ok(())
}

/// The largest score of each query head on a batch, block by block.
pub(crate) fn largest_scores(task: &Task, batch: &Batch) -> Result<Vec<Vec<f64>>, TrainError> {
    let blocks = task.largest_scores(batch).into_iter();
    blocks.map(read_all).collect()
}

/// The task with scores that were measured brought below a bound.
pub(super) fn clipped(mut task: Task, scores: &[Vec<f64>], threshold: f64) -> Task {
    let kv_heads = task.decoder.dims().kv_heads;
    let mut factors = BTreeMap::new();
    for (block, scores) in scores.iter().enumerate() {
        debug_assert_eq!(scores.len(), task.decoder.dims().heads);
        if scores.iter().any(|score| *score > threshold) {
            let (q, k) = qk_clip(scores, kv_heads, threshold);
            for (site, factor) in [(Site::Q, q), (Site::K, k)] {
                for part in ["weight", "bias"] {
                    let param = ParamRef {
                        layer: Some(block),
                        place: Place::Site(site),
                        expert: None,
                        part: part.to_owned(),
                    };
                    factors.insert(param.to_string(), factor.clone());
                }
            }
        }
    }
    if !factors.is_empty() {
        task.decoder = scale_heads(task.decoder, &factors);
    }
    task
}
