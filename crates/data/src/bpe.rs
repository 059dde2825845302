//! Learns a byte-level BPE.
//!
//! The merges are learned here rather than by the `tokenizers` crate, whose trainer iterates over
//! randomly seeded hash maps: when two merges build the same string, its result can depend on that
//! order. Here every choice is total: the most frequent pair, then the one with the smaller ids.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet};

use rayon::prelude::*;
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{AddedToken, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer};

use crate::cut;

/// A pair that occurs less often than this is not merged.
const MIN_COUNT: u64 = 2;
/// Documents whose words are counted in parallel, in bytes of text.
const BATCH_BYTES: usize = 4 << 20;

type Error = Box<dyn std::error::Error + Send + Sync>;
type Pair = (u32, u32);

/// GPT-2's pre-tokenizer: its regular expression, every byte a printable character, no space put
/// in front.
fn byte_level() -> ByteLevel {
    ByteLevel::new(false, false, true)
}

/// Trains on `texts` and returns the tokenizer. Ids: the special token, the 256 bytes, the merges.
pub(crate) fn train<E: From<Error>>(
    texts: impl Iterator<Item = Result<String, E>>,
    vocab_size: usize,
    special: &str,
) -> Result<tokenizers::Tokenizer, E> {
    let words = count_words(texts)?;
    let (symbols, merges) = learn(&words, vocab_size, special);
    build(&symbols, &merges, special).map_err(E::from)
}

/// How often each pre-token occurs, in an order that doesn't depend on hashing or threads.
fn count_words<E: From<Error>>(
    mut texts: impl Iterator<Item = Result<String, E>>,
) -> Result<BTreeMap<String, u64>, E> {
    let mut total: HashMap<String, u64> = HashMap::new();
    loop {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while bytes < BATCH_BYTES {
            let Some(text) = texts.next().transpose()? else {
                break;
            };
            bytes += text.len();
            batch.push(text);
        }
        if batch.is_empty() {
            return Ok(total.into_iter().collect());
        }
        let counts: Vec<HashMap<String, u64>> = batch
            .par_iter()
            .flat_map_iter(|text| cut::pieces(text, cut::PIECE))
            .map(count_piece)
            .collect::<Result<_, Error>>()?;
        for (word, count) in counts.into_iter().flatten() {
            *total.entry(word).or_default() += count;
        }
    }
}

fn count_piece(text: &str) -> Result<HashMap<String, u64>, Error> {
    let mut pretokenized = PreTokenizedString::from(text);
    byte_level().pre_tokenize(&mut pretokenized)?;
    let mut counts = HashMap::new();
    for (word, _, _) in pretokenized.get_splits(OffsetReferential::Original, OffsetType::None) {
        match counts.get_mut(word) {
            Some(count) => *count += 1,
            None => {
                counts.insert(word.to_owned(), 1);
            }
        }
    }
    Ok(counts)
}

/// A distinct word as symbols, with how often it occurs.
struct Word {
    symbols: Vec<u32>,
    count: u64,
}

/// Counts of adjacent pairs, and which words may hold each.
#[derive(Default)]
struct Pairs {
    counts: HashMap<Pair, u64>,
    words: HashMap<Pair, Vec<u32>>,
    /// Upper bounds: a pair's count may have fallen since it was pushed.
    queue: BinaryHeap<(u64, Reverse<Pair>)>,
}

impl Pairs {
    fn add(&mut self, word: &Word, index: u32) {
        for pair in word.symbols.windows(2).map(|w| (w[0], w[1])) {
            *self.counts.entry(pair).or_default() += word.count;
            let holders = self.words.entry(pair).or_default();
            if holders.last() != Some(&index) {
                holders.push(index);
            }
        }
    }

    fn remove(&mut self, word: &Word) {
        for pair in word.symbols.windows(2).map(|w| (w[0], w[1])) {
            if let Some(count) = self.counts.get_mut(&pair) {
                *count -= word.count;
            }
        }
    }

    fn push(&mut self, pair: Pair) {
        let count = self.counts.get(&pair).copied().unwrap_or(0);
        if count >= MIN_COUNT {
            self.queue.push((count, Reverse(pair)));
        }
    }

    /// The most frequent pair; the smaller ids win a tie.
    fn pop(&mut self) -> Option<Pair> {
        while let Some((count, Reverse(pair))) = self.queue.pop() {
            if self.counts.get(&pair) == Some(&count) {
                return Some(pair);
            }
            self.push(pair);
        }
        None
    }
}

