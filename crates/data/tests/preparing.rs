//! The cache: what it holds, when it is reused, how it survives a kill and notices damage.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};

use common::{Fixture, contents, prose};
use evenburn_data::megatron::{Index, TokenType};
use evenburn_data::{
    Corpus, DataConfig, DataError, InspectOptions, Manifest, Phase, ProgressState, SourceRole,
    Split, Tokenizer, inspect, prepare,
};

/// Prepares and counts the documents tokenized by this call.
fn counting(config: &DataConfig, fixture: &Fixture) -> (Corpus, u64) {
    let documents = AtomicU64::new(0);
    let listen = |state: &ProgressState| {
        if state.phase == Phase::Tokenizing {
            documents.store(state.documents, Ordering::Relaxed);
            assert!(state.bytes_done <= state.bytes_total);
        }
        ControlFlow::Continue(())
    };
    let corpus = prepare(config, &fixture.cache(), &listen).unwrap();
    (corpus, documents.into_inner())
}

#[test]
fn shards_hold_the_documents_in_order() {
    let fixture = Fixture::new(3, 10);
    let corpus = fixture.corpus();
    let manifest = &corpus.manifest;
    assert_eq!(manifest.sources.len(), 4);
    assert_eq!(manifest.sources[3].role, SourceRole::Validation);
    assert_eq!(
        (corpus.train.windows(), corpus.validation.windows()),
        (3, 1)
    );
    assert_eq!(manifest.token_type, TokenType::Uint16);
    let texts: Vec<String> = (0..10)
        .map(|d| prose(2000 + d, 5 + (d as usize * 7) % 40))
        .collect();
    let shard = &manifest.shards[1];
    assert_eq!((shard.documents, shard.split), (10, Split::Train));
    assert_eq!(
        shard.text_bytes as usize,
        texts.iter().map(String::len).sum::<usize>()
    );

    let stem = corpus.folder.join(&shard.name);
    let index = Index::read(&stem).unwrap();
    let bin = fs::read(stem.with_extension("bin")).unwrap();
    let ids: Vec<u32> = bin
        .chunks(2)
        .map(|b| u32::from(u16::from_le_bytes([b[0], b[1]])))
        .collect();
    assert_eq!(ids.len() as u64, shard.tokens);
    let mut rest = &ids[..];
    for (text, length) in texts.iter().zip(&index.lengths) {
        let (document, after) = rest.split_at(*length as usize);
        let (eod, document) = document.split_last().unwrap();
        assert_eq!(*eod, corpus.tokenizer.eod());
        assert_eq!(corpus.tokenizer.decode(document).unwrap(), *text);
        rest = after;
    }
    assert!(rest.is_empty());
    let saved =
        Tokenizer::from_file(&corpus.folder.join("tokenizer.json"), "<|endoftext|>").unwrap();
    assert_eq!(saved.sha256(), manifest.tokenizer.sha256);
}

#[test]
fn the_cache_is_reused_until_something_that_matters_changes() {
    let fixture = Fixture::new(2, 10);
    let config = fixture.config();
    let (first, documents) = counting(&config, &fixture);
    assert_eq!(documents, 30);
    let (again, documents) = counting(&config, &fixture);
    assert_eq!((documents, &again.manifest), (0, &first.manifest));
    assert_eq!(again.manifest.fingerprint(), first.manifest.fingerprint());

    // Touched, but the same contents: reused.
    let file = fixture
        .text()
        .join("train/chunk1/example_train_0.jsonl.zst");
    let bytes = fs::read(&file).unwrap();
    fs::write(&file, &bytes).unwrap();
    assert_eq!(counting(&config, &fixture).1, 0);
    // A copy of everything elsewhere with the same cache: reused.
    let moved = fixture.dir.path().join("moved");
    fs::rename(fixture.text(), &moved).unwrap();
    let elsewhere = DataConfig {
        path: moved.to_str().unwrap().into(),
        ..config.clone()
    };
    assert_eq!(counting(&elsewhere, &fixture).1, 0);
    fs::rename(&moved, fixture.text()).unwrap();

    // Another vocabulary, other contents: made anew, the old one stays.
    let vocab = DataConfig {
        tokenizer_vocab: 280,
        ..config.clone()
    };
    let (other, documents) = counting(&vocab, &fixture);
    assert_eq!(documents, 30);
    assert_ne!(other.folder, first.folder);
    fs::write(&file, common::zst(&[b"{\"text\": \"changed\"}"])).unwrap();
    assert_eq!(counting(&config, &fixture).1, 21);
    fs::write(&file, &bytes).unwrap();
    assert_eq!(counting(&config, &fixture).1, 0);
}

