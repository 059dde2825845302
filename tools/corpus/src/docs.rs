//! Doc comments of a Rust source: a scanner that knows just enough of the language to tell a comment from a string.

/// One run of doc comments, its markers and common indentation removed.
///
/// `///` and `//!` lines join while nothing but a line break lies between them; `/** */` and `/*! */` stand alone.
/// Attributes (`#[doc = …]`) are not read.
pub(crate) fn doc_comments(source: &str) -> Vec<String> {
    let mut scan = Scanner {
        source,
        at: 0,
        blocks: Vec::new(),
        open: None,
    };
    scan.run();
    scan.blocks
}

struct Scanner<'a> {
    source: &'a str,
    at: usize,
    blocks: Vec<String>,
    /// The lines of the run being read and the marker they share.
    open: Option<(&'a str, Vec<&'a str>)>,
}

impl<'a> Scanner<'a> {
    fn run(&mut self) {
        while let Some(next) = self.rest().chars().next() {
            let rest = self.rest();
            if rest.starts_with("//") {
                self.line_comment(rest);
            } else if rest.starts_with("/*") {
                self.block_comment(rest);
            } else if next.is_whitespace() {
                self.blank(rest);
            } else {
                self.close();
                self.at += match next {
                    '"' => quoted(rest),
                    '\'' => apostrophe(rest),
                    c if c == '_' || c.is_alphanumeric() => word(rest),
                    c => c.len_utf8(),
                };
            }
        }
        self.close();
    }

    fn rest(&self) -> &'a str {
        &self.source[self.at..]
    }

    /// Whitespace; an empty line ends a run.
    fn blank(&mut self, rest: &str) {
        let length = rest
            .find(|c: char| !c.is_whitespace())
            .unwrap_or(rest.len());
        if rest[..length].contains('\n') {
            self.close();
        }
        self.at += length;
    }

    fn line_comment(&mut self, rest: &'a str) {
        let line = rest.split('\n').next().unwrap_or_default();
        let marker = if line.starts_with("///") && !line.starts_with("////") {
            "///"
        } else if line.starts_with("//!") {
            "//!"
        } else {
            ""
        };
        // The line break is part of the comment, so that only a second one is an empty line.
        self.at += line.len() + usize::from(rest.len() > line.len());
        if marker.is_empty() {
            self.close();
            return;
        }
        let text = &line[marker.len()..];
        match &mut self.open {
            Some((open, lines)) if *open == marker => lines.push(text),
            _ => {
                self.close();
                self.open = Some((marker, vec![text]));
            }
        }
    }

    fn block_comment(&mut self, rest: &str) {
        self.close();
        let length = block_length(rest);
        self.at += length;
        let comment = &rest[..length];
        let outer = comment.starts_with("/**")
            && !comment.starts_with("/***")
            && comment.len() > "/**/".len();
        if !(outer || comment.starts_with("/*!")) {
            return;
        }
        let inside = &comment[3..];
        let inside = inside.strip_suffix("*/").unwrap_or(inside);
        let starred = inside
            .lines()
            .skip(1)
            .all(|line| line.trim().is_empty() || line.trim_start().starts_with('*'));
        let lines: Vec<&str> = inside
            .lines()
            .enumerate()
            .map(|(number, line)| {
                let trimmed = line.trim_start();
                if number == 0 {
                    // Text on the opening line has no indentation to compare with the rest.
                    trimmed
                } else if starred {
                    let text = trimmed.strip_prefix('*').unwrap_or(trimmed);
                    text.strip_prefix(' ').unwrap_or(text)
                } else {
                    line
                }
            })
            .collect();
        match lines.split_first() {
            Some((first, others)) if !first.is_empty() => {
                let others = unindent(others);
                self.push(&format!("{first}\n{others}"));
            }
            _ => self.push(&unindent(&lines)),
        }
    }

    fn close(&mut self) {
        if let Some((_, lines)) = self.open.take() {
            self.push(&unindent(&lines));
        }
    }

    fn push(&mut self, text: &str) {
        let text = text.trim_matches('\n').trim_end();
        if !text.trim().is_empty() {
            self.blocks.push(text.to_owned());
        }
    }
}

