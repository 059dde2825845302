//! Web servers: single files, and folders of which the server shows an index.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use evenburn_files::sha256;
use serde::Deserialize;
use ureq::http::Method;

use crate::LocationError;
use crate::address::{Address, decode};
use crate::file::{ContentId, Listing, Place, StoredFile};
use crate::pattern::Selection;
use crate::plain::PlainFiles;
use crate::remote::{Remote, RemoteFile};
use crate::request::{Access, Anonymous, Answer, Ask, Trouble, judge};
use crate::storage::Shared;

/// What makes a glob in an address, where `?` begins the query.
const WILDCARDS: [char; 2] = ['*', '['];

/// Folders of one place that are looked into.
const FOLDERS: usize = 10_000;

/// Folders deeper than this are a circle.
const DEEP: usize = 64;

/// Files of a folder that are asked for their sizes at once.
const THREADS: usize = 8;

/// A file, a folder or a glob of a web server.
#[derive(Debug)]
pub(crate) struct WebPlace {
    /// The file, or the folder above all that is meant.
    address: Address,
    /// What is meant below a folder.
    selection: Option<Selection>,
    access: Arc<dyn Access>,
    shared: Arc<Shared>,
}

impl WebPlace {
    pub(crate) fn new(address: &Address, shared: &Arc<Shared>) -> Result<Self, LocationError> {
        let path = address.path();
        let (address, selection) = match path.find(WILDCARDS) {
            Some(at) => {
                let start = path[..at].rfind('/').map_or(0, |slash| slash + 1);
                let pattern = decode(&path[start..]);
                let selection = Selection::new(&pattern, &address.to_string())?;
                (
                    address.with_path(&path[..start]).with_query(None),
                    Some(selection),
                )
            }
            None if path.ends_with('/') => (address.clone(), Some(Selection::new("", "")?)),
            None => (address.clone(), None),
        };
        Ok(Self {
            address,
            selection,
            access: Arc::new(Anonymous),
            shared: Arc::clone(shared),
        })
    }

    /// Size and id of a file, and the address that answered.
    fn look(&self, address: &Address) -> Result<(u64, ContentId, Address), LocationError> {
        let place = address.to_string();
        self.shared.client.persist(&place, |_| {
            let mut ask = Ask::get(&place, address.clone(), &self.access);
            ask.method = Method::HEAD;
            let answer = self.shared.client.exchange(&ask, &mut address.clone())?;
            // Signed addresses are signed for one method.
            let refused = matches!(answer.status, 400 | 403 | 405 | 501);
            if !refused {
                let answer = judge(&ask, answer)?;
                if let Some(size) = answer.length() {
                    return Ok((size, id(&answer), answer.address));
                }
            }
            ask.method = Method::GET;
            ask.headers.push(("range", "bytes=0-0".to_owned()));
            let answer = self.shared.client.exchange(&ask, &mut address.clone())?;
            let answer = judge(&ask, answer)?;
            let size = match answer.status {
                206 => answer
                    .header("content-range")
                    .and_then(|range| range.rsplit('/').next()?.trim().parse().ok()),
                _ => answer.length(),
            };
            let size = size.ok_or_else(|| {
                Trouble::from(LocationError::unavailable(
                    &place,
                    "the server doesn't say how large it is, so nothing could tell whether all of it came",
                ))
            })?;
            Ok((size, id(&answer), answer.address))
        })
    }

