//! Records that can't be used: an error, or left out and counted (`data.on_bad_record`).

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;
#[allow(dead_code, reason = "other tests write columns of numbers")]
#[path = "common/parquet.rs"]
mod writing;

use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use ::parquet::basic::Compression;
use common::{gz, zst};
use evenburn_data::{
    BadRecords, Corpus, DataConfig, DataError, OnBadRecord, PackedStore, ReadSeek, Source, Stream,
    documents, prepare,
};
use proptest::prelude::*;
use writing::{Cells, parquet};

/// A file in memory, whose storage fails from a byte on.
#[derive(Debug)]
struct Memory {
    name: String,
    bytes: Vec<u8>,
    fails_at: u64,
}

impl Memory {
    fn new(name: &str, bytes: &[u8]) -> Self {
        Self {
            name: name.into(),
            bytes: bytes.to_vec(),
            fails_at: u64::MAX,
        }
    }
}

impl Source for Memory {
    fn name(&self) -> &str {
        &self.name
    }

    fn location(&self) -> &Path {
        Path::new(&self.name)
    }

    fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn stamp(&self) -> Option<String> {
        None
    }

    fn is_unchanged(&self) -> io::Result<bool> {
        Ok(true)
    }

    fn open(&self) -> io::Result<Box<dyn ReadSeek>> {
        Ok(Box::new(Failing {
            inner: Cursor::new(self.bytes.clone()),
            at: self.fails_at,
        }))
    }
}

struct Failing {
    inner: Cursor<Vec<u8>>,
    at: u64,
}

impl Read for Failing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.at.saturating_sub(self.inner.position());
        if left == 0 && !buffer.is_empty() {
            return Err(io::Error::other("the bytes don't pass their digest"));
        }
        let most = buffer
            .len()
            .min(usize::try_from(left).unwrap_or(usize::MAX));
        self.inner.read(&mut buffer[..most])
    }
}

impl Seek for Failing {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}

/// The texts of a file, what is left out of it, and the error it ends with.
fn skipping(source: Memory) -> (Vec<String>, BadRecords, Option<DataError>) {
    let documents = documents(Arc::new(source), "text").unwrap();
    let mut documents = documents.on_bad_record(OnBadRecord::Skip);
    let (mut texts, mut error) = (Vec::new(), None);
    for document in documents.by_ref() {
        assert!(error.is_none(), "something follows an error");
        match document {
            Ok(document) => texts.push(document.text),
            Err(e) => error = Some(e),
        }
    }
    (texts, documents.bad_records().clone(), error)
}

fn line(text: &str) -> Vec<u8> {
    format!("{}\n", serde_json::json!({ "text": text })).into_bytes()
}

