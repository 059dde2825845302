//! Buckets of object stores: listed page by page, read by key.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Debug;
use std::sync::Arc;

use crate::LocationError;
use crate::address::Address;
use crate::file::{ContentId, Listing, Place, StoredFile};
use crate::location::Bucket;
use crate::pattern::{Selection, WILDCARDS};
use crate::plain::PlainFiles;
use crate::remote::{Remote, RemoteFile};
use crate::request::{Access, Ask};
use crate::storage::Shared;

/// How a store lists its objects.
pub(crate) trait Protocol: Debug + Send + Sync {
    /// The query for the keys that begin so, after a page that ended with a mark.
    fn query(&self, prefix: &str, after: Option<&str>) -> String;
    /// What a page says. The error is a sentence.
    fn page(&self, body: &str) -> Result<Page, String>;
}

/// An object of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Object {
    pub(crate) key: String,
    pub(crate) size: u64,
    pub(crate) id: ContentId,
}

/// A page of a listing.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) objects: Vec<Object>,
    /// The mark that the next page begins after.
    pub(crate) next: Option<String>,
}

/// A bucket and which of its objects are meant.
#[derive(Debug)]
pub(crate) struct ObjectPlace {
    place: String,
    base: Address,
    selection: Selection,
    access: Arc<dyn Access>,
    protocol: &'static dyn Protocol,
    shared: Arc<Shared>,
}

impl ObjectPlace {
    pub(crate) fn new(
        bucket: &Bucket,
        base: Address,
        access: Arc<dyn Access>,
        protocol: &'static dyn Protocol,
        shared: &Arc<Shared>,
    ) -> Result<Self, LocationError> {
        let place = format!("{}://{}/", bucket.store.scheme(), bucket.name);
        Ok(Self {
            selection: Selection::new(&bucket.path, &place)?,
            place,
            base,
            access,
            protocol,
            shared: Arc::clone(shared),
        })
    }
}

impl Place for ObjectPlace {
    fn list(&self) -> Result<Listing, LocationError> {
        let text = self.selection.text();
        let prefix = &text[..text.find(WILDCARDS).unwrap_or(text.len())];
        let mut objects: BTreeMap<String, Object> = BTreeMap::new();
        let mut marks = HashSet::new();
        let mut mark: Option<String> = None;
        loop {
            let query = self.protocol.query(prefix, mark.as_deref());
            let address = self.base.with_query(Some(query));
            let mut ask = Ask::get(&self.place, address, &self.access);
            ask.headers.push(("accept", "application/xml".to_owned()));
            let page = self.shared.client.list(&ask, |_, body| {
                let text = std::str::from_utf8(body).map_err(|_| "it is no text".to_owned())?;
                self.protocol.page(text)
            })?;
            for object in page.objects {
                // A key that ends in a slash stands for a folder in programs that show some.
                if !object.key.ends_with('/') && self.selection.has(&object.key) {
                    objects.insert(object.key.clone(), object);
                }
            }
            match page.next {
                None => break,
                Some(next) if marks.insert(next.clone()) => mark = Some(next),
                Some(_) => {
                    let why = "its pages go in a circle; it would have no end";
                    return Err(LocationError::bad_listing(&self.place, why));
                }
            }
        }
        let remote: Arc<dyn Remote> = Arc::new(PlainFiles {
            place: self.place.clone(),
            base: self.base.clone(),
            access: Arc::clone(&self.access),
            shared: Arc::clone(&self.shared),
        });
        let alone = self.selection.is_exact()
            && objects.len() == 1
            && objects.contains_key(self.selection.text());
        let files = objects.into_values().map(|object| {
            let file = RemoteFile::new(object.key, object.size, object.id, &remote, &self.shared);
            Arc::new(file) as Arc<dyn StoredFile>
        });
        Ok(Listing {
            files: files.collect(),
            folder: self.selection.folder_of(alone).to_owned(),
            alone,
            ..Listing::default()
        })
    }
}
