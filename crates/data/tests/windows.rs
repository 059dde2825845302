//! Windows of prepared shards: where they end, what they are called, and what a checkpoint knows of them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::Fixture;
use evenburn_data::{Corpus, Cursor, DataConfig, Split, Stream, prepare};

const T: usize = 12;

fn corpus(fixture: &Fixture, window_bytes: u64) -> Corpus {
    let config = DataConfig {
        window_bytes,
        ..fixture.config()
    };
    prepare(&config, &fixture.cache(), &()).unwrap()
}

/// The tokens of a split, one after the other.
fn tokens(corpus: &Corpus, split: Split) -> Vec<u32> {
    let names = corpus.manifest.shards.iter().filter(|s| s.split == split);
    names
        .flat_map(|shard| {
            let bin = std::fs::read(corpus.folder.join(format!("{}.bin", shard.name))).unwrap();
            let ids = bin
                .chunks(2)
                .map(|b| u32::from(u16::from_le_bytes([b[0], b[1]])));
            ids.collect::<Vec<_>>()
        })
        .collect()
}

#[test]
fn windows_cut_a_shard_between_documents_and_lose_none() {
    let fixture = Fixture::new(3, 20);
    let whole = corpus(&fixture, 64 << 20);
    let cut = corpus(&fixture, 700);
    assert_ne!(whole.folder, cut.folder);
    for split in [Split::Train, Split::Validation] {
        assert_eq!(tokens(&cut, split), tokens(&whole, split));
        assert_eq!(
            cut.manifest.totals(split).documents,
            whole.manifest.totals(split).documents
        );
    }
    assert!(cut.train.windows() > 2 * whole.train.windows());
    for shard in &cut.manifest.shards {
        assert!(shard.text_bytes <= 700 || shard.documents == 1, "{shard:?}");
    }
    // The next document would not have fitted.
    for pair in cut
        .manifest
        .shards
        .windows(2)
        .filter(|pair| pair[0].group == pair[1].group)
    {
        assert_eq!(pair[1].window, pair[0].window + 1);
        assert!(pair[0].text_bytes + pair[1].text_bytes > 700);
    }
}

#[test]
fn windows_of_a_shard_are_read_in_their_order() {
    let fixture = Fixture::new(3, 20);
    let corpus = corpus(&fixture, 700);
    let mut stream = Stream::new(corpus.train.clone(), T, 4).unwrap();
    let total = corpus.train.samples(T);
    let mut before = Cursor::default();
    for _ in 0..total {
        stream.next_batch(1).unwrap();
        let now = stream.cursor();
        let place = |c: &Cursor| (c.epoch, c.shard, c.window, c.sample);
        assert!(place(&now) > place(&before));
        if now.shard == before.shard && now.epoch == before.epoch {
            assert!(now.window <= before.window + 1);
        }
        before = now;
    }
    assert_eq!((before.epoch, before.shard, before.sample), (1, 0, 0));
    // What is skipped is what would have been read.
    let mut skipping = Stream::new(corpus.train, T, 4).unwrap();
    skipping.skip(total + 7).unwrap();
    stream.next_batch(7).unwrap();
    assert_eq!(skipping.cursor(), stream.cursor());
    assert_eq!(
        skipping.next_batch(5).unwrap(),
        stream.next_batch(5).unwrap()
    );
}

/// Runs of before there were windows go on: the identity of files that fit into one is as it was.
#[test]
fn one_window_has_the_identity_of_its_shard() {
    let fixture = Fixture::new(3, 20);
    let manifest = corpus(&fixture, 64 << 20).manifest;
    let tokenizer = &manifest.tokenizer;
    let mut text = format!(
        "tokens 2\n{} {} None Uint16\n",
        tokenizer.sha256, tokenizer.eod
    );
    for s in &manifest.shards {
        let (split, bin, idx) = (s.split.name(), &s.bin_xxh3, &s.idx_xxh3);
        text += &format!("{split} {} {} {bin} {idx}\n", s.documents, s.tokens);
    }
    assert_eq!(
        manifest.fingerprint(),
        evenburn_files::sha256(text.as_bytes())
    );

    // A group without training text counts, as it does where nobody knows that yet.
    let with_empty = Fixture::new(3, 20);
    let empty = with_empty.text().join("train/chunk1/example_train_1.txt");
    std::fs::write(empty, "").unwrap();
    let with_empty = corpus(&with_empty, 64 << 20).manifest;
    assert_eq!(with_empty.shards.len(), manifest.shards.len());
    assert_ne!(with_empty.fingerprint(), manifest.fingerprint());
    assert_ne!(with_empty.first_fingerprint(), manifest.first_fingerprint());
}