/// Lines that are no documents.
fn bad_line() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(b"{\"text\": \"cut\n".to_vec()),
        Just(b"{\"body\": \"no text\"}\n".to_vec()),
        Just(b"{\"text\": null}\n".to_vec()),
        Just(b"[1, 2]\n".to_vec()),
        Just(b"{\"text\": \"\xff\"}\n".to_vec()),
        Just(b"{\"text\": \"x\"} trailing\r\n".to_vec()),
        Just(b"\xff\xfe\n".to_vec()),
        "[a-z]{1,30}".prop_map(|words| format!("{words}\n").into_bytes()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// What is left is what a file without the bad lines has.
    #[test]
    fn lines_that_are_left_out_leave_the_others(
        lines in prop::collection::vec(prop_oneof!["[a-z ]{0,20}".prop_map(|t| (line(&t), false)), bad_line().prop_map(|l| (l, true))], 1..30),
        codec in 0usize..3,
        ends: bool,
    ) {
        let kept: Vec<_> = lines.iter().filter(|(_, bad)| !bad).map(|(line, _)| line.clone()).collect();
        let mut all = lines.iter().map(|(line, _)| line.clone()).collect::<Vec<_>>().concat();
        if !ends {
            all.pop();
        }
        let (name, packed) = match codec {
            0 => ("a.jsonl", all),
            1 => ("a.jsonl.zst", zst(&[&all[..all.len() / 2], &all[all.len() / 2..]])),
            _ => ("a.jsonl.gz", gz(&[&all])),
        };
        let (texts, bad, error) = skipping(Memory::new(name, &packed));
        prop_assert!(error.is_none());
        let wanted = match kept.concat() {
            kept if kept.is_empty() => Vec::new(),
            kept => skipping(Memory::new("b.jsonl", &kept)).0,
        };
        prop_assert_eq!(texts, wanted);
        let numbers: Vec<_> = (1..).zip(&lines).filter(|(_, (_, bad))| *bad).map(|(number, _)| number).collect();
        prop_assert_eq!(bad.count, numbers.len() as u64);
        prop_assert_eq!(bad.first.len(), numbers.len().min(3));
        for (what, number) in bad.first.iter().zip(numbers) {
            prop_assert!(what.starts_with(&format!("line {number}: ")), "{}", what);
        }
    }

    /// The same for the documents of plain text and the rows of Parquet.
    #[test]
    fn texts_and_rows_that_are_left_out_leave_the_others(
        texts in prop::collection::vec((prop::collection::vec("[a-z]{1,9}", 1..4), any::<bool>()), 1..30),
        rows in 1usize..40,
    ) {
        let bytes = |(lines, bad): &(Vec<String>, bool)| {
            let mut text = lines.join("\n").into_bytes();
            if *bad {
                text.insert(text.len() / 2, 0xff);
            }
            text
        };
        let wanted: Vec<_> = texts.iter().filter(|(_, bad)| !bad).map(|(lines, _)| lines.join("\n")).collect();
        let documents: Vec<_> = texts.iter().map(bytes).collect();
        let (found, bad, error) = skipping(Memory::new("a.txt", &documents.join(&b"\n<|endoftext|>\n"[..])));
        prop_assert!(error.is_none());
        prop_assert_eq!(&found, &wanted);
        prop_assert_eq!(bad.count as usize, texts.len() - wanted.len());

        let cells = texts.iter().enumerate().map(|(row, text)| match (text.1, row % 2) {
            (true, 0) => None,
            _ => Some(bytes(text)),
        });
        let cells = Cells::Bytes("OPTIONAL BYTE_ARRAY {}", cells.collect());
        let file = parquet(&[("text", cells)], Compression::SNAPPY, rows);
        let (found, bad, error) = skipping(Memory::new("a.parquet", &file));
        prop_assert!(error.is_none());
        prop_assert_eq!(&found, &wanted);
        prop_assert_eq!(bad.count as usize, texts.len() - wanted.len());
    }
}

#[test]
fn what_comes_before_damage_is_read() {
    let (one, two) = (line("one"), line("two"));
    for (name, compress) in [
        ("a.jsonl.zst", zst as fn(&[&[u8]]) -> Vec<u8>),
        ("a.jsonl.gz", gz),
    ] {
        let whole = compress(&[&one, &two]);
        let cut = compress(&[&one, &two[..5]]);
        let garbage = [&compress(&[&one]), &b"garbage"[..]].concat();
        for (bytes, wanted, count) in [
            (&whole[..], &["one", "two"][..], 0),
            (&whole[..whole.len() - 12], &["one"], 1),
            (&garbage, &["one"], 1),
            // The file ends where a frame does, inside a line.
            (&cut, &["one"], 1),
        ] {
            let (texts, bad, error) = skipping(Memory::new(name, bytes));
            assert!(error.is_none(), "{error:?}");
            assert_eq!(texts, wanted);
            assert_eq!(bad.count, count);
        }
    }
    let text = b"whole\n<|endoftext|>\nits end is lost\n".as_slice();
    let frame = zst(&[text]);
    let (texts, bad, _) = skipping(Memory::new("a.txt.zst", &[&frame, &frame[..9]].concat()));
    assert_eq!((texts, bad.count), (vec!["whole".to_owned()], 1));
    assert!(bad.first[0].starts_with("zstd frame 2 "), "{bad:?}");
}

#[test]
fn damaged_pages_cost_the_rest_of_a_parquet_file() {
    let values: Vec<String> = (0..4000_u32)
        .map(|i| format!("{}", i.wrapping_mul(2_654_435_761)))
        .collect();
    let mut file = parquet(
        &[("text", Cells::text(&values))],
        Compression::ZSTD(::parquet::basic::ZstdLevel::default()),
        2000,
    );
    let at = file.len() / 2 + 2000;
    file[at..at + 400].fill(0xff);
    let (texts, bad, error) = skipping(Memory::new("a.parquet", &file));
    assert!(error.is_none(), "{error:?}");
    assert!(texts.len() >= 2000 && texts.len() < 4000);
    assert_eq!(texts, values[..texts.len()]);
    assert_eq!(bad.count, 1);
}

