//! White space as Python has it.

/// Whether Python's `str.isspace` and the `\s` of its `re` take a character: Unicode's `White_Space` and the four
/// separators U+001C to U+001F, which aren't white space to Rust.
///
/// ```
/// use evenburn_eval::python::is_space;
/// assert!(is_space('\u{1c}') && is_space('\u{85}') && is_space('\u{3000}'));
/// assert!(!is_space('\u{200b}') && !is_space('\u{feff}'));
/// ```
pub fn is_space(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{1c}'..='\u{1f}')
}

/// A text without white space at both ends, as `str.strip` gives it.
pub fn strip(text: &str) -> &str {
    text.trim_matches(is_space)
}

/// A text without white space at its end, as `str.rstrip` gives it.
pub fn strip_end(text: &str) -> &str {
    text.trim_end_matches(is_space)
}

/// A text without white space at its start, as `str.lstrip` gives it.
pub fn strip_start(text: &str) -> &str {
    text.trim_start_matches(is_space)
}

/// The number of parts between runs of white space, as `re.split(r"\s+", text)` has them: white space at an end
/// counts an empty part, and so does an empty text.
///
/// ```
/// use evenburn_eval::python::count_words;
/// assert_eq!(count_words("one two\n\n three"), 3);
/// assert_eq!(count_words(" one "), 3);
/// assert_eq!(count_words(""), 1);
/// ```
pub fn count_words(text: &str) -> usize {
    let mut words = 1;
    let mut inside = false;
    for c in text.chars() {
        let space = is_space(c);
        words += usize::from(space && !inside);
        inside = space;
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `[c for c in range(0x110000) if chr(c).isspace()]` of Python 3.11.
    const SPACES: [u32; 29] = [
        0x9, 0xa, 0xb, 0xc, 0xd, 0x1c, 0x1d, 0x1e, 0x1f, 0x20, 0x85, 0xa0, 0x1680, 0x2000, 0x2001,
        0x2002, 0x2003, 0x2004, 0x2005, 0x2006, 0x2007, 0x2008, 0x2009, 0x200a, 0x2028, 0x2029,
        0x202f, 0x205f, 0x3000,
    ];

    #[test]
    fn white_space_is_that_of_python() {
        let found: Vec<u32> = ('\0'..=char::MAX)
            .filter(|c| is_space(*c))
            .map(u32::from)
            .collect();
        assert_eq!(found, SPACES);
    }

    #[test]
    fn ends_are_stripped() {
        let text = "\u{1c}\u{a0} a b\u{200b}\u{3000}\t";
        assert_eq!(strip(text), "a b\u{200b}");
        assert_eq!(strip_end(text), "\u{1c}\u{a0} a b\u{200b}");
        assert_eq!(strip_start(text), "a b\u{200b}\u{3000}\t");
        assert_eq!(strip(" \n"), "");
    }

    #[test]
    fn words_are_counted_between_runs() {
        for (text, words) in [
            ("one two  three\n\n\nfour\u{a0}five\u{3000}six", 6),
            (" leading and trailing white space \n", 7),
            ("A", 1),
            ("\u{1c}", 2),
            ("a\u{200b}b", 1),
        ] {
            assert_eq!(count_words(text), words, "{text:?}");
        }
    }
}
