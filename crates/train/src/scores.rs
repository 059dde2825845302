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

/// The task with its scores on a batch brought below a bound, and the largest there was.
pub(crate) fn clipped(
    mut task: Task,
    batch: &Batch,
    threshold: f64,
) -> Result<(Task, f64), TrainError> {
    let (heads, kv_heads) = (task.decoder.dims().heads, task.decoder.dims().kv_heads);
    let blocks = task.largest_scores(batch);
    let mut factors = BTreeMap::new();
    let mut largest = f64::NEG_INFINITY;
    for (block, scores) in blocks.into_iter().enumerate() {
        let scores = read_all(scores)?;
        debug_assert_eq!(scores.len(), heads);
        largest = scores.iter().copied().fold(largest, f64::max);
        if scores.iter().any(|score| *score > threshold) {
            let (q, k) = qk_clip(&scores, kv_heads, threshold);
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
    Ok((task, largest))
}
