//! A request, who makes it, and what its answer means.

use std::fmt::Debug;
use std::io::Read;
use std::sync::Arc;

use ureq::http::{HeaderMap, Method, StatusCode};

use crate::LocationError;
use crate::address::Address;
use crate::clock::Clock;
use crate::xml;

/// Who asks, and what proves it. Given to the origins that it is meant for, and to no other.
pub(crate) trait Access: Debug + Send + Sync {
    /// The headers that go with a request to this address.
    fn headers(
        &self,
        method: &Method,
        address: &Address,
        clock: &dyn Clock,
    ) -> Vec<(&'static str, String)>;

    /// The address with what proves the right in its query, where that is the way.
    fn address(&self, address: &Address) -> Address {
        address.clone()
    }

    /// What helps where access is denied, as the end of a sentence.
    fn advice(&self, status: u16, code: &str) -> String;
}

/// Nobody in particular.
#[derive(Debug)]
pub(crate) struct Anonymous;

impl Access for Anonymous {
    fn headers(&self, _: &Method, _: &Address, _: &dyn Clock) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    fn advice(&self, _: u16, _: &str) -> String {
        "the server wants to know who asks; give an address that is signed or public".to_owned()
    }
}

/// One request.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    /// The place in words, for messages.
    pub(crate) place: String,
    pub(crate) method: Method,
    pub(crate) address: Address,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Option<Vec<u8>>,
    pub(crate) access: Arc<dyn Access>,
}

impl Ask {
    pub(crate) fn get(place: &str, address: Address, access: &Arc<dyn Access>) -> Self {
        Self {
            place: place.to_owned(),
            method: Method::GET,
            address,
            headers: Vec::new(),
            body: None,
            access: Arc::clone(access),
        }
    }
}

/// An answer that is no redirect.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: ureq::BodyReader<'static>,
    /// Who answered in the end.
    pub(crate) address: Address,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The length that the answer announces.
    pub(crate) fn length(&self) -> Option<u64> {
        self.header("content-length")?.trim().parse().ok()
    }
}

/// Why an attempt failed.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// Another attempt may succeed. The reason, as a sentence.
    Passing(String),
    /// None will.
    Lasting(LocationError),
}

impl From<LocationError> for Trouble {
    fn from(error: LocationError) -> Self {
        Self::Lasting(error)
    }
}

/// The longest error of an object store that is read, in bytes. They have some hundred.
const ERROR: u64 = 64 << 10;

/// What an object store says with status 400 of a signature that it doesn't take.
fn unsigned(ask: &Ask, answer: &mut Answer) -> Option<LocationError> {
    let region = answer.header("x-amz-bucket-region").map(str::to_owned);
    let mut body = Vec::new();
    (&mut answer.body).take(ERROR).read_to_end(&mut body).ok()?;
    let code = refusal(std::str::from_utf8(&body).ok()?)?;
    let advice = ask.access.advice(400, code);
    let region = region.map_or_else(String::new, |region| {
        format!("; the bucket lies in the region {region}: set AWS_REGION={region}")
    });
    let why = format!("access denied (400, {code}): {advice}{region}");
    Some(LocationError::denied(&ask.place, why))
}

/// The code of a refusal of the signature: old keys of a role, others' keys, another region's signature.
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>
fn refusal(body: &str) -> Option<&'static str> {
    let code = xml::text(body, "Code")?;
    let known = [
        "ExpiredToken",
        "InvalidToken",
        "AuthorizationHeaderMalformed",
    ];
    known.into_iter().find(|known| *known == code)
}

/// What a status means.
pub(crate) fn judge(ask: &Ask, mut answer: Answer) -> Result<Answer, Trouble> {
    let place = &ask.place;
    if answer.status == 400
        && let Some(error) = unsigned(ask, &mut answer)
    {
        return Err(error.into());
    }
    let code = answer.header("x-error-code").unwrap_or_default();
    let said = answer.header("x-error-message").unwrap_or_default();
    let said: String = said.chars().filter(|c| !c.is_control()).take(300).collect();
    let said = match said.as_str() {
        "" => String::new(),
        said => format!(" The server says: {said}"),
    };
    let status = answer.status;
    let name = StatusCode::from_u16(status).ok();
    let name = name
        .and_then(|status| status.canonical_reason())
        .unwrap_or("unknown");
    Err(match status {
        200..=299 => return Ok(answer),
        401 | 403 | 407 | 451 => {
            let advice = ask.access.advice(status, code);
            LocationError::denied(place, format!("access denied ({status}): {advice}.{said}"))
                .into()
        }
        404 | 410 => {
            let what = match code {
                "RepoNotFound" => "there is no such repository, or the token may not read it",
                "RevisionNotFound" => "there is no such revision",
                "EntryNotFound" => "there is no such file at this revision",
                _ => "there is no such file",
            };
            LocationError::not_found(place, format!("{what} ({status})")).into()
        }
        412 => LocationError::changed(place, "it changed while it was read (412)").into(),
        408 | 429 | 500..=599 => Trouble::Passing(format!(
            "{} answered {status} ({name})",
            answer.address.authority()
        )),
        _ => {
            let why = format!(
                "{} answered {status} ({name}).{said}",
                answer.address.authority()
            );
            LocationError::unavailable(place, why).into()
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_of_signatures() {
        let body =
            |code: &str| format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code></Error>");
        assert_eq!(refusal(&body("ExpiredToken")), Some("ExpiredToken"));
        assert_eq!(refusal(&body("InvalidArgument")), None);
        assert_eq!(refusal("<html>"), None);
    }
}
