//! Cuts long texts where a tokenizer would cut them anyway.
//!
//! Encoding needs many times the memory of the text and one core, so a document of megabytes is
//! encoded in pieces, where that is certain not to show: the ids are those of the uncut text. A cut
//! lies between an ASCII letter or digit and the line break after it. Whether a tokenizer always
//! separates the two is read off its parts, once; any part that isn't known to, and a tokenizer
//! without words (Llama 2's and most of those of `sentencepiece`), has every document encoded whole.

use tokenizers::pre_tokenizers::metaspace::PrependScheme;
use tokenizers::{AddedToken, NormalizerWrapper, PreTokenizerWrapper, Tokenizer};

use crate::parts;

/// Pieces aim at this many bytes.
pub(crate) const PIECE: usize = 1 << 19;

/// Whether cuts never show in the ids of this tokenizer.
pub(crate) fn is_invisible(tokenizer: &Tokenizer) -> bool {
    let normalizers = parts::normalizers(tokenizer);
    // BERT's cleaning makes a space of the line break, before it looks for normalized tokens.
    let becomes_space = normalizers
        .iter()
        .any(|part| matches!(part, NormalizerWrapper::BertNormalizer(_)));
    let breaks: &[char] = if becomes_space { &['\n', ' '] } else { &['\n'] };
    // Such a token could reach over a cut, or to it.
    let reaches = |token: &AddedToken| token.rstrip || token.content.contains(breaks);
    normalizers.into_iter().all(is_local)
        && separates(&parts::pre_tokenizers(tokenizer))
        && !tokenizer.get_added_tokens_decoder().values().any(reaches)
}

/// Whether a normalizer gives on both sides of a cut what it gives uncut, with a letter or digit
/// before it, and a line break or space after it. (A line break composes with nothing.)
fn is_local(normalizer: &NormalizerWrapper) -> bool {
    use NormalizerWrapper as N;
    matches!(
        normalizer,
        N::NFC(_)
            | N::NFD(_)
            | N::NFKC(_)
            | N::NFKD(_)
            | N::Lowercase(_)
            | N::StripAccents(_)
            | N::BertNormalizer(_)
    )
}

/// Whether there is always an end of a word at a cut, and the words on both sides are those of the
/// uncut text.
fn separates(pre_tokenizers: &[&PreTokenizerWrapper]) -> bool {
    use PreTokenizerWrapper as P;
    let mut parts = pre_tokenizers.iter();
    let found = parts.find_map(|part| match part {
        P::ByteLevel(bytes) => Some(bytes.use_regex && !bytes.add_prefix_space),
        P::Split(split) => Some(parts::is_words(split)),
        P::Whitespace(_) | P::WhitespaceSplit(_) | P::BertPreTokenizer(_) => Some(true),
        // They look at single characters, and leave a line break beside a letter as it is.
        P::Digits(_) | P::Punctuation(_) => None,
        _ => Some(false),
    });
    // What comes after sees word by word, so that only a part that asks where a word stands matters.
    found == Some(true)
        && !parts.any(|part| {
            matches!(part, P::Metaspace(m) if m.get_prepend_scheme() == PrependScheme::First)
        })
}

/// Splits `text` into pieces of about `target` bytes; a stretch without a place to cut stays whole.
pub(crate) fn pieces(text: &str, target: usize) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while rest.len() > target {
        let Some(at) = place(rest, target) else {
            break;
        };
        let (piece, after) = rest.split_at(at);
        pieces.push(piece);
        rest = after;
    }
    pieces.push(rest);
    pieces
}

/// The first place to cut at or after byte `from`. (Both characters are ASCII, so it is a character
/// boundary. A combining letter before the break would not do: to regular expressions it is none.)
fn place(text: &str, from: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    (from.max(1)..bytes.len()).find(|&i| bytes[i] == b'\n' && bytes[i - 1].is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_join_to_the_text_and_start_at_breaks() {
        let text = "alpha\nbeta.\n\ngämma ö\n  x\u{345}\ndelta\n\n\nend7\r\nz8\n";
        for target in 1..text.len() {
            let cut = pieces(text, target);
            assert_eq!(cut.concat(), text);
            assert!(cut[1..].iter().all(|p| p.starts_with('\n')));
        }
        assert_eq!(
            pieces(text, 1),
            [
                "alpha",
                "\nbeta.\n\ngämma ö\n  x\u{345}\ndelta",
                "\n\n\nend7\r\nz8",
                "\n"
            ]
        );
        assert_eq!(pieces("no break at all", 3), ["no break at all"]);
    }
}
