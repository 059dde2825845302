//! Requests of benchmarks, shared out over ranks.

use std::ops::ControlFlow;

use evenburn_eval::{Scorer, TokenScore};
use evenburn_model::Decoder;
use evenburn_ranks::Communicator;

use super::messages::{ScoreOrder, all_results};
use super::ranks::unscored;
use crate::error::TrainError;

/// Scores a rank's passes of some requests; every rank has the scores of all, which are those of one rank alone.
pub(super) fn score_part(
    comm: &dyn Communicator,
    decoder: &Decoder,
    order: &ScoreOrder,
) -> Result<Vec<TokenScore>, TrainError> {
    let scorer = Scorer::new(decoder, order.context).passes(order.passes);
    let watch = &mut |_| ControlFlow::Continue(());
    let part = (comm.rank(), comm.world());
    let own = scorer.score_part(&order.requests, part, watch);
    let own = own.map_err(|error| unscored(&error));
    let all = all_results(comm, own.as_ref());
    let mut scores = own?;
    for others in all? {
        for (score, other) in scores.iter_mut().zip(others) {
            if other.is_some() {
                *score = other;
            }
        }
    }
    let missing = || TrainError::DeviceRead {
        why: "a request has no score".to_owned(),
    };
    scores
        .into_iter()
        .map(|score| score.ok_or_else(missing))
        .collect()
}
