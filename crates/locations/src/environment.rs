//! What the environment says: the variables that `huggingface_hub` and the AWS tools read, with their meanings.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use ureq::tls::{Certificate, PemItem, parse_pem};

use crate::LocationError;
use crate::address::Address;

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(pub(crate) String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// Environment variables. `Debug` shows their names alone.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, String>);

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        let pairs = pairs.into_iter();
        Self(
            pairs
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        )
    }
}

impl Environment {
    /// That of this process. What is no Unicode is left out.
    pub fn of_process() -> Self {
        let pairs = std::env::vars_os();
        pairs
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect()
    }

    /// A variable; nothing where it is unset or empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// The first of some variables that is set.
    pub(crate) fn first(&self, names: &[&str]) -> Option<&str> {
        names.iter().find_map(|name| self.get(name))
    }

    /// As `huggingface_hub` reads its switches.
    fn is_on(&self, name: &str) -> bool {
        let value = self.get(name).unwrap_or_default().to_ascii_uppercase();
        matches!(value.as_str(), "1" | "ON" | "YES" | "TRUE")
    }

    fn home(&self) -> PathBuf {
        let home = self.first(&["HOME", "USERPROFILE"]);
        home.map_or_else(|| PathBuf::from("."), PathBuf::from)
    }

    /// A path whose `~` is the user's folder.
    pub(crate) fn path(&self, text: &str) -> PathBuf {
        match text.strip_prefix("~/") {
            Some(rest) => self.home().join(rest),
            None if text == "~" => self.home(),
            None => PathBuf::from(text),
        }
    }

    /// A variable that names a path, or a path below the user's folder.
    pub(crate) fn path_or(&self, name: &str, default: &str) -> PathBuf {
        self.path(self.get(name).unwrap_or(default))
    }
}

/// How the hub is asked, and where its files are kept.
#[derive(Debug, Clone)]
pub(crate) struct HubSettings {
    pub(crate) endpoint: Address,
    pub(crate) token: Option<Secret>,
    /// The folder of the hub's cache, shared with `huggingface_hub`.
    pub(crate) cache: PathBuf,
    /// Nothing is fetched; only the cache is read.
    pub(crate) offline: bool,
}

/// Where the hub is, unless `HF_ENDPOINT` says otherwise.
pub(crate) const HUB: &str = "https://huggingface.co";

impl HubSettings {
    /// # Errors
    /// `HF_ENDPOINT` is no web address.
    pub(crate) fn new(environment: &Environment) -> Result<Self, LocationError> {
        let endpoint = environment.get("HF_ENDPOINT").unwrap_or(HUB);
        let endpoint = Address::parse(endpoint.trim_end_matches('/')).map_err(|why| {
            LocationError::not_found("HF_ENDPOINT", format!("no address of a hub: {why}"))
        })?;
        let home = match environment.get("HF_HOME") {
            Some(home) => environment.path(home),
            None => environment
                .path_or("XDG_CACHE_HOME", "~/.cache")
                .join("huggingface"),
        };
        let cache = environment.first(&["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"]);
        Ok(Self {
            endpoint,
            token: Self::token(environment, &home).map(Secret),
            cache: cache.map_or_else(|| home.join("hub"), |path| environment.path(path)),
            offline: environment.is_on("HF_HUB_OFFLINE")
                || environment.is_on("TRANSFORMERS_OFFLINE"),
        })
    }

    /// The variable counts before the file; neither is sent unasked where `HF_HUB_DISABLE_IMPLICIT_TOKEN` is on, and
    /// nothing here asks.
    fn token(environment: &Environment, home: &std::path::Path) -> Option<String> {
        if environment.is_on("HF_HUB_DISABLE_IMPLICIT_TOKEN") {
            return None;
        }
        let given = environment.first(&["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"]);
        let token = given.map(str::to_owned).or_else(|| {
            let file = match environment.get("HF_TOKEN_PATH") {
                Some(path) => environment.path(path),
                None => home.join("token"),
            };
            fs::read_to_string(file).ok()
        })?;
        let token = token.trim().to_owned();
        (!token.is_empty()).then_some(token)
    }
}

