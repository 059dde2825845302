//! Cuts long texts where a tokenizer would cut them anyway.
//!
//! Encoding needs many times the memory of the text, so a document of megabytes is encoded in
//! pieces. A cut lies between a letter or digit and the line break after it: the pre-tokenizers of
//! GPT-2, GPT-NeoX and their successors never join the two, a line break composes with nothing
//! under NFC, and a run of whitespace stays whole. The ids are those of the uncut text.

/// Pieces aim at this many bytes.
pub(crate) const PIECE: usize = 1 << 19;

/// Splits `text` into pieces of about `target` bytes; a stretch without a safe place stays whole.
pub(crate) fn pieces(text: &str, target: usize) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while rest.len() > target {
        let Some(at) = safe_cut(rest, target) else {
            break;
        };
        let (piece, after) = rest.split_at(at);
        pieces.push(piece);
        rest = after;
    }
    pieces.push(rest);
    pieces
}

/// The first safe place at or after byte `from`.
fn safe_cut(text: &str, from: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    (from.max(1)..bytes.len()).find(|&i| {
        // A line break is ASCII, so `i` is a character boundary.
        bytes[i] == b'\n'
            && text[..i]
                .chars()
                .next_back()
                .is_some_and(char::is_alphanumeric)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_join_to_the_text_and_start_at_breaks() {
        let text = "alpha\nbeta.\n\ngämma ö\n  x\u{301}\ndelta\n\n\nend";
        for target in 1..text.len() {
            let cut = pieces(text, target);
            assert_eq!(cut.concat(), text);
            assert!(cut[1..].iter().all(|p| p.starts_with('\n')));
        }
        assert_eq!(pieces(text, 1).len(), 4);
        assert_eq!(pieces("no break at all", 3), ["no break at all"]);
    }
}
