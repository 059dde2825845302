//! A text of any length as questions to a model that takes so many tokens.

use crate::TokenRequest;

/// Windows over the tokens of a text that score each token once, after as many tokens as fit.
///
/// The first one follows the prefix. The next ones have room for one token before what they score; the last, shorter
/// one is moved left until it is full again, so that more stands before it. An empty text has no window.
///
/// ```
/// use evenburn_eval::{TokenRequest, rolling_windows};
/// let window = |head: &[u32], tail: &[u32]| TokenRequest { head: head.into(), tail: tail.into() };
/// assert_eq!(
///     rolling_windows(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10], 0, 4),
///     [window(&[0], &[1, 2, 3, 4]), window(&[4], &[5, 6, 7, 8]), window(&[6, 7, 8], &[9, 10])],
/// );
/// ```
pub fn rolling_windows(ids: &[u32], prefix: u32, length: usize) -> Vec<TokenRequest> {
    let length = length.max(1);
    let mut windows = Vec::with_capacity(ids.len().div_ceil(length));
    let mut start = 0;
    while start < ids.len() {
        let end = ids.len().min(start + length);
        let head = match start {
            0 => vec![prefix],
            // Head and tail are `length + 1` tokens, the last of which is no input.
            _ => ids[end - length - 1..start].to_vec(),
        };
        windows.push(TokenRequest {
            head,
            tail: ids[start..end].to_vec(),
        });
        start = end;
    }
    windows
}
