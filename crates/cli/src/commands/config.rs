//! `evenburn config keys` and `evenburn config print`.

use crate::args::Config;
use crate::output::say;
use crate::overrides::Overrides;
use anyhow::Result;
use evenburn_train::Registry;
use evenburn_train::config::{Origin, RunConfig, keys};

pub(super) fn run(registry: &Registry, arguments: &Config, overrides: &Overrides) -> Result<()> {
    match arguments {
        Config::Keys => Ok(say!("{}", list(registry).trim_end())?),
        Config::Print { config } => {
            let resolved = RunConfig::load(registry, config.as_deref(), overrides)?;
            let flat = resolved.config.flatten()?;
            let width = flat.keys().map(String::len).max().unwrap_or(0);
            for (key, value) in &flat {
                let origin = resolved.origins.of(key);
                let origin = match origin {
                    Origin::Default => "default".to_owned(),
                    other => other.to_string(),
                };
                say!("{key:<width$} = {:<32} # {origin}", value.to_string())?;
            }
            Ok(())
        }
    }
}

/// Every key: path, type, default, the scheme or recipe it goes with, and its meaning.
fn list(registry: &Registry) -> String {
    let mut text = String::new();
    for key in keys(registry) {
        let default = key
            .default
            .as_deref()
            .map_or_else(|| "unset".to_owned(), |d| format!("default {d}"));
        let only: Vec<String> = key
            .only_with
            .iter()
            .map(|tag| format!(" [{} = {}]", tag.path, tag.values.join(" | ")))
            .collect();
        let meaning = key.meaning.split_whitespace().collect::<Vec<_>>().join(" ");
        text += &format!(
            "{}: {}, {default}{}\n    {meaning}\n",
            key.path,
            key.expected(),
            only.concat()
        );
    }
    text
}
