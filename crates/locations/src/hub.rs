//! Repositories of the Hugging Face hub.
//!
//! Addresses, headers and the cache's layout are those of `huggingface_hub` 2.4.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

use evenburn_files::sha256;
use serde::Deserialize;
use ureq::http::Method;

use crate::LocationError;
use crate::address::{Address, decode, encode, encode_path};
use crate::cache::{self, Slot};
use crate::clock::Clock;
use crate::environment::{HUB, HubSettings, Secret};
use crate::file::{ContentId, Listing, Place, StoredFile};
use crate::http::{Access, Answer, Ask};
use crate::location::{Repository, RepositorySort};
use crate::pattern::Selection;
use crate::remote::{Remote, RemoteFile};
use crate::storage::Shared;

/// Pages in a row without a new entry after which a listing has no end.
const STALE_PAGES: usize = 20;

/// The token, for the hub's own origin.
#[derive(Debug)]
struct Token(Option<Secret>);

impl Access for Token {
    fn headers(&self, _: &Method, _: &Address, _: &dyn Clock) -> Vec<(&'static str, String)> {
        let bearer = |Secret(token): &Secret| ("authorization", format!("Bearer {token}"));
        self.0.iter().map(bearer).collect()
    }

    fn advice(&self, status: u16, code: &str) -> String {
        let known = self.0.is_some();
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
            access: Arc::new(Token(settings.token.clone())),
            shared: Arc::clone(shared),
        })
    }

    fn place(&self) -> String {
        match &self.repository.revision {
            Some(revision) => format!("hf://{}@{revision}", self.repository.prefix()),
            None => format!("hf://{}", self.repository.prefix()),
        }
    }

    fn revision(&self) -> &str {
        self.repository.revision.as_deref().unwrap_or("main")
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
        let revision = self.revision();
        if is_commit(revision) {
            return Ok(revision.to_owned());
        }
        let key = format!("{}@{revision}", self.repository.prefix());
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

    fn list_online(&self, commit: &str) -> Result<BTreeMap<String, Entry>, LocationError> {
        if !self.selection.is_exact() {
            return self.tree(commit, self.selection.folder());
        }
        // One path: a file or a folder.
        let path = self.selection.text();
        let mut ask = Ask::get(
            &self.place(),
            self.api(&format!("paths-info/{commit}")),
            &self.access,
        );
        ask.method = Method::POST;
        ask.headers
            .push(("content-type", "application/json".to_owned()));
        ask.body = Some(
            serde_json::json!({ "paths": [path] })
                .to_string()
                .into_bytes(),
        );
        let items: Vec<Item> = self.shared.client.list(&ask, |_, body| parse(body))?;
        let mut entries = BTreeMap::new();
        for item in items {
            match item.kind.as_str() {
                "directory" if item.path == path => return self.tree(commit, path),
                _ => self.take(&item, &mut entries)?,
            };
        }
        Ok(entries)
    }

    /// All files below a folder.
    fn tree(&self, commit: &str, folder: &str) -> Result<BTreeMap<String, Entry>, LocationError> {
        let place = self.place();
        let below = match folder {
            "" => String::new(),
            folder => format!("/{}", encode_path(folder)),
        };
        let mut address = self
            .api(&format!("tree/{commit}{below}"))
            .with_query(Some("recursive=true&expand=false".to_owned()));
        let mut entries = BTreeMap::new();
        let mut seen = HashSet::new();
        let mut stale = 0;
        loop {
            let refused = |why: &str| LocationError::bad_listing(&place, why);
            seen.insert(address.clone());
            let ask = Ask::get(&place, address, &self.access);
            let (items, next) = self.shared.client.list(&ask, |answer, body| {
                let items: Vec<Item> = parse(body)?;
                Ok((items, self.next_page(answer)))
            })?;
            let mut found = 0;
            for item in items {
                found += usize::from(self.take(&item, &mut entries)?);
            }
            let Some(next) = next else {
                return Ok(entries);
            };
            address = next.map_err(|why| refused(&why))?;
            stale = if found == 0 { stale + 1 } else { 0 };
            if seen.contains(&address) {
                return Err(refused("its pages go in a circle; it would have no end"));
            }
            if stale > STALE_PAGES {
                return Err(refused(
                    "page after page brings nothing new; it would have no end",
                ));
            }
        }
    }

    /// The next page's address, of which only the page's own server may speak.
    fn next_page(&self, answer: &Answer) -> Option<Result<Address, String>> {
        let link = answer.headers.get_all("link").iter();
        let link = link
            .filter_map(|value| value.to_str().ok())
            .find_map(next_link)?;
        // A mirror may pass on what the hub calls itself.
        let link = match link.strip_prefix(HUB) {
            Some(rest) if rest.starts_with('/') => {
                format!(
                    "{}{rest}",
                    self.settings.endpoint.to_string().trim_end_matches('/')
                )
            }
            _ => link.to_owned(),
        };
        Some(answer.address.join(&link).and_then(|next| {
            if next.origin() == answer.address.origin() {
                Ok(next)
            } else {
                let (this, other) = (answer.address.origin(), next.origin());
                Err(format!(
                    "its next page lies on another server ({other} instead of {this})"
                ))
            }
        }))
    }

    /// Adds an entry of a listing; whether it is new.
    fn take(
        &self,
        item: &Item,
        entries: &mut BTreeMap<String, Entry>,
    ) -> Result<bool, LocationError> {
        let refused = |why: &str| {
            let path: String = item
                .path
                .chars()
                .filter(|c| !c.is_control())
                .take(200)
                .collect();
            Err(LocationError::bad_listing(
                &self.place(),
                format!("{why}: `{path}`"),
            ))
        };
        if !is_proper(&item.path) {
            return refused("it names a file that would lie outside of the repository");
        }
        let entry = match (item.kind.as_str(), &item.lfs) {
            ("file", Some(lfs)) => Entry {
                size: lfs.size,
                id: ContentId::Sha256(lfs.oid.clone()),
            },
            ("file", None) => Entry {
                size: item.size.unwrap_or(u64::MAX),
                id: ContentId::GitSha1(item.oid.clone()),
            },
            // A folder is new as well, but holds nothing.
            ("directory", _) => return Ok(true),
            // Submodules, links, and what the hub may list one day.
            _ => return Ok(false),
        };
        let proper = match &entry.id {
            ContentId::Sha256(digest) => is_hex(digest, 64),
            ContentId::GitSha1(digest) => is_hex(digest, 40),
            _ => false,
        };
        if !proper || entry.size == u64::MAX {
            return refused("it names a file without size or digest");
        }
        match entries.insert(item.path.clone(), entry.clone()) {
            Some(before) if before != entry => {
                refused("it names a file twice, with different contents")
            }
            before => Ok(before.is_none()),
        }
    }

    /// What the cache has of a commit.
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
                if let Some(entry) = cached(&path) {
                    entries.insert(name, entry);
                }
            }
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
        let entries = if self.settings.offline {
            self.list_offline(&commit)?
        } else {
            self.list_online(&commit)?
        };
        let remote: Arc<dyn Remote> = Arc::new(HubFiles {
            place: self.place(),
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
        let meant = entries
            .into_iter()
            .filter(|(path, _)| self.selection.has(path));
        let files = meant
            .map(|(path, entry)| {
                let file = RemoteFile::new(path, entry.size, entry.id, &remote, &self.shared);
                Arc::new(file) as Arc<dyn StoredFile>
            })
            .collect();
        Ok(Listing {
            commit: Some(commit),
            files,
        })
    }
}