/// Bytes that don't come, or that aren't those of the listing, are no bad records.
#[test]
fn a_storage_that_fails_is_never_skipped() {
    let text: Vec<u8> = (0..4000).flat_map(|n| line(&format!("text {n}"))).collect();
    let column = Cells::text((0..4000).map(|n| format!("text {n}")));
    for (name, bytes) in [
        ("a.jsonl", text.clone()),
        ("a.jsonl.zst", zst(&[&text])),
        ("a.jsonl.gz", gz(&[&text])),
        ("a.txt", text.clone()),
        ("a.txt.zst", zst(&[&text])),
        (
            "a.parquet",
            parquet(&[("text", column)], Compression::UNCOMPRESSED, 100),
        ),
    ] {
        // Behind the footer of Parquet, which is read first, reading fails at once.
        for share in [0.3, 0.9] {
            let mut source = Memory::new(name, &bytes);
            source.fails_at = (bytes.len() as f64 * share) as u64;
            let opened = documents(Arc::new(source), "text");
            let Ok(documents) = opened else {
                assert_eq!(name, "a.parquet");
                continue;
            };
            let mut documents = documents.on_bad_record(OnBadRecord::Skip);
            let error = documents.find_map(Result::err).unwrap();
            assert!(matches!(error, DataError::Io { .. }), "{name}: {error:?}");
            assert!(error.to_string().contains("digest"), "{name}: {error}");
            assert!(documents.next().is_none());
            assert_eq!(documents.bad_records().count, 0, "{name}");
        }
    }
}

/// A line of a gigabyte, of which the file has nothing on the disk.
#[test]
fn a_line_without_an_end_is_passed_over() {
    use std::io::Write;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.jsonl");
    let mut file = std::fs::File::create(&path).unwrap();
    file.write_all(&line("one")).unwrap();
    file.seek(SeekFrom::Start(1 << 30)).unwrap();
    file.write_all(b"\n").unwrap();
    file.write_all(&line("two")).unwrap();
    drop(file);
    let source = evenburn_data::LocalFile::new("a.jsonl".into(), path).unwrap();
    let documents = documents(Arc::new(source), "text").unwrap();
    let mut documents = documents.on_bad_record(OnBadRecord::Skip);
    let texts: Vec<_> = documents.by_ref().map(|d| d.unwrap().text).collect();
    assert_eq!(texts, ["one", "two"]);
    assert_eq!(
        documents.bad_records().first,
        ["line 2: the line is longer than 134217728 bytes"]
    );
}

fn corpus(folder: &Path, text: &str, answer: OnBadRecord) -> Result<Corpus, DataError> {
    let path = folder.join(text);
    let config = DataConfig {
        path: path.to_str().unwrap().into(),
        tokenizer_vocab: 270,
        validation_fraction: 0.0,
        on_bad_record: answer,
        ..DataConfig::default()
    };
    prepare(&config, &folder.join("cache"), &())
}

/// The tokens, and so the tokenizer and the samples, are those of the text without the bad lines.
#[test]
fn a_corpus_with_bad_records_is_the_one_without() {
    let dir = tempfile::tempdir().unwrap();
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for n in 0..300 {
        let good = line(&format!("document {n} is a line of some words"));
        with.extend(&good);
        without.extend(&good);
        if n % 70 == 7 {
            with.extend(b"{\"text\": 7}\n");
        }
    }
    std::fs::write(dir.path().join("with.jsonl"), with).unwrap();
    std::fs::write(dir.path().join("without.jsonl"), without).unwrap();
    let error = corpus(dir.path(), "with.jsonl", OnBadRecord::Stop).unwrap_err();
    assert!(matches!(error, DataError::Line { line: 9, .. }), "{error}");
    let found = corpus(dir.path(), "with.jsonl", OnBadRecord::Skip).unwrap();
    let wanted = corpus(dir.path(), "without.jsonl", OnBadRecord::Stop).unwrap();
    assert_eq!(found.manifest.fingerprint(), wanted.manifest.fingerprint());
    let first = |store: &PackedStore| {
        Stream::new(store.clone(), 16, 1)
            .unwrap()
            .next_batch(8)
            .unwrap()
    };
    assert_eq!(first(&found.train), first(&wanted.train));
    let told = found.reading();
    let told = told
        .iter()
        .find(|line| line.contains("can't be used"))
        .unwrap();
    assert_eq!(
        *told,
        "left out: 5 records that can't be used (data.on_bad_record = \"skip\"): \
         with.jsonl, line 9: field `text` is a number, not a string; \
         with.jsonl, line 80: field `text` is a number, not a string; \
         with.jsonl, line 151: field `text` is a number, not a string; ..."
    );
    // What was left out once is no reason to pass the same file where it is to be an error.
    assert!(corpus(dir.path(), "with.jsonl", OnBadRecord::Stop).is_err());
}