#[test]
fn an_interrupted_tokenization_continues_at_its_shard() {
    let fixture = Fixture::new(5, 10);
    let config = fixture.config();
    let stop_in_third = |state: &ProgressState| {
        if state.phase == Phase::Tokenizing && state.documents > 20 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    };
    let error = prepare(&config, &fixture.cache(), &stop_in_third).unwrap_err();
    assert!(matches!(error, DataError::Interrupted));
    // As a kill leaves it: the third shard is half written, under another name.
    let folder = fs::read_dir(fixture.cache())
        .unwrap()
        .map(|e| e.unwrap().path());
    let folder = folder.into_iter().find(|p| p.is_dir()).unwrap();
    assert!(folder.join("train-00002.bin.partial").exists());
    assert!(!folder.join("manifest.json").exists());

    let (resumed, documents) = counting(&config, &fixture);
    assert_eq!(documents, 60 - 20);
    let fresh = Fixture::new(5, 10);
    let straight = fresh.corpus();
    assert_eq!(resumed.manifest, straight.manifest);
    let shards = |c: &Corpus| -> Vec<_> {
        contents(&c.folder)
            .into_iter()
            .filter(|(name, _)| !name.ends_with(".partial"))
            .collect()
    };
    assert_eq!(shards(&resumed), shards(&straight));
    // A shard that a kill left renamed but unannounced is redone, not trusted.
    fs::remove_file(resumed.folder.join("manifest.json")).unwrap();
    assert_eq!(counting(&config, &fixture).1, 60);
}

#[test]
fn tokens_do_not_depend_on_threads() {
    let on = |threads| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        let fixture = Fixture::new(2, 30);
        pool.install(|| contents(&fixture.corpus().folder))
    };
    assert_eq!(on(1), on(3));
}

#[test]
fn damaged_cache_files_are_noticed_and_named() {
    let fixture = Fixture::new(2, 10);
    let corpus = fixture.corpus();
    let fails = |name: &str| {
        let error = prepare(&fixture.config(), &fixture.cache(), &()).unwrap_err();
        assert!(matches!(error, DataError::Damaged { .. }), "{error:?}");
        let message = error.to_string();
        assert!(
            message.contains(name) && message.contains("delete the folder"),
            "{message}"
        );
    };
    for name in [
        "train-00001.bin",
        "train-00000.idx",
        "validation-00002.bin",
        "manifest.json",
    ] {
        let path = corpus.folder.join(name);
        let good = fs::read(&path).unwrap();
        if name != "manifest.json" {
            let mut bad = good.clone();
            bad[40] ^= 4;
            fs::write(&path, bad).unwrap();
            fails(name);
            fs::remove_file(&path).unwrap();
            fails(name);
        }
        fs::write(&path, &good[..good.len() - 1]).unwrap();
        fails(name);
        fs::write(&path, good).unwrap();
    }
    prepare(&fixture.config(), &fixture.cache(), &()).unwrap();
    // As the message says: without the folder everything is made again.
    fs::remove_dir_all(&corpus.folder).unwrap();
    assert_eq!(counting(&fixture.config(), &fixture).1, 30);
}

#[test]
fn bad_input_leaves_no_manifest() {
    let fixture = Fixture::new(2, 10);
    let path = fixture
        .text()
        .join("train/chunk1/example_train_1.jsonl.zst");
    fs::write(&path, common::zst(&[b"{\"text\": \"ok\"}\n{\"text\": "])).unwrap();
    let error = prepare(&fixture.config(), &fixture.cache(), &()).unwrap_err();
    let message = error.to_string();
    assert!(
        message.contains("example_train_1.jsonl.zst, line 2"),
        "{message}"
    );
}

