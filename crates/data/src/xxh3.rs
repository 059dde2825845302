//! XXH3 with 64 bits (Collet), the hash that shards are checked by and documents are drawn by.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use xxhash_rust::xxh3;

/// A hash that is fed piece by piece.
pub(crate) struct Xxh3(xxh3::Xxh3);

impl Xxh3 {
    pub(crate) fn new() -> Self {
        Self(xxh3::Xxh3::new())
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// In hexadecimal.
    pub(crate) fn finish(&self) -> String {
        hex(self.0.digest())
    }
}

impl std::fmt::Debug for Xxh3 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Xxh3")
    }
}

/// Of some bytes, as a number.
pub(crate) fn number(bytes: &[u8]) -> u64 {
    xxh3::xxh3_64(bytes)
}

/// Of some bytes, in hexadecimal.
pub(crate) fn of_bytes(bytes: &[u8]) -> String {
    hex(number(bytes))
}

/// Of a file's contents, in hexadecimal.
pub(crate) fn of_file(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hash = Xxh3::new();
    let mut buffer = vec![0; 1 << 18];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hash.finish()),
            n => hash.update(&buffer[..n]),
        }
    }
}

fn hex(hash: u64) -> String {
    format!("{hash:016x}")
}
