//! What a model answers: tokens of requests in, log-likelihoods out.

mod batches;

use std::collections::HashMap;
use std::ops::ControlFlow;

use burn::tensor::{Int, Tensor, TensorData};
use evenburn_model::{Decoder, PrefixTree, TargetScores, TokenError};
use serde::{Deserialize, Serialize};

use crate::{TokenRequest, TokenScore};
use batches::batches;

/// Scores requests with a model.
///
/// Requests are grouped by what they begin with, which is computed once for all of a pass, the longest first. Of the end of a
/// request that is longer than the model's context the last tokens are seen. The model is used as it is: one that is trained is
/// given without its gradients (`valid()`).
///
/// ```
/// use burn::tensor::Device;
/// use evenburn_eval::{Scorer, TokenRequest};
/// use evenburn_model::{Decoder, ModelConfig, Plan, strategy::PreNorm};
/// let config = ModelConfig { vocab_size: 32, dim: 16, layers: 1, heads: 2, ..Default::default() };
/// let model = Decoder::new(&Plan::new(&config, &PreNorm::default())?, 0, &Device::flex());
/// let scorer = Scorer::new(&model, config.context);
/// let request = |tail: &[u32]| TokenRequest { head: vec![1, 2, 3], tail: tail.to_vec() };
/// let scores = scorer.score(&[request(&[4]), request(&[5, 6])], &mut |_| std::ops::ControlFlow::Continue(()))?;
/// assert!(scores.iter().all(|score| score.log_likelihood < 0.0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Scorer<'m> {
    model: &'m Decoder,
    context: usize,
    passes: Passes,
}

/// What is computed together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Passes {
    /// About so many tokens in a pass, shared beginnings once. Other numbers than these change results by rounding.
    Tokens(usize),
    /// One sequence in a pass: the result of a request is the same to the last bit whatever else is asked, in any order.
    OneByOne,
}

/// Tokens of a pass unless told otherwise: on a CPU more of them are no faster.
const TOKENS: usize = 2048;

/// Why requests were not scored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScoreError {
    /// A request has a token that the model doesn't have.
    #[error("a request can't be scored: {0}")]
    Token(#[from] TokenError),
    /// A request without a head or a tail, or with a tail that is longer than the context.
    #[error(
        "request {request}: a tail of {tail} tokens behind {head}, of which a model that sees {context} can't score all"
    )]
    Length {
        /// Its number, from 0.
        request: usize,
        /// Tokens of the head.
        head: usize,
        /// Tokens of the tail.
        tail: usize,
        /// Tokens that the model sees.
        context: usize,
    },
    /// The device fails.
    #[error("reading from the device: {0}")]
    Device(String),
    /// Whoever watches has seen enough.
    #[error("interrupted")]
    Interrupted,
}

/// Scores on the device until they are read: the requests, and how many tokens each scores.
struct Scored {
    requests: Vec<(usize, usize)>,
    scores: TargetScores,
}

impl<'m> Scorer<'m> {
    /// A scorer of a model that sees `context` tokens.
    pub fn new(model: &'m Decoder, context: usize) -> Self {
        Self {
            model,
            context,
            passes: Passes::Tokens(TOKENS),
        }
    }

    /// What is computed together.
    #[must_use]
    pub fn passes(mut self, passes: Passes) -> Self {
        self.passes = passes;
        self
    }

    /// The score of each request, in their order. `watch` is told after each pass how many are scored, and ends it by
    /// [`ControlFlow::Break`].
    ///
    /// # Errors
    /// [`ScoreError`].
    pub fn score(
        &self,
        requests: &[TokenRequest],
        watch: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) -> Result<Vec<TokenScore>, ScoreError> {
        let missing = || ScoreError::Device("a request has no score".to_owned());
        self.score_part(requests, (0, 1), watch)?
            .into_iter()
            .map(|it| it.ok_or_else(missing))
            .collect()
    }

