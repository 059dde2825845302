//! BLAKE3, the hash that checkpoints and what they must agree with are known by, in lower-case hexadecimal.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

/// Of a text.
pub(crate) fn of_text(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex().to_string()
}

/// Of a file's contents.
pub(crate) fn of_file(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(hasher.finalize().to_hex().to_string());
        }
        hasher.update(&buffer[..read]);
    }
}
