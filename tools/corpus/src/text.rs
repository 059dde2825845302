//! From a file of a package to a document: paragraphs, what is left out of them, and repeats.

use std::collections::HashSet;
use std::path::Path;

use evenburn_files::Sha256;

use super::docs::doc_comments;

/// Shorter documents (in bytes) are dropped: they are titles, not prose.
pub(crate) const MIN_DOCUMENT: usize = 200;

/// Shorter paragraphs (in bytes) may repeat: headings and set phrases such as "# Errors".
const MIN_REPEAT: usize = 60;

/// What marks a paragraph as licence text, in lower case.
const LICENCE: [&str; 11] = [
    "apache license",
    "apache-2.0",
    "as defined in the apache",
    "licensed under",
    "permission is hereby granted",
    "provided \"as is\"",
    "redistribution and use in source",
    "spdx-license-identifier",
    "the above copyright notice",
    "all rights reserved",
    "mit license",
];

/// The paragraphs of a file: of a Markdown page itself, of a Rust source its doc comments.
///
/// A code block is one paragraph, blank lines included. Badges, link definitions, bare HTML, licence texts and
/// paragraphs without words are left out.
pub(crate) fn paragraphs(file: &str, content: &str) -> Vec<String> {
    let kept: Vec<String> = if is_markdown(file) {
        split(content)
    } else {
        doc_comments(content)
            .iter()
            .flat_map(|block| split(block))
            .map(|text| without_hidden_lines(&text))
            .collect()
    };
    kept.into_iter().filter(|text| is_prose(text)).collect()
}

/// Joins paragraphs to the text of a document; `None` when too little is left or it isn't in English letters.
pub(crate) fn document(paragraphs: &[String]) -> Option<String> {
    let text = paragraphs.join("\n\n");
    let letters = text.chars().filter(|c| c.is_alphabetic()).count();
    let ascii = text.chars().filter(char::is_ascii_alphabetic).count();
    (text.len() >= MIN_DOCUMENT && ascii * 20 >= letters * 19).then_some(text)
}

/// Whether the file is a Markdown page by its name.
pub(crate) fn is_markdown(file: &str) -> bool {
    has_extension(file, "md")
}

/// Whether the file's name ends so, in whatever case.
pub(crate) fn has_extension(file: &str, extension: &str) -> bool {
    Path::new(file)
        .extension()
        .is_some_and(|found| found.eq_ignore_ascii_case(extension))
}

/// Remembers documents and paragraphs, and lets each through once. Whitespace makes no difference.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    hashes: HashSet<[u8; 32]>,
}

impl Seen {
    /// The paragraphs that did not come before; none when the whole document did.
    pub(crate) fn fresh(&mut self, paragraphs: Vec<String>) -> Vec<String> {
        if !self.first(&paragraphs.join(" ")) {
            return Vec::new();
        }
        let single = paragraphs.len() == 1;
        paragraphs
            .into_iter()
            // A document of one paragraph has just been remembered as a document.
            .filter(|text| single || text.len() < MIN_REPEAT || self.first(text))
            .collect()
    }

    fn first(&mut self, text: &str) -> bool {
        let mut hash = Sha256::default();
        for word in text.split_whitespace() {
            hash.update(word);
            hash.update(" ");
        }
        self.hashes.insert(hash.bytes())
    }
}

/// Splits at empty lines outside code blocks, and at the edges of code blocks.
fn split(text: &str) -> Vec<String> {
    let mut done = Vec::new();
    let mut open: Vec<&str> = Vec::new();
    let mut fence: Option<&str> = None;
    let mut close = |lines: &mut Vec<&str>| {
        if !lines.is_empty() {
            done.push(lines.join("\n"));
            lines.clear();
        }
    };
    for line in text.lines().map(str::trim_end) {
        let mark = fence_mark(line);
        match (fence, mark) {
            (None, Some(mark)) => {
                close(&mut open);
                open.push(line);
                fence = Some(mark);
            }
            (Some(opened), Some(mark)) if mark.starts_with(opened) && line.trim() == mark => {
                open.push(line);
                close(&mut open);
                fence = None;
            }
            (None, None) if line.is_empty() => close(&mut open),
            _ => open.push(line),
        }
    }
    close(&mut open);
    done
}

/// The backticks or tildes that open or close a code block.
fn fence_mark(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let mark = line.chars().next().filter(|c| matches!(c, '`' | '~'))?;
    let length = line.len() - line.trim_start_matches(mark).len();
    // `` `a` `` at the start of a line is inline code.
    (length >= 3 && !line[length..].contains('`')).then_some(&line[..length])
}

