//! `evenburn eval --tasks list`.

use crate::output::say;
use anyhow::Result;
use evenburn_eval::TaskRegistry;

/// Prints the tasks and groups that are known by name.
pub(super) fn run() -> Result<()> {
    for listed in TaskRegistry::built_in()?.list() {
        let names = std::iter::once(&listed.name).chain(&listed.aliases);
        let names: Vec<&str> = names.map(String::as_str).collect();
        let mut about = vec![listed.kind.replace('_', " ")];
        if listed.tasks > 1 {
            about.push(format!("group of {} tasks", listed.tasks));
        }
        about.push(listed.license.unwrap_or_else(|| "licence unknown".into()));
        say!("{}", names.join(", "))?;
        say!("    {}", listed.description)?;
        say!("    {}", about.join(" · "))?;
    }
    say!("")?;
    say!("A file of a task ends in .toml: --tasks hellaswag,my.toml")?;
    Ok(())
}
