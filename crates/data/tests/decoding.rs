//! Every format, with the oddities real corpora have, and every way a file can be broken.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;
#[path = "common/parquet.rs"]
mod writing;

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use ::parquet::basic::{Compression, GzipLevel, ZstdLevel};
use common::{gz, zst};
use evenburn_data::{DataError, LocalFile, documents};
use writing::{Cells, parquet};

/// Writes a file and reads its documents up to the first error.
fn read(name: &str, bytes: &[u8]) -> (Vec<String>, Option<DataError>) {
    read_field(name, bytes, "text")
}

fn read_field(name: &str, bytes: &[u8], field: &str) -> (Vec<String>, Option<DataError>) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    let source = Arc::new(LocalFile::new(name.into(), path).unwrap());
    let mut texts = Vec::new();
    let documents = match documents(source, field) {
        Ok(documents) => documents,
        Err(e) => return (texts, Some(e)),
    };
    let mut error = None;
    for document in documents {
        assert!(error.is_none(), "something follows an error");
        match document {
            Ok(d) => texts.push(d.text),
            Err(e) => error = Some(e),
        }
    }
    (texts, error)
}

fn texts(name: &str, bytes: &[u8]) -> Vec<String> {
    let (texts, error) = read(name, bytes);
    assert!(error.is_none(), "{error:?}");
    texts
}

fn line(text: &str) -> String {
    serde_json::json!({"text": text, "meta": {"redpajama_set_name": "RedPajamaC4"}}).to_string()
}

#[test]
fn jsonl_with_crlf_blank_lines_u2028_and_no_final_newline() {
    let odd = "a\u{2028}b\u{85}c\u{0}d \u{1F600} \"quoted\" \\ \n tab\t";
    let file = format!(
        "\u{feff}{}\r\n\r\n{}\n   \n{}",
        line("one"),
        line(odd),
        line("three")
    );
    assert_eq!(texts("a.jsonl", file.as_bytes()), ["one", odd, "three"]);
    // U+2028 unescaped in the file, where some readers would split the line.
    assert_eq!(
        texts("a.jsonl", "{\"text\":\"x\u{2028}y\"}".as_bytes()),
        ["x\u{2028}y"]
    );
}

#[test]
fn jsonl_in_several_frames_cut_anywhere() {
    let long = "long line ".repeat(300_000);
    let file = format!("{}\n{}\n{}", line("one"), line(&long), line("three"));
    let bytes = file.as_bytes();
    for compress in [zst as fn(&[&[u8]]) -> Vec<u8>, gz] {
        let name = if compress(&[b""])[0] == 0x1f {
            "a.jsonl.gz"
        } else {
            "a.jsonl.zst"
        };
        let parts: Vec<&[u8]> = vec![
            &bytes[..10],
            &bytes[10..10],
            &bytes[10..2_000_000],
            &bytes[2_000_000..],
        ];
        let read = texts(name, &compress(&parts));
        assert_eq!(read, ["one", &*long, "three"]);
    }
}

#[test]
fn a_skippable_zstd_frame_is_skipped() {
    let mut file = vec![0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4];
    file.extend(zst(&[line("one").as_bytes()]));
    assert_eq!(texts("a.jsonl.zst", &file), ["one"]);
}

#[test]
fn txt_is_one_document_or_separated() {
    assert_eq!(
        texts("a.txt", b"one\r\ntwo\n\nthree\n"),
        ["one\r\ntwo\n\nthree"]
    );
    let file =
        "first\nline\n<|endoftext|>\n\n<|endoftext|>\r\nsecond <|endoftext|> kept\n<|endoftext|>\n";
    let want = ["first\nline", "second <|endoftext|> kept"];
    assert_eq!(texts("a.txt", file.as_bytes()), want);
    assert_eq!(texts("a.txt.zst", &zst(&[file.as_bytes()])), want);
    assert_eq!(texts("a.txt.gz", &gz(&[file.as_bytes()])), want);
    assert!(texts("a.txt", b"\n").is_empty());
    assert!(matches!(
        read("a.txt", b"").1,
        Some(DataError::NoText { .. })
    ));
}

