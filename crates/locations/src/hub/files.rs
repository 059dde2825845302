//! The files of a repository at one commit: their addresses, and their places in the hub's own cache.

use std::path::PathBuf;
use std::sync::Arc;

use evenburn_files::sha256;

use crate::address::{Address, encode_path};
use crate::cache::Slot;
use crate::file::ContentId;
use crate::remote::Remote;
use crate::request::{Access, Ask};

/// The files of one commit.
#[derive(Debug)]
pub(super) struct HubFiles {
    pub(super) place: String,
    /// The same without a revision.
    pub(super) repository: String,
    pub(super) base: Address,
    pub(super) access: Arc<dyn Access>,
    pub(super) folder: PathBuf,
    pub(super) locks: PathBuf,
    pub(super) commit: String,
    pub(super) offline: bool,
}

impl Remote for HubFiles {
    fn ask(&self, path: &str) -> Ask {
        Ask::get(
            &self.place(path),
            self.base.below(&encode_path(path)),
            &self.access,
        )
    }

    fn place(&self, path: &str) -> String {
        format!("{}/{path}", self.place)
    }

    fn lasting_place(&self, path: &str) -> String {
        format!("{}/{path}", self.repository)
    }

    fn slot(&self, path: &str, id: &ContentId) -> Slot {
        let digest = match id {
            ContentId::Sha256(digest) | ContentId::GitSha1(digest) => digest.clone(),
            other => sha256(format!("{path} {other}").as_bytes()),
        };
        let repository = self.folder.file_name().unwrap_or_default();
        Slot {
            blob: self.folder.join("blobs").join(&digest),
            lock: self.locks.join(repository).join(format!("{digest}.lock")),
            name: Some(self.folder.join("snapshots").join(&self.commit).join(path)),
            is_content: true,
            offline: self.offline,
        }
    }
}
