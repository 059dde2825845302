//! Files of servers that know no digests: kept by address and `ETag`.

use std::sync::Arc;

use evenburn_files::sha256;

use crate::address::{Address, encode_path};
use crate::cache::{Slot, beside};
use crate::file::ContentId;
use crate::remote::Remote;
use crate::request::{Access, Ask};
use crate::storage::Shared;

/// What is added to the name of a blob for its lock.
pub(crate) const LOCK: &str = ".lock";

/// Digits of the digest that a blob's name begins with.
const DIGITS: usize = 32;

/// Whether a name is one that blobs, their parts and their locks have.
pub(crate) fn is_blob(name: &str) -> bool {
    let hex = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
    let digits = name.bytes().take_while(|c| hex(*c)).count();
    digits == DIGITS && name[DIGITS..].starts_with('-')
}

/// The files below one address.
#[derive(Debug)]
pub(crate) struct PlainFiles {
    /// What is above all files, for people; ends in a slash.
    pub(crate) place: String,
    pub(crate) base: Address,
    pub(crate) access: Arc<dyn Access>,
    pub(crate) shared: Arc<Shared>,
}

impl PlainFiles {
    fn address(&self, path: &str) -> Address {
        match path {
            "" => self.base.clone(),
            path => self.base.below(&encode_path(path)),
        }
    }
}

impl Remote for PlainFiles {
    fn ask(&self, path: &str) -> Ask {
        Ask::get(&self.place(path), self.address(path), &self.access)
    }

    fn place(&self, path: &str) -> String {
        format!("{}{path}", self.place)
    }

    fn slot(&self, path: &str, id: &ContentId) -> Slot {
        let address = self.address(path);
        let which = match id {
            ContentId::Unknown => self.shared.passing.mark(),
            _ => "",
        };
        let key = sha256(format!("{}\n{id}{which}", address.with_secrets()).as_bytes());
        let name = address.path().rsplit('/').next().unwrap_or_default();
        let plain = |c: char| {
            if c.is_ascii_alphanumeric() || "-_.".contains(c) {
                c
            } else {
                '_'
            }
        };
        let name: String = name.chars().rev().take(80).map(plain).collect();
        let name: String = name.chars().rev().collect();
        let blob = self.shared.cache.join(format!("{}-{name}", &key[..DIGITS]));
        Slot {
            lock: beside(&blob, LOCK),
            blob,
            name: None,
            is_content: matches!(id, ContentId::Etag(etag) if !etag.starts_with("W/")),
            offline: false,
        }
    }
}
