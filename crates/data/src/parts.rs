//! What a tokenizer's parts say about every text, before one is seen.

use tokenizers::models::bpe::BPE;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{
    Model, ModelWrapper, NormalizerWrapper, PreTokenizerWrapper, SplitDelimiterBehavior, Tokenizer,
};

/// The regular expressions that cut text into words: GPT-2's, GPT-4's (Llama 3's, OLMo 2's),
/// Qwen 2's, GPT-4o's and Mistral's (Tekken), as their `tokenizer.json` have them.
///
/// Each matches every character. None of their matches goes on after a letter or digit with a line
/// break or space, or looks at what stands before it.
pub(crate) const WORDS: [&str; 5] = [
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
];

/// The normalizers in the order in which they run.
pub(crate) fn normalizers(tokenizer: &Tokenizer) -> Vec<&NormalizerWrapper> {
    fn walk<'a>(part: &'a NormalizerWrapper, out: &mut Vec<&'a NormalizerWrapper>) {
        match part {
            NormalizerWrapper::Sequence(parts) => {
                parts.as_ref().iter().for_each(|part| walk(part, out));
            }
            part => out.push(part),
        }
    }
    let mut parts = Vec::new();
    if let Some(part) = tokenizer.get_normalizer() {
        walk(part, &mut parts);
    }
    parts
}

/// The pre-tokenizers in the order in which they run.
pub(crate) fn pre_tokenizers(tokenizer: &Tokenizer) -> Vec<&PreTokenizerWrapper> {
    fn walk<'a>(part: &'a PreTokenizerWrapper, out: &mut Vec<&'a PreTokenizerWrapper>) {
        match part {
            PreTokenizerWrapper::Sequence(parts) => {
                parts.as_ref().iter().for_each(|part| walk(part, out));
            }
            part => out.push(part),
        }
    }
    let mut parts = Vec::new();
    if let Some(part) = tokenizer.get_pre_tokenizer() {
        walk(part, &mut parts);
    }
    parts
}

/// Whether a split makes a word of each match of a known regular expression.
pub(crate) fn is_words(split: &Split) -> bool {
    let known =
        matches!(&split.pattern, SplitPattern::Regex(regex) if WORDS.contains(&regex.as_str()));
    known
        && matches!(
            (split.behavior, split.invert),
            (SplitDelimiterBehavior::Isolated, false) | (SplitDelimiterBehavior::Removed, true)
        )
}

/// Whether tokens may have a part that stands for no text, such as `</w>`.
pub(crate) fn has_affixes(model: &BPE) -> bool {
    let affixes = [&model.continuing_subword_prefix, &model.end_of_word_suffix];
    affixes.into_iter().flatten().any(|affix| !affix.is_empty())
}

/// Whether every token that text becomes is a run of the byte-level alphabet's characters, so that
/// the tokens of a text are its bytes.
pub(crate) fn is_byte_level(tokenizer: &Tokenizer) -> bool {
    let bytes = normalizers(tokenizer)
        .into_iter()
        .any(|part| matches!(part, NormalizerWrapper::ByteLevel(_)))
        || pre_tokenizers(tokenizer)
            .into_iter()
            .any(|part| matches!(part, PreTokenizerWrapper::ByteLevel(_)));
    bytes
        && match tokenizer.get_model() {
            ModelWrapper::BPE(model) => !has_affixes(model),
            ModelWrapper::WordPiece(_) => false,
            ModelWrapper::WordLevel(_) | ModelWrapper::Unigram(_) => true,
        }
}

/// The id that stands for text which the model doesn't know.
pub(crate) fn unknown(tokenizer: &Tokenizer, json: &str) -> Option<u32> {
    match tokenizer.get_model() {
        ModelWrapper::BPE(model) => model.token_to_id(model.unk_token.as_ref()?),
        ModelWrapper::WordPiece(model) => model.token_to_id(&model.unk_token),
        ModelWrapper::WordLevel(model) => model.token_to_id(&model.unk_token),
        ModelWrapper::Unigram(_) => {
            #[derive(serde::Deserialize)]
            struct File {
                model: Unigram,
            }
            #[derive(serde::Deserialize)]
            struct Unigram {
                unk_id: Option<u32>,
            }
            serde_json::from_str::<File>(json).ok()?.model.unk_id
        }
    }
}

/// How many bytes of text each id stands for, where that is the same wherever it stands: for a
/// byte-level BPE that knows every byte, changes nothing and puts nothing in front. Ids that no
/// text becomes count 0.
pub(crate) fn token_bytes(tokenizer: &Tokenizer, vocab_size: usize) -> Option<Vec<u32>> {
    let ModelWrapper::BPE(model) = tokenizer.get_model() else {
        return None;
    };
    let mut byte_level = 0;
    let keeps_text = pre_tokenizers(tokenizer)
        .into_iter()
        .all(|part| match part {
            PreTokenizerWrapper::ByteLevel(bytes) => {
                byte_level += 1;
                !bytes.add_prefix_space
            }
            PreTokenizerWrapper::Split(split) => {
                is_words(split) || split.behavior != SplitDelimiterBehavior::Removed
            }
            PreTokenizerWrapper::Punctuation(part) => {
                part.behavior != SplitDelimiterBehavior::Removed
            }
            PreTokenizerWrapper::Digits(_) | PreTokenizerWrapper::FixedLength(_) => true,
            _ => false,
        });
    let alphabet = ByteLevel::alphabet();
    let knows_all = || {
        let mut buffer = [0; 4];
        let mut known = |c: char| model.token_to_id(c.encode_utf8(&mut buffer)).is_some();
        alphabet.iter().all(|c| known(*c))
    };
    if !keeps_text
        || byte_level != 1
        || !normalizers(tokenizer).is_empty()
        || has_affixes(model)
        || !knows_all()
    {
        return None;
    }
    let mut table = vec![0; vocab_size];
    for (token, id) in Model::get_vocab(model) {
        table[id as usize] = token.chars().count() as u32;
    }
    // An added token is matched in the text itself, so its content is what it stands for.
    for (id, token) in tokenizer.get_added_tokens_decoder() {
        if token.special {
            continue;
        }
        let bytes = token.content.len() as u32;
        let both = model.token_to_id(&token.content).is_some() && table[id as usize] != bytes;
        if token.lstrip || token.rstrip || both {
            return None;
        }
        table[id as usize] = bytes;
    }
    Some(table)
}
