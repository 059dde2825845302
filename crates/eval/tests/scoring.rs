//! The scorer against sequences that are computed one by one, and models that it doesn't know.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::ops::ControlFlow;

use burn::tensor::Device;
use evenburn_eval::{Passes, ScoreError, Scorer, TokenRequest, TokenScore};
use evenburn_model::strategy::{AnGpt, PreNorm};
use evenburn_model::{Decoder, ModelConfig, Plan, Positions};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const CONTEXT: usize = 24;
const VOCAB: u32 = 50;

fn models() -> [Decoder; 3] {
    let config = ModelConfig {
        vocab_size: VOCAB as usize,
        dim: 32,
        layers: 2,
        heads: 4,
        kv_heads: Some(2),
        context: CONTEXT,
        ..ModelConfig::default()
    };
    let learned = ModelConfig {
        positions: Positions::Learned,
        ..config.clone()
    };
    let plans = [
        Plan::new(&config, &PreNorm::default()).unwrap(),
        Plan::new(&config, &AnGpt::default()).unwrap(),
        Plan::new(&learned, &PreNorm::default()).unwrap(),
    ];
    plans.map(|plan| Decoder::new(&plan, 7, &Device::flex()))
}

/// Heads with several tails, some equal, some longer than the context.
fn requests(rng: &mut ChaCha8Rng, heads: usize) -> Vec<TokenRequest> {
    let tokens = |rng: &mut ChaCha8Rng, len: usize| -> Vec<u32> {
        (0..len).map(|_| rng.random_range(0..VOCAB)).collect()
    };
    let mut all = Vec::new();
    for _ in 0..heads {
        let len = rng.random_range(1..2 * CONTEXT);
        let head = tokens(rng, len);
        for _ in 0..rng.random_range(1..5) {
            let len = rng.random_range(1..CONTEXT);
            all.push(TokenRequest {
                head: head.clone(),
                tail: tokens(rng, len),
            });
        }
        // The same tokens with another border, and the same again.
        if let Some(TokenRequest { head, tail }) = all.last().cloned() {
            let mut moved = TokenRequest { head, tail };
            all.push(moved.clone());
            if moved.head.len() > 1 && moved.tail.len() < CONTEXT {
                let last = moved.head.pop().unwrap();
                moved.tail.insert(0, last);
                all.push(moved);
            }
        }
    }
    all
}

fn scored(model: &Decoder, requests: &[TokenRequest], passes: Passes) -> Vec<TokenScore> {
    let scorer = Scorer::new(model, CONTEXT).passes(passes);
    let mut told = Vec::new();
    let scores = scorer.score(requests, &mut |done| {
        told.push(done);
        ControlFlow::Continue(())
    });
    assert!(told.is_sorted());
    assert_eq!(told.last().copied().unwrap_or(0), requests.len());
    scores.unwrap()
}

#[test]
fn passes_of_any_size_and_order_agree() {
    let seed = rand::random();
    println!("seed {seed}");
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    for model in models() {
        let requests = requests(&mut rng, 12);
        let exact = scored(&model, &requests, Passes::OneByOne);
        for tokens in [1, 30, 300, 5000] {
            for (found, exact) in scored(&model, &requests, Passes::Tokens(tokens))
                .iter()
                .zip(&exact)
            {
                let error = (found.log_likelihood - exact.log_likelihood).abs();
                assert!(
                    error < 1e-5 * exact.log_likelihood.abs().max(1.0),
                    "{error:e}"
                );
                assert_eq!(found.greedy, exact.greedy);
            }
        }
        // To the last bit, in any order and company.
        let mut backwards: Vec<_> = requests[5..].iter().rev().cloned().collect();
        let mut found = scored(&model, &backwards, Passes::OneByOne);
        found.reverse();
        assert_eq!(found, exact[5..]);
        backwards.truncate(1);
        assert_eq!(
            scored(&model, &backwards, Passes::OneByOne)[0],
            *exact.last().unwrap()
        );
        // Equal requests tie.
        for passes in [Passes::Tokens(64), Passes::OneByOne] {
            let scores = scored(&model, &requests, passes);
            for (a, one) in requests.iter().zip(&scores) {
                for (b, other) in requests.iter().zip(&scores) {
                    assert!(a != b || one == other);
                }
            }
        }
    }
}

#[test]
fn what_can_not_be_scored_is_an_error() {
    let [model, ..] = models();
    let score = |head: Vec<u32>, tail: Vec<u32>| {
        let request = TokenRequest { head, tail };
        let scorer = Scorer::new(&model, CONTEXT);
        scorer.score(&[request], &mut |_| ControlFlow::Continue(()))
    };
    for (head, tail) in [(0, 3), (3, 0), (3, CONTEXT + 1)] {
        let found = score(vec![1; head], vec![1; tail]);
        assert!(matches!(found, Err(ScoreError::Length { .. })), "{found:?}");
    }
    assert!(score(vec![1; 3], vec![1; CONTEXT]).is_ok());
    assert!(matches!(
        score(vec![VOCAB], vec![1]),
        Err(ScoreError::Token(_))
    ));
    let requests: Vec<_> = (0..9)
        .map(|n| TokenRequest {
            head: vec![n, 1],
            tail: vec![2, n],
        })
        .collect();
    let scorer = Scorer::new(&model, CONTEXT).passes(Passes::Tokens(4));
    let stopped = scorer.score(&requests, &mut |_| ControlFlow::Break(()));
    assert!(matches!(stopped, Err(ScoreError::Interrupted)));
    assert_eq!(
        scorer
            .score(&[], &mut |_| ControlFlow::Continue(()))
            .unwrap(),
        []
    );
}