    /// The addresses of all files below a folder that are meant, by their paths below it.
    fn walk(
        &self,
        root: &Address,
        selection: &Selection,
    ) -> Result<BTreeMap<String, Address>, LocationError> {
        let mut files = BTreeMap::new();
        let mut seen = HashSet::from([root.path().to_owned()]);
        let mut open = vec![root.clone()];
        let mut folders = 0;
        let endless = || {
            let why = "its folders have no end";
            LocationError::bad_listing(&root.to_string(), why)
        };
        while let Some(folder) = open.pop() {
            folders += 1;
            if folders > FOLDERS {
                return Err(endless());
            }
            let place = folder.to_string();
            let mut ask = Ask::get(&place, folder, &self.access);
            let kinds = "application/json, text/html;q=0.9";
            ask.headers.push(("accept", kinds.to_owned()));
            let links = self.shared.client.list(&ask, |answer, body| {
                let links = index(body)?;
                let below = links
                    .into_iter()
                    .filter_map(|link| child(&answer.address, &link));
                Ok(below.collect::<Vec<_>>())
            })?;
            for address in links {
                let Some(below) = address.path().strip_prefix(root.path()) else {
                    continue;
                };
                if !seen.insert(address.path().to_owned()) {
                    continue;
                }
                if address.path().ends_with('/') {
                    if below.matches('/').count() > DEEP {
                        return Err(endless());
                    }
                    open.push(address);
                } else if selection.has(&decode(below)) {
                    files.insert(decode(below), address);
                }
            }
        }
        Ok(files)
    }

    /// Size and id of many files.
    fn look_at_all(
        &self,
        files: &BTreeMap<String, Address>,
    ) -> Result<Vec<(u64, ContentId)>, LocationError> {
        let addresses: Vec<_> = files.values().collect();
        let next = AtomicUsize::new(0);
        let found = Mutex::new(Vec::new());
        let work = || {
            while let Some(address) = addresses.get(next.fetch_add(1, Ordering::Relaxed)) {
                let about = self.look(address);
                let failed = about.is_err();
                let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                found.push((address.path(), about));
                if failed {
                    next.store(addresses.len(), Ordering::Relaxed);
                }
            }
        };
        thread::scope(|scope| {
            for _ in 0..THREADS.min(addresses.len()) {
                scope.spawn(work);
            }
        });
        let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = found.iter().position(|(_, about)| about.is_err()) {
            return found.swap_remove(at).1.map(|_| Vec::new());
        }
        let mut by_path: BTreeMap<&str, (u64, ContentId)> = BTreeMap::new();
        for (path, about) in found {
            let (size, id, _) = about?;
            by_path.insert(path, (size, id));
        }
        let about = addresses
            .iter()
            .filter_map(|address| by_path.remove(address.path()));
        Ok(about.collect())
    }
}

impl Place for WebPlace {
    fn list(&self) -> Result<Listing, LocationError> {
        let mut root = self.address.clone();
        let everything = Selection::new("", "")?;
        let mut selection = self.selection.as_ref();
        if selection.is_none() {
            let (size, id, reached) = self.look(&self.address)?;
            // A folder that was named without its slash.
            if reached.path() == format!("{}/", self.address.path()) {
                root = reached;
                selection = Some(&everything);
            } else {
                let (above, name) = split(&self.address);
                let file = Single {
                    files: PlainFiles {
                        place: above,
                        base: self.address.clone(),
                        access: Arc::clone(&self.access),
                        shared: Arc::clone(&self.shared),
                    },
                };
                let remote: Arc<dyn Remote> = Arc::new(file);
                let file = RemoteFile::new(name, size, id, &remote, &self.shared);
                return Ok(Listing {
                    files: vec![Arc::new(file)],
                    alone: true,
                    ..Listing::default()
                });
            }
        }
        let files = self.walk(&root, selection.unwrap_or(&everything))?;
        let about = self.look_at_all(&files)?;
        let remote: Arc<dyn Remote> = Arc::new(PlainFiles {
            place: root.to_string(),
            base: root,
            access: Arc::clone(&self.access),
            shared: Arc::clone(&self.shared),
        });
        let files = files.into_keys().zip(about).map(|(path, (size, id))| {
            let file = RemoteFile::new(path, size, id, &remote, &self.shared);
            Arc::new(file) as Arc<dyn StoredFile>
        });
        Ok(Listing {
            files: files.collect(),
            ..Listing::default()
        })
    }
}

/// A file that was named by itself: its address may have a query.
#[derive(Debug)]
struct Single {
    files: PlainFiles,
}

impl Remote for Single {
    fn ask(&self, path: &str) -> Ask {
        Ask {
            place: self.place(path),
            ..self.files.ask("")
        }
    }

    fn place(&self, path: &str) -> String {
        self.files.place(path)
    }

