//! Python's `random.Random`: a Mersenne Twister and what CPython makes of its words.

use std::collections::HashSet;

/// Words of state.
const N: usize = 624;
/// How far the word lies that a new one is mixed with.
const M: usize = 397;

/// Python's `random.Random(seed)`, draw for draw.
///
/// ```
/// use evenburn_eval::python::Random;
/// let mut random = Random::new(1234);
/// assert_eq!(random.sample(22, 5).unwrap(), [14, 3, 0, 2, 18]);
/// ```
#[derive(Clone)]
pub struct Random {
    state: [u32; N],
    /// The next word of the state; [`N`] where all are used.
    next: usize,
}

impl std::fmt::Debug for Random {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Random")
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}

impl Random {
    /// A generator seeded with a whole number.
    pub fn new(seed: u64) -> Self {
        let (low, high) = (seed as u32, (seed >> 32) as u32);
        let key: &[u32] = if high == 0 { &[low] } else { &[low, high] };
        Self::of_key(key)
    }

    /// The reference implementation's `init_by_array`.
    fn of_key(key: &[u32]) -> Self {
        let mut state = [0; N];
        let mut word = 19_650_218_u32;
        for (i, place) in state.iter_mut().enumerate() {
            if i > 0 {
                word = (word ^ (word >> 30))
                    .wrapping_mul(1_812_433_253)
                    .wrapping_add(i as u32);
            }
            *place = word;
        }
        let (mut i, mut j) = (1, 0);
        let mixed = |state: &[u32; N], i: usize, factor: u32| {
            let before = state[i - 1];
            state[i] ^ (before ^ (before >> 30)).wrapping_mul(factor)
        };
        for _ in 0..N.max(key.len()) {
            state[i] = mixed(&state, i, 1_664_525)
                .wrapping_add(key[j])
                .wrapping_add(j as u32);
            j = (j + 1) % key.len();
            i += 1;
            if i == N {
                state[0] = state[N - 1];
                i = 1;
            }
        }
        for _ in 1..N {
            state[i] = mixed(&state, i, 1_566_083_941).wrapping_sub(i as u32);
            i += 1;
            if i == N {
                state[0] = state[N - 1];
                i = 1;
            }
        }
        state[0] = 1 << 31;
        Self { state, next: N }
    }

    /// Makes the next [`N`] words.
    fn twist(&mut self) {
        let twisted = |high: u32, low: u32| {
            let both = (high & 0x8000_0000) | (low & 0x7fff_ffff);
            (both >> 1) ^ (0x9908_b0df & (both & 1).wrapping_neg())
        };
        let state = &mut self.state;
        for i in 0..N - M {
            state[i] = state[i + M] ^ twisted(state[i], state[i + 1]);
        }
        for i in N - M..N - 1 {
            state[i] = state[i + M - N] ^ twisted(state[i], state[i + 1]);
        }
        state[N - 1] = state[M - 1] ^ twisted(state[N - 1], state[0]);
        self.next = 0;
    }

    /// The next word.
    #[inline]
    fn word(&mut self) -> u32 {
        if self.next >= N {
            self.twist();
        }
        let mut word = self.state[self.next];
        self.next += 1;
        word ^= word >> 11;
        word ^= (word << 7) & 0x9d2c_5680;
        word ^= (word << 15) & 0xefc6_0000;
        word ^ (word >> 18)
    }

    /// A number below 2^`bits`; at most 64 bits are given.
    pub fn bits(&mut self, bits: u32) -> u64 {
        match bits {
            0 => 0,
            1..=32 => u64::from(self.word() >> (32 - bits)),
            _ => {
                let low = u64::from(self.word());
                let high = self.word() >> (64 - bits.min(64));
                u64::from(high) << 32 | low
            }
        }
    }

    /// A number in [0, 1) with 53 bits.
    #[inline]
    pub fn float(&mut self) -> f64 {
        let high = f64::from(self.word() >> 5);
        let low = f64::from(self.word() >> 6);
        (high * 67_108_864.0 + low) * (1.0 / 9_007_199_254_740_992.0)
    }

    /// A number below `limit`, drawn until it is one.
    fn below(&mut self, limit: usize) -> usize {
        let bits = usize::BITS - limit.leading_zeros();
        loop {
            let drawn = self.bits(bits) as usize;
            if drawn < limit || limit == 0 {
                return drawn;
            }
        }
    }

