//! Configuration keys on the command line: `--section.field VALUE`.

use crate::failure::{Failure, WrongInput};

/// Configuration overrides, in the order in which they were given.
pub(crate) type Overrides = Vec<(String, String)>;

/// Takes the arguments of the form `--section.field VALUE` or `--section.field=VALUE` out of a command line.
///
/// They are known by their dot, which no other option has; what follows `--` is left alone.
pub(crate) fn split(
    arguments: impl IntoIterator<Item = String>,
) -> Result<(Vec<String>, Overrides), Failure> {
    let (mut rest, mut overrides) = (Vec::new(), Vec::new());
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        if argument == "--" {
            rest.push(argument);
            rest.extend(arguments);
            break;
        }
        let (name, value) = match argument.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (argument.as_str(), None),
        };
        let Some(key) = name.strip_prefix("--").filter(|key| key.contains('.')) else {
            rest.push(argument);
            continue;
        };
        let Some(value) = value.or_else(|| arguments.next()) else {
            let why = format!("--{key} needs a value: --{key} VALUE");
            return Err(anyhow::Error::new(WrongInput(why)).into());
        };
        overrides.push((key.to_owned(), value));
    }
    Ok((rest, overrides))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split_line(line: &str) -> Option<(Vec<String>, Overrides)> {
        split(line.split(' ').map(str::to_owned)).ok()
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
