//! Keys, region and endpoint, as the AWS tools find them: variables, then the profile.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::LocationError;
use crate::environment::{Environment, Secret};

/// A pair of keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Keys {
    pub(crate) id: String,
    pub(crate) secret: Secret,
    pub(crate) session: Option<Secret>,
}

/// What requests to S3 need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AwsSettings {
    /// Without keys requests are not signed, which public buckets allow.
    pub(crate) keys: Option<Keys>,
    pub(crate) region: String,
    pub(crate) endpoint: Option<String>,
}

/// The region of buckets and tools that name none.
const REGION: &str = "us-east-1";

impl AwsSettings {
    /// # Errors
    /// A profile that `AWS_PROFILE` names and no file has; half of a pair of keys.
    pub(crate) fn new(environment: &Environment) -> Result<Self, LocationError> {
        let named = environment.first(&["AWS_PROFILE", "AWS_DEFAULT_PROFILE"]);
        let profile = named.unwrap_or("default");
        let credentials = environment.path_or("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials");
        let config = environment.path_or("AWS_CONFIG_FILE", "~/.aws/config");
        let credentials = section(&credentials, profile);
        let config = section(&config, &format!("profile {profile}"))
            .or_else(|| section(&config, profile).filter(|_| profile == "default"));
        if let Some(named) = named.filter(|_| credentials.is_none() && config.is_none()) {
            let why =
                format!("neither ~/.aws/credentials nor ~/.aws/config has the profile `{named}`");
            return Err(LocationError::denied("AWS_PROFILE", why));
        }
        let (credentials, config) = (credentials.unwrap_or_default(), config.unwrap_or_default());
        let of_profile = |key: &str| {
            let value = credentials.get(key).or_else(|| config.get(key));
            value.filter(|value| !value.is_empty()).cloned()
        };
        let variable = |name: &str| environment.get(name).map(str::to_owned);
        let pair = (
            variable("AWS_ACCESS_KEY_ID"),
            variable("AWS_SECRET_ACCESS_KEY"),
        );
        let (id, secret, session) = match pair {
            (None, None) => (
                of_profile("aws_access_key_id"),
                of_profile("aws_secret_access_key"),
                of_profile("aws_session_token"),
            ),
            (id, secret) => (id, secret, variable("AWS_SESSION_TOKEN")),
        };
        let keys = match (id, secret) {
            (Some(id), Some(secret)) => Some(Keys {
                id,
                secret: Secret(secret),
                session: session.map(Secret),
            }),
            (None, None) => None,
            _ => {
                let why = "an access key needs its secret: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY";
                return Err(LocationError::denied("AWS_ACCESS_KEY_ID", why));
            }
        };
        Ok(Self {
            keys,
            region: variable("AWS_REGION")
                .or_else(|| variable("AWS_DEFAULT_REGION"))
                .or_else(|| of_profile("region"))
                .unwrap_or_else(|| REGION.to_owned()),
            endpoint: variable("AWS_ENDPOINT_URL_S3")
                .or_else(|| variable("AWS_ENDPOINT_URL"))
                .or_else(|| of_profile("endpoint_url")),
        })
    }
}

/// The pairs of a section of a file in INI's form; nothing where there is no such file or section.
fn section(path: &Path, wanted: &str) -> Option<BTreeMap<String, String>> {
    let text = fs::read_to_string(path).ok()?;
    let mut found: Option<BTreeMap<String, String>> = None;
    let mut inside = false;
    for line in text.lines() {
        let trimmed = line.trim();
        if trimmed.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = trimmed
            .strip_prefix('[')
            .and_then(|rest| rest.split(']').next())
        {
            inside = name.split_whitespace().eq(wanted.split_whitespace());
            if inside {
                found.get_or_insert_default();
            }
            continue;
        }
        // Indented lines are settings of a setting.
        let nested = line.starts_with([' ', '\t']);
        if let (true, false, Some((key, value))) = (inside, nested, trimmed.split_once('=')) {
            let pairs = found.get_or_insert_default();
            pairs.insert(key.trim().to_ascii_lowercase(), value.trim().to_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_then_profiles() {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join(".aws")).unwrap();
        let credentials = "[default]\naws_access_key_id = A\naws_secret_access_key = a\n\n[other]\naws_access_key_id=B\naws_secret_access_key=b\naws_session_token=t\n";
        fs::write(home.path().join(".aws/credentials"), credentials).unwrap();
        let config = "[default]\nregion = eu-west-1\n[profile other]\n# comment\nregion=eu-west-2\ns3 =\n  endpoint_url = no\nendpoint_url = http://e\n";
        fs::write(home.path().join(".aws/config"), config).unwrap();
        let home = ("HOME", home.path().to_str().unwrap());
        let settings = |more: &[(&str, &str)]| {
            let pairs = more.iter().copied().chain([home]);
            AwsSettings::new(&pairs.collect())
        };
        let plain = settings(&[]).unwrap();
        assert_eq!(
            (plain.keys.unwrap().id.as_str(), plain.region.as_str()),
            ("A", "eu-west-1")
        );
        let other = settings(&[("AWS_PROFILE", "other")]).unwrap();
        let keys = other.keys.unwrap();
        assert_eq!(
            (keys.id.as_str(), keys.session),
            ("B", Some(Secret("t".into())))
        );
        assert_eq!(
            (other.region.as_str(), other.endpoint.as_deref()),
            ("eu-west-2", Some("http://e"))
        );
        let given = settings(&[
            ("AWS_ACCESS_KEY_ID", "C"),
            ("AWS_SECRET_ACCESS_KEY", "c"),
            ("AWS_REGION", "x"),
            ("AWS_ENDPOINT_URL", "http://u"),
            ("AWS_ENDPOINT_URL_S3", "http://s"),
        ])
        .unwrap();
        assert_eq!(
            (given.region.as_str(), given.endpoint.as_deref()),
            ("x", Some("http://s"))
        );
        let keys = given.keys.unwrap();
        assert_eq!((keys.id.as_str(), &keys.session), ("C", &None));
        assert!(!format!("{keys:?}").contains("\"c\""));
        assert_eq!(
            settings(&[("AWS_PROFILE", "none")]).unwrap_err().class(),
            "denied"
        );
        assert_eq!(
            settings(&[("AWS_ACCESS_KEY_ID", "C")]).unwrap_err().class(),
            "denied"
        );
    }

    #[test]
    fn without_anything_nobody_signs() {
        let settings = AwsSettings::new(&[("HOME", "/nowhere")].into_iter().collect()).unwrap();
        assert_eq!(
            (settings.keys, settings.region.as_str()),
            (None, "us-east-1")
        );
    }
}