    /// Places of `count` different ones of `population` things, as `sample` takes them; nothing where there aren't so
    /// many.
    pub fn sample(&mut self, population: usize, count: usize) -> Option<Vec<usize>> {
        if count > population {
            return None;
        }
        // Where the set of those drawn would need more memory than a list of all, there is a list.
        let mut set_size = 21;
        if count > 5 {
            let mut power = 4;
            while power < count * 3 {
                power *= 4;
            }
            set_size += power;
        }
        let mut result = Vec::with_capacity(count);
        if population <= set_size {
            let mut pool: Vec<usize> = (0..population).collect();
            for left in (population - count + 1..=population).rev() {
                let drawn = self.below(left);
                result.push(pool[drawn]);
                pool[drawn] = pool[left - 1];
            }
        } else {
            let mut drawn_before = HashSet::with_capacity(count);
            for _ in 0..count {
                let mut drawn = self.below(population);
                while !drawn_before.insert(drawn) {
                    drawn = self.below(population);
                }
                result.push(drawn);
            }
        }
        Some(result)
    }

    /// The place of one of `population` things, as `choices` draws each.
    #[inline]
    pub fn choice(&mut self, population: usize) -> usize {
        (self.float() * population as f64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // All values are those of Python 3.11.

    #[test]
    fn words_follow_from_the_seed() {
        for (seed, words, floats) in [
            (
                0,
                [3_626_764_237, 1_654_615_998, 3_255_389_356, 3_823_568_514],
                [0.420_571_580_830_845, 0.258_916_750_292_963_35],
            ),
            (
                1,
                [577_090_037, 2_444_712_010, 3_639_700_191, 3_445_702_192],
                [0.763_774_618_976_614, 0.255_069_025_739_421_7],
            ),
            (
                1234,
                [4_150_886_329, 3_342_196_574, 1_892_932_127, 501_869_158],
                [0.007_491_470_058_587_191, 0.910_975_962_449_124_2],
            ),
            (
                (1 << 32) + 7,
                [968_553_300, 3_287_823_873, 1_540_179_448, 1_473_205_320],
                [0.799_233_124_123_975_4, 0.960_356_312_865_796_1],
            ),
            (
                1 << 63,
                [2_377_109_768, 1_691_753_470, 4_039_908_392, 899_083_848],
                [0.241_994_321_116_908_33, 0.851_287_011_073_114_7],
            ),
        ] {
            let mut random = Random::new(seed);
            assert_eq!([(); 4].map(|()| random.bits(32)), words);
            assert_eq!(
                [(); 2].map(|()| random.float().to_bits()),
                floats.map(f64::to_bits)
            );
        }
        let mut random = Random::new(1234);
        for _ in 0..700 {
            random.bits(32);
        }
        assert_eq!(random.bits(32), 566_242_753);
    }

    #[test]
    fn bits_are_the_high_ones() {
        let mut random = Random::new(1234);
        let drawn = [1, 5, 7, 31, 32, 40, 64].map(|bits| random.bits(bits));
        let python = [
            1,
            24,
            56,
            250_934_579,
            32_175_636,
            1_001_116_691_269,
            17_326_454_776_888_161_602,
        ];
        assert_eq!(drawn, python);
    }

    #[test]
    fn samples_are_drawn_from_a_list_or_into_a_set() {
        let mut random = Random::new(1234);
        let cases: [(usize, &[usize]); 11] = [
            (10, &[7, 1, 0]),
            (21, &[2, 18, 1, 20, 3]),
            (22, &[11, 7, 0, 20, 19]),
            (85, &[61, 78, 59, 19, 11, 23]),
            (86, &[14, 1, 64, 62, 31, 8]),
            (85, &[69, 59, 8, 76, 11]),
            (5000, &[4219, 4743, 376, 2208, 4558, 516]),
            (
                400,
                &[
                    330, 154, 246, 181, 136, 127, 335, 102, 232, 271, 340, 9, 260, 36, 2, 170, 73,
                    363, 242, 336,
                ],
            ),
            (3, &[1, 0, 2]),
            (30, &[]),
            (7, &[0]),
        ];
        for (population, sample) in cases {
            let drawn = random.sample(population, sample.len()).unwrap();
            assert_eq!(drawn, sample, "{population}");
        }
        assert_eq!(random.sample(2, 3), None);
    }

    #[test]
    fn choices_are_drawn_by_floats() {
        let mut random = Random::new(5);
        let drawn = [(); 8].map(|()| random.choice(60));
        assert_eq!(drawn, [37, 44, 47, 56, 44, 55, 1, 27]);
        let drawn = [(); 5].map(|()| random.choice(5153));
        assert_eq!(drawn, [4861, 3344, 4642, 583, 2417]);
    }
}
