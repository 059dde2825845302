//! Listings of the hub: pages of JSON, which are not believed.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde::Deserialize;
use ureq::http::Method;

use super::{HubPlace, is_hex, parse};
use crate::LocationError;
use crate::address::{Address, decode, encode_path};
use crate::environment::HUB;
use crate::file::ContentId;
use crate::request::{Answer, Ask};

/// Pages in a row without a new entry after which a listing has no end.
const STALE_PAGES: usize = 20;

/// What a listing says of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) size: u64,
    pub(super) id: ContentId,
}

/// What a listing has named so far.
#[derive(Debug, Default)]
struct Named {
    files: BTreeMap<String, Entry>,
    folders: BTreeSet<String>,
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

impl HubPlace {
    /// The files that are meant, and maybe others, at a commit.
    pub(super) fn list_online(
        &self,
        commit: &str,
    ) -> Result<BTreeMap<String, Entry>, LocationError> {
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
        let mut named = Named::default();
        for item in items {
            match item.kind.as_str() {
                "directory" if item.path == path => return self.tree(commit, path),
                _ => self.take(&item, &mut named)?,
            };
        }
        Ok(named.files)
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
        let mut named = Named::default();
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
                found += usize::from(self.take(&item, &mut named)?);
            }
            let Some(next) = next else {
                return Ok(named.files);
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

    /// The next page's address. It lies at the hub, also where the page was redirected to another server.
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
            let (hub, other) = (self.settings.endpoint.origin(), next.origin());
            if other == hub {
                Ok(next)
            } else {
                Err(format!(
                    "its next page lies on another server ({other} instead of {hub})"
                ))
            }
        }))
    }

    /// Adds an entry of a listing; whether it is new.
    fn take(&self, item: &Item, named: &mut Named) -> Result<bool, LocationError> {
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
            ("directory", _) => return Ok(named.folders.insert(item.path.clone())),
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
        match named.files.insert(item.path.clone(), entry.clone()) {
            Some(before) if before != entry => {
                refused("it names a file twice, with different contents")
            }
            before => Ok(before.is_none()),
        }
    }
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