/// For how long a connection may be silent: `HF_HUB_DOWNLOAD_TIMEOUT` in seconds, 10 as in `huggingface_hub`.
pub(crate) fn silence(environment: &Environment) -> Duration {
    let given = environment.get("HF_HUB_DOWNLOAD_TIMEOUT");
    let seconds = given.and_then(|text| text.trim().parse::<f64>().ok());
    let seconds = seconds.filter(|seconds| *seconds > 0.0 && seconds.is_finite());
    Duration::from_secs_f64(seconds.unwrap_or(10.0).min(86_400.0))
}

/// Certificates that are trusted in place of those that browsers trust, where `SSL_CERT_FILE` or its kin name a file.
///
/// # Errors
/// A file that can't be read or holds none.
pub(crate) fn certificates(
    environment: &Environment,
) -> Result<Option<Vec<Certificate<'static>>>, LocationError> {
    let names = ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"];
    let Some(path) = environment.first(&names).map(|path| environment.path(path)) else {
        return Ok(None);
    };
    let pem = fs::read(&path).map_err(|e| LocationError::disk("read", &path, &e))?;
    let found: Vec<_> = parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    if found.is_empty() {
        let place = path.display().to_string();
        return Err(LocationError::not_found(
            &place,
            "the file (SSL_CERT_FILE) holds no certificate",
        ));
    }
    Ok(Some(found))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hub(pairs: &[(&str, &str)]) -> HubSettings {
        HubSettings::new(&pairs.iter().copied().collect()).unwrap()
    }

    #[test]
    fn folders_of_the_hub() {
        let cache = |pairs: &[(&str, &str)]| hub(pairs).cache.display().to_string();
        assert_eq!(cache(&[("HOME", "/h")]), "/h/.cache/huggingface/hub");
        assert_eq!(
            cache(&[("HOME", "/h"), ("XDG_CACHE_HOME", "/x")]),
            "/x/huggingface/hub"
        );
        assert_eq!(cache(&[("HOME", "/h"), ("HF_HOME", "~/f")]), "/h/f/hub");
        assert_eq!(cache(&[("HF_HOME", "/f"), ("HF_HUB_CACHE", "/c")]), "/c");
    }

    #[test]
    fn tokens_by_variable_then_by_file() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("token"), "hf_file\n").unwrap();
        let other = folder.path().join("other");
        fs::write(&other, "hf_other").unwrap();
        let home = ("HF_HOME", folder.path().to_str().unwrap());
        let path = ("HF_TOKEN_PATH", other.to_str().unwrap());
        let token = |pairs: &[(&str, &str)]| hub(pairs).token.map(|token| token.0);
        assert_eq!(
            token(&[home, path, ("HF_TOKEN", " hf_given ")]).as_deref(),
            Some("hf_given")
        );
        assert_eq!(token(&[home, path]).as_deref(), Some("hf_other"));
        assert_eq!(token(&[home]).as_deref(), Some("hf_file"));
        assert_eq!(token(&[home, ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")]), None);
        assert_eq!(token(&[("HF_HOME", "/nowhere")]), None);
        let shown = format!("{:?}", hub(&[("HF_TOKEN", "hf_given")]));
        assert!(!shown.contains("hf_given"), "{shown}");
    }

    #[test]
    fn switches_and_seconds() {
        assert!(hub(&[("HF_HUB_OFFLINE", "yes")]).offline);
        assert!(!hub(&[("HF_HUB_OFFLINE", "0")]).offline);
        let seconds =
            |text: &str| silence(&[("HF_HUB_DOWNLOAD_TIMEOUT", text)].into_iter().collect());
        assert_eq!(seconds("3"), Duration::from_secs(3));
        assert_eq!(seconds("0.5"), Duration::from_millis(500));
        assert_eq!(seconds("x"), Duration::from_secs(10));
    }

    #[test]
    fn an_endpoint_may_end_in_a_slash() {
        let address = hub(&[("HF_ENDPOINT", "http://127.0.0.1:8000/")]).endpoint;
        assert_eq!(
            address.below("api").to_string(),
            "http://127.0.0.1:8000/api"
        );
        let wrong = [("HF_ENDPOINT", "nowhere")].into_iter().collect();
        assert!(HubSettings::new(&wrong).is_err());
    }
}
