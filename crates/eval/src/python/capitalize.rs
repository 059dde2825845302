//! Python's `str.capitalize`.

/// The first character in title case, the rest in lower case, as `str.capitalize` has them.
///
/// Title case isn't upper case: `ﬁ` becomes `Fi`, `ß` becomes `Ss`, `ǆ` becomes `ǅ`. A sigma at the end of a word
/// becomes the final one. Cases are those of the Unicode version of the standard library, which may know newer
/// letters than a given Python.
///
/// ```
/// use evenburn_eval::python::capitalize;
/// assert_eq!(capitalize("the BBC"), "The bbc");
/// assert_eq!(capitalize("ΟΔΟΣ"), "Οδος");
/// assert_eq!(capitalize("ﬁnally"), "Finally");
/// ```
pub fn capitalize(text: &str) -> String {
    let Some(first) = text.chars().next() else {
        return String::new();
    };
    let mut result = String::with_capacity(text.len());
    push_title(first, &mut result);
    // All of the text is put in lower case, because a sigma looks at the letters before it, the first one included.
    let lower = text.to_lowercase();
    let own: usize = first.to_lowercase().map(char::len_utf8).sum();
    result.push_str(&lower[own..]);
    result
}

/// Letters whose title case is neither their upper case nor told by a rule.
const TITLES: [(char, &str); 35] = [
    ('\u{df}', "Ss"),
    ('\u{1c4}', "\u{1c5}"),
    ('\u{1c5}', "\u{1c5}"),
    ('\u{1c6}', "\u{1c5}"),
    ('\u{1c7}', "\u{1c8}"),
    ('\u{1c8}', "\u{1c8}"),
    ('\u{1c9}', "\u{1c8}"),
    ('\u{1ca}', "\u{1cb}"),
    ('\u{1cb}', "\u{1cb}"),
    ('\u{1cc}', "\u{1cb}"),
    ('\u{1f1}', "\u{1f2}"),
    ('\u{1f2}', "\u{1f2}"),
    ('\u{1f3}', "\u{1f2}"),
    ('\u{587}', "\u{535}\u{582}"),
    ('\u{1fb2}', "\u{1fba}\u{345}"),
    ('\u{1fb4}', "\u{386}\u{345}"),
    ('\u{1fb7}', "\u{391}\u{342}\u{345}"),
    ('\u{1fc2}', "\u{1fca}\u{345}"),
    ('\u{1fc4}', "\u{389}\u{345}"),
    ('\u{1fc7}', "\u{397}\u{342}\u{345}"),
    ('\u{1ff2}', "\u{1ffa}\u{345}"),
    ('\u{1ff4}', "\u{38f}\u{345}"),
    ('\u{1ff7}', "\u{3a9}\u{342}\u{345}"),
    ('\u{fb00}', "Ff"),
    ('\u{fb01}', "Fi"),
    ('\u{fb02}', "Fl"),
    ('\u{fb03}', "Ffi"),
    ('\u{fb04}', "Ffl"),
    ('\u{fb05}', "St"),
    ('\u{fb06}', "St"),
    ('\u{fb13}', "\u{544}\u{576}"),
    ('\u{fb14}', "\u{544}\u{565}"),
    ('\u{fb15}', "\u{544}\u{56b}"),
    ('\u{fb16}', "\u{54e}\u{576}"),
    ('\u{fb17}', "\u{544}\u{56d}"),
];

/// Appends a letter in title case.
fn push_title(letter: char, to: &mut String) {
    match letter {
        // Georgian has capitals for whole words alone.
        '\u{10d0}'..='\u{10fa}' | '\u{10fd}'..='\u{10ff}' => to.push(letter),
        // Greek letters with an iota below: the capital is eight further, and one letter.
        '\u{1f80}'..='\u{1faf}' => to.extend(char::from_u32(u32::from(letter) | 8)),
        '\u{1fb3}' | '\u{1fbc}' => to.push('\u{1fbc}'),
        '\u{1fc3}' | '\u{1fcc}' => to.push('\u{1fcc}'),
        '\u{1ff3}' | '\u{1ffc}' => to.push('\u{1ffc}'),
        _ => match TITLES.binary_search_by_key(&letter, |(from, _)| *from) {
            Ok(found) => to.push_str(TITLES[found].1),
            Err(_) => to.extend(letter.to_uppercase()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every letter whose title case differs from its upper case, before `BQ ΑΣ`, and some texts, made by Python 3.11.
    #[test]
    fn letters_are_those_of_python() {
        let cases = include_str!("../../tests/fixtures/python/capitalize.txt");
        let mut count = 0;
        for line in cases.lines() {
            let (from, to) = line.split_once('\t').unwrap();
            assert_eq!(capitalize(from), to, "{from:?}");
            count += 1;
        }
        assert!(count > 150);
    }

    #[test]
    fn the_rest_is_in_lower_case() {
        assert_eq!(capitalize(""), "");
        assert_eq!(capitalize(" He"), " he");
        assert_eq!(capitalize("1ST"), "1st");
        assert_eq!(capitalize("ΣΑΣ ΣΣ. Σ"), "Σας σς. σ");
        assert_eq!(capitalize("İI"), "İi");
        assert_eq!(capitalize("aİ"), "Ai\u{307}");
    }

    #[test]
    fn the_table_is_in_order() {
        assert!(TITLES.is_sorted_by_key(|(from, _)| *from));
    }
}
