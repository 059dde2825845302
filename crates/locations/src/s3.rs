//! Object stores that speak S3's protocol: S3 itself, others by their endpoint, and Google's by its interoperability.

use std::sync::Arc;

use crate::LocationError;
use crate::address::{Address, decode, encode};
use crate::aws::{AwsSettings, Keys};
use crate::environment::{Environment, Secret};
use crate::file::{ContentId, Place};
use crate::location::{Bucket, ObjectStore};
use crate::objects::{Object, ObjectPlace, Page, Protocol};
use crate::request::Access;
use crate::signature::Signer;
use crate::storage::Shared;
use crate::xml;

/// Where Google's store is, which signs for any region.
const GOOGLE: &str = "https://storage.googleapis.com";

/// The place of a bucket.
///
/// # Errors
/// Settings that contradict themselves, an endpoint that is no address.
pub(crate) fn place(
    bucket: &Bucket,
    environment: &Environment,
    shared: &Arc<Shared>,
) -> Result<Box<dyn Place>, LocationError> {
    let (endpoint, signer) = match bucket.store {
        ObjectStore::Google => google(environment),
        _ => amazon(&AwsSettings::new(environment)?),
    };
    let wrong =
        |why: String| LocationError::not_found("AWS_ENDPOINT_URL", format!("no address: {why}"));
    let base = match endpoint {
        Some(endpoint) => Address::parse(&endpoint)
            .map_err(wrong)?
            .below(&encode(&bucket.name)),
        None => own_address(&bucket.name, &signer.region).map_err(wrong)?,
    };
    let access: Arc<dyn Access> = Arc::new(signer);
    Ok(Box::new(ObjectPlace::new(
        bucket,
        base,
        access,
        &ListObjects,
        shared,
    )?))
}

fn amazon(settings: &AwsSettings) -> (Option<String>, Signer) {
    let signer = Signer {
        keys: settings.keys.clone(),
        region: settings.region.clone(),
        advice: "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile of ~/.aws; `aws configure export-credentials --format env` writes those of roles and logins",
    };
    (settings.endpoint.clone(), signer)
}

fn google(environment: &Environment) -> (Option<String>, Signer) {
    let variable = |name: &str| environment.get(name).map(str::to_owned);
    let keys = variable("GS_ACCESS_KEY_ID").zip(variable("GS_SECRET_ACCESS_KEY"));
    let signer = Signer {
        keys: keys.map(|(id, secret)| Keys {
            id,
            secret: Secret(secret),
            session: None,
        }),
        region: "auto".to_owned(),
        advice: "GS_ACCESS_KEY_ID and GS_SECRET_ACCESS_KEY, an HMAC key of the storage's settings",
    };
    let endpoint = variable("STORAGE_EMULATOR_HOST").map(|host| {
        if host.contains("://") {
            host
        } else {
            format!("http://{host}")
        }
    });
    (Some(endpoint.unwrap_or_else(|| GOOGLE.to_owned())), signer)
}

/// Amazon's address of a bucket. One with dots would not match the certificate as a part of the host.
fn own_address(bucket: &str, region: &str) -> Result<Address, String> {
    let domain = if region.starts_with("cn-") {
        "amazonaws.com.cn"
    } else {
        "amazonaws.com"
    };
    if bucket.contains('.') {
        return Address::parse(&format!("https://s3.{region}.{domain}/{bucket}"));
    }
    Address::parse(&format!("https://{bucket}.s3.{region}.{domain}"))
}

/// `ListObjectsV2`.
#[derive(Debug)]
struct ListObjects;

impl Protocol for ListObjects {
    fn query(&self, prefix: &str, after: Option<&str>) -> String {
        let mut query = String::new();
        if let Some(token) = after {
            query.push_str(&format!("continuation-token={}&", encode(token)));
        }
        query.push_str("encoding-type=url&list-type=2");
        format!("{query}&prefix={}", encode(prefix))
    }

    fn page(&self, body: &str) -> Result<Page, String> {
        if !body.contains("<ListBucketResult") {
            return Err("what came is no list of objects".to_owned());
        }
        let encoded = xml::text(body, "EncodingType").as_deref() == Some("url");
        let object = |element: &str| {
            let key = xml::text(element, "Key")?;
            let key = if encoded {
                decode(&key.replace('+', " "))
            } else {
                key
            };
            let size = xml::text(element, "Size")?.parse().ok()?;
            let id = xml::text(element, "ETag").map_or(ContentId::Unknown, ContentId::Etag);
            Some(Object { key, size, id })
        };
        let objects = xml::elements(body, "Contents").into_iter().map(object);
        let objects = objects.collect::<Option<Vec<_>>>();
        let truncated = xml::text(body, "IsTruncated").as_deref() == Some("true");
        let next = xml::text(body, "NextContinuationToken");
        if truncated && next.is_none() {
            return Err("it ends in the middle".to_owned());
        }
        Ok(Page {
            objects: objects.ok_or_else(|| "it has an object without name or size".to_owned())?,
            next: next.filter(|_| truncated),
        })
    }
}
