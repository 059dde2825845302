//! HellaSwag's marks in brackets, such as `[title]`, which come from the pages of WikiHow.

use crate::python;

/// A text without its marks. White space is stripped first, so what stood beside a mark stays.
pub(super) fn remove(text: &str) -> String {
    let text = python::strip(text).replace(" [title]", ". ");
    let mut kept = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(open) = rest.find('[') {
        let (before, from) = rest.split_at(open);
        kept.push_str(before);
        // The nearest bracket closes, and not over the end of a line.
        match from.find([']', '\n']) {
            Some(close) if from[close..].starts_with(']') => rest = &from[close + 1..],
            _ => {
                kept.push('[');
                rest = &from[1..];
            }
        }
    }
    kept.push_str(rest);
    // One pass from the left: of three spaces two are left.
    kept.replace("  ", " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_removed() {
        for (text, without) in [
            ("[header] How to dry [title] Pick", " How to dry. Pick"),
            ("[title]", ""),
            ("[title] waves", " waves"),
            ("a [b [c] d] e", "a d] e"),
            ("a [not\nquite] b [c", "a [not\nquite] b [c"),
            ("[all] [of] it.\u{a0}", " it."),
            ("a   b    c", "a  b  c"),
            ("and counts ] stitches.", "and counts ] stitches."),
            ("[\n[x]", "[\n"),
        ] {
            assert_eq!(remove(text), without, "{text:?}");
        }
    }
}
