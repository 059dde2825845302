//! How likely tokens are, by rows that sequences share and one by one.

use crate::common::{VOCAB, model, subjects};
use burn::tensor::{Device, Int, Tensor};
use evenburn_model::{Decoder, ModelConfig, Plan, PrefixTree, TokenError, strategy::PreNorm};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// `(log p, greedy)` of a token behind a sequence, from all logits at once.
fn alone(model: &Decoder, sequence: &[i64], target: i64) -> (f64, bool) {
    let hidden = model.hidden(model.tokens(sequence, sequence.len()).unwrap());
    let logits = model.logits(hidden.narrow(1, sequence.len() - 1, 1));
    let logits: Vec<f64> = logits.into_data().convert::<f64>().try_to_vec().unwrap();
    let largest = logits.iter().fold(f64::NEG_INFINITY, |m, z| m.max(*z));
    let sum: f64 = logits.iter().map(|z| (z - largest).exp()).sum();
    let own = logits[target as usize];
    let first = logits.iter().position(|z| *z >= largest).unwrap();
    (own - largest - sum.ln(), first as i64 == target)
}

/// Sequences that share beginnings, some the beginning of others, some equal.
fn sequences(rng: &mut ChaCha8Rng, longest: usize) -> Vec<Vec<i64>> {
    let token = |rng: &mut ChaCha8Rng| rng.random_range(0..VOCAB as i64);
    let mut all: Vec<Vec<i64>> = Vec::new();
    for number in 0..7 {
        let mut sequence = match all.last() {
            Some(last) if number % 3 > 0 => last[..rng.random_range(0..=last.len())].to_vec(),
            _ => Vec::new(),
        };
        let len = rng.random_range(sequence.len().max(1)..=longest);
        while sequence.len() < len {
            sequence.push(token(rng));
        }
        all.push(sequence);
    }
    all.push(all[2].clone());
    all
}

#[test]
fn shared_rows_score_as_sequences_one_by_one() {
    let device = Device::flex();
    let seed = rand::random();
    println!("seed {seed}");
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut shared = 0;
    for subject in subjects() {
        let model = model(&subject, &device);
        let sequences = sequences(&mut rng, subject.config.context.min(12));
        let views: Vec<&[i64]> = sequences.iter().map(Vec::as_slice).collect();
        let tree = PrefixTree::new(&views);
        shared += views.concat().len() - tree.tokens().len();
        let mut nodes = Vec::new();
        let mut targets = Vec::new();
        let mut expected = Vec::new();
        for (number, sequence) in sequences.iter().enumerate() {
            for place in 0..sequence.len() {
                let target = match sequence.get(place + 1) {
                    Some(next) => *next,
                    None => rng.random_range(0..VOCAB as i64),
                };
                nodes.push(tree.nodes(number)[place]);
                targets.push(target);
                expected.push(alone(&model, &sequence[..=place], target));
            }
        }
        let scores = model.tree_scores(&tree, &nodes, &targets).unwrap();
        let found: Vec<f64> = scores.log_likelihood.into_data().try_to_vec().unwrap();
        let greedy: Vec<bool> = scores.greedy.into_data().iter::<bool>().collect();
        for (n, (log_likelihood, is_greedy)) in expected.into_iter().enumerate() {
            let error = (found[n] - log_likelihood).abs();
            assert!(error < 1e-11, "{}: {error:e}", subject.name);
            assert_eq!(greedy[n], is_greedy, "{}", subject.name);
        }
    }
    assert!(shared > 500, "{shared}");
}

fn small() -> Decoder {
    let config = ModelConfig {
        vocab_size: 9,
        dim: 8,
        layers: 1,
        heads: 2,
        ..ModelConfig::default()
    };
    let plan = Plan::new(&config, &PreNorm::default()).unwrap();
    Decoder::new(&plan, 1, &Device::flex())
}

#[test]
fn of_equal_logits_the_first_is_the_most_likely() {
    let model = small();
    // No vector at all: every logit is 0.
    let hidden = Tensor::<3>::zeros([1, 9, 8], &Device::flex());
    let targets = Tensor::<2, Int>::from_ints([[0, 1, 2, 3, 4, 5, 6, 7, 8]], &Device::flex());
    let scores = model.target_scores(hidden, targets);
    let greedy: Vec<bool> = scores.greedy.into_data().iter::<bool>().collect();
    assert_eq!(greedy.iter().position(|greedy| *greedy), Some(0));
    assert_eq!(greedy.iter().filter(|greedy| **greedy).count(), 1);
    for value in scores.log_likelihood.into_data().iter::<f32>() {
        assert!((value + 9.0_f32.ln()).abs() < 1e-6);
    }
}

#[test]
fn unknown_tokens_and_empty_trees_are_errors() {
    let model = small();
    let tree = PrefixTree::new(&[&[1_i64, 9][..]]);
    let error = model.hidden_of(&tree).unwrap_err();
    assert!(matches!(error, TokenError::Outside { token: 9, .. }));
    let empty = PrefixTree::new(&[]);
    assert!(matches!(
        model.hidden_of(&empty),
        Err(TokenError::Rows { .. })
    ));
    let tree = PrefixTree::new(&[&[1_i64, 2][..]]);
    assert!(model.tree_scores(&tree, &[0], &[9]).is_err());
}
