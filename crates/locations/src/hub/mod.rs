//! Repositories of the Hugging Face hub.
//!
//! Addresses, headers and the cache's layout are those of `huggingface_hub` 2.4.

mod files;
mod tree;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

use serde::Deserialize;
use ureq::http::Method;

use crate::LocationError;
use crate::address::{Address, encode};
use crate::cache;
use crate::clock::Clock;
use crate::environment::{HubSettings, Secret};
use crate::file::{ContentId, Listing, Place, StoredFile};

use crate::pattern::Selection;
use crate::remote::{Remote, RemoteFile};
use crate::repository::{Repository, RepositorySort};
use crate::request::{Access, Ask};
use crate::storage::Shared;

use files::HubFiles;
use tree::Entry;

/// The token, for the hub's own origin.
#[derive(Debug)]
struct Token {
    secret: Option<Secret>,
    /// Who may see it.
    origin: String,
}

impl Access for Token {
    fn headers(&self, _: &Method, address: &Address, _: &dyn Clock) -> Vec<(&'static str, String)> {
        let bearer = |Secret(token): &Secret| ("authorization", format!("Bearer {token}"));
        let secret = self.secret.as_ref();
        let meant = secret.filter(|_| address.origin() == self.origin);
        meant.map(bearer).into_iter().collect()
    }

    fn advice(&self, status: u16, code: &str) -> String {
        let known = self.secret.is_some();
        match (status, code) {
            (_, "GatedRepo") if known => {
                "the repository is gated, and the token's user isn't let in; ask for access on its page"
            }
            (_, "GatedRepo") => {
                "the repository is gated; ask for access on its page, then give a token with HF_TOKEN"
            }
            (401, _) if known => "the hub doesn't take the token that HF_TOKEN or the token file gives",
            (401, _) => {
                "the repository doesn't exist, or it is private; check its name, or give a token with HF_TOKEN"
            }
            _ => "the hub forbids it, with this token too",
        }
        .to_owned()
    }
}

/// What a listing without the hub may hide.
const PARTIAL: &str = "HF_HUB_OFFLINE is set, so these are the files that the cache has; the repository may have more";

/// A repository and which of its files are meant.
#[derive(Debug)]
pub(crate) struct HubPlace {
    repository: Repository,
    selection: Selection,
    settings: HubSettings,
    access: Arc<dyn Access>,
    shared: Arc<Shared>,
}

impl HubPlace {
    pub(crate) fn new(
        repository: &Repository,
        settings: &HubSettings,
        shared: &Arc<Shared>,
    ) -> Result<Self, LocationError> {
        let place = format!("hf://{}", repository.prefix());
        Ok(Self {
            selection: Selection::new(&repository.path, &place)?,
            repository: repository.clone(),
            settings: settings.clone(),
            access: Arc::new(Token {
                secret: settings.token.clone(),
                origin: settings.endpoint.origin(),
            }),
            shared: Arc::clone(shared),
        })
    }

    fn place(&self) -> String {
        match &self.repository.revision {
            Some(revision) => format!("hf://{}@{revision}", self.repository.prefix()),
            None => format!("hf://{}", self.repository.prefix()),
        }
    }

    fn api(&self, more: &str) -> Address {
        let sort = match self.repository.sort {
            RepositorySort::Dataset => "datasets",
            RepositorySort::Model => "models",
        };
        let path = format!("api/{sort}/{}/{more}", self.repository.id);
        self.settings.endpoint.below(&path)
    }

    /// The folder of the repository in the cache.
    fn folder(&self) -> PathBuf {
        let sort = match self.repository.sort {
            RepositorySort::Dataset => "datasets",
            RepositorySort::Model => "models",
        };
        let name = format!("{sort}--{}", self.repository.id.replace('/', "--"));
        self.settings.cache.join(name)
    }

    /// The commit of the revision. It is asked for once in a process, so that all locations of a repository are of one state.
    fn commit(&self) -> Result<String, LocationError> {
        let revision = self.repository.revision();
        if is_commit(revision) {
            return Ok(revision.to_owned());
        }
        let key = self.repository.key();
        let mut commits = self
            .shared
            .commits
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(commit) = commits.get(&key) {
            return Ok(commit.clone());
        }
        let reference = self.folder().join("refs").join(revision);
        let commit = if self.settings.offline {
            let known = fs::read_to_string(&reference)
                .ok()
                .map(|text| text.trim().to_owned());
            known.filter(|commit| is_commit(commit)).ok_or_else(|| {
                let why = "the cache doesn't know this revision, and HF_HUB_OFFLINE forbids to ask the hub";
                LocationError::unavailable(&self.place(), why)
            })?
        } else {
            let address = self.api(&format!("revision/{}", encode(revision)));
            let ask = Ask::get(&self.place(), address, &self.access);
            let commit = self.shared.client.list(&ask, |_, body| {
                let about: Revision = parse(body)?;
                is_commit(&about.sha)
                    .then_some(about.sha)
                    .ok_or_else(|| "it names no commit".to_owned())
            })?;
            cache::write(&reference, &commit)?;
            commit
        };
        commits.insert(key, commit.clone());
        Ok(commit)
    }