#[test]
fn a_txt_document_of_any_length_is_read() {
    let mut file = vec![b'a'; 129 << 20];
    file.iter_mut().step_by(1 << 10).for_each(|at| *at = b'\n');
    let whole = "whole\n<|endoftext|>\n";
    file[..whole.len()].copy_from_slice(whole.as_bytes());
    let (texts, error) = read("a.txt", &file);
    assert!(error.is_none(), "{error:?}");
    assert_eq!(texts.len(), 2);
    assert_eq!(texts[0], "whole");
    assert!(texts[1].len() > 128 << 20);
}

#[test]
fn what_is_no_text_is_told_from_damage() {
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n";
    let error = |name: &str, text: &str| read(name, text.as_bytes()).1.unwrap();
    assert!(matches!(
        error("a.jsonl", pointer),
        DataError::Pointer { .. }
    ));
    for text in ["[{\"text\": \"x\"}]\n", "{\n\"text\": \"x\"}\n"] {
        assert!(matches!(error("a.json", text), DataError::NoText { .. }));
    }
    for text in ["{\"name\": 1}\n", "{\"text\": \"cut"] {
        let error = error("a.json", text);
        assert!(matches!(error, DataError::FirstObject { .. }), "{error}");
    }
}

#[test]
fn broken_frames_say_which_and_where() {
    let (one, two) = (
        format!("{}\n", line("one")),
        format!("{}\n", line(&"two ".repeat(99))),
    );
    for (name, compress, codec) in [
        ("a.jsonl.zst", zst as fn(&[&[u8]]) -> Vec<u8>, "zstd"),
        ("a.jsonl.gz", gz, "gzip"),
    ] {
        let mut file = compress(&[one.as_bytes()]);
        let second = compress(&[two.as_bytes()]);
        file.extend(&second[..second.len() - 6]);
        let (_, error) = read(name, &file);
        let error = error.unwrap();
        let DataError::Frame {
            frame,
            codec: named,
            message,
            ..
        } = &error
        else {
            panic!("{error:?}");
        };
        assert_eq!((*frame, *named), (2, codec));
        assert!(message.contains("ends inside"), "{message}");

        let mut file = compress(&[one.as_bytes()]);
        file.extend(b"garbage that is no frame");
        let (read_texts, error) = read(name, &file);
        let error = error.unwrap();
        assert!(
            matches!(
                error,
                DataError::Frame {
                    frame: 2,
                    line: 1,
                    ..
                }
            ),
            "{error:?}"
        );
        assert!(error.is_wrong_input());
        assert_eq!(read_texts, ["one"]);
    }
    // A flipped byte in the middle of a checksummed frame.
    let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.write_all(two.as_bytes()).unwrap();
    let mut file = encoder.finish().unwrap();
    let middle = file.len() - 5;
    file[middle] ^= 0x55;
    let (_, error) = read("a.jsonl.zst", &file);
    assert!(
        matches!(error, Some(DataError::Frame { frame: 1, .. })),
        "{error:?}"
    );
}

#[test]
fn broken_lines_say_which_and_why() {
    let good = line("one");
    for (bad, says) in [
        ("{\"text\": \"x\"", "invalid JSON at column 12: EOF"),
        (
            "{\"text\": \"x\"} trailing",
            "invalid JSON at column 15: trailing",
        ),
        ("[1, 2]", "expected an object with a field `text`"),
        (
            "{\"body\": \"x\", \"n\": 1}",
            "no field `text` (data.text_field); it has `body`, `n`",
        ),
        ("{}", "it has none"),
        ("{\"text\": 7}", "field `text` is a number, not a string"),
        ("{\"text\": null}", "field `text` is null"),
        ("{\"text\": \"\\ud800\"}", "invalid JSON"),
    ] {
        let (before, error) = read("a.jsonl", format!("{good}\n\n{bad}\n{good}\n").as_bytes());
        let error = error.unwrap();
        assert!(
            matches!(error, DataError::Line { line: 3, .. }),
            "{error:?}"
        );
        assert!(error.to_string().contains("a.jsonl, line 3: "), "{error}");
        assert!(error.to_string().contains(says), "{says}: {error}");
        assert_eq!(before, ["one"]);
    }
    let (_, error) = read("a.jsonl", b"{\"text\": \"\xff\"}");
    assert!(matches!(error, Some(DataError::Line { line: 1, .. })));
    let (_, error) = read("a.txt", b"fine\n<|endoftext|>\nfine\nbad \xff\n");
    assert!(
        matches!(error, Some(DataError::Line { line: 4, .. })),
        "{error:?}"
    );
}

