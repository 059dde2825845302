//! What was read of a corpus and what was not, in sentences for the user.

use std::collections::BTreeMap;

use indicatif::{BinaryBytes, HumanCount};

use crate::layout::{LeftOut, PlacedSource, Rule, SourceRole};
use crate::manifest::SourceRecord;
use crate::{Corpus, Split, StreamedCorpus, Tally};

/// Names that a sentence shows at most.
const SHOWN: usize = 3;

impl Corpus {
    /// How many files and documents went where, by which rule, and what was left out: one sentence each.
    pub fn reading(&self) -> Vec<String> {
        let sources = &self.manifest.sources;
        let mut places: BTreeMap<(SourceRole, Rule), Vec<&SourceRecord>> = BTreeMap::new();
        let mut left_out = self.left_out.clone();
        for source in sources {
            match &source.documents.unreadable {
                None => places
                    .entry((source.role, source.rule))
                    .or_default()
                    .push(source),
                Some(why) => left_out
                    .entry(LeftOut::Unreadable(why.clone()))
                    .or_default()
                    .push(source.name.clone()),
            }
        }
        let fraction = self.manifest.validation_fraction;
        let mut lines: Vec<String> = places
            .into_iter()
            .map(|((role, rule), sources)| placed(role, rule, &sources, fraction))
            .collect();
        lines.extend(self.held_out());
        lines.extend(dropped(sources));
        let tallies = sources.iter().map(|s| (s.name.as_str(), &s.documents));
        lines.extend(bad_records(tallies));
        lines.extend(overruled(sources));
        lines.extend(copies(sources));
        lines.extend(left_out.iter().map(|(why, names)| left(why, names)));
        lines.extend(self.notes.iter().map(|note| format!("note: {note}")));
        lines.extend(
            self.tokenizer
                .remarks()
                .iter()
                .map(|remark| format!("note: {remark}")),
        );
        lines.extend(
            self.manifest
                .remarks()
                .iter()
                .map(|remark| format!("warning: {remark}")),
        );
        lines
    }

    /// What was held out by position.
    fn held_out(&self) -> Option<String> {
        let held = self.validation.tokens();
        (held != self.manifest.totals(Split::Validation).tokens).then(|| {
            format!(
                "no document fell into one of the splits: the end of the text is held out, its last {} of {} tokens",
                HumanCount(held),
                HumanCount(held + self.train.tokens())
            )
        })
    }
}

impl StreamedCorpus {
    /// Which files are read by which rule, and what was left out: one sentence each. No document is counted before it is read.
    pub fn reading(&self) -> Vec<String> {
        let mut places: BTreeMap<(SourceRole, Rule), Vec<&PlacedSource>> = BTreeMap::new();
        for placed in self.sources() {
            let key = (placed.role, placed.rule);
            places.entry(key).or_default().push(placed);
        }
        let mut lines: Vec<String> = places
            .into_iter()
            .map(|((role, rule), sources)| listed(role, rule, &sources))
            .collect();
        lines.push(format!(
            "kept on the disk: {} of fetched files and tokenized windows, at most {} (data.cache_bytes)",
            BinaryBytes(self.kept_bytes()),
            BinaryBytes(self.most_kept_bytes())
        ));
        lines.extend(self.ranged());
        lines.extend(self.left_out.iter().map(|(why, names)| left(why, names)));
        let remarks = self.notes.iter().chain(self.tokenizer.remarks());
        lines.extend(remarks.map(|remark| format!("note: {remark}")));
        lines
    }

    /// Files whose bytes nobody checks.
    fn ranged(&self) -> Option<String> {
        let ranged = self.sources().filter(|placed| placed.source.is_ranged());
        let names: Vec<_> = ranged.map(|placed| placed.source.name()).collect();
        (!names.is_empty()).then(|| {
            format!(
                "note: {} ({}) of more than half of data.cache_bytes are read where they lie; their digests can't be checked then",
                counted(names.len() as u64, "file"),
                some(&names)
            )
        })
    }
}

fn listed(role: SourceRole, rule: Rule, sources: &[&PlacedSource]) -> String {
    let names: Vec<_> = sources.iter().map(|s| s.source.name()).collect();
    let bytes = sources.iter().map(|s| s.source.size()).sum();
    let files = format!(
        "{} of {} ({})",
        counted(sources.len() as u64, "file"),
        BinaryBytes(bytes),
        some(&names)
    );
    match role {
        SourceRole::Train => format!("training: {files}: {}", because(rule)),
        SourceRole::Validation => format!("validation: {files}: {}", because(rule)),
        SourceRole::Mixed => format!(
            "training and validation: {files}: each document by its field `split`, else by the hash of its text"
        ),
    }
}

/// Why a file has its role, where one rule says it for the whole file.
fn because(rule: Rule) -> &'static str {
    match rule {
        Rule::Key => "given by data.validation_path",
        Rule::Name => "by name",
        Rule::Rest => "no name says otherwise",
        Rule::Documents => "",
    }
}

