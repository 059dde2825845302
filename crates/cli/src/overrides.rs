//! Configuration keys on the command line: `--section.field VALUE`.

use crate::failure::WrongInput;
use anyhow::Result;
use std::collections::BTreeSet;
use std::ffi::OsString;

/// Configuration overrides, in the order in which they were given.
pub(crate) type Overrides = Vec<(String, String)>;

/// The options of a command and of its subcommands that are followed by a value, as `--name`.
pub(crate) fn options_with_values(command: &clap::Command) -> BTreeSet<String> {
    let own = command
        .get_arguments()
        .filter(|option| option.get_action().takes_values())
        .filter_map(|option| Some(format!("--{}", option.get_long()?)));
    let deeper = command.get_subcommands().flat_map(options_with_values);
    own.chain(deeper).collect()
}

/// An option that is followed by a value in one command and by none in another, as `--name`: of such a line nobody could
/// tell where the keys are.
pub(crate) fn ambiguous(command: &clap::Command) -> Option<String> {
    fn flags(command: &clap::Command) -> Vec<String> {
        let own = command
            .get_arguments()
            .filter(|option| !option.get_action().takes_values())
            .filter_map(|option| Some(format!("--{}", option.get_long()?)));
        let deeper = command.get_subcommands().flat_map(flags);
        own.chain(deeper).collect()
    }
    let valued = options_with_values(command);
    flags(command)
        .into_iter()
        .find(|flag| valued.contains(flag))
}

/// Takes the arguments of the form `--section.field VALUE` or `--section.field=VALUE` out of a command line.
///
/// They are known by their dot, which no other option has. The value of one of the `options` is left alone, whatever it
/// looks like, and so is what follows `--`.
pub(crate) fn split(
    arguments: impl IntoIterator<Item = OsString>,
    options: &BTreeSet<String>,
) -> Result<(Vec<OsString>, Overrides)> {
    let (mut rest, mut overrides) = (Vec::new(), Vec::new());
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        if argument == "--" {
            rest.push(argument);
            rest.extend(arguments);
            break;
        }
        // Enough to know a key by: where bytes are replaced, they are in the value, or it is none.
        let text = argument.to_string_lossy().into_owned();
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text.as_str(), None),
        };
        let Some(key) = name.strip_prefix("--").filter(|key| key.contains('.')) else {
            let has_value = value.is_none() && options.contains(name);
            rest.push(argument);
            rest.extend(arguments.by_ref().take(usize::from(has_value)));
            continue;
        };
        let value = match value {
            Some(value) if argument.to_str().is_some() => Ok(value.to_owned()),
            Some(_) => Err(argument),
            None => match arguments.next() {
                Some(value) => value.into_string(),
                None => return Err(wrong(format!("--{key} needs a value: --{key} VALUE"))),
            },
        };
        let value = value.map_err(|bytes| {
            wrong(format!(
                "--{key}: {} is not valid UTF-8, and a configuration is",
                bytes.display()
            ))
        })?;
        overrides.push((key.to_owned(), value));
    }
    Ok((rest, overrides))
}

fn wrong(why: String) -> anyhow::Error {
    anyhow::Error::new(WrongInput(why))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Arguments;
    use clap::CommandFactory;

    fn split_words(words: &[&str]) -> Option<(Vec<OsString>, Overrides)> {
        let options = options_with_values(&Arguments::command());
        split(words.iter().map(OsString::from), &options).ok()
    }

    fn split_line(line: &str) -> Option<(Vec<OsString>, Overrides)> {
        split_words(&line.split(' ').collect::<Vec<_>>())
    }

    #[test]
    fn keys_are_taken_out_in_order() {
        let (rest, overrides) = split_line(
            "evenburn train --train.steps 3 --config a.toml --optim.lr=1e-3 --data.path -x",
        )
        .unwrap();
        assert_eq!(rest, ["evenburn", "train", "--config", "a.toml"]);
        let expected = [
            ("train.steps", "3"),
            ("optim.lr", "1e-3"),
            ("data.path", "-x"),
        ];
        assert_eq!(
            overrides,
            expected.map(|(k, v)| (k.to_owned(), v.to_owned()))
        );
    }

    #[test]
    fn values_are_left_as_they_are() {
        for value in [
            "-- text. More",
            "--",
            "--a.b",
            "--train.steps",
            "--a.b=c",
            "=",
        ] {
            let (rest, overrides) =
                split_words(&["evenburn", "--prompt", value, "--a.b", value]).unwrap();
            assert_eq!(rest, ["evenburn", "--prompt", value]);
            assert_eq!(overrides, [("a.b".to_owned(), value.to_owned())]);
            let joined = format!("--a.b={value}");
            let (_, overrides) = split_words(&["evenburn", &joined]).unwrap();
            assert_eq!(overrides, [("a.b".to_owned(), value.to_owned())]);
        }
        let (rest, overrides) = split_line("evenburn eval --json --a.b c").unwrap();
        assert_eq!((rest.len(), overrides.len()), (3, 1));
    }

    #[test]
    fn an_option_has_a_value_in_every_command_or_in_none() {
        let command = Arguments::command();
        let valued = options_with_values(&command);
        assert!(valued.contains("--prompt"));
        assert_eq!(ambiguous(&command), None);
    }

    #[test]
    fn values_after_the_double_dash_stay() {
        let (rest, overrides) = split_line("evenburn sample RUN -- --a.b c").unwrap();
        assert_eq!(rest.len(), 6);
        assert!(overrides.is_empty());
    }

    #[test]
    fn a_key_without_a_value_is_an_error() {
        assert!(split_line("evenburn train --train.steps").is_none());
    }
}
