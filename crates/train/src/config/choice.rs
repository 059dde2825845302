//! What a configuration chooses from a registry, and a run's choice that the registry doesn't know.

use toml::de::DeTable;

use super::Origin;
use super::keys::lookup;
use super::load::{Loader, join, line_of};
use crate::Registry;
use crate::error::TrainError;

/// A section that a registry reads, by a key in it that names what is chosen.
#[derive(Debug, Clone, Copy)]
pub(super) struct Choice {
    pub(super) section: &'static str,
    /// The key that names it.
    pub(super) name: &'static str,
    /// What it is.
    pub(super) what: &'static str,
    /// Whether a registry has it.
    knows: fn(&Registry, &str) -> bool,
}

pub(super) const SCHEME: Choice = Choice {
    section: "norm",
    name: "scheme",
    what: "scheme",
    knows: |registry, name| registry.model.about(name).is_some(),
};
pub(super) const RECIPE: Choice = Choice {
    section: "optim",
    name: "recipe",
    what: "recipe",
    knows: |registry, name| registry.optimizers.about(name).is_some(),
};

impl Choice {
    pub(super) fn path(self) -> String {
        join(self.section, self.name)
    }
}

impl Loader<'_> {
    /// Takes a choice that the registry doesn't know out of a section, with everything that only it can have.
    pub(super) fn set_aside(
        &mut self,
        choice: Choice,
        label: &str,
        text: &str,
        spans: &DeTable<'_>,
        values: &mut toml::Table,
    ) {
        let path = choice.path();
        let name = lookup(values, &path).and_then(toml::Value::as_str);
        if name.is_none_or(|name| (choice.knows)(self.registry, name)) {
            return;
        }
        let Some(toml::Value::Table(mut section)) = values.remove(choice.section) else {
            return;
        };
        let lines = spans
            .get(choice.section)
            .and_then(|s| s.get_ref().as_table());
        for name in lines.into_iter().flat_map(DeTable::keys) {
            let origin = Origin::File {
                file: label.to_owned(),
                line: line_of(text, name.span().start),
            };
            self.origins
                .set(join(choice.section, name.get_ref()), origin);
        }
        let mut kept = toml::Table::new();
        for key in self.keys.iter().filter(|key| key.only_with.is_empty()) {
            let name = key.path.strip_prefix(choice.section);
            if let Some(name) = name.and_then(|name| name.strip_prefix('.'))
                && name != choice.name
                && let Some((name, value)) = section.remove_entry(name)
            {
                kept.insert(name, value);
            }
        }
        if !kept.is_empty() {
            values.insert(choice.section.to_owned(), toml::Value::Table(kept));
        }
        self.unknown.push((choice, section));
    }

    /// Another choice in the place of an unknown one takes its options along; without one, nothing can be said of them.
    pub(super) fn forget_replaced(&mut self) -> Result<(), TrainError> {
        for (choice, options) in std::mem::take(&mut self.unknown) {
            if lookup(&self.values, &choice.path()).is_some() {
                for name in options.keys() {
                    let path = join(choice.section, name);
                    if !self.set.contains(&path) {
                        self.origins.forget(&path);
                    }
                }
                continue;
            }
            let of_another = |path: &&String| {
                let mut keys = self.keys.iter();
                let tagged = keys.any(|key| key.path == **path && !key.only_with.is_empty());
                tagged && path.starts_with(choice.section)
            };
            if let Some(key) = self.set.iter().find(of_another) {
                let name = options.get(choice.name).map(ToString::to_string);
                let why = format!(
                    "the {} of the run is {}, which this program doesn't know",
                    choice.what,
                    name.unwrap_or_default()
                );
                return Err(TrainError::invalid(key, why).locate(&self.origins));
            }
            self.unknown.push((choice, options));
        }
        Ok(())
    }

    /// A section that a registry is to read, with a choice that it doesn't know.
    pub(super) fn chosen(&mut self, choice: Choice) -> toml::Table {
        let mut section = match self.values.remove(choice.section) {
            Some(toml::Value::Table(section)) => section,
            _ => toml::Table::new(),
        };
        let unknown = std::mem::take(&mut self.unknown);
        let (mine, others): (Vec<_>, Vec<_>) = unknown
            .into_iter()
            .partition(|(other, _)| other.section == choice.section);
        self.unknown = others;
        section.extend(mine.into_iter().flat_map(|(_, options)| options));
        section
    }
}
