//! WikiText's tokens, put together again to the text that they came from, as far as its usual rules go.

use crate::python;

/// What stands for itself with a space on either side.
const SEPARATORS: [(&str, &str); 9] = [
    (" @-@ ", "-"),
    (" @,@ ", ","),
    (" @.@ ", "."),
    (" : ", ": "),
    (" ; ", "; "),
    (" . ", ". "),
    (" ! ", "! "),
    (" ? ", "? "),
    (" , ", ", "),
];

/// Pairs around a text that has white space at its ends.
const PAIRS: [(char, char); 5] = [('(', ')'), ('[', ']'), ('{', '}'), ('"', '"'), ('\'', '\'')];

/// Headings, degrees, lines, and what else is written apart.
const REST: [(&str, &str); 8] = [
    ("= = = =", "===="),
    ("= = =", "==="),
    ("= =", "=="),
    (" \u{b0} ", "\u{b0}"),
    (" \n", "\n"),
    ("\n ", "\n"),
    (" N ", " 1 "),
    (" 's", "'s"),
];

/// A page of WikiText as running text. The order of the rules matters.
pub(super) fn detokenize(page: &str) -> String {
    let mut text = quoted_digits(&page.replace("s '", "s'"));
    for (from, to) in SEPARATORS {
        text = text.replace(from, to);
    }
    for (open, close) in PAIRS {
        text = tightened(&text, open, close);
    }
    for (from, to) in REST {
        text = text.replace(from, to);
    }
    text
}

/// The rule for digits after an apostrophe is a slip of its authors that everybody computes with: it takes `/' 5/`,
/// slashes included, and puts the pattern there.
fn quoted_digits(text: &str) -> String {
    const START: &str = "/' ";
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(START) {
        let after = &rest[start + START.len()..];
        let digit = after.starts_with(|c: char| c.is_ascii_digit());
        if digit && after[1..].starts_with('/') {
            result.push_str(&rest[..start]);
            result.push_str("/'[0-9]/");
            rest = &after[2..];
        } else {
            result.push_str(&rest[..=start]);
            rest = &rest[start + 1..];
        }
    }
    result + rest
}

/// A text whose pairs enclose no white space at their ends. What opens is closed by the next that closes.
fn tightened(text: &str, open: char, close: char) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, from)) = rest.split_once(open)
        && let Some((inner, after)) = from.split_once(close)
    {
        result.push_str(before);
        result.push(open);
        result.push_str(python::strip(inner));
        result.push(close);
        rest = after;
    }
    result + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_become_running_text() {
        for (page, text) in [
            ("", ""),
            (
                " = = = = Deep = = = = \n The end ",
                " ==== Deep ====\nThe end ",
            ),
            (
                "3 @-@ 4 tables , and 4 @,@ 000 . ",
                "3-4 tables, and 4,000. ",
            ),
            ("two ( or ( three ) ) ( ", "two (or ( three) ) ( "),
            ("was \" high \" for \" years", "was \"high\" for \" years"),
            ("Zo\u{eb} 's caf\u{e9}", "Zo\u{eb}'s caf\u{e9}"),
            ("the sailors ' boat", "the sailors' boat"),
            (
                "/' 5/ and /' 5 and /' /' 6/",
                "/'[0-9]/ and /' 5 and /'/'[0-9]/",
            ),
            ("12 \u{b0} N ", "12\u{b0}N "),
            ("[ a ] { b } N N N ", "[a] {b} 1 N 1 "),
            ("{ \u{1c} }", "{}"),
        ] {
            assert_eq!(detokenize(page), text, "{page:?}");
        }
    }
}
