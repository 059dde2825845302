//! AWS Signature Version 4, for requests without a body.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>

use evenburn_files::{hex, sha256};
use ring::hmac;
use ureq::http::Method;

use crate::address::Address;
use crate::aws::Keys;
use crate::clock::{Clock, basic_date};
use crate::request::Access;

/// Signs requests to S3, or to what speaks its protocol, with a pair of keys; without one it leaves them as they are.
#[derive(Debug)]
pub(crate) struct Signer {
    pub(crate) keys: Option<Keys>,
    pub(crate) region: String,
    /// Where keys come from, as advice.
    pub(crate) advice: &'static str,
}

impl Access for Signer {
    fn headers(
        &self,
        method: &Method,
        address: &Address,
        clock: &dyn Clock,
    ) -> Vec<(&'static str, String)> {
        let Some(keys) = &self.keys else {
            return Vec::new();
        };
        let mut headers = vec![
            ("host", host(address).to_owned()),
            ("x-amz-content-sha256", sha256(b"")),
            ("x-amz-date", basic_date(clock.date().as_secs())),
        ];
        if let Some(session) = &keys.session {
            headers.push(("x-amz-security-token", session.0.clone()));
        }
        let proof = self.authorization(keys, method, address, &headers);
        headers.push(("authorization", proof));
        headers
    }

    fn advice(&self, _: u16, _: &str) -> String {
        match &self.keys {
            Some(_) => format!(
                "the storage refuses these keys, or they may not read this ({})",
                self.advice
            ),
            None => format!(
                "the storage wants to know who asks; no keys were found ({})",
                self.advice
            ),
        }
    }
}

/// The host as it is sent: without the port that its scheme has anyway.
fn host(address: &Address) -> &str {
    let host = address.authority();
    let port = if address.is_secure() { ":443" } else { ":80" };
    host.strip_suffix(port).unwrap_or(host)
}

impl Signer {
    /// The value of `Authorization`, for headers in the order of their names; the date is one of them.
    fn authorization(
        &self,
        keys: &Keys,
        method: &Method,
        address: &Address,
        headers: &[(&'static str, String)],
    ) -> String {
        let value = |name: &str| {
            let found = headers.iter().find(|(header, _)| *header == name);
            found.map(|(_, value)| value.as_str()).unwrap_or_default()
        };
        let names: Vec<_> = headers.iter().map(|(name, _)| *name).collect();
        let names = names.join(";");
        let mut request = format!(
            "{method}\n{}\n{}\n",
            address.path(),
            canonical(address.query())
        );
        for (name, value) in headers {
            request.push_str(&format!("{name}:{}\n", value.trim()));
        }
        request.push_str(&format!("\n{names}\n{}", value("x-amz-content-sha256")));
        let date = value("x-amz-date");
        let day = date.get(..8).unwrap_or_default();
        let scope = format!("{day}/{}/s3/aws4_request", self.region);
        let text = format!(
            "AWS4-HMAC-SHA256\n{date}\n{scope}\n{}",
            sha256(request.as_bytes())
        );
        let mut key = format!("AWS4{}", keys.secret.0).into_bytes();
        for part in [day, &self.region, "s3", "aws4_request", &text] {
            let signed = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), part.as_bytes());
            key = signed.as_ref().to_vec();
        }
        format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope},SignedHeaders={names},Signature={}",
            keys.id,
            hex(&key)
        )
    }
}

/// The pairs of a query, each with its `=`, in order.
fn canonical(query: Option<&str>) -> String {
    let pairs = query
        .unwrap_or_default()
        .split('&')
        .filter(|pair| !pair.is_empty());
    let mut pairs: Vec<_> = pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .collect();
    pairs.sort_unstable();
    let pairs: Vec<_> = pairs
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    pairs.join("&")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::Secret;

    /// The examples of the documentation that have no other headers than ours.
    #[test]
    fn examples_of_the_documentation() {
        let signer = Signer {
            keys: Some(Keys {
                id: "AKIAIOSFODNN7EXAMPLE".into(),
                secret: Secret("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".into()),
                session: None,
            }),
            region: "us-east-1".into(),
            advice: "",
        };
        for (query, signature) in [
            (
                "lifecycle",
                "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
            ),
            (
                "max-keys=2&prefix=J",
                "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
            ),
        ] {
            let address = format!("https://examplebucket.s3.amazonaws.com/?{query}");
            let address = Address::parse(&address).unwrap();
            let headers = [
                ("host", host(&address).to_owned()),
                ("x-amz-content-sha256", sha256(b"")),
                ("x-amz-date", "20130524T000000Z".to_owned()),
            ];
            let keys = signer.keys.as_ref().unwrap();
            let proof = signer.authorization(keys, &Method::GET, &address, &headers);
            assert!(
                proof.ends_with(&format!("Signature={signature}")),
                "{query}: {proof}"
            );
        }
    }
}