/// Removes the indentation that all lines share, and trailing blanks.
fn unindent(lines: &[&str]) -> String {
    let shared = lines
        .iter()
        .filter(|line| !line.trim().is_empty())
        .map(|line| line.len() - line.trim_start_matches([' ', '\t']).len())
        .min()
        .unwrap_or(0);
    let lines: Vec<_> = lines
        .iter()
        .map(|line| line.get(shared..).unwrap_or_default().trim_end())
        .collect();
    lines.join("\n")
}

/// The length of a block comment, comments nested in it included.
fn block_length(rest: &str) -> usize {
    let bytes = rest.as_bytes();
    let (mut at, mut depth) = (0, 0_usize);
    while at < bytes.len() {
        match bytes.get(at..at + 2) {
            Some(b"/*") => {
                depth += 1;
                at += 2;
            }
            Some(b"*/") => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    bytes.len()
}

/// The length of a string literal that starts at a quote.
fn quoted(rest: &str) -> usize {
    let bytes = rest.as_bytes();
    let mut at = 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// The length of a character literal, or of the mark alone where it begins a lifetime.
fn apostrophe(rest: &str) -> usize {
    let mut chars = rest.char_indices().skip(1);
    match (chars.next(), chars.next()) {
        (Some((_, '\\')), Some((escaped, c))) => {
            let from = escaped + c.len_utf8();
            rest[from..]
                .find('\'')
                .map_or(rest.len(), |end| from + end + 1)
        }
        (Some(_), Some((end, '\''))) => end + 1,
        _ => 1,
    }
}

/// The length of a word, together with the raw string it may introduce.
fn word(rest: &str) -> usize {
    let length = rest
        .find(|c: char| c != '_' && !c.is_alphanumeric())
        .unwrap_or(rest.len());
    if !matches!(&rest[..length], "r" | "br" | "cr") {
        return length;
    }
    let hashes = rest[length..].len() - rest[length..].trim_start_matches('#').len();
    let quote = length + hashes;
    if !rest[quote..].starts_with('"') {
        // A raw identifier.
        return length;
    }
    let close = format!("\"{}", "#".repeat(hashes));
    rest[quote + 1..]
        .find(&close)
        .map_or(rest.len(), |end| quote + 1 + end + close.len())
}

#[cfg(test)]
mod tests {
    use super::doc_comments;

    #[test]
    fn line_comments_lose_their_markers_and_keep_their_shape() {
        let source = "//! The crate.\n//!\n//! ```\n//! let x = 1;\n//!     deeper();\n//! ```\n\nuse a::b;\n\n/// An item.\n#[derive(Debug)]\n/// Its rest.\npub struct S; // no doc\n//// a rule\n/// Another.\n";
        assert_eq!(
            doc_comments(source),
            [
                "The crate.\n\n```\nlet x = 1;\n    deeper();\n```",
                "An item.",
                "Its rest.",
                "Another."
            ]
        );
    }

    #[test]
    fn an_empty_line_or_another_marker_ends_a_run() {
        assert_eq!(
            doc_comments("/// One.\n\n/// Two.\n//! Three.\n"),
            ["One.", "Two.", "Three."]
        );
    }

    #[test]
    fn strings_characters_and_lifetimes_hide_no_comment_and_make_none() {
        let source = r##"
            const A: &str = "/// not a doc \" // nor this";
            const B: &str = r#"
            /// nor "this"
            "#;
            const C: &[u8] = br"/// nor this";
            const D: char = '"'; // "
            const E: char = '\''; const F: char = 'é';
            /// A doc.
            fn f<'a>(r#type: &'a str) -> &'a str { "//! no" }
            /// Another doc.
        "##;
        assert_eq!(doc_comments(source), ["A doc.", "Another doc."]);
    }

    #[test]
    fn block_comments_lose_stars_or_indentation() {
        let source = "/*! Crate /* nested */ text */\n/**\n * Starred.\n *   Deeper.\n */\nfn a() {}\n/** First\n    second\n      third\n*/\nfn b() {}\n/* plain */ /**/ /*** rule ***/\n";
        assert_eq!(
            doc_comments(source),
            [
                "Crate /* nested */ text",
                "Starred.\n  Deeper.",
                "First\nsecond\n  third"
            ]
        );
    }

    #[test]
    fn broken_sources_end() {
        for source in [
            "\"open", "r#\"open", "/** open", "'", "/// last", "'\\", "r#",
        ] {
            doc_comments(source);
        }
        assert_eq!(doc_comments("/// last"), ["last"]);
    }
}
