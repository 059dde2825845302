//! The splits of a corpus, and the one rule by which names choose between them.
//!
//! | word | split |
//! |---|---|
//! | `train`, `training` | training |
//! | `validation`, `valid`, `val`, `dev`, `eval` | validation |
//! | `test` | neither: left out |
//!
//! A word stands between characters that are no letters, in any case: `val_0001`, `TEST-2` and `a.train.b` have one,
//! `latest` and `trainer` have none.

use serde::{Deserialize, Serialize};

/// A part of the corpus that is tokenized and read apart from the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// What the model learns from.
    Train,
    /// What it is evaluated on.
    Validation,
}

impl Split {
    /// `train` or `validation`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Validation => "validation",
        }
    }
}

/// The split that a name says.
/// In the order in which they count where a file has several names: what is held out by one of them is held out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Tag {
    Train,
    /// Belongs to neither split.
    Test,
    Validation,
}

impl Tag {
    /// What the last of the words in a name says, or nothing.
    pub(crate) fn in_name(name: &str) -> Option<Self> {
        let words = name.split(|c: char| !c.is_alphabetic());
        words.rev().find_map(Self::of_word)
    }

    /// What the names of a file's folders and its own say: the outermost folder, else the file.
    pub(crate) fn in_path<'a>(
        folders: impl IntoIterator<Item = &'a str>,
        stem: &str,
    ) -> Option<Self> {
        folders
            .into_iter()
            .find_map(Self::in_name)
            .or_else(|| Self::in_name(stem))
    }

    /// `train`, `validation` or `test`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Validation => "validation",
            Self::Test => "test",
        }
    }

    fn of_word(word: &str) -> Option<Self> {
        match word.to_lowercase().as_str() {
            "train" | "training" => Some(Self::Train),
            "validation" | "valid" | "val" | "dev" | "eval" => Some(Self::Validation),
            "test" => Some(Self::Test),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRAIN: Option<Tag> = Some(Tag::Train);
    const VALIDATION: Option<Tag> = Some(Tag::Validation);
    const TEST: Option<Tag> = Some(Tag::Test);

    #[test]
    fn words_of_names() {
        for (name, tag) in [
            ("train", TRAIN),
            ("Training", TRAIN),
            ("train-00000-of-00080", TRAIN),
            ("TinyStoriesV2-GPT4-train", TRAIN),
            ("c4-train.00000-of-01024", TRAIN),
            ("train2", TRAIN),
            ("TinyStoriesV2-GPT4-valid", VALIDATION),
            ("val_0001", VALIDATION),
            ("0001_VAL", VALIDATION),
            ("wiki.dev", VALIDATION),
            ("eval3", VALIDATION),
            ("train_validation", VALIDATION),
            ("validation-of-training", TRAIN),
            ("test-0001", TEST),
            ("news(test)", TEST),
            ("latest", None),
            ("trainer", None),
            ("valley", None),
            ("evaluation", None),
            ("développement", None),
            ("", None),
        ] {
            assert_eq!(Tag::in_name(name), tag, "{name}");
        }
    }

    #[test]
    fn folders_count_before_names() {
        for (folders, stem, tag) in [
            (&["validation", "chunk1"][..], "example_train_0", VALIDATION),
            (&["data", "train", "test"], "val", TRAIN),
            (&["data"], "dev_0", VALIDATION),
            (&["my test set"], "train", TEST),
            (&[], "a", None),
        ] {
            assert_eq!(
                Tag::in_path(folders.iter().copied(), stem),
                tag,
                "{folders:?} {stem}"
            );
        }
    }
}
