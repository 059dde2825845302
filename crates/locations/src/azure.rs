//! Blobs of Azure Storage, with a shared access signature or without.

use std::sync::Arc;

use ureq::http::Method;

use crate::LocationError;
use crate::address::{Address, encode};
use crate::clock::Clock;
use crate::environment::{Environment, Secret};
use crate::file::{ContentId, Place};
use crate::location::Bucket;
use crate::objects::{Object, ObjectPlace, Page, Protocol};
use crate::request::Access;
use crate::storage::Shared;
use crate::xml;

/// A version of the protocol whose `ETag`s are quoted.
const VERSION: &str = "2021-08-06";

/// A signature that goes into the query of every request.
#[derive(Debug)]
struct Signature(Option<Secret>);

impl Access for Signature {
    fn headers(&self, _: &Method, _: &Address, _: &dyn Clock) -> Vec<(&'static str, String)> {
        vec![("x-ms-version", VERSION.to_owned())]
    }

    fn address(&self, address: &Address) -> Address {
        let Some(Secret(signature)) = &self.0 else {
            return address.clone();
        };
        let query = match address.query() {
            Some(query) => format!("{query}&{signature}"),
            None => signature.clone(),
        };
        address.with_query(Some(query))
    }

    fn advice(&self, _: u16, _: &str) -> String {
        match &self.0 {
            Some(_) => "the signature of AZURE_STORAGE_SAS_TOKEN is over, or doesn't let it read and list this",
            None => "the container isn't public; give a signature with AZURE_STORAGE_SAS_TOKEN",
        }
        .to_owned()
    }
}

/// The place of a container.
///
/// # Errors
/// No account is named, or an endpoint that is no address.
pub(crate) fn place(
    container: &Bucket,
    environment: &Environment,
    shared: &Arc<Shared>,
) -> Result<Box<dyn Place>, LocationError> {
    let name = "AZURE_STORAGE_ACCOUNT";
    let account = environment.first(&["AZURE_STORAGE_ACCOUNT_NAME", name]);
    let endpoint = match (environment.get("AZURE_STORAGE_ENDPOINT"), account) {
        (Some(endpoint), _) => endpoint.to_owned(),
        (None, Some(account)) => format!("https://{account}.blob.core.windows.net"),
        (None, None) => {
            let why = "az:// names a container; set this to the account that it is of";
            return Err(LocationError::not_found(name, why));
        }
    };
    let base = Address::parse(&endpoint)
        .map_err(|why| LocationError::not_found(name, format!("no address: {why}")))?
        .below(&encode(&container.name));
    let given = environment.first(&["AZURE_STORAGE_SAS_TOKEN", "AZURE_STORAGE_SAS_KEY"]);
    let signature = given.map(|text| Secret(text.trim_start_matches('?').to_owned()));
    let access: Arc<dyn Access> = Arc::new(Signature(signature));
    Ok(Box::new(ObjectPlace::new(
        container, base, access, &ListBlobs, shared,
    )?))
}

/// `List Blobs`.
#[derive(Debug)]
struct ListBlobs;

impl Protocol for ListBlobs {
    fn query(&self, prefix: &str, after: Option<&str>) -> String {
        let mark = after.map_or_else(String::new, |mark| format!("&marker={}", encode(mark)));
        format!(
            "restype=container&comp=list&prefix={}{mark}",
            encode(prefix)
        )
    }

    fn page(&self, body: &str) -> Result<Page, String> {
        if !body.contains("<EnumerationResults") {
            return Err("what came is no list of blobs".to_owned());
        }
        let object = |element: &str| {
            let id = xml::text(element, "Etag").map_or(ContentId::Unknown, |etag| {
                // Listings leave out the quotes that answers have.
                ContentId::Etag(format!("\"{}\"", etag.trim_matches('"')))
            });
            Some(Object {
                key: xml::text(element, "Name")?,
                size: xml::text(element, "Content-Length")?.parse().ok()?,
                id,
            })
        };
        let objects = xml::elements(body, "Blob").into_iter().map(object);
        let objects = objects.collect::<Option<Vec<_>>>();
        Ok(Page {
            objects: objects.ok_or_else(|| "it has a blob without name or size".to_owned())?,
            next: xml::text(body, "NextMarker").filter(|mark| !mark.is_empty()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_blobs() {
        let body = "<?xml version=\"1.0\"?><EnumerationResults ContainerName=\"c\"><Blobs><Blob><Name>a/b.jsonl</Name><Properties><Content-Length>7</Content-Length><Etag>0x8D</Etag></Properties></Blob></Blobs><NextMarker>m</NextMarker></EnumerationResults>";
        let page = ListBlobs.page(body).unwrap();
        let object = Object {
            key: "a/b.jsonl".into(),
            size: 7,
            id: ContentId::Etag("\"0x8D\"".into()),
        };
        assert_eq!(
            (page.objects, page.next.as_deref()),
            (vec![object], Some("m"))
        );
        assert!(ListBlobs.page("<html>").is_err());
    }

    #[test]
    fn signatures_go_into_the_query_and_nowhere_else() {
        let access = Signature(Some(Secret("sig=hidden".into())));
        let address = Address::parse("https://a.blob.core.windows.net/c?comp=list").unwrap();
        let signed = access.address(&address);
        assert_eq!(signed.query(), Some("comp=list&sig=hidden"));
        assert!(!format!("{access:?} {signed:?} {signed}").contains("hidden"));
    }
}
