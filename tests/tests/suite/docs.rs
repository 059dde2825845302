//! Generated pages are what the program would write now. `UPDATE_DOCS=1` writes them.

use evenburn_docs as docs;

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