    /// The scores of the passes that are one part's of several, `(part, parts)`: of a request in another part's there is none. The
    /// parts together have the scores of [`score`](Self::score), to the last bit.
    ///
    /// # Errors
    /// [`ScoreError`].
    ///
    /// ```
    /// use std::ops::ControlFlow;
    /// use burn::tensor::Device;
    /// use evenburn_eval::{Passes, Scorer, TokenRequest};
    /// use evenburn_model::{Decoder, ModelConfig, Plan, strategy::PreNorm};
    ///
    /// let config = ModelConfig { vocab_size: 32, dim: 16, layers: 1, heads: 2, context: 8, ..Default::default() };
    /// let decoder = Decoder::new(&Plan::new(&config, &PreNorm::default())?, 0, &Device::flex());
    /// let requests: Vec<TokenRequest> = (0..3)
    ///     .map(|head| TokenRequest { head: vec![head], tail: vec![head + 1] })
    ///     .collect();
    /// let scorer = Scorer::new(&decoder, 8).passes(Passes::OneByOne);
    /// let mut watch = |_: usize| ControlFlow::Continue(());
    /// let whole = scorer.score(&requests, &mut watch)?;
    /// let parts = [
    ///     scorer.score_part(&requests, (0, 2), &mut watch)?,
    ///     scorer.score_part(&requests, (1, 2), &mut watch)?,
    /// ];
    /// for (number, score) in whole.iter().enumerate() {
    ///     assert_eq!(parts[0][number].as_ref().or(parts[1][number].as_ref()), Some(score));
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn score_part(
        &self,
        requests: &[TokenRequest],
        (part, parts): (usize, usize),
        watch: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) -> Result<Vec<Option<TokenScore>>, ScoreError> {
        // Equal requests have equal scores, so that the first of them wins.
        let mut known: HashMap<Vec<i64>, usize> = HashMap::new();
        let mut sequences: Vec<Vec<i64>> = Vec::new();
        let mut askers: Vec<Vec<usize>> = Vec::new();
        for (number, request) in requests.iter().enumerate() {
            let (head, tail) = (request.head.len(), request.tail.len());
            if head == 0 || tail == 0 || tail > self.context {
                return Err(ScoreError::Length {
                    request: number,
                    head,
                    tail,
                    context: self.context,
                });
            }
            let sequence = self.seen(request);
            let place = *known.entry(sequence).or_insert_with_key(|sequence| {
                sequences.push(sequence.clone());
                askers.push(Vec::new());
                sequences.len() - 1
            });
            askers[place].push(number);
        }
        let mut results = vec![None; requests.len()];
        let mut done = 0;
        // What a device computes is read a pass later, so that it needn't wait for the next one.
        let mut waiting: Option<Scored> = None;
        let passes = match self.passes {
            Passes::Tokens(tokens) => batches(&sequences, tokens),
            Passes::OneByOne => batches(&sequences, 1),
        };
        let own = passes.into_iter().enumerate();
        for (_, pass) in own.filter(|(number, _)| number % parts == part) {
            let next = self.pass(&pass.sequences, &askers, requests)?;
            if let Some(scored) = waiting.replace(next) {
                done += scored.read(&mut results)?;
                if watch(done).is_break() {
                    return Err(ScoreError::Interrupted);
                }
            }
        }
        if let Some(scored) = waiting {
            done += scored.read(&mut results)?;
            let _ = watch(done);
        }
        Ok(results)
    }

    /// The tokens of a request that a model sees or predicts: its last `context + 1`.
    fn seen(&self, request: &TokenRequest) -> Vec<i64> {
        let all = request.head.len() + request.tail.len();
        let ids = request.head.iter().chain(&request.tail);
        let ids = ids.skip(all.saturating_sub(self.context + 1));
        ids.map(|id| i64::from(*id)).collect()
    }

    /// Computes some sequences together.
    fn pass(
        &self,
        sequences: &[(usize, &[i64])],
        askers: &[Vec<usize>],
        requests: &[TokenRequest],
    ) -> Result<Scored, ScoreError> {
        // The last token is predicted alone.
        let inputs: Vec<&[i64]> = sequences
            .iter()
            .map(|(_, ids)| &ids[..ids.len() - 1])
            .collect();
        let tree = PrefixTree::new(&inputs);
        let (mut nodes, mut targets, mut of) = (Vec::new(), Vec::new(), Vec::new());
        for (row, (number, ids)) in sequences.iter().enumerate() {
            for asker in &askers[*number] {
                let tail = requests[*asker].tail.len();
                let start = ids.len() - 1 - tail;
                nodes.extend_from_slice(&tree.nodes(row)[start..]);
                targets.extend_from_slice(&ids[start + 1..]);
                of.push((*asker, tail));
            }
        }
        let scores = match self.passes {
            Passes::Tokens(_) => self.model.tree_scores(&tree, &nodes, &targets)?,
            // By the plain way, which knows of no other sequence.
            Passes::OneByOne => self.plainly(sequences[0].1, &nodes)?,
        };
        Ok(Scored {
            requests: of,
            scores,
        })
    }

    /// The scores of places of one sequence, all of which are computed, whoever asks.
    fn plainly(&self, ids: &[i64], places: &[usize]) -> Result<TargetScores, ScoreError> {
        let time = ids.len() - 1;
        let hidden = self.model.hidden(self.model.tokens(&ids[..time], time)?);
        let targets = self.model.tokens(&ids[1..], time)?;
        let all = self.model.target_scores(hidden, targets);
        let places: Vec<i64> = places.iter().map(|place| *place as i64).collect();
        let places = TensorData::new(places.clone(), [places.len()]);
        let places = Tensor::<1, Int>::from_data(places, &all.log_likelihood.device());
        Ok(TargetScores {
            log_likelihood: all.log_likelihood.select(1, places.clone()),
            greedy: all.greedy.select(1, places),
        })
    }
}

impl Scored {
    /// Reads them; how many requests there were.
    fn read(self, results: &mut [Option<TokenScore>]) -> Result<usize, ScoreError> {
        let failed = |e: &dyn std::fmt::Debug| ScoreError::Device(format!("{e:?}"));
        let data = self.scores.log_likelihood.try_into_data();
        let values = data.map_err(|e| failed(&e))?.convert::<f64>();
        let values: Vec<f64> = values.try_to_vec().map_err(|e| failed(&e))?;
        let data = self.scores.greedy.try_into_data();
        let greedy: Vec<bool> = data.map_err(|e| failed(&e))?.iter::<bool>().collect();
        let mut start = 0;
        for (request, tail) in &self.requests {
            let of = start..start + tail;
            results[*request] = Some(TokenScore {
                log_likelihood: values[of.clone()].iter().sum(),
                greedy: greedy[of].iter().all(|greedy| *greedy),
            });
            start += tail;
        }
        Ok(self.requests.len())
    }
}