/// The symbols by id, and the pairs to merge in order.
fn learn(
    words: &BTreeMap<String, u64>,
    vocab_size: usize,
    special: &str,
) -> (Vec<String>, Vec<Pair>) {
    let mut symbols = vec![special.to_owned()];
    let mut alphabet: Vec<char> = ByteLevel::alphabet().into_iter().collect();
    alphabet.sort_unstable();
    symbols.extend(alphabet.into_iter().map(String::from));
    let mut ids: HashMap<String, u32> = symbols.iter().cloned().zip(0..).collect();

    let mut words: Vec<Word> = words
        .iter()
        .map(|(word, &count)| Word {
            symbols: word
                .chars()
                .filter_map(|c| ids.get(&*c.to_string()).copied())
                .collect(),
            count,
        })
        .collect();
    let mut pairs = Pairs::default();
    for (word, index) in words.iter().zip(0..) {
        pairs.add(word, index);
    }
    let all: Vec<Pair> = pairs.counts.keys().copied().collect();
    all.into_iter().for_each(|pair| pairs.push(pair));

    let (mut merges, mut ranked) = (Vec::new(), HashSet::new());
    while symbols.len() < vocab_size {
        let Some(pair) = pairs.pop() else {
            break;
        };
        let joined = format!("{}{}", symbols[pair.0 as usize], symbols[pair.1 as usize]);
        // Two merges may build the same string; it is one symbol.
        let id = *ids.entry(joined.clone()).or_insert_with(|| {
            symbols.push(joined);
            symbols.len() as u32 - 1
        });
        // A pair can come back when two merges build the same string; its first rank counts.
        if ranked.insert(pair) {
            merges.push(pair);
        }
        merge_everywhere(&mut words, &mut pairs, pair, id);
    }
    (symbols, merges)
}

fn merge_everywhere(words: &mut [Word], pairs: &mut Pairs, pair: Pair, id: u32) {
    let holders = pairs.words.remove(&pair).unwrap_or_default();
    let mut changed = Vec::new();
    for index in holders {
        let word = &mut words[index as usize];
        if !word.symbols.windows(2).any(|w| (w[0], w[1]) == pair) {
            continue;
        }
        pairs.remove(word);
        word.symbols = merge(&word.symbols, pair, id);
        pairs.add(word, index);
        let touched = word.symbols.windows(2).map(|w| (w[0], w[1]));
        changed.extend(touched.filter(|p| p.0 == id || p.1 == id));
    }
    pairs.counts.remove(&pair);
    changed.sort_unstable();
    changed.dedup();
    changed.into_iter().for_each(|pair| pairs.push(pair));
}

/// Joins every occurrence of `pair`, from the left.
fn merge(symbols: &[u32], pair: Pair, id: u32) -> Vec<u32> {
    let mut merged = Vec::with_capacity(symbols.len());
    let mut i = 0;
    while i < symbols.len() {
        if symbols
            .get(i + 1)
            .is_some_and(|&next| (symbols[i], next) == pair)
        {
            merged.push(id);
            i += 2;
        } else {
            merged.push(symbols[i]);
            i += 1;
        }
    }
    merged
}

fn build(
    symbols: &[String],
    merges: &[Pair],
    special: &str,
) -> Result<tokenizers::Tokenizer, Error> {
    let merges = merges
        .iter()
        .map(|&(a, b)| (symbols[a as usize].clone(), symbols[b as usize].clone()))
        .collect();
    let vocab: Vocab = symbols.iter().cloned().zip(0..).collect();
    let model = BPE::builder().vocab_and_merges(vocab, merges).build()?;
    let mut tokenizer = tokenizers::Tokenizer::new(model);
    tokenizer.with_pre_tokenizer(Some(byte_level()));
    tokenizer.with_decoder(Some(byte_level()));
    tokenizer.add_special_tokens([AddedToken::from(special, true)])?;
    Ok(tokenizer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokenizers::models::TrainerWrapper;
    use tokenizers::models::bpe::BpeTrainer;

    const TEXT: &str = "the cat sat on the mat, the rat ate the cat's hat; that's that. \
        Über the äther the other mother bothers another brother. 12 123 1234 12345\n\n\tthen";

    fn ok(texts: &[&str]) -> impl Iterator<Item = Result<String, Error>> {
        texts
            .iter()
            .map(|t| Ok((*t).to_owned()))
            .collect::<Vec<_>>()
            .into_iter()
    }

    #[test]
    fn same_vocabulary_and_merges_as_the_tokenizers_crate() {
        let ours = train(ok(&[TEXT]), 290, "<eod>").unwrap();
        let mut theirs = tokenizers::Tokenizer::new(BPE::default());
        theirs.with_pre_tokenizer(Some(byte_level()));
        theirs.with_decoder(Some(byte_level()));
        let trainer = BpeTrainer::builder()
            .show_progress(false)
            .min_frequency(MIN_COUNT)
            .vocab_size(290)
            .special_tokens(vec![AddedToken::from("<eod>", true)])
            .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
            .build();
        theirs
            .train(&mut TrainerWrapper::from(trainer), [TEXT].into_iter())
            .unwrap();
        assert_eq!(
            ours.to_string(true).unwrap(),
            theirs.to_string(true).unwrap()
        );
        assert!(ours.get_vocab_size(true) > 280);
    }

    #[test]
    fn merge_works_from_the_left() {
        assert_eq!(merge(&[1, 1, 1, 2, 1, 1], (1, 1), 9), [9, 1, 2, 9]);
    }
}
