//! From a file and overrides to a resolved configuration.
//!
//! Keys and types are checked against the list of keys before serde sees them: serde's own errors lose file and line
//! inside tagged enums.

use std::fs;
use std::path::Path;

use crate::Registry;
use serde::Deserialize;
use toml::de::{DeTable, DeValue};

use super::choice::{Choice, RECIPE, SCHEME};
use super::keys::{Key, lookup};
use super::{Origin, Origins, RunConfig, before, keys, read};
use crate::error::TrainError;
use crate::place::locate;
use crate::run_dir;

/// A configuration and where its values came from.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Resolved {
    /// The configuration.
    pub config: RunConfig,
    /// Where its values came from.
    pub origins: Origins,
}

impl RunConfig {
    /// Reads a configuration file, if one is given, and applies overrides `(key, VALUE)` in their order. A run directory,
    /// or a checkpoint in it, stands for the configuration it recorded; its scheme and its recipe may be ones that the registry
    /// lacks, and can then make no plan and no optimizer.
    ///
    /// The kind of a key decides how its VALUE is read: strings are taken byte for byte, a value that begins with `[` is a
    /// TOML list where the key takes one, numbers and booleans are those of TOML.
    ///
    /// # Errors
    /// [`TrainError`] with file and line (or the override) for a file that can't be read or parsed, an unknown key
    /// (with the nearest valid one) and a value of the wrong type; and with the key for a value out of range;
    /// [`TrainError::NotARun`] for a folder that is none.
    pub fn load(
        registry: &Registry,
        file: Option<&Path>,
        overrides: &[(String, String)],
    ) -> Result<Resolved, TrainError> {
        let Some(path) = file else {
            return Self::from_toml(registry, "", "", overrides);
        };
        match locate(path) {
            Ok(place) => {
                let file = run_dir::config_of(&place.run);
                Self::recorded(registry, &place.run, &file, overrides)
            }
            Err(error) if path.is_dir() => Err(error),
            Err(_) => Self::from_toml(
                registry,
                &path.display().to_string(),
                &text_of(path)?,
                overrides,
            ),
        }
    }

    /// The same for a file in which a run recorded a configuration.
    pub(crate) fn recorded(
        registry: &Registry,
        run: &Path,
        file: &Path,
        overrides: &[(String, String)],
    ) -> Result<Resolved, TrainError> {
        let text = text_of(file)?;
        let mut loader = Loader::new(registry);
        loader.recorded(run, &file.display().to_string(), &text)?;
        loader.resolve(overrides)
    }

    /// The same for text that is already in memory; `label` names it in errors.
    ///
    /// # Errors
    /// As [`RunConfig::load`].
    ///
    /// ```
    /// use evenburn_train::Registry;
    /// use evenburn_train::config::RunConfig;
    ///
    /// let registry = Registry::default();
    /// let error = RunConfig::from_toml(&registry, "tiny.toml", "[train]\nstepps = 3", &[]).unwrap_err();
    /// assert_eq!(error.to_string(), "tiny.toml:2: unknown key `train.stepps`; did you mean `train.steps`?");
    /// ```
    pub fn from_toml(
        registry: &Registry,
        label: &str,
        text: &str,
        overrides: &[(String, String)],
    ) -> Result<Resolved, TrainError> {
        let mut loader = Loader::new(registry);
        loader.file(label, text)?;
        loader.resolve(overrides)
    }
}

/// Whether a configuration that a run recorded has options of other recipes than the run's that aren't at their defaults.
pub(crate) fn sets_other_recipes(registry: &Registry, file: &Path) -> Result<bool, TrainError> {
    let (_, mut values) = parsed(&file.display().to_string(), &text_of(file)?)?;
    Ok(before::own_options(&registry.optimizers, &mut values))
}

fn text_of(path: &Path) -> Result<String, TrainError> {
    let bytes = fs::read(path).map_err(|e| TrainError::io("read", path, e))?;
    String::from_utf8(bytes).map_err(|e| {
        let before = String::from_utf8_lossy(&e.as_bytes()[..e.utf8_error().valid_up_to()]);
        TrainError::ConfigSyntax {
            file: path.display().to_string(),
            line: line_of(&before, before.len()),
            message: "not valid UTF-8".to_owned(),
        }
    })
}