/// A Rust example without the lines that rustdoc compiles and doesn't show: `# use …` and a lone `#`.
fn without_hidden_lines(text: &str) -> String {
    let first = text.lines().next().unwrap_or_default().trim();
    let is_rust = is_code(text)
        && first
            .trim_start_matches(['`', '~'])
            .split([',', ' '])
            .all(|word| {
                matches!(
                    word,
                    "" | "rust" | "no_run" | "should_panic" | "ignore" | "compile_fail"
                ) || word.starts_with("edition")
            });
    if !is_rust {
        return text.to_owned();
    }
    text.lines()
        .filter(|line| {
            let line = line.trim();
            line != "#" && !line.starts_with("# ")
        })
        .collect::<Vec<_>>()
        .join("\n")
}

/// Whether the paragraph is a fenced code block.
pub(crate) fn is_code(text: &str) -> bool {
    fence_mark(text.lines().next().unwrap_or_default()).is_some()
}

fn is_prose(text: &str) -> bool {
    if is_code(text) {
        // A code block that is only opened and closed is what remains of something else.
        return text.lines().count() > 2;
    }
    let lower = text.to_lowercase();
    if LICENCE.iter().any(|mark| lower.contains(mark)) {
        return false;
    }
    if text.lines().all(|line| is_furniture(line.trim())) {
        return false;
    }
    let visible = text.chars().filter(|c| !c.is_whitespace()).count();
    let letters = text.chars().filter(|c| c.is_alphabetic()).count();
    visible < MIN_REPEAT || letters * 2 >= visible
}

/// A line that shows something else than text: a badge, a link's target, a tag, a rule.
fn is_furniture(line: &str) -> bool {
    let link_target = line.starts_with('[') && line.contains("]: ");
    let tag = line.starts_with('<') && line.ends_with('>');
    let rule = line
        .chars()
        .all(|c| matches!(c, '-' | '=' | '*' | '_' | ' ' | '|' | ':'));
    link_target || tag || rule || line.starts_with("[![") || line.starts_with("![")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_keeps_its_prose_and_its_code_and_loses_the_rest() {
        let page = "[![badge](a)](b)\n[![other](a)](b)\n\n# Title\n\nSome prose\nin two lines.\n\n```rust\nfn main() {\n\n}\n```\nAfter the code.\n\n---\n\n<p align=\"center\">\n<img src=\"x\">\n</p>\n\n[link]: https://example.org\n\nLicensed under either of two licences.\n\n+--+--+--+--+--+--+--+--+--+--+--+--+--+--+--+--+--+--+--+--+--+--+\n";
        assert_eq!(
            paragraphs("README.md", page),
            [
                "# Title",
                "Some prose\nin two lines.",
                "```rust\nfn main() {\n\n}\n```",
                "After the code."
            ]
        );
    }

    #[test]
    fn a_source_gives_its_doc_comments() {
        let source = "//! Crate docs.\n//!\n//! More.\n\n/// An item.\nfn f() {}\n";
        assert_eq!(
            paragraphs("src/lib.rs", source),
            ["Crate docs.", "More.", "An item."]
        );
    }

    #[test]
    fn examples_show_what_rustdoc_shows() {
        let source = "/// ```no_run\n/// # use a::b;\n/// #\n/// b();\n/// ```\n///\n/// ```sh\n/// # as root\n/// make\n/// ```\n";
        assert_eq!(
            paragraphs("src/lib.rs", source),
            ["```no_run\nb();\n```", "```sh\n# as root\nmake\n```"]
        );
    }

    #[test]
    fn a_longer_fence_holds_a_shorter_one() {
        let text = "````\n```\ninner\n\n```\n````\nend";
        assert_eq!(split(text), ["````\n```\ninner\n\n```\n````", "end"]);
    }

    #[test]
    fn repeated_paragraphs_and_documents_pass_once() {
        let long = "A paragraph that is long enough to count as a repeat when it comes again.";
        let spaced = long.replace(' ', "\n  ");
        let mut seen = Seen::default();
        let first = vec!["# Errors".to_owned(), long.to_owned(), "One.".to_owned()];
        assert_eq!(seen.fresh(first.clone()), first);
        assert!(seen.fresh(first).is_empty(), "the same document");
        assert_eq!(
            seen.fresh(vec!["# Errors".to_owned(), spaced, "Two.".to_owned()]),
            ["# Errors", "Two."],
            "the same paragraph with other whitespace"
        );
        let single = vec!["A document of one paragraph.".repeat(4)];
        assert_eq!(seen.fresh(single.clone()), single);
    }

    #[test]
    fn short_and_foreign_documents_are_dropped() {
        assert_eq!(document(&["short".to_owned()]), None);
        assert_eq!(document(&["文字".repeat(200)]), None);
        let text = "word ".repeat(60);
        assert_eq!(document(std::slice::from_ref(&text)), Some(text));
    }
}
