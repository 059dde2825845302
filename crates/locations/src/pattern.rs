//! Which names a path or a glob means.

use glob::{MatchOptions, Pattern};

use crate::LocationError;

/// `*` stops at slashes, and hidden names are meant only where they are spelled out, as in a shell.
const OPTIONS: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

/// A path below some root, or a glob.
#[derive(Debug, Clone)]
pub(crate) struct Selection {
    text: String,
    pattern: Option<Pattern>,
}

/// Whether a text is a glob; `marks` are the letters that make it one.
pub(crate) fn is_glob(text: &str, marks: &[char]) -> bool {
    text.contains(marks)
}

/// The letters that make a glob.
pub(crate) const WILDCARDS: [char; 3] = ['*', '?', '['];

impl Selection {
    /// # Errors
    /// [`LocationError::NotFound`] for a malformed glob.
    pub(crate) fn new(text: &str, place: &str) -> Result<Self, LocationError> {
        let text = text.trim_end_matches('/');
        let pattern = is_glob(text, &WILDCARDS)
            .then(|| Pattern::new(text))
            .transpose()
            .map_err(|e| LocationError::not_found(place, format!("a malformed glob: {e}")))?;
        Ok(Self {
            text: text.to_owned(),
            pattern,
        })
    }

    /// Whether it means this very path and no other.
    pub(crate) fn is_exact(&self) -> bool {
        self.pattern.is_none() && !self.text.is_empty()
    }

    /// The path or glob itself.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The folder above all that can match, without a slash at its end.
    pub(crate) fn folder(&self) -> &str {
        let fixed = match self.text.find(WILDCARDS) {
            Some(at) => &self.text[..at],
            None => return &self.text,
        };
        fixed.rfind('/').map_or("", |at| &fixed[..at])
    }

    /// The same; of a path that is a file's own, the folder that the file is in.
    pub(crate) fn folder_of(&self, alone: bool) -> &str {
        let folder = self.folder();
        if alone {
            folder.rsplit_once('/').map_or("", |(above, _)| above)
        } else {
            folder
        }
    }

    /// Whether a path, or a folder that it lies in, is meant. Hidden names below a folder are not.
    pub(crate) fn has(&self, path: &str) -> bool {
        let Some(pattern) = &self.pattern else {
            let below = match path.strip_prefix(self.text.as_str()) {
                Some("") => return true,
                Some(below) if self.text.is_empty() => below,
                Some(below) => match below.strip_prefix('/') {
                    Some(below) => below,
                    None => return false,
                },
                None => return false,
            };
            return !has_hidden(below);
        };
        let mut ends: Vec<usize> = path.match_indices('/').map(|(at, _)| at).collect();
        ends.push(path.len());
        ends.into_iter().any(|end| {
            pattern.matches_with(&path[..end], OPTIONS)
                && !has_hidden(path[end..].trim_start_matches('/'))
        })
    }
}

fn has_hidden(path: &str) -> bool {
    path.split('/').any(|name| name.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_meant() {
        for (text, path, meant) in [
            ("", "a/b.jsonl", true),
            ("", ".gitattributes", false),
            ("a", "a/b.jsonl", true),
            ("a/", "a/b.jsonl", true),
            ("a", "ab.jsonl", false),
            ("a/b.jsonl", "a/b.jsonl", true),
            ("a/*.jsonl", "a/b.jsonl", true),
            ("a/*.jsonl", "a/b/c.jsonl", false),
            ("a/**/*.jsonl", "a/b/c.jsonl", true),
            ("a/**/*.jsonl", "a/c.jsonl", true),
            ("**/*.zst", "x/y/z.jsonl.zst", true),
            ("a/*", "a/b/c.jsonl", true),
            ("*", ".hidden", false),
            ("*/x", "a/x", true),
            ("a[12]/x", "a2/x", true),
            (".hidden", ".hidden", true),
            ("*", "a/.hidden", false),
        ] {
            let selection = Selection::new(text, "test").unwrap();
            assert_eq!(selection.has(path), meant, "{text} {path}");
        }
        assert!(Selection::new("a[", "test").is_err());
    }

    #[test]
    fn folders_above() {
        for (text, folder) in [
            ("", ""),
            ("a/b", "a/b"),
            ("a/b/*.x", "a/b"),
            ("a/b*/c", "a"),
            ("*", ""),
        ] {
            assert_eq!(Selection::new(text, "test").unwrap().folder(), folder);
        }
    }
}
