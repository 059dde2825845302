//! Invariants of `docs/architecture.md` that a look at the sources can check: who names a backend, and who names a scheme.

use std::collections::BTreeMap;

/// How a device of a backend is opened, and the crates of the backends.
const BACKENDS: [&str; 13] = [
    "Device::flex(",
    "Device::cuda(",
    "Device::rocm(",
    "Device::vulkan(",
    "Device::metal(",
    "Device::wgpu(",
    "Device::webgpu(",
    "Device::cpu(",
    "burn_flex",
    "burn_cubecl",
    "burn_cuda",
    "burn_wgpu",
    "cubecl::",
];

/// Who names a backend: the fused operations of each, the device that a run asks for, and tests for whoever writes a scheme.
const NAME_BACKENDS: [&str; 4] = [
    "crates/conformance/",
    "crates/cube/",
    "crates/kernels/",
    "crates/train/src/device.rs",
];

/// Where each scheme has its file.
const SCHEMES: &str = "crates/model/src/strategy/";

/// Who names schemes: their own files, one of which may build on another, and their list; the classes of `transformers` that
/// are some of them; the configurations of before.
const NAME_SCHEMES: [&str; 3] = [
    SCHEMES,
    "crates/interchange/src/peer/",
    "crates/train/src/config/before.rs",
];

/// The faults of the libraries among `sources`, which are names and texts.
pub(crate) fn faults(sources: &[(String, String)]) -> Vec<String> {
    let libraries: Vec<(&str, &str)> = sources
        .iter()
        .map(|(name, text)| (name.as_str(), text.as_str()))
        .filter(|(name, _)| is_library(name))
        .collect();
    let schemes = schemes(&libraries);
    let mut faults = Vec::new();
    for (name, text) in libraries
        .iter()
        .filter(|(name, _)| name.starts_with(SCHEMES))
    {
        let implemented = code(text).filter(|(_, line)| line.contains("SchemeOptions for "));
        let found = schemes.values().filter(|scheme| scheme.file == *name);
        if implemented.count() != found.count() {
            faults.push(format!(
                "{name}: a scheme's name is the first line of its `impl SchemeOptions for`, where it is looked for here"
            ));
        }
    }
    for (name, text) in libraries {
        let within = |places: &[&str]| places.iter().any(|place| name.starts_with(place));
        for (number, line) in code(text) {
            let at = format!("{name}:{number}");
            if let Some(backend) = BACKENDS.iter().find(|word| line.contains(**word))
                && !within(&NAME_BACKENDS)
            {
                faults.push(format!("{at}: `{backend}` names a backend"));
            }
            let scheme = schemes.iter().find(|(_, scheme)| scheme.is_in(line));
            if let Some((scheme, _)) = scheme
                && !within(&NAME_SCHEMES)
            {
                faults.push(format!("{at}: names the scheme {scheme}"));
            }
        }
    }
    faults
}

/// Sources of a crate that are no tests.
fn is_library(name: &str) -> bool {
    let is_test = name.ends_with("/tests.rs") || name.contains("/tests/");
    let mut parts = name.split('/');
    parts.next() == Some("crates") && parts.nth(1) == Some("src") && !is_test
}

/// The lines of a source with their numbers, without comments and without the tests at its end.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut lines = text.lines().enumerate().peekable();
    std::iter::from_fn(move || {
        loop {
            let (i, line) = lines.next()?;
            let opens_tests =
                |(_, next): &(usize, &str)| next.starts_with("mod ") && next.ends_with('{');
            if line == "#[cfg(test)]" && lines.peek().is_some_and(opens_tests) {
                return None;
            }
            if !line.trim_start().starts_with("//") {
                return Some((i + 1, line));
            }
        }
    })
}

/// How a scheme is named in code.
struct Scheme<'a> {
    file: &'a str,
    /// Its type.
    of_type: &'a str,
    /// Its name as a literal.
    literal: String,
}

impl Scheme<'_> {
    fn is_in(&self, line: &str) -> bool {
        let is_part = |c: char| c.is_alphanumeric() || c == '_';
        line.contains(&self.literal) || line.split(|c| !is_part(c)).any(|word| word == self.of_type)
    }
}

/// The schemes by name.
fn schemes<'a>(sources: &[(&'a str, &'a str)]) -> BTreeMap<&'a str, Scheme<'a>> {
    let mut schemes = BTreeMap::new();
    for (file, text) in sources.iter().filter(|(name, _)| name.starts_with(SCHEMES)) {
        let mut lines = code(text).map(|(_, line)| line);
        while let Some(line) = lines.next() {
            let of_type = line
                .strip_prefix("impl SchemeOptions for ")
                .and_then(|rest| rest.strip_suffix(" {"));
            let name = of_type.and_then(|_| lines.next()?.split('"').nth(1));
            if let Some((of_type, name)) = of_type.zip(name) {
                let literal = format!("\"{name}\"");
                schemes.insert(
                    name,
                    Scheme {
                        file,
                        of_type,
                        literal,
                    },
                );
            }
        }
    }
    schemes
}

#[cfg(test)]
mod tests {
    use super::*;

    const FANCY: &str =
        "impl SchemeOptions for Fancy {\n    const NAME: &'static str = \"fancy\";\n}\n";

    fn faults_of(name: &str, text: &str) -> Vec<String> {
        let source = |name: &str, text: &str| (name.to_owned(), text.to_owned());
        faults(&[
            source("crates/model/src/strategy/fancy.rs", FANCY),
            source(name, text),
        ])
    }

    #[test]
    fn a_scheme_whose_name_is_not_found_is_told_of() {
        let hidden = "impl SchemeOptions for Hidden {\n    type Other = ();\n    const NAME: &'static str = \"hidden\";\n}\n";
        let faults = faults_of("crates/model/src/strategy/hidden.rs", hidden);
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert!(
            faults
                .iter()
                .all(|fault| fault.contains("strategy/hidden.rs"))
        );
    }

    #[test]
    fn a_backend_is_named_where_it_may_be() {
        let text = "/// let d = Device::flex();\nlet d = Device::cuda(0);\n";
        assert_eq!(
            faults_of("crates/model/src/a.rs", text),
            ["crates/model/src/a.rs:2: `Device::cuda(` names a backend"]
        );
        for place in [
            "crates/train/src/device.rs",
            "crates/kernels/src/flex/a.rs",
            "crates/model/src/a/tests.rs",
            "crates/model/tests/a.rs",
            "tests/tests/a.rs",
        ] {
            assert!(faults_of(place, text).is_empty(), "{place}");
        }
        let tested = format!("#[cfg(test)]\nmod tests {{\n    {text}}}\n");
        assert!(faults_of("crates/model/src/a.rs", &tested).is_empty());
    }

    #[test]
    fn a_scheme_is_named_where_it_may_be() {
        for text in ["if name == \"fancy\" {", "let scheme = Fancy::default();"] {
            assert_eq!(
                faults_of("crates/model/src/decoder.rs", text),
                ["crates/model/src/decoder.rs:1: names the scheme fancy"]
            );
            let list = faults_of("crates/model/src/strategy/registry.rs", text);
            assert!(list.is_empty());
        }
        assert!(faults_of("crates/model/src/decoder.rs", "Fancyful \"fancy_\"").is_empty());
    }
}
