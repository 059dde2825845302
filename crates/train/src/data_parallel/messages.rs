//! What ranks tell one another, beside numbers of parameters.

use std::collections::BTreeMap;

use evenburn_data::Batch;
use evenburn_eval::{Passes, TokenRequest};
use evenburn_model::function::Moment;
use evenburn_optim::Counts;
use evenburn_ranks::{Communicator, agree, broadcast};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::TrainError;
use crate::step::{Figures, StepInfo};

/// What rank 0 has the others do next; what it needs to say more is the message behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Order {
    /// Make the same model and optimizer, by a [`Beginning`] and the tensors behind it.
    Begin,
    /// Take the step of a [`StepOrder`].
    Step,
    /// Score some batches, one a rank.
    Evaluate,
    /// Score the passes of a [`ScoreOrder`] that are one's own.
    Score,
    /// Say how often one's optimizer has stepped.
    OptimizerCounts,
    /// Bring the state of one's optimizer.
    OptimizerState,
    /// There is nothing more to do.
    End,
}

/// What a run begins or goes on with.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Beginning {
    /// The resolved configuration, as TOML.
    pub(crate) config: String,
    /// The recorded plan, as TOML.
    pub(crate) plan: String,
    /// Steps of the budget.
    pub(crate) total: u64,
}

/// The state of an optimizer, without its numbers.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct StateNames {
    pub(super) counts: Counts,
    /// Names and shapes.
    pub(super) tensors: Vec<(String, Vec<usize>)>,
}

/// A step, as [`StepInfo`] has it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StepOrder {
    seed: u64,
    step: u64,
    total: u64,
    factor: f64,
    qk_clip: f64,
    /// All micro-batches.
    pub(super) batches: Vec<Batch>,
    /// Whether somebody looks at the summed gradients of all parameters.
    pub(super) whole: bool,
    /// Whether attention scores follow the update.
    pub(super) scores: bool,
}

impl StepOrder {
    pub(super) fn new(info: &StepInfo, batches: Vec<Batch>, whole: bool, scores: bool) -> Self {
        Self {
            seed: info.seed,
            step: info.before.step,
            total: info.before.total,
            factor: info.factor,
            qk_clip: info.qk_clip,
            batches,
            whole,
            scores,
        }
    }

    pub(super) fn info(&self) -> StepInfo {
        StepInfo {
            seed: self.seed,
            before: Moment {
                step: self.step,
                total: self.total,
            },
            factor: self.factor,
            qk_clip: self.qk_clip,
        }
    }
}

/// Requests to a scorer.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ScoreOrder {
    pub(super) requests: Vec<TokenRequest>,
    /// Tokens that the model sees.
    pub(super) context: usize,
    pub(super) passes: Passes,
}

/// What a rank has to say of its micro-batches.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Contribution {
    pub(super) figures: Vec<Figures>,
    /// Whether somebody has asked this rank to stop.
    pub(super) stop: bool,
}

/// A message as bytes.
pub(super) fn encode(message: &impl Serialize) -> Result<Vec<u8>, TrainError> {
    rmp_serde::to_vec(message).map_err(|e| TrainError::Unwritable {
        what: "a message between ranks",
        why: e.to_string(),
    })
}

/// A message from its bytes.
fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, TrainError> {
    rmp_serde::from_slice(bytes).map_err(|e| TrainError::DeviceRead {
        why: format!("a message of another rank: {e}"),
    })
}

/// The next message of rank 0.
pub(super) fn receive<T: DeserializeOwned>(ranks: &dyn Communicator) -> Result<T, TrainError> {
    decode(&broadcast(ranks, Vec::new())?)
}

/// What every rank has come to, in the order of the ranks.
///
/// # Errors
/// This rank's own error, if it has one, else that of the first rank that failed.
pub(super) fn all_results<T: Serialize + DeserializeOwned>(
    ranks: &dyn Communicator,
    own: Result<&T, &TrainError>,
) -> Result<Vec<T>, TrainError> {
    let bytes = own.map_err(ToString::to_string);
    let bytes = bytes.and_then(|message| encode(message).map_err(|e| e.to_string()));
    let all = agree(ranks, bytes)?;
    all.iter().map(|bytes| decode(bytes)).collect()
}

/// Checks that values are the same on all ranks: what each was started with, which program it is. A rank that has no values because
/// something is wrong there says what.
///
/// # Errors
/// [`TrainError::Ranks`] with the first rank that failed; [`TrainError::RankDiffers`] with the first that differs from rank 0. Every
/// rank has the same error.
pub fn same_everywhere(
    ranks: &dyn Communicator,
    own: Result<BTreeMap<String, String>, String>,
) -> Result<(), TrainError> {
    let named = own.map(|values| (ranks.host(), values));
    let bytes = named.and_then(|named| encode(&named).map_err(|e| e.to_string()));
    let all = agree(ranks, bytes)?;
    let decoded = all.iter().map(|bytes| decode(bytes));
    let all: Vec<(String, BTreeMap<String, String>)> = decoded.collect::<Result<_, _>>()?;
    let Some((_, first)) = all.first() else {
        return Ok(());
    };
    for (rank, (host, values)) in all.iter().enumerate() {
        let names = first.keys().chain(values.keys());
        let mut differing = names.filter(|name| first.get(*name) != values.get(*name));
        if let Some(what) = differing.next() {
            return Err(TrainError::RankDiffers {
                rank,
                host: host.clone(),
                what: what.clone(),
            });
        }
    }
    Ok(())
}
