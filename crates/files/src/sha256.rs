//! SHA-256 (FIPS 180-4), the hash that hubs list for their large files, so sources are known by it everywhere.

use sha2::Digest as _;

use crate::hex;

/// A hash that is fed piece by piece.
///
/// ```
/// let mut hash = evenburn_files::Sha256::default();
/// hash.update(b"a");
/// hash.update(b"bc");
/// assert_eq!(hash.finish(), evenburn_files::sha256(b"abc"));
/// ```
#[derive(Debug, Clone, Default)]
pub struct Sha256(sha2::Sha256);

impl Sha256 {
    /// Adds bytes; how they are cut into pieces makes no difference.
    pub fn update(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.update(bytes);
    }

    /// The 32 bytes of the hash.
    pub fn bytes(self) -> [u8; 32] {
        self.0.finalize().into()
    }

    /// The hash as 64 lower-case hexadecimal digits.
    pub fn finish(self) -> String {
        hex(&self.bytes())
    }
}

/// The SHA-256 of some bytes, as 64 lower-case hexadecimal digits.
///
/// ```
/// let known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"; // FIPS 180-2, B.1
/// assert_eq!(evenburn_files::sha256(b"abc"), known);
/// ```
pub fn sha256(bytes: &[u8]) -> String {
    let mut hash = Sha256::default();
    hash.update(bytes);
    hash.finish()
}
