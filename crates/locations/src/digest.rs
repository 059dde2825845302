//! Whether bytes are those of a listing.

use std::io::{self, Read};

use evenburn_files::{Sha256, hex};
use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};

use crate::ContentId;

/// The digest of bytes as they come.
enum Digest {
    Sha256(Sha256),
    Git(Context),
}

impl Digest {
    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hash) => hash.update(bytes),
            Self::Git(hash) => hash.update(bytes),
        }
    }

    fn finish(self) -> String {
        match self {
            Self::Sha256(hash) => hash.finish(),
            Self::Git(hash) => hex(hash.finish().as_ref()),
        }
    }
}

/// Whether bytes are those of an id.
pub(crate) struct Check {
    digest: Option<Digest>,
    expected: String,
}

impl Check {
    /// A check against an id, of a file of this size. Against an id that is no digest nothing is checked.
    pub(crate) fn new(id: &ContentId, size: u64) -> Self {
        let (digest, expected) = match id {
            ContentId::Sha256(expected) => {
                (Some(Digest::Sha256(Sha256::default())), expected.clone())
            }
            ContentId::GitSha1(expected) => {
                let mut hash = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
                // How git stores a file.
                hash.update(format!("blob {size}\0").as_bytes());
                (Some(Digest::Git(hash)), expected.clone())
            }
            _ => (None, String::new()),
        };
        Self { digest, expected }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        if let Some(digest) = &mut self.digest {
            digest.update(bytes);
        }
    }

    /// Takes all that a reader holds.
    pub(crate) fn read(&mut self, mut reader: impl Read) -> io::Result<()> {
        if self.digest.is_none() {
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
        self.digest
            .is_none_or(|digest| digest.finish() == self.expected)
    }
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
