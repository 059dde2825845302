//! Text generation: one token after another.

use crate::cache::KvCache;
use crate::decoder::Decoder;
use crate::error::SampleError;
use burn::tensor::{Device, Int, Tensor, TensorData};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// How the next token is drawn.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampler {
    /// Logits are divided by it; 0 takes the most likely token.
    pub temperature: f64,
    /// Only the `k` most likely tokens; 0 for all of them.
    pub top_k: usize,
    /// Only the most likely tokens whose probabilities first sum to this; 1 for all of them.
    pub top_p: f64,
    /// Seed of the draws; token `n` depends on the seed and `n` alone.
    pub seed: u64,
}

impl Default for Sampler {
    fn default() -> Self {
        Self {
            temperature: 0.8,
            top_k: 0,
            top_p: 0.95,
            seed: 0,
        }
    }
}

/// Whether keys and values are kept between tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recompute {
    /// Each token is computed once; its keys and values are kept.
    Cached,
    /// Every token is computed again for each new one: the slow reference.
    Full,
}

impl Sampler {
    fn check(&self) -> Result<(), SampleError> {
        let bad = |option, value, range| {
            Err(SampleError::Option {
                option,
                value,
                range,
            })
        };
        if !(self.temperature.is_finite() && self.temperature >= 0.0) {
            return bad("temperature", self.temperature, "at least 0");
        }
        if !(self.top_p > 0.0 && self.top_p <= 1.0) {
            return bad("top-p", self.top_p, "above 0 and at most 1");
        }
        Ok(())
    }

    /// Draws the token at `position` from its logits, one of `allowed`, which are some at least.
    fn draw(&self, logits: &[f32], allowed: &[usize], position: usize) -> Result<i64, SampleError> {
        if logits.iter().any(|z| !z.is_finite()) {
            return Err(SampleError::NonFinite { position });
        }
        // Ties go to the smaller token, so that the order is the same everywhere.
        let falling = |a: &usize, b: &usize| logits[*b].total_cmp(&logits[*a]).then(a.cmp(b));
        if self.temperature == 0.0 {
            let first = allowed.iter().copied().min_by(falling);
            return Ok(first.unwrap_or_default() as i64);
        }
        let mut order = allowed.to_vec();
        order.sort_by(falling);
        if self.top_k > 0 {
            order.truncate(self.top_k);
        }
        let largest = f64::from(logits[order[0]]);
        let weights: Vec<f64> = order
            .iter()
            .map(|i| ((f64::from(logits[*i]) - largest) / self.temperature).exp())
            .collect();
        let total: f64 = weights.iter().sum();
        let mut kept = 0.0;
        let count = weights
            .iter()
            .position(|w| {
                kept += w;
                kept >= self.top_p * total
            })
            .map_or(weights.len(), |last| last + 1);
        let mass: f64 = weights[..count].iter().sum();
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(position as u64);
        let mut rest = rng.random::<f64>() * mass;
        let drawn = weights[..count].iter().position(|w| {
            rest -= w;
            rest < 0.0
        });
        Ok(order[drawn.unwrap_or(count - 1)] as i64)
    }
}

impl Decoder {
    /// Continues `prompt` by up to `count` tokens and returns the new ones, the end included.
    ///
    /// The first of `ends` that is drawn ends the text. Only ids for which `allowed` is true are drawn: a model often has
    /// more entries than its tokenizer has tokens, and no text comes of the rest.
    ///
    /// # Errors
    /// [`SampleError`] for an empty prompt, a token outside the vocabulary, an option outside its range, a vocabulary of
    /// which nothing is allowed, or logits that are not finite.
    ///
    /// ```
    /// use burn::tensor::Device;
    /// use evenburn_model::{Decoder, ModelConfig, Plan, Recompute, Sampler, strategy::PreNorm};
    /// let config = ModelConfig { vocab_size: 32, dim: 16, layers: 1, heads: 2, ..Default::default() };
    /// let model = Decoder::new(&Plan::new(&config, &PreNorm::default())?, 0, &Device::flex());
    /// let tokenizer = 30; // two entries less than the model
    /// let known = |id| id < tokenizer;
    /// let new = model.generate(&[1, 2], 5, &[], known, &Sampler::default(), Recompute::Cached)?;
    /// assert_eq!(new.len(), 5);
    /// assert!(new.iter().all(|id| *id < 30));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn generate(
        &self,
        prompt: &[i64],
        count: usize,
        ends: &[i64],
        allowed: impl Fn(usize) -> bool,
        sampler: &Sampler,
        recompute: Recompute,
    ) -> Result<Vec<i64>, SampleError> {
        sampler.check()?;
        if prompt.is_empty() {
            return Err(SampleError::EmptyPrompt);
        }
        let vocab = self.dims().vocab;
        if let Some(position) = self.first_unknown(prompt) {
            return Err(SampleError::Token {
                token: prompt[position],
                position,
                vocab,
            });
        }
        let asked = prompt.len().saturating_add(count);
        if let Some(context) = self.longest()
            && asked > context
        {
            return Err(SampleError::Context { asked, context });
        }
        let allowed: Vec<usize> = (0..vocab).filter(|id| allowed(*id)).collect();
        if allowed.is_empty() {
            return Err(SampleError::NothingAllowed { vocab });
        }
        let device = self.embed.weight.val().device();
        let mut tokens = prompt.to_vec();
        let mut cache = KvCache::new(self);
        while tokens.len() < asked {
            let logits = match recompute {
                Recompute::Full => self.logits(self.hidden(row(&tokens, &device))),
                Recompute::Cached => {
                    let new = row(&tokens[cache.len()..], &device);
                    self.forward_cached(new, &mut cache)
                        .map_err(|e| SampleError::Read(e.to_string()))?
                }
            };
            let next = sampler.draw(&last(logits)?, &allowed, tokens.len())?;
            tokens.push(next);
            if ends.contains(&next) {
                break;
            }
        }
        Ok(tokens.split_off(prompt.len()))
    }
}