    /// What the cache has of a commit: whatever was fetched of it, which may be a part.
    fn list_offline(&self, commit: &str) -> Result<BTreeMap<String, Entry>, LocationError> {
        let root = self.folder().join("snapshots").join(commit);
        let mut entries = BTreeMap::new();
        let mut open = vec![root.clone()];
        while let Some(folder) = open.pop() {
            let listed = fs::read_dir(&folder).map_err(|_| {
                let why = "the cache has nothing of it, and HF_HUB_OFFLINE forbids to ask the hub";
                LocationError::unavailable(&self.place(), why)
            })?;
            for entry in listed {
                let path = entry
                    .map_err(|e| LocationError::disk("list", &folder, &e))?
                    .path();
                if path.is_dir() {
                    open.push(path);
                    continue;
                }
                let name = path.strip_prefix(&root).unwrap_or(&path);
                let name = name
                    .components()
                    .map(|part| part.as_os_str().to_string_lossy());
                let name = name.collect::<Vec<_>>().join("/");
                if !self.selection.has(&name) {
                    continue;
                }
                if fs::metadata(&path).is_err() {
                    let why = format!(
                        "the cache knows the file {name} and doesn't hold it, and HF_HUB_OFFLINE forbids to fetch it"
                    );
                    return Err(LocationError::unavailable(&self.place(), why));
                }
                if let Some(entry) = cached(&path) {
                    entries.insert(name, entry);
                }
            }
        }
        if entries.is_empty() {
            let why = "the cache has no such file of it, and HF_HUB_OFFLINE forbids to ask the hub";
            return Err(LocationError::unavailable(&self.place(), why));
        }
        Ok(entries)
    }
}

/// A file of a snapshot, if its blob is there: a link to it by its digest.
fn cached(path: &Path) -> Option<Entry> {
    let size = fs::metadata(path).ok()?.len();
    let digest = fs::read_link(path).ok()?.file_name()?.to_str()?.to_owned();
    let id = if is_hex(&digest, 64) {
        ContentId::Sha256(digest)
    } else if is_hex(&digest, 40) {
        ContentId::GitSha1(digest)
    } else {
        return None;
    };
    Some(Entry { size, id })
}

impl Place for HubPlace {
    fn list(&self) -> Result<Listing, LocationError> {
        let commit = self.commit()?;
        let mut entries = if self.settings.offline {
            self.list_offline(&commit)?
        } else {
            self.list_online(&commit)?
        };
        let remote: Arc<dyn Remote> = Arc::new(HubFiles {
            place: self.place(),
            repository: format!("hf://{}", self.repository.prefix()),
            base: self
                .settings
                .endpoint
                .below(&format!("{}/resolve/{commit}", self.repository.prefix())),
            access: Arc::clone(&self.access),
            folder: self.folder(),
            locks: self.settings.cache.join(".locks"),
            commit: commit.clone(),
            offline: self.settings.offline,
        });
        entries.retain(|path, _| self.selection.has(path));
        let alone = self.selection.is_exact()
            && entries.len() == 1
            && entries.contains_key(self.selection.text());
        let files = entries
            .into_iter()
            .map(|(path, entry)| {
                let file = RemoteFile::new(path, entry.size, entry.id, &remote, &self.shared);
                Arc::new(file) as Arc<dyn StoredFile>
            })
            .collect();
        Ok(Listing {
            snapshot: Some(self.folder().join("snapshots").join(&commit)),
            commit: Some(commit),
            files,
            folder: self.selection.folder_of(alone).to_owned(),
            alone,
            note: self.settings.offline.then_some(PARTIAL),
        })
    }
}

fn is_hex(text: &str, digits: usize) -> bool {
    let hex = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
    text.len() == digits && text.bytes().all(hex)
}

fn is_commit(text: &str) -> bool {
    is_hex(text, 40)
}

#[derive(Deserialize)]
struct Revision {
    sha: String,
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|_| match body.first() {
        Some(b'<') => "a web page came".to_owned(),
        Some(b'{') => "an object of JSON came that is no such list".to_owned(),
        _ => "what came is no such JSON".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SystemClock;

    #[test]
    fn the_token_is_for_the_hub_alone() {
        let hub = Address::parse("https://hub.example").unwrap();
        let token = Token {
            secret: Some(Secret("hf_word".into())),
            origin: hub.origin(),
        };
        let headers = |text: &str| {
            let address = Address::parse(text).unwrap();
            token.headers(&Method::GET, &address, &SystemClock::default())
        };
        let bearer = ("authorization", "Bearer hf_word".to_owned());
        assert_eq!(headers("https://HUB.example:443/api"), [bearer]);
        for other in [
            "https://cdn.example/api",
            "http://hub.example/api",
            "https://hub.example:8443/api",
        ] {
            assert!(headers(other).is_empty(), "{other}");
        }
    }
}
