//! An address of HTTP in its parts. What is shown of it never holds the query, which may be a signature.

use std::fmt;

use percent_encoding::{
    AsciiSet, CONTROLS, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode,
};

/// What no address may hold as it is; `%` stays, as it begins what is encoded already.
const ILLEGAL: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// All but RFC 3986's unreserved characters, as AWS's signatures have it too.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// One segment of a path, or a name or value of a query.
pub(crate) fn encode(segment: &str) -> String {
    utf8_percent_encode(segment, RESERVED).to_string()
}

/// A path of several segments.
pub(crate) fn encode_path(path: &str) -> String {
    path.split('/').map(encode).collect::<Vec<_>>().join("/")
}

/// The text that an encoded path stands for.
pub(crate) fn decode(path: &str) -> String {
    percent_decode_str(path).decode_utf8_lossy().into_owned()
}

/// An address; `Display` and `Debug` leave its query out.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Address {
    secure: bool,
    authority: String,
    path: String,
    query: Option<String>,
}

impl Address {
    /// The parts of an absolute address. The error is a sentence that doesn't repeat it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let text = utf8_percent_encode(text.trim(), ILLEGAL).to_string();
        let (scheme, rest) = text
            .split_once("://")
            .ok_or_else(|| "an address begins with http:// or https://".to_owned())?;
        let secure = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            other => return Err(format!("{other} is no scheme of a web address")),
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let (before, query) = match rest.split_once('?') {
            Some((before, query)) => (before, Some(query.to_owned())),
            None => (rest, None),
        };
        let (authority, path) = match before.find('/') {
            Some(at) => before.split_at(at),
            None => (before, "/"),
        };
        if authority.contains('@') {
            return Err("an address with a user's name or password in it is not taken".to_owned());
        }
        let (host, port) = authority.rsplit_once(':').unwrap_or((authority, "80"));
        if host.is_empty() {
            return Err("the address names no host".to_owned());
        }
        // Addresses of IPv6 have colons in brackets. Else it may be a password with a slash in it.
        if !host.starts_with('[') && port.parse::<u16>().is_err() {
            return Err("what follows the host's colon is no port".to_owned());
        }
        Ok(Self {
            secure,
            authority: authority.to_ascii_lowercase(),
            path: without_dots(path),
            query,
        })
    }

    /// The address that a reference in an answer of this one means.
    pub(crate) fn join(&self, reference: &str) -> Result<Self, String> {
        let reference = reference.trim();
        let scheme = if self.secure { "https" } else { "http" };
        let colon = reference.find(':').unwrap_or(usize::MAX);
        let slash = reference.find(['/', '?', '#']).unwrap_or(usize::MAX);
        if colon < slash {
            return Self::parse(reference);
        }
        let authority = &self.authority;
        if reference.starts_with("//") {
            return Self::parse(&format!("{scheme}:{reference}"));
        }
        if reference.starts_with('/') {
            return Self::parse(&format!("{scheme}://{authority}{reference}"));
        }
        if reference.starts_with('?') {
            return Self::parse(&format!("{scheme}://{authority}{}{reference}", self.path));
        }
        let folder = self.path.rfind('/').map_or("/", |at| &self.path[..=at]);
        Self::parse(&format!("{scheme}://{authority}{folder}{reference}"))
    }

    /// All of it, for the request alone.
    pub(crate) fn with_secrets(&self) -> String {
        match &self.query {
            Some(query) => format!("{self}?{query}"),
            None => self.to_string(),
        }
    }

    /// Scheme, host and port: who is asked.
    pub(crate) fn origin(&self) -> String {
        let (scheme, port) = if self.secure {
            ("https", ":443")
        } else {
            ("http", ":80")
        };
        let host = &self.authority;
        format!("{scheme}://{}", host.strip_suffix(port).unwrap_or(host))
    }

    pub(crate) fn is_secure(&self) -> bool {
        self.secure
    }

    /// The host, with its port where one is given.
    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }

    /// The path as it is sent.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    pub(crate) fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }

    /// The same host with a path below this one's; `more` is encoded already.
    pub(crate) fn below(&self, more: &str) -> Self {
        let path = format!("{}/{more}", self.path.trim_end_matches('/'));
        Self {
            path,
            query: None,
            ..self.clone()
        }
    }

    /// The same path with another query, of encoded pairs.
    pub(crate) fn with_query(&self, query: Option<String>) -> Self {
        Self {
            query,
            ..self.clone()
        }
    }

    /// The same host with another path.
    pub(crate) fn with_path(&self, path: &str) -> Self {
        Self {
            path: without_dots(path),
            ..self.clone()
        }
    }
}

/// RFC 3986, 5.2.4.
fn without_dots(path: &str) -> String {
    if !path.contains("/.") {
        return path.to_owned();
    }
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." => {}
            ".." => {
                kept.pop();
            }
            other => {
                kept.push(other);
                continue;
            }
        }
        if last {
            kept.push("");
        }
    }
    format!("/{}", kept.join("/"))
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority, self.path)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_joined_as_rfc_3986_says() {
        let base = Address::parse("http://Host:80/b/c/d?q").unwrap();
        for (reference, joined) in [
            ("https://x/y?z", "https://x/y?z"),
            ("//x/y", "http://x/y"),
            ("/g", "http://host:80/g"),
            ("g", "http://host:80/b/c/g"),
            ("./g", "http://host:80/b/c/g"),
            ("../g", "http://host:80/b/g"),
            ("../../../g", "http://host:80/g"),
            ("?y=:", "http://host:80/b/c/d?y=:"),
            ("g/", "http://host:80/b/c/g/"),
            ("g#s", "http://host:80/b/c/g"),
            ("/a b/ä", "http://host:80/a%20b/%C3%A4"),
        ] {
            let got = base.join(reference).unwrap().with_secrets();
            assert_eq!(got, joined, "{reference}");
        }
        assert!(base.join("file:///etc/passwd").is_err());
        assert!(base.join("http://user:secret@host/").is_err());
        assert!(base.join("http://user:secret/word@host/").is_err());
        assert!(base.join("http://[::1]:8000/a").is_ok());
        assert!(base.join("http://[::1]/a").is_ok());
    }

    #[test]
    fn a_query_is_never_shown() {
        let address = Address::parse("https://host/a?Signature=secret").unwrap();
        assert_eq!(address.to_string(), "https://host/a");
        assert_eq!(format!("{address:?}"), "https://host/a");
        assert_eq!(address.with_secrets(), "https://host/a?Signature=secret");
    }

    #[test]
    fn origins_know_their_ports() {
        let origin = |text| Address::parse(text).unwrap().origin();
        assert_eq!(origin("https://A.b:443/x"), origin("https://a.B/y?z"));
        assert_ne!(origin("https://a"), origin("http://a"));
        assert_ne!(origin("http://a:1"), origin("http://a:2"));
    }
}