/// Two ways to say how long a run is, and two to say what it reads; a configuration has one of each.
const ALTERNATIVES: [[&str; 2]; 2] = [
    ["train.steps", "train.tokens"],
    ["data.path", "data.sources"],
];

/// The key that names a function in place of the scheme's.
const FUNCTION: &str = "model.function.name";

pub(super) struct Loader<'r> {
    pub(super) registry: &'r Registry,
    pub(super) keys: Vec<Key>,
    pub(super) values: toml::Table,
    pub(super) origins: Origins,
    /// Keys that were set, in order.
    pub(super) set: Vec<String>,
    /// What a run has chosen and the registry doesn't know, with its options.
    pub(super) unknown: Vec<(Choice, toml::Table)>,
}

impl<'r> Loader<'r> {
    fn new(registry: &'r Registry) -> Self {
        Self {
            registry,
            keys: keys(registry),
            values: toml::Table::new(),
            origins: Origins::default(),
            set: Vec::new(),
            unknown: Vec::new(),
        }
    }

    /// Reads a file that somebody wrote.
    fn file(&mut self, label: &str, text: &str) -> Result<(), TrainError> {
        let (spans, values) = parsed(label, text)?;
        self.table(label, text, "", &spans, &values)
    }

    /// Reads a file that a run recorded: its scheme and its recipe may be unknown here, or have had other options.
    fn recorded(&mut self, run: &Path, label: &str, text: &str) -> Result<(), TrainError> {
        let (spans, mut values) = parsed(label, text)?;
        for choice in [SCHEME, RECIPE] {
            self.set_aside(choice, label, text, &spans, &mut values);
        }
        let meant = before::meaning(run, &mut values)?;
        before::own_options(&self.registry.optimizers, &mut values);
        self.table(label, text, "", &spans, &values)?;
        for (key, value) in meant {
            self.assign(&key, value, Origin::Default)?;
        }
        Ok(())
    }

    /// Applies overrides, and checks what has come together.
    fn resolve(mut self, overrides: &[(String, String)]) -> Result<Resolved, TrainError> {
        for (key, value) in overrides {
            self.set(key, value)?;
        }
        let resolved = self.finish()?;
        resolved
            .config
            .validate()
            .map_err(|e| e.locate(&resolved.origins))?;
        Ok(resolved)
    }

    fn table(
        &mut self,
        label: &str,
        text: &str,
        prefix: &str,
        spans: &DeTable<'_>,
        values: &toml::Table,
    ) -> Result<(), TrainError> {
        // Which function it is decides what its options are.
        let (first, others): (Vec<_>, Vec<_>) = spans
            .iter()
            .partition(|(name, _)| join(prefix, name.get_ref()) == FUNCTION);
        for (name, span) in first.into_iter().chain(others) {
            let path = join(prefix, name.get_ref());
            let origin = Origin::File {
                file: label.to_owned(),
                line: line_of(text, name.span().start),
            };
            let Some(value) = values.get(name.get_ref().as_ref()) else {
                continue;
            };
            match (span.get_ref(), value) {
                (DeValue::Table(inner), toml::Value::Table(values)) if self.is_group(&path) => {
                    self.table(label, text, &path, inner, values)?;
                }
                _ => self.assign(&path, value.clone(), origin)?,
            }
            if path == FUNCTION {
                self.check(&path)?;
            }
        }
        Ok(())
    }

    fn set(&mut self, key: &str, text: &str) -> Result<(), TrainError> {
        let meanings: Vec<&Key> = self.keys.iter().filter(|k| k.path == key).collect();
        let value = read::value(&meanings, text).map_err(|why| TrainError::Invalid {
            key: key.to_owned(),
            why,
            origin: Some(Origin::CommandLine),
        })?;
        let before = lookup(&self.values, key).cloned();
        self.assign(key, value, Origin::CommandLine)?;
        if lookup(&self.values, key) != before.as_ref() {
            self.supersede(key);
        }
        Ok(())
    }