#[test]
fn documents_are_split_by_tag_then_by_hash() {
    let fixture = Fixture::new(0, 0);
    let path = fixture.dir.path().join("all.jsonl");
    let mut lines = vec![
        r#"{"text": "tagged for validation", "split": "validation"}"#.to_owned(),
        r#"{"text": "tagged for training", "split": "train"}"#.to_owned(),
        r#"{"text": "tagged for test", "split": "test"}"#.to_owned(),
        r#"{"text": ""}"#.to_owned(),
    ];
    lines.extend(
        (0..1000).map(|i| serde_json::json!({"text": prose(i, 8), "split": 3}).to_string()),
    );
    fs::write(&path, lines.join("\n")).unwrap();
    let config = DataConfig {
        path: path.to_str().unwrap().into(),
        validation_fraction: 0.2,
        tokenizer_vocab: 260,
        ..Default::default()
    };
    let corpus = prepare(&config, &fixture.cache(), &()).unwrap();
    let totals = |split| corpus.manifest.totals(split).documents;
    assert_eq!(totals(Split::Train) + totals(Split::Validation), 1002);
    assert!(
        (150..250).contains(&totals(Split::Validation)),
        "{}",
        totals(Split::Validation)
    );
    let none = DataConfig {
        validation_fraction: 0.0,
        ..config
    };
    let corpus = prepare(&none, &fixture.cache(), &()).unwrap();
    assert_eq!(corpus.validation.documents(), 1);
    assert_eq!(
        corpus.validation.text_bytes(),
        "tagged for validation".len() as u64
    );
}

#[test]
fn small_files_share_a_shard() {
    let fixture = Fixture::new(4, 5);
    let config = DataConfig {
        shard_bytes: 8 << 20,
        ..fixture.config()
    };
    let corpus = prepare(&config, &fixture.cache(), &()).unwrap();
    assert_eq!(
        (corpus.train.windows(), corpus.validation.windows()),
        (1, 1)
    );
    assert_eq!(corpus.train.documents(), 20);
}

#[test]
fn a_named_tokenizer_is_used() {
    let fixture = Fixture::new(1, 10);
    let path = fixture.dir.path().join("t.json");
    let trained = Tokenizer::train([Ok(prose(1, 300))].into_iter(), 270, "<|endoftext|>").unwrap();
    trained.save(&path).unwrap();
    let config = DataConfig {
        tokenizer: path.to_str().unwrap().into(),
        ..fixture.config()
    };
    let corpus = prepare(&config, &fixture.cache(), &()).unwrap();
    assert_eq!(corpus.manifest.tokenizer.sha256, trained.sha256());
    let missing = DataConfig {
        tokenizer: "no/such.json".into(),
        ..fixture.config()
    };
    let error = prepare(&missing, &fixture.cache(), &()).unwrap_err();
    let message = error.to_string();
    assert!(
        message.starts_with("data.tokenizer: no such file"),
        "{message}"
    );
}

#[test]
fn processes_at_the_same_time_share_the_work() {
    let fixture = Fixture::new(3, 10);
    let manifests: Vec<Manifest> = std::thread::scope(|s| {
        let handles: Vec<_> = (0..4)
            .map(|_| s.spawn(|| fixture.corpus().manifest))
            .collect();
        handles.into_iter().map(|h| h.join().unwrap()).collect()
    });
    assert!(manifests.iter().all(|m| *m == manifests[0]));
}

#[test]
fn inspection_shows_documents_samples_and_counts() {
    let fixture = Fixture::new(2, 10);
    let options = InspectOptions {
        documents: 12,
        samples: 3,
        context: 16,
        evaluation: 5,
        seed: 1,
    };
    let seen = inspect(&fixture.config(), &fixture.cache(), &(), &options).unwrap();
    assert_eq!((seen.documents.len(), seen.samples.len()), (12, 3));
    assert_eq!(seen.documents[0].text, prose(1000, 5));
    assert!(
        seen.documents[10]
            .source
            .ends_with("example_train_1.jsonl.zst")
    );
    assert!(!seen.documents[0].tokens.is_empty());
    assert!(
        seen.samples
            .iter()
            .all(|s| !s.text.is_empty() && s.documents >= 1)
    );
    let summary: Vec<_> = seen
        .splits
        .iter()
        .map(|s| (s.sources, s.documents))
        .collect();
    assert_eq!(summary, [(2, 20), (1, 10)]);
}
