//! What the tests of this crate share.

#![allow(dead_code, reason = "each test uses a part of it")]

use std::path::{Path, PathBuf};

use evenburn_data::{LocalFile, Tokenizer};
use evenburn_eval::{Document, Documents, TextEncoder, documents};
use serde_json::Value;

/// A folder below `tests/fixtures`.
pub(crate) fn fixtures(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

/// The documents of a file.
pub(crate) fn open(path: &Path) -> Documents {
    let name = path.file_name().unwrap().to_str().unwrap().to_owned();
    let source = LocalFile::new(name, path.to_path_buf()).unwrap();
    documents(&source).unwrap()
}

/// The documents of a file, none of which is bad.
pub(crate) fn read(path: &Path) -> Vec<Document> {
    open(path).map(Result::unwrap).collect()
}

/// A JSON file.
pub(crate) fn json(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The encoder of a folder with the files of a model.
pub(crate) fn encoder(model: &Path) -> TextEncoder {
    let config = json(&model.join("tokenizer_config.json"));
    // A name, or a description of the token.
    let name = |key: &str| config[key].as_str().or(config[key]["content"].as_str());
    let eos = name("eos_token").unwrap();
    let tokenizer = Tokenizer::from_file(&model.join("tokenizer.json"), eos).unwrap();
    let tokenizer = tokenizer.with_bos(name("bos_token")).unwrap();
    TextEncoder::new(&tokenizer).unwrap()
}
