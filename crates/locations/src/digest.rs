//! Whether bytes are those of a listing.

use std::fmt::Write as _;
use std::io::{self, Read};

use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256};

use crate::ContentId;

/// The digest of bytes as they come.
pub(crate) struct Check {
    context: Option<Context>,
    expected: String,
}

impl Check {
    /// A check against an id, of a file of this size. Against an id that is no digest nothing is checked.
    pub(crate) fn new(id: &ContentId, size: u64) -> Self {
        let (context, expected) = match id {
            ContentId::Sha256(digest) => (Some(Context::new(&SHA256)), digest.clone()),
            ContentId::GitSha1(digest) => {
                let mut context = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
                // How git stores a file.
                context.update(format!("blob {size}\0").as_bytes());
                (Some(context), digest.clone())
            }
            _ => (None, String::new()),
        };
        Self { context, expected }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        if let Some(context) = &mut self.context {
            context.update(bytes);
        }
    }

    /// Takes all that a reader holds.
    pub(crate) fn read(&mut self, mut reader: impl Read) -> io::Result<()> {
        if self.context.is_none() {
            return Ok(());
        }
        let mut buffer = vec![0; 1 << 18];
        loop {
            match reader.read(&mut buffer)? {
                0 => return Ok(()),
                n => self.update(&buffer[..n]),
            }
        }
    }

    /// Whether these were the bytes.
    pub(crate) fn passes(self) -> bool {
        self.context
            .is_none_or(|context| hex(context.finish().as_ref()) == self.expected)
    }
}

/// The SHA-256 of bytes, in hexadecimal digits.
///
/// ```
/// let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
/// assert_eq!(evenburn_locations::sha256(b""), empty);
/// ```
pub fn sha256(bytes: &[u8]) -> String {
    hex(ring::digest::digest(&SHA256, bytes).as_ref())
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        // Writing to a string can't fail.
        let _ = write!(out, "{byte:02x}");
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_of_the_hub() {
        let met = |id: ContentId, bytes: &[u8]| {
            let mut check = Check::new(&id, bytes.len() as u64);
            check.read(bytes).unwrap();
            check.passes()
        };
        // `printf 'hello\n' | git hash-object --stdin`, `printf 'hello\n' | sha256sum`
        let git = "ce013625030ba8dba906f756967f9e9ca394464a";
        let sha = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
        assert!(met(ContentId::GitSha1(git.into()), b"hello\n"));
        assert!(met(ContentId::Sha256(sha.into()), b"hello\n"));
        assert!(!met(ContentId::GitSha1(git.into()), b"hellO\n"));
        assert!(!met(ContentId::Sha256(sha.into()), b"hellO\n"));
        assert!(met(ContentId::Unknown, b"anything"));
    }
}