#[test]
fn unknown_formats_and_missing_files() {
    let (_, error) = read("a.csv", b"x");
    assert!(matches!(error, Some(DataError::UnknownFormat { .. })));
    assert!(LocalFile::new("x.txt".into(), Path::new("/no/such/x.txt").into()).is_err());
}

#[test]
fn parquet_compressions_string_types_and_row_groups() {
    let want: Vec<String> = (0..1000).map(|i| format!("row {i}\u{2028}é")).collect();
    let other = Cells::text(want.iter().map(|_| "x"));
    let bytes: Vec<_> = want
        .iter()
        .map(|row| Some(row.clone().into_bytes()))
        .collect();
    let columns = [
        Cells::text(&want),
        Cells::Bytes("REQUIRED BYTE_ARRAY {} (UTF8)", bytes.clone()),
        Cells::Bytes("OPTIONAL BYTE_ARRAY {}", bytes),
    ];
    let compressions = [
        Compression::SNAPPY,
        Compression::ZSTD(ZstdLevel::default()),
        Compression::GZIP(GzipLevel::default()),
        Compression::BROTLI(::parquet::basic::BrotliLevel::default()),
        Compression::LZ4,
        Compression::LZ4_RAW,
        Compression::UNCOMPRESSED,
    ];
    for compression in compressions {
        for text in &columns {
            let columns = [("meta", other.clone()), ("text", text.clone())];
            let file = parquet(&columns, compression, 300);
            assert_eq!(texts("a.parquet", &file), want, "{compression:?}");
        }
    }
}

#[test]
fn parquet_errors_name_the_row() {
    let mut values = vec![Some(b"x".to_vec()); 10];
    values[7] = None;
    let text = Cells::Bytes("OPTIONAL BYTE_ARRAY {} (UTF8)", values);
    let file = parquet(&[("text", text)], Compression::SNAPPY, 4);
    let (before, error) = read("a.parquet", &file);
    assert_eq!(before.len(), 7);
    assert!(
        matches!(
            error,
            Some(DataError::Row {
                row: 7,
                row_group: 1,
                ..
            })
        ),
        "{error:?}"
    );

    let (_, error) = read_field("a.parquet", &file, "body");
    assert!(
        error
            .unwrap()
            .to_string()
            .contains("no column `body` (data.text_field); it has `text`")
    );
    let (_, error) = read("a.parquet", &file[..file.len() - 9]);
    assert!(
        matches!(error, Some(DataError::Parquet { .. })),
        "{error:?}"
    );
    let numbers = [("text", Cells::Numbers(vec![1, 2]))];
    let (_, error) = read("a.parquet", &parquet(&numbers, Compression::SNAPPY, 4));
    assert!(error.unwrap().to_string().contains("holds no strings"));

    for valid in [0, 1, 300] {
        let mut rows = vec![Some(b"ok".to_vec()); valid];
        rows.push(Some(b"\xff".to_vec()));
        let text = Cells::Bytes("OPTIONAL BYTE_ARRAY {}", rows);
        let file = parquet(&[("text", text)], Compression::SNAPPY, 1000);
        let (before, error) = read("a.parquet", &file);
        assert_eq!(before.len(), valid);
        let error = error.unwrap().to_string();
        assert!(error.contains(&format!("row {valid}")), "{error}");
        assert!(error.contains("not valid UTF-8"), "{error}");
    }
}