    /// Forgets what the file said and an override made meaningless: the options of another scheme, the other budget, the
    /// other text.
    fn supersede(&mut self, key: &str) {
        let options = self
            .keys
            .iter()
            .filter(|k| k.only_with.iter().any(|tag| tag.path == key));
        let mut forgotten: Vec<String> = options.map(|k| k.path.clone()).collect();
        for ways in ALTERNATIVES.iter().filter(|ways| ways.contains(&key)) {
            let others = ways.iter().filter(|way| **way != key);
            forgotten.extend(others.map(ToString::to_string));
        }
        forgotten.retain(|path| matches!(self.origins.of(path), Origin::File { .. }));
        for path in forgotten {
            remove(&mut self.values, &path);
            self.origins.forget(&path);
            self.set.retain(|set| *set != path);
        }
    }

    /// Whether a path is a section or a table of keys.
    fn is_group(&self, path: &str) -> bool {
        let inside = |k: &Key| {
            k.path
                .strip_prefix(path)
                .is_some_and(|rest| rest.starts_with('.'))
        };
        self.keys.iter().any(inside)
    }

    fn assign(&mut self, path: &str, value: toml::Value, origin: Origin) -> Result<(), TrainError> {
        if !self.keys.iter().any(|k| k.path == path) {
            if self.is_group(path) {
                return Err(TrainError::WrongValue {
                    place: origin,
                    key: path.to_owned(),
                    expected: "table".to_owned(),
                    found: value.to_string(),
                    nearest: None,
                });
            }
            return Err(TrainError::UnknownKey {
                place: origin,
                nearest: self.nearest(path),
                key: path.to_owned(),
            });
        }
        insert(&mut self.values, path, value);
        self.origins.set(path.to_owned(), origin);
        self.set.push(path.to_owned());
        Ok(())
    }

    /// The valid key that looks most like `path`; the field counts for more than the section.
    fn nearest(&self, path: &str) -> Option<String> {
        let field = |p: &str| p.rsplit_once('.').map_or(p, |(_, f)| f).to_owned();
        let sections: Vec<String> = RunConfig::SECTIONS
            .iter()
            .map(ToString::to_string)
            .collect();
        let candidates = self.keys.iter().map(|k| &k.path).chain(sections.iter());
        candidates
            .map(|known| {
                let whole = strsim::jaro_winkler(known, path);
                let tail = strsim::jaro_winkler(&field(known), &field(path));
                (0.5 * (whole + tail), known)
            })
            .filter(|(score, _)| *score > 0.6)
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .map(|(_, known)| known.clone())
    }

    fn finish(mut self) -> Result<Resolved, TrainError> {
        self.forget_replaced()?;
        self.fill_tags();
        // Keys that always apply come first: a tag that isn't one would make every key beside it look wrong.
        let (tagged, plain): (Vec<_>, Vec<_>) = self.set.iter().partition(|path| {
            self.keys
                .iter()
                .any(|k| k.path == **path && !k.only_with.is_empty())
        });
        for path in plain.into_iter().chain(tagged) {
            self.check(path)?;
        }
        let (norm, optim) = (self.chosen(SCHEME), self.chosen(RECIPE));
        let refused = |message: String| TrainError::Config { message };
        let norm = self
            .registry
            .model
            .read(norm)
            .map_err(|e| refused(e.to_string()))?;
        let mut optim = self
            .registry
            .optimizers
            .read(optim)
            .map_err(|e| refused(e.to_string()))?;
        let place = |key: &str| self.origins.of(key).to_string();
        optim.recipe = optim.recipe.found_at(&place(&RECIPE.path()));
        for group in &mut optim.groups {
            group.recipe = group
                .recipe
                .take()
                .map(|recipe| recipe.found_at(&place("optim.groups")));
        }
        let mut sections = RunConfig::deserialize(toml::Value::Table(self.values))
            .map_err(|e| refused(e.to_string().trim().replace('\n', " ")))?;
        self.registry
            .model
            .kinds()
            .resolve_config(&mut sections.model)?;
        Ok(Resolved {
            config: RunConfig {
                norm,
                optim,
                ..sections
            },
            origins: self.origins,
        })
    }

