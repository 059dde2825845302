//! Generated pages are what the program would write now. `UPDATE_DOCS=1` writes them.

use evenburn_tests::docs;

#[test]
fn generated_pages_are_current() {
    for page in docs::pages().unwrap() {
        let path = docs::path(&page);
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(&path, &page.text).unwrap();
        }
        let found = std::fs::read_to_string(&path)
            .unwrap_or_default()
            .replace("\r\n", "\n");
        assert!(
            found == page.text,
            "docs/{} is stale: run UPDATE_DOCS=1 cargo test -p evenburn-tests --test docs",
            page.file
        );
    }
}

#[test]
fn every_scheme_has_a_preset_that_resolves() {
    let configs = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs");
    for scheme in evenburn_model::Scheme::NAMES {
        let file = configs.join(format!("{scheme}.toml"));
        let config = evenburn_train::config::RunConfig::load(Some(&file), &[])
            .unwrap()
            .config;
        assert_eq!(config.norm.name(), *scheme);
        evenburn_model::Plan::new(&config.model, config.norm.strategy()).unwrap();
    }
}

#[test]
fn every_preset_makes_a_plan() {
    let configs = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs");
    let mut presets = 0;
    for entry in std::fs::read_dir(configs).unwrap() {
        let path = entry.unwrap().path();
        let is_list = path.file_name().is_some_and(|name| name == "corpus.toml");
        if path.extension().is_none_or(|e| e != "toml") || is_list {
            continue;
        }
        let config = evenburn_train::config::RunConfig::load(Some(&path), &[])
            .unwrap()
            .config;
        evenburn_model::Plan::new(&config.model, config.norm.strategy()).unwrap();
        presets += 1;
    }
    assert!(presets > evenburn_model::Scheme::NAMES.len());
}