/// Damage is an error or other text, whatever is hit: never a panic, never fewer rows without a word.
#[test]
fn damaged_parquet_is_an_error() {
    let values: Vec<String> = (0..4000_u32)
        .map(|i| format!("{}", i.wrapping_mul(2_654_435_761)))
        .collect();
    let columns = [("text", Cells::text(&values))];
    let whole = parquet(&columns, Compression::ZSTD(ZstdLevel::default()), 2000);
    // Inside the data pages of the second row group.
    let mut file = whole.clone();
    let at = file.len() / 2 + 2000;
    file[at..at + 400].fill(0xff);
    let (before, error) = read("a.parquet", &file);
    assert!(before.len() < 4000);
    assert!(
        matches!(error, Some(DataError::Row { row_group: 1, .. })),
        "{error:?}"
    );

    for compression in [Compression::UNCOMPRESSED, Compression::SNAPPY] {
        let whole = parquet(&columns, compression, 2000);
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        for round in 0..400 {
            let mut file = whole.clone();
            for _ in 0..=round % 3 {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                // Every second time in the last bytes, where the footer stands.
                let reach = if round % 2 == 0 { file.len() } else { 600 };
                let at = file.len() - 1 - (state >> 20) as usize % reach;
                file[at] ^= 1 << (state >> 60 & 7);
            }
            let (before, error) = read("a.parquet", &file);
            assert!(
                error.is_some() || before.len() == values.len(),
                "round {round}: {} rows and no error",
                before.len()
            );
        }
    }
}

/// What pyarrow 26 writes (`pq.write_table`; `column_encoding` and `use_dictionary=False` for the encodings) for each of its types of text, with its own annotations, and in each encoding of strings.
#[test]
fn parquet_of_other_writers() {
    let rows = ["one", "zwei \u{1F600}", "", "row\u{2028}é"];
    let file = |name: &str| {
        let path = format!(
            "{}/tests/parquet/{name}.parquet",
            env!("CARGO_MANIFEST_DIR")
        );
        std::fs::read(path).unwrap()
    };
    for name in [
        "string",
        "large_string",
        "string_view",
        "binary",
        "dictionary",
    ] {
        assert_eq!(texts("a.parquet", &file(name)), rows, "{name}");
    }
    for name in ["plain", "delta_byte_array", "delta_length_byte_array"] {
        assert_eq!(texts("a.parquet", &file(name)), rows.repeat(50), "{name}");
    }
}

#[test]
fn zeros_after_the_last_gzip_member_are_padding() {
    let file = format!("{}\n{}\n", line("one"), line("two"));
    for zeros in [1, 511, 1 << 18] {
        let mut bytes = gz(&[file.as_bytes()]);
        bytes.extend(vec![0; zeros]);
        assert_eq!(texts("a.jsonl.gz", &bytes), ["one", "two"], "{zeros}");
    }
    let mut bytes = gz(&[file.as_bytes()]);
    bytes.extend([0, 0, 7]);
    assert!(matches!(
        read("a.jsonl.gz", &bytes).1,
        Some(DataError::Frame { .. })
    ));
}

#[test]
fn numbers_that_json_does_not_have_are_nobodys_business() {
    for other in [
        r#""x": NaN"#,
        r#""x": [Infinity, -Infinity, {"y": NaN}]"#,
        r#""x": "NaN \" Infinity", "y": NaN"#,
        r#""x": 1"#,
    ] {
        let file = format!("{{{other}, \"text\": \"NaN and -Infinity \\\" NaN\"}}\n");
        assert_eq!(
            texts("a.jsonl", file.as_bytes()),
            ["NaN and -Infinity \" NaN"],
            "{file}"
        );
    }
    for broken in [
        r#"{"text": NaN}"#,
        r#"{"text": "a", "x": NaNa}"#,
        r#"{"text": "a", NaN}"#,
    ] {
        let (texts, error) = read("a.jsonl", broken.as_bytes());
        assert!(
            texts.is_empty() && matches!(error, Some(DataError::Line { line: 1, .. })),
            "{broken}"
        );
    }
}