    /// Checks the value of a key that exists, against its meaning under the tags that were chosen.
    fn check(&self, path: &str) -> Result<(), TrainError> {
        let Some(value) = lookup(&self.values, path) else {
            return Ok(());
        };
        let place = self.origins.of(path);
        let mut meanings = self.keys.iter().filter(|k| k.path == path);
        match meanings.clone().find(|k| k.applies(&self.values)) {
            Some(key) if key.accepts(value) => Ok(()),
            Some(key) => Err(TrainError::WrongValue {
                place,
                key: path.to_owned(),
                nearest: nearest_word(&key.choices, value),
                expected: key.expected(),
                found: value.to_string(),
            }),
            None => {
                let wanted: Vec<&str> = meanings
                    .clone()
                    .flat_map(|k| &k.only_with)
                    .flat_map(|tag| tag.values.iter().map(String::as_str))
                    .collect();
                let tag = meanings
                    .find_map(|k| k.only_with.first())
                    .map_or("", |t| t.path.as_str());
                let actual = lookup(&self.values, tag)
                    .map_or_else(|| "not set".to_owned(), ToString::to_string);
                Err(TrainError::WrongVariant {
                    place,
                    key: path.to_owned(),
                    why: format!(
                        "belongs to {tag} = {}, but {tag} is {actual} ({})",
                        wanted.join(" | "),
                        self.origins.of(tag)
                    ),
                })
            }
        }
    }

    /// A section whose options are given without its tag has the default one.
    fn fill_tags(&mut self) {
        let tags: Vec<String> = self
            .keys
            .iter()
            .flat_map(|k| k.only_with.iter().map(|t| t.path.clone()))
            .collect();
        for tag in tags {
            let Some((parent, _)) = tag.rsplit_once('.') else {
                continue;
            };
            let default = self
                .keys
                .iter()
                .find(|k| k.path == tag)
                .and_then(|k| k.default.as_ref());
            let Some(default) = default.map(|d| d.trim_matches('"').to_owned()) else {
                continue;
            };
            if lookup(&self.values, parent).is_some() && lookup(&self.values, &tag).is_none() {
                insert(&mut self.values, &tag, toml::Value::String(default));
            }
        }
    }
}

/// A file as it stands and as the values in it.
fn parsed<'t>(label: &str, text: &'t str) -> Result<(DeTable<'t>, toml::Table), TrainError> {
    let syntax = |e: toml::de::Error| TrainError::ConfigSyntax {
        file: label.to_owned(),
        line: e.span().map_or(1, |span| line_of(text, span.start)),
        message: e.message().to_owned(),
    };
    let spans = DeTable::parse(text).map_err(syntax)?;
    let values = toml::from_str(text).map_err(syntax)?;
    Ok((spans.into_inner(), values))
}

/// The word that looks most like one that is none of the choices.
fn nearest_word(choices: &[String], value: &toml::Value) -> Option<Box<str>> {
    let given = value.as_str()?;
    choices
        .iter()
        .map(|word| (strsim::jaro_winkler(word, given), word))
        .filter(|(score, _)| *score > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, word)| word.as_str().into())
}

pub(super) fn join(prefix: &str, name: &str) -> String {
    if prefix.is_empty() {
        name.to_owned()
    } else {
        format!("{prefix}.{name}")
    }
}

fn remove(table: &mut toml::Table, path: &str) {
    match path.split_once('.') {
        Some((section, rest)) => {
            if let Some(toml::Value::Table(inner)) = table.get_mut(section) {
                remove(inner, rest);
            }
        }
        None => {
            table.remove(path);
        }
    }
}

fn insert(table: &mut toml::Table, path: &str, value: toml::Value) {
    match path.split_once('.') {
        None => {
            table.insert(path.to_owned(), value);
        }
        Some((head, rest)) => {
            let inner = table
                .entry(head)
                .or_insert_with(|| toml::Value::Table(toml::Table::new()));
            if let toml::Value::Table(inner) = inner {
                insert(inner, rest, value);
            }
        }
    }
}

/// Line of a byte offset, counted from 1.
pub(super) fn line_of(text: &str, offset: usize) -> usize {
    let before = text.get(..offset).unwrap_or(text);
    before.matches('\n').count() + 1
}