/// The files of one commit.
#[derive(Debug)]
struct HubFiles {
    place: String,
    base: Address,
    access: Arc<dyn Access>,
    folder: PathBuf,
    locks: PathBuf,
    commit: String,
    offline: bool,
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

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    size: u64,
    id: ContentId,
}

#[derive(Deserialize)]
struct Revision {
    sha: String,
}

#[derive(Deserialize)]
struct Item {
    #[serde(rename = "type")]
    kind: String,
    path: String,
    #[serde(default)]
    oid: String,
    size: Option<u64>,
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    oid: String,
    size: u64,
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|_| match body.first() {
        Some(b'<') => "a web page came".to_owned(),
        Some(b'{') => "an object of JSON came that is no such list".to_owned(),
        _ => "what came is no such JSON".to_owned(),
    })
}

/// The address of the next page in a `Link` header.
fn next_link(header: &str) -> Option<&str> {
    let mut rest = header;
    while let Some(start) = rest.find('<') {
        let end = start + rest[start..].find('>')?;
        let address = &rest[start + 1..end];
        rest = &rest[end + 1..];
        let about = &rest[..rest.find('<').unwrap_or(rest.len())];
        let is_next = about.split([';', ',']).any(|field| {
            let field = field.trim();
            field == "rel=\"next\"" || field == "rel=next"
        });
        if is_next {
            return Some(address);
        }
    }
    None
}

fn is_hex(text: &str, digits: usize) -> bool {
    let hex = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
    text.len() == digits && text.bytes().all(hex)
}

fn is_commit(text: &str) -> bool {
    is_hex(text, 40)
}

/// Whether a path stays below its root.
fn is_proper(path: &str) -> bool {
    let inside = |part: &str| !matches!(part, "" | "." | "..");
    let odd = path.contains(['\\', '\0']);
    // What a server would decode is looked at too.
    !odd && path.split('/').all(inside) && decode(path).split('/').all(inside)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_to_next_pages() {
        for (header, next) in [
            (
                "<http://h/a?cursor=x>; rel=\"next\"",
                Some("http://h/a?cursor=x"),
            ),
            ("</a>; rel=\"prev\", </b>; rel=\"next\"", Some("/b")),
            ("</a>; rel=next", Some("/a")),
            ("</a>; rel=\"xet-auth\"", None),
            ("</a; rel=\"next\"", None),
            ("", None),
        ] {
            assert_eq!(next_link(header), next, "{header}");
        }
    }

    #[test]
    fn paths_stay_inside() {
        for path in ["a", "a/b.c", "a/..b", ".gitattributes"] {
            assert!(is_proper(path), "{path}");
        }
        for path in [
            "",
            "/a",
            "a/",
            "a//b",
            "../a",
            "a/../b",
            "a/./b",
            "a\\b",
            "a/%2e%2e/b",
            "a\0b",
        ] {
            assert!(!is_proper(path), "{path}");
        }
    }
}