fn placed(role: SourceRole, rule: Rule, sources: &[&SourceRecord], fraction: f64) -> String {
    let sum = |of: fn(&Tally) -> u64| sources.iter().map(|s| of(&s.documents)).sum::<u64>();
    let names: Vec<_> = sources.iter().map(|s| s.name.as_str()).collect();
    let files = format!(
        "{} ({})",
        counted(sources.len() as u64, "file"),
        some(&names)
    );
    let (train, validation) = (sum(|t| t.train), sum(|t| t.validation));
    let why = because(rule);
    match role {
        SourceRole::Train => format!(
            "training: {} from {files}: {why}",
            counted(train, "document")
        ),
        SourceRole::Validation => {
            format!(
                "validation: {} from {files}: {why}",
                counted(validation, "document")
            )
        }
        SourceRole::Mixed => {
            let by_field = sum(|t| t.by_field);
            let rest = if fraction == 0.0 {
                "for training, as data.validation_fraction is 0"
            } else {
                "by the hash of their text"
            };
            let how = if by_field == 0 {
                rest.to_owned()
            } else {
                format!(
                    "{} by their field `split`, the others {rest}",
                    HumanCount(by_field)
                )
            };
            format!(
                "training: {}, validation: {}, from {files}: {how}",
                counted(train, "document"),
                counted(validation, "document")
            )
        }
    }
}

/// Documents that no split got.
fn dropped(sources: &[SourceRecord]) -> Option<String> {
    let sum = |of: fn(&Tally) -> u64| sources.iter().map(|s| of(&s.documents)).sum::<u64>();
    let parts: Vec<_> = [
        (sum(|t| t.test), "whose field `split` says test"),
        (sum(|t| t.empty), "without text"),
    ]
    .into_iter()
    .filter(|(documents, _)| *documents > 0)
    .map(|(documents, what)| format!("{} {what}", counted(documents, "document")))
    .collect();
    (!parts.is_empty()).then(|| format!("left out: {}", parts.join(", ")))
}

/// Records that can't be used, and which the first ones are.
pub(crate) fn bad_records<'a>(
    tallies: impl Iterator<Item = (&'a str, &'a Tally)>,
) -> Option<String> {
    let (mut count, mut described) = (0, Vec::new());
    for (name, tally) in tallies {
        count += tally.bad.count;
        let first = tally.bad.first.iter();
        described.extend(first.map(|what| format!("{name}, {what}")));
    }
    described.truncate(SHOWN);
    let more = if count > described.len() as u64 {
        "; ..."
    } else {
        ""
    };
    (count > 0).then(|| {
        format!(
            "left out: {} that can't be used (data.on_bad_record = \"skip\"): {}{more}",
            counted(count, "record"),
            described.join("; ")
        )
    })
}

/// Documents that say another split than their file.
fn overruled(sources: &[SourceRecord]) -> Option<String> {
    let documents = sources.iter().map(|s| s.documents.overruled).sum::<u64>();
    (documents > 0).then(|| {
        format!(
            "note: the field `split` of {} says another split than that of their file, which counts",
            counted(documents, "document")
        )
    })
}

/// Validation files that training text holds too, byte for byte.
fn copies(sources: &[SourceRecord]) -> Vec<String> {
    let training: BTreeMap<&str, &str> = sources
        .iter()
        .filter(|s| s.role == SourceRole::Train)
        .map(|s| (s.sha256.as_str(), s.name.as_str()))
        .collect();
    sources
        .iter()
        .filter(|s| s.role == SourceRole::Validation)
        .filter_map(|s| {
            let twin = training.get(s.sha256.as_str())?;
            Some(format!(
                "warning: {} is for validation, and {twin}, its equal byte for byte, for training",
                s.name
            ))
        })
        .collect()
}

pub(crate) fn left(why: &LeftOut, names: &[String]) -> String {
    let why = match why {
        LeftOut::Test => "named test",
        LeftOut::OtherValidation => "named validation, and data.validation_path gives other text",
        LeftOut::IsValidation => "given by data.validation_path",
        LeftOut::NotValidation => "in data.validation_path, and named training or test",
        LeftOut::OtherName => "other names of files that are listed",
        LeftOut::Format(ending) if ending.is_empty() => "no ending",
        LeftOut::Format(ending) => &format!("ends in {ending}"),
        LeftOut::NoFile => "is no regular file",
        LeftOut::Unreadable(why) => why,
    };
    let files = counted(names.len() as u64, "file");
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    format!("left out: {files} ({}): {why}", some(&names))
}

/// The first names.
pub(crate) fn some(names: &[&str]) -> String {
    let shown = names[..names.len().min(SHOWN)].join(", ");
    if names.len() > SHOWN {
        format!("{shown}, ...")
    } else {
        shown
    }
}

pub(crate) fn counted(number: u64, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {what}{plural}", HumanCount(number))
}
