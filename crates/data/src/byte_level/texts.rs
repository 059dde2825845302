//! Random texts to try an encoder on.

use proptest::collection::vec;
use proptest::prelude::*;

/// What regular expressions, normalization and merges look at: ends of words, runs, marks that compose, other scripts.
const PARTS: [&str; 60] = [
    "'s",
    "'S",
    "'ſ",
    "'t",
    "'T",
    "'re",
    "'Re",
    "'rE",
    "'ve",
    "'m",
    "'ll",
    "'lL",
    "'d",
    "'",
    "''",
    "’s",
    "don't",
    "WE'LL",
    "iPhone",
    "HTTPServer",
    "ǅ",
    "ʰ",
    "ª",
    " ",
    " ",
    "  ",
    "   ",
    "\t",
    "\n",
    "\n\n",
    "\r",
    "\r\n",
    " \n",
    "\n ",
    "\u{a0}",
    "\u{85}",
    "\u{2003}",
    "\u{3000}",
    "\u{2028}",
    "\u{200b}",
    "\0",
    "/",
    "//\n",
    "...",
    "-----",
    "=",
    "_",
    "1",
    "1234567",
    "٣٤",
    "½",
    "Ⅷ",
    "é",
    "e\u{301}",
    "\u{301}",
    "\u{323}",
    "한글",
    "\u{1100}\u{1161}",
    "東京",
    "বাংলা",
];

/// A few characters, a run of one of them, or one of [`PARTS`].
fn part() -> impl Strategy<Value = String> {
    let run = (any::<char>(), 1..40usize).prop_map(|(c, times)| c.to_string().repeat(times));
    prop_oneof![
        6 => proptest::sample::select(&PARTS[..]).prop_map(str::to_owned),
        3 => "[ -~]{1,8}",
        2 => "[a-zA-Z ]{1,30}",
        2 => "\\PC{1,6}",
        1 => any::<char>().prop_map(String::from),
        1 => "[\\p{L}\\p{M}\\p{N}\\s]{1,6}",
        1 => run,
    ]
}

/// Any text.
pub(crate) fn random() -> impl Strategy<Value = String> {
    vec(part(), 0..40).prop_map(|parts| parts.concat())
}