    /// What a query asks for is part of it, and is not shown.
    fn lasting_place(&self, path: &str) -> String {
        let place = self.place(path);
        match self.files.base.query() {
            Some(query) => format!("{place} {}", sha256(query.as_bytes())),
            None => place,
        }
    }

    fn slot(&self, _: &str, id: &ContentId) -> crate::cache::Slot {
        self.files.slot("", id)
    }
}

/// What is before a file's name, for people, and the name.
fn split(address: &Address) -> (String, String) {
    let shown = address.to_string();
    let at = shown.rfind('/').map_or(0, |slash| slash + 1);
    (shown[..at].to_owned(), decode(&shown[at..]))
}

fn id(answer: &Answer) -> ContentId {
    let header = |name: &str| answer.header(name).map(str::to_owned);
    let etag = header("etag").map(ContentId::Etag);
    let modified = || header("last-modified").map(ContentId::Modified);
    etag.or_else(modified).unwrap_or(ContentId::Unknown)
}

/// An entry of an index in JSON, as nginx writes it.
#[derive(Deserialize)]
struct Entry {
    name: String,
    #[serde(rename = "type")]
    kind: String,
}

/// The links of an index, in HTML or JSON.
fn index(body: &[u8]) -> Result<Vec<String>, String> {
    if let Ok(entries) = serde_json::from_slice::<Vec<Entry>>(body) {
        let link = |entry: Entry| {
            let name = crate::address::encode(&entry.name);
            if entry.kind == "directory" {
                format!("{name}/")
            } else {
                name
            }
        };
        return Ok(entries.into_iter().map(link).collect());
    }
    let text = String::from_utf8_lossy(body);
    let links = hrefs(&text);
    if links.is_empty() {
        return Err("the page has no links".to_owned());
    }
    Ok(links)
}

/// The values of `href` in a page.
fn hrefs(page: &str) -> Vec<String> {
    let lower = page.to_ascii_lowercase();
    let mut links = Vec::new();
    let mut from = 0;
    while let Some(at) = lower[from..].find("href=") {
        let start = from + at + "href=".len();
        let rest = &page[start..];
        let value = match rest.chars().next() {
            Some(quote @ ('"' | '\'')) => rest[1..].split(quote).next(),
            _ => rest.split([' ', '>']).next(),
        };
        links.extend(value.map(|value| value.replace("&amp;", "&")));
        from = start;
    }
    links
}

/// The address of a link, if it leads one step further down.
fn child(folder: &Address, link: &str) -> Option<Address> {
    let address = folder.join(link).ok()?;
    if address.origin() != folder.origin() || address.query().is_some() {
        return None;
    }
    let below = address.path().strip_prefix(folder.path())?;
    let name = below.strip_suffix('/').unwrap_or(below);
    let proper = !name.is_empty()
        && !decode(name).contains(['/', '\\', '\0'])
        && !decode(name).starts_with('.');
    proper.then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_of_an_index() {
        let page = "<a href=\"../\">../</a><A HREF='b.jsonl'>b</A><a href=c/>c</a><a href=\"?C=N&amp;O=D\">";
        assert_eq!(hrefs(page), ["../", "b.jsonl", "c/", "?C=N&O=D"]);
        assert_eq!(
            index(br#"[{"name":"a b","type":"directory"},{"name":"c","type":"file","size":1}]"#)
                .unwrap(),
            ["a%20b/", "c"]
        );
        assert!(index(b"<html>nothing</html>").is_err());
    }

    #[test]
    fn links_lead_down_one_step() {
        let folder = Address::parse("http://h/files/").unwrap();
        let down = |link: &str| child(&folder, link).map(|address| address.path().to_owned());
        assert_eq!(down("a.jsonl").as_deref(), Some("/files/a.jsonl"));
        assert_eq!(down("/files/a/").as_deref(), Some("/files/a/"));
        for link in [
            "../",
            "/other/a",
            "http://g/files/a",
            "a/b",
            "?x",
            "./",
            "a%2Fb",
            ".hidden",
            "http://h/files/a?sig=1",
        ] {
            assert_eq!(down(link), None, "{link}");
        }
    }
}
