//! Generated pages are what the program would write now. `UPDATE_DOCS=1` writes them.

use evenburn_docs as docs;
use std::path::Path;

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
            "docs/{} is stale: run UPDATE_DOCS=1 cargo xtask test generated_pages",
            page.file
        );
    }
}

/// Lines such as ` examples/own_loop/src/main.rs | 87 +++` of CONTRIBUTING.md.
#[test]
fn the_sizes_of_the_examples_are_those_of_their_files() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let page = std::fs::read_to_string(root.join("CONTRIBUTING.md")).unwrap();
    let mut told = 0;
    let mut files = 0;
    for line in page.lines().map(str::trim) {
        if let Some((path, count)) = line.split_once('|')
            && path.starts_with("examples/")
        {
            let lines = std::fs::read_to_string(root.join(path.trim()))
                .unwrap()
                .lines()
                .count();
            let count: usize = count.split_whitespace().next().unwrap().parse().unwrap();
            assert_eq!(lines, count, "{path}");
            told += count;
            files += 1;
        } else if line.contains("files changed, ") {
            assert_eq!(line, format!("{files} files changed, {told} insertions(+)"));
            (told, files) = (0, 0);
        }
    }
    assert_eq!((told, files), (0, 0), "a sum is missing");
}