/// One sequence, `[1, T]`.
fn row(tokens: &[i64], device: &Device) -> Tensor<2, Int> {
    Tensor::from_data(TensorData::new(tokens.to_vec(), [1, tokens.len()]), device)
}

/// Logits of the last position.
fn last(logits: Tensor<3>) -> Result<Vec<f32>, SampleError> {
    let [_, t, vocab] = logits.dims();
    logits
        .narrow(1, t - 1, 1)
        .reshape([vocab])
        .try_into_vec_as::<f32>()
        .map_err(|e| SampleError::Read(format!("{e:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGITS: [f32; 4] = [1.0, 3.0, 2.0, -1.0];

    fn frequencies_among(sampler: &Sampler, allowed: &[usize]) -> [f64; 4] {
        let mut counts = [0.0; 4];
        for position in 0..4000 {
            let drawn = sampler.draw(&LOGITS, allowed, position).unwrap();
            counts[drawn as usize] += 1.0 / 4000.0;
        }
        counts
    }

    fn frequencies(sampler: &Sampler) -> [f64; 4] {
        frequencies_among(sampler, &[0, 1, 2, 3])
    }

    #[test]
    fn draws_follow_the_softmax() {
        let sampler = Sampler {
            temperature: 1.0,
            top_k: 0,
            top_p: 1.0,
            seed: 3,
        };
        let total: f64 = LOGITS.iter().map(|z| f64::from(*z).exp()).sum();
        for (found, z) in frequencies(&sampler).into_iter().zip(LOGITS) {
            let expected = f64::from(z).exp() / total;
            assert!((found - expected).abs() < 0.03, "{found} {expected}");
        }
    }

    #[test]
    fn cuts_remove_the_unlikely() {
        let base = Sampler {
            temperature: 1.0,
            top_k: 0,
            top_p: 1.0,
            seed: 3,
        };
        let top_k = frequencies(&Sampler {
            top_k: 2,
            ..base.clone()
        });
        assert_eq!((top_k[0], top_k[3]), (0.0, 0.0));
        // The two most likely tokens have 0.66 and 0.24 of the mass.
        let top_p = frequencies(&Sampler {
            top_p: 0.7,
            ..base.clone()
        });
        assert!(top_p[1] > 0.0 && top_p[2] > 0.0 && top_p[0] == 0.0 && top_p[3] == 0.0);
        let greedy = frequencies(&Sampler {
            temperature: 0.0,
            ..base
        });
        assert!((greedy[1] - 1.0).abs() < 1e-9);
    }

    #[test]
    fn what_is_not_allowed_is_never_drawn_and_takes_no_mass() {
        let base = Sampler {
            temperature: 1.0,
            top_k: 0,
            top_p: 1.0,
            seed: 3,
        };
        // The most likely token is not allowed.
        let allowed = [0, 2, 3];
        let greedy = Sampler {
            temperature: 0.0,
            ..base.clone()
        };
        assert!((frequencies_among(&greedy, &allowed)[2] - 1.0).abs() < 1e-9);
        // Of three, the two most likely.
        let top_k = Sampler {
            top_k: 2,
            ..base.clone()
        };
        let found = frequencies_among(&top_k, &allowed);
        assert!(found[0] > 0.0 && found[2] > 0.0, "{found:?}");
        assert_eq!((found[1], found[3]), (0.0, 0.0));
        // 2 and 0 have 0.71 and 0.26 of what is left.
        let top_p = Sampler {
            top_p: 0.6,
            ..base.clone()
        };
        assert!((frequencies_among(&top_p, &allowed)[2] - 1.0).abs() < 1e-9);
        // Those that are left share all of it.
        let total: f64 = allowed.iter().map(|i| f64::from(LOGITS[*i]).exp()).sum();
        let found = frequencies_among(&base, &allowed);
        for id in allowed {
            let expected = f64::from(LOGITS[id]).exp() / total;
            assert!((found[id] - expected).abs() < 0.03, "{found:?}");
        }
        assert_eq!(found[1].to_bits(), 0.0_f64.to_bits());
    }

    #[test]
    fn options_outside_their_range_are_refused() {
        for (temperature, top_p) in [(-1.0, 1.0), (f64::NAN, 1.0), (1.0, 0.0), (1.0, 1.5)] {
            let sampler = Sampler {
                temperature,
                top_p,
                ..Sampler::default()
            };
            assert!(sampler.check().is_err());
        }
    }
}
