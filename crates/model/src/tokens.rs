//! Token ids on their way from the host into a model.
//!
//! They are checked here, while they are numbers: on a device a check would have to wait for it.

use burn::tensor::{Int, Tensor, TensorData};

use crate::decoder::Decoder;
use crate::error::TokenError;

impl Decoder {
    /// Token ids, sequence after sequence, as the tensor `[B, T]` that this model reads, on its device.
    ///
    /// # Errors
    /// [`TokenError`] for an id outside the vocabulary, with its place, and for ids that are no whole sequences.
    ///
    /// ```
    /// use burn::tensor::Device;
    /// use evenburn_model::{Decoder, ModelConfig, Plan, strategy::PreNorm};
    /// let config = ModelConfig { vocab_size: 32, dim: 16, layers: 1, heads: 2, ..Default::default() };
    /// let model = Decoder::new(&Plan::new(&config, &PreNorm::default())?, 0, &Device::flex());
    /// let tokens = model.tokens(&[1, 2, 3, 4, 5, 6], 3)?;
    /// assert_eq!(model.hidden(tokens).dims(), [2, 3, 16]);
    /// let error = model.tokens(&[1, 2, 3, 4, 99, 6], 3).unwrap_err();
    /// assert_eq!(error.to_string(), "token 99 at position 1 of sequence 1 is outside the vocabulary of 32");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn tokens<I: Copy + Into<i64>>(
        &self,
        ids: &[I],
        time: usize,
    ) -> Result<Tensor<2, Int>, TokenError> {
        self.check_tokens(ids, time)?;
        let numbers: Vec<i64> = ids.iter().map(|id| (*id).into()).collect();
        let device = self.embed.weight.val().device();
        let rows = ids.len() / time;
        Ok(Tensor::from_data(
            TensorData::new(numbers, [rows, time]),
            &device,
        ))
    }

    /// Checks that the model has an entry for each of some token ids, sequences of `time`.
    ///
    /// # Errors
    /// As [`tokens`](Self::tokens).
    pub fn check_tokens<I: Copy + Into<i64>>(
        &self,
        ids: &[I],
        time: usize,
    ) -> Result<(), TokenError> {
        self.check(ids, time, self.first_unknown(ids))
    }

    /// The same for the targets of a loss, of which negative ones are ignored.
    ///
    /// # Errors
    /// As [`tokens`](Self::tokens).
    pub fn check_targets<I: Copy + Into<i64>>(
        &self,
        ids: &[I],
        time: usize,
    ) -> Result<(), TokenError> {
        let vocab = self.dims().vocab as i64;
        let unknown = ids.iter().position(|id| (*id).into() >= vocab);
        self.check(ids, time, unknown)
    }

    /// Where the first id is that the model has no entry for.
    pub(crate) fn first_unknown<I: Copy + Into<i64>>(&self, ids: &[I]) -> Option<usize> {
        let vocab = self.dims().vocab as i64;
        ids.iter()
            .position(|id| !(0..vocab).contains(&(*id).into()))
    }

    fn check<I: Copy + Into<i64>>(
        &self,
        ids: &[I],
        time: usize,
        unknown: Option<usize>,
    ) -> Result<(), TokenError> {
        if time == 0 || !ids.len().is_multiple_of(time) {
            let ids = ids.len();
            return Err(TokenError::Rows { ids, time });
        }
        match unknown {
            Some(place) => Err(TokenError::Outside {
                token: ids[place].into(),
                sequence: place / time,
                position: place % time,
                vocab: self.dims().vocab,
            }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::strategy::PreNorm;
    use crate::{ModelConfig, Plan, Recompute, SampleError, Sampler};

    fn model() -> Decoder {
        let config = ModelConfig {
            vocab_size: 32,
            dim: 16,
            layers: 1,
            heads: 2,
            ..ModelConfig::default()
        };
        let plan = Plan::new(&config, &PreNorm::default()).unwrap();
        Decoder::new(&plan, 0, &Device::flex())
    }

    fn outside(token: i64, sequence: usize, position: usize) -> TokenError {
        TokenError::Outside {
            token,
            sequence,
            position,
            vocab: 32,
        }
    }

    #[test]
    fn an_id_outside_the_vocabulary_is_named_with_its_place() {
        let model = model();
        let cases: [(&[i64], usize, TokenError); 6] = [
            (&[0, 32], 2, outside(32, 0, 1)),
            (&[0, -1], 2, outside(-1, 0, 1)),
            (&[0, 1, 2, i64::MAX], 2, outside(i64::MAX, 1, 1)),
            (&[i64::MIN], 1, outside(i64::MIN, 0, 0)),
            (&[1, 2, 3], 2, TokenError::Rows { ids: 3, time: 2 }),
            (&[1, 2, 3], 0, TokenError::Rows { ids: 3, time: 0 }),
        ];
        for (ids, time, expected) in cases {
            assert_eq!(model.tokens(ids, time).unwrap_err(), expected, "{ids:?}");
        }
        assert_eq!(model.tokens(&[0_u32, 31], 1).unwrap().dims(), [2, 1]);
        assert_eq!(model.check_targets(&[-1, 31], 2), Ok(()));
        assert_eq!(model.check_targets(&[-1, 32], 2), Err(outside(32, 0, 1)));
    }

    #[test]
    fn a_prompt_outside_the_vocabulary_is_an_error_and_so_is_a_vocabulary_of_nothing() {
        let model = model();
        let greedy = Sampler {
            temperature: 0.0,
            ..Sampler::default()
        };
        let generate = |prompt: &[i64], known: usize, ends: &[i64]| {
            let allowed = |id| id < known;
            model.generate(prompt, 4, ends, allowed, &greedy, Recompute::Cached)
        };
        let error = generate(&[3, 32], 32, &[]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "token 32 at position 1 of the prompt is outside the vocabulary of 32"
        );
        let error = generate(&[3], 0, &[]).unwrap_err();
        assert!(matches!(error, SampleError::NothingAllowed { vocab: 32 }));
        assert!(generate(&[3], 5, &[]).unwrap().iter().all(|id| *id < 5));
        // Any of several ends a text.
        let free = generate(&[3], 32, &[]).unwrap();
        let first = free.iter().position(|id| *id == free[2]).unwrap();
        let ended = generate(&[3], 32, &[40, free[2]]).unwrap();
        assert_eq!(ended, free[..=first]);
    }
}
