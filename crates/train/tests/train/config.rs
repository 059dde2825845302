//! What a user can get wrong in a configuration, and what they are told.

use evenburn_train::Registry;
use evenburn_train::TrainError;
use evenburn_train::config::{Origin, RunConfig, keys};

fn load(
    text: &str,
    overrides: &[(&str, &str)],
) -> Result<evenburn_train::config::Resolved, TrainError> {
    let overrides: Vec<_> = overrides
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect();
    RunConfig::from_toml(&Registry::default(), "run.toml", text, &overrides)
}

/// A configuration that is complete.
const GOOD: &str = "[run]\nname = \"tiny\"\n\n[model]\ndim = 32\n\n[train]\nsteps = 40\n";

#[test]
fn values_know_where_they_came_from() {
    let resolved = load(GOOD, &[("train.seed", "7"), ("model.dim", "64")]).unwrap();
    assert_eq!(
        (resolved.config.model.dim, resolved.config.train.seed),
        (64, 7)
    );
    let line = |line| Origin::File {
        file: "run.toml".into(),
        line,
    };
    assert_eq!(resolved.origins.of("run.name"), line(2));
    assert_eq!(resolved.origins.of("train.steps"), line(8));
    assert_eq!(resolved.origins.of("model.dim"), Origin::CommandLine);
    assert_eq!(resolved.origins.of("train.keep"), Origin::Default);
}

#[test]
fn each_mistake_has_its_place_and_a_way_out() {
    /// File, overrides, parts of the message.
    type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a [&'a str]);
    let cases: [Case<'_>; 15] = [
        (
            "[train]\nsteps = 1\n[metrics]\npeak_tflops = 0.0",
            &[],
            &["run.toml:4", "metrics.peak_tflops", "above 0"],
        ),
        (
            "[train]\nsteps = 1\nbatchsize = 2",
            &[],
            &["run.toml:3", "train.batchsize", "train.batch_size"],
        ),
        ("[trian]\nsteps = 1", &[], &["run.toml:1", "trian", "train"]),
        (
            "[train]\nsteps = 1\n[model]\nlayers = \"four\"",
            &[],
            &["run.toml:4", "model.layers", "integer", "four"],
        ),
        (
            "[train]\nsteps = -3",
            &[],
            &["run.toml:2", "train.steps", "at least"],
        ),
        ("[train]\nsteps = 0", &[], &["train.steps", "at least 1"]),
        (
            "[train]\nsteps = 1\ndevice = \"gpu\"",
            &[],
            &["run.toml:3", "train.device", "\"flex\"", "\"cuda\""],
        ),
        ("train = 3", &[], &["run.toml:1", "train", "table"]),
        ("[train\nsteps = 1", &[], &["run.toml:1"]),
        ("[train]\nsteps = 1\nsteps = 2", &[], &["run.toml:3"]),
        (
            GOOD,
            &[("train.step", "3")],
            &["command line", "train.step", "train.steps"],
        ),
        (
            GOOD,
            &[("model.dim", "wide")],
            &["command line", "model.dim", "integer", "wide"],
        ),
        (
            GOOD,
            &[("train.tokens", "100"), ("train.steps", "3")],
            &["train.steps = 3", "train.tokens = 100"],
        ),
        (
            "[train]\nsteps = 1\n[optim]\nbeta1 = 2.0",
            &[],
            &["run.toml:4", "optim.beta1"],
        ),
        (
            "[train]\nsteps = 1\nbatch_size = 0",
            &[],
            &["run.toml:3", "train.batch_size", "at least 1"],
        ),
    ];
    for (text, overrides, parts) in cases {
        let error = load(text, overrides).unwrap_err();
        let message = error.to_string();
        for part in parts {
            assert!(
                message.contains(part),
                "{text:?}: {message:?} lacks {part:?}"
            );
        }
        assert!(error.is_wrong_input(), "{message}");
    }
}

#[test]
fn a_tagged_section_takes_the_keys_of_its_variant_alone() {
    let all = keys(&Registry::default());
    let scheme = all.iter().find(|key| key.path == "norm.scheme").unwrap();
    let names: Vec<&str> = Registry::default().model.names().collect();
    assert_eq!(scheme.choices, names);
    let message = load(
        GOOD,
        &[("norm.alpha_init", "0.1"), ("norm.scheme", "pre_norm")],
    )
    .unwrap_err()
    .to_string();
    for part in [
        "command line",
        "norm.alpha_init",
        "ngpt | angpt",
        "pre_norm",
    ] {
        assert!(message.contains(part), "{message}");
    }
    load(GOOD, &[("norm.alpha_init", "0.1"), ("norm.scheme", "ngpt")]).unwrap();
}

#[test]
fn a_key_takes_the_values_it_has_in_the_chosen_variant() {
    let file = format!("{GOOD}[norm]\nqk = \"full\"\nscheme = \"pre_norm\"\n");
    load(&file, &[]).unwrap();
    let file = file.replace("\"pre_norm\"", "\"ngpt\"");
    let message = load(&file, &[]).unwrap_err().to_string();
    for part in ["run.toml:10", "norm.qk", "\"unit\" | \"none\"", "full"] {
        assert!(message.contains(part), "{message}");
    }
    // Options without a scheme are those of the default one.
    let alone = load(&format!("{GOOD}[norm]\nalpha_init = 0.1\n"), &[]).unwrap();
    assert_eq!(alone.config.norm.name(), RunConfig::default().norm.name());
    let message = load(GOOD, &[("norm.scheme", "pre-norm")])
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("\"pre_norm\"") && message.contains("norm.scheme"),
        "{message}"
    );
}

#[test]
fn every_scheme_loads_by_its_name() {
    for name in Registry::default().model.names() {
        let resolved = load(GOOD, &[("norm.scheme", name)]).unwrap();
        assert_eq!(resolved.config.norm.name(), name);
    }
}

#[test]
fn every_key_has_a_meaning_and_a_type() {
    for key in keys(&Registry::default()) {
        assert!(!key.meaning.is_empty(), "{}", key.path);
        assert!(!key.expected().is_empty(), "{}", key.path);
        assert!(key.path.contains('.'), "{}", key.path);
    }
}

#[test]
fn every_default_is_a_value_its_key_takes() {
    for key in keys(&Registry::default()) {
        let Some(default) = key.default else { continue };
        let mut overrides: Vec<(&str, &str)> = key
            .only_with
            .iter()
            .map(|tag| (tag.path.as_str(), tag.values[0].as_str()))
            .collect();
        // Text stands on a command line as it is.
        overrides.push((&key.path, default.trim_matches('"')));
        load(GOOD, &overrides).unwrap_or_else(|e| panic!("{} = {default}: {e}", key.path));
    }
}

/// Text that some reader between a shell and a file takes for something else.
const TEXTS: [&str; 24] = [
    "2024",
    "1e5",
    "true",
    "nan",
    "\"Quoted\" # and the rest",
    "'single'",
    "\"Hello,\" she said",
    "\"\"\"three\"\"\"",
    "'''three'''",
    " spaces around ",
    "--train.steps",
    "--",
    "a = 1",
    "{ a = 1 }",
    "two\nlines\n",
    "\nthree\r\nlines\r",
    "tab\tand bell\u{7}",
    "back\\slash \\n \\",
    "1979-05-27",
    "\u{feff}marked",
    "snow \u{2603}, \u{1f525}, e\u{301}",
    "nul \u{0} and \u{7f}",
    "# comment",
    "$HOME `ls` %PATH%",
];

/// What begins like a list.
const BRACKETED: [&str; 3] = ["[x]", "[ab]*.jsonl", "[\"a\"]"];

#[test]
fn text_is_taken_as_it_is() {
    let keys = [
        "train.prompt",
        "run.name",
        "run.dir",
        "data.eod_token",
        "data.text_field",
        "data.tokenizer",
        "data.cache",
        "data.path",
        "data.validation_path",
    ];
    let all = || TEXTS.iter().chain(&BRACKETED);
    for key in keys {
        let takes_list = key.ends_with("path");
        let value_of = |given: &str| {
            let resolved = load(GOOD, &[(key, given)]).unwrap();
            let written = resolved.config.to_toml().unwrap();
            assert_eq!(load(&written, &[]).unwrap().config, resolved.config);
            resolved.config.flatten().unwrap()[key].clone()
        };
        for text in all().filter(|text| !(takes_list && text.starts_with('['))) {
            let value = value_of(text);
            assert_eq!(value.as_str(), Some(*text), "{key}");
            // What `config print` shows is TOML too.
            let shown: toml::Table = toml::from_str(&format!("v = {value} # shown")).unwrap();
            assert_eq!(shown["v"].as_str(), Some(*text), "{key}");
        }
        for text in all().filter(|_| takes_list) {
            let list = toml::Value::Array(vec![(*text).into()]).to_string();
            assert_eq!(value_of(&list).as_str(), Some(*text), "{key}");
        }
    }
}

#[test]
fn lists_numbers_and_words_are_read_as_what_they_are() {
    let good = [
        ("data.path", "[\"a\", 'b/*.txt']"),
        ("data.validation_path", "[ 'a' ]"),
        (
            "optim.groups",
            "[{ name = 'slow', role = 'embedding', lr_factor = 0.1 }]",
        ),
        ("train.steps", "1_000"),
        ("train.reset_optimizer", "true"),
        ("optim.lr", "1e-3"),
        ("optim.lr", "1"),
        ("norm.scheme", "angpt"),
    ];
    for (key, text) in good {
        load(GOOD, &[(key, text)]).unwrap_or_else(|e| panic!("{key} {text}: {e}"));
    }
    let bad = [
        ("data.path", "[ab]*.jsonl", "no TOML list"),
        ("data.path", "[\"a\"", "no TOML list"),
        ("data.path", "[1, 2]", "array of strings"),
        ("data.validation_path", "[[\"a\"]]", "array of strings"),
        ("optim.groups", "all", "array of tables"),
        ("optim.groups", "[1]", "array of tables"),
        ("train.steps", "\"5\"", "integer"),
        ("train.steps", "5 # five", "integer"),
        ("train.steps", "1e5", "integer"),
        ("train.steps", "99999999999999999999", "integer"),
        ("train.steps", "", "integer"),
        ("optim.lr", "fast", "number"),
        ("train.reset_optimizer", "yes", "boolean"),
        ("train.reset_optimizer", "1", "boolean"),
        ("norm.scheme", "'anGPT'", "\"angpt\""),
    ];
    for (key, text, part) in bad {
        let error = load(GOOD, &[(key, text)]).unwrap_err();
        let message = error.to_string();
        for part in ["command line", key, part] {
            assert!(message.contains(part), "{key} {text}: {message}");
        }
        assert!(error.is_wrong_input(), "{message}");
    }
}

#[test]
fn the_resolved_configuration_reads_back_as_itself() {
    let resolved = load(
        GOOD,
        &[
            ("norm.scheme", "angpt"),
            ("data.path", "[\"a.txt\", \"b.txt\"]"),
        ],
    )
    .unwrap();
    let again = load(&resolved.config.to_toml().unwrap(), &[]).unwrap();
    assert_eq!(again.config, resolved.config);
}

#[test]
fn an_override_makes_the_file_s_rival_values_void() {
    let text = "[norm]\nscheme = \"angpt\"\nsz_init = 3.0\n\n[train]\nsteps = 7\n";
    let set = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let load = |overrides: &[(String, String)]| {
        RunConfig::from_toml(&Registry::default(), "x.toml", text, overrides)
    };

    let resolved = load(&[set("train.tokens", "4096"), set("norm.scheme", "pre_norm")]).unwrap();
    assert_eq!(resolved.config.train.steps, None);
    assert_eq!(resolved.config.norm.name(), "pre_norm");
    assert_eq!(resolved.origins.of("norm.sz_init"), Origin::Default);

    // The same scheme again changes nothing.
    let same = load(&[set("norm.scheme", "angpt")]).unwrap().config.norm;
    assert_eq!(same, load(&[]).unwrap().config.norm);

    // What the command line says itself is never void.
    let error = load(&[set("norm.sz_init", "2.0"), set("norm.scheme", "pre_norm")]).unwrap_err();
    assert!(error.to_string().contains("norm.sz_init"), "{error}");
    let error = load(&[set("train.tokens", "4096"), set("train.steps", "3")]).unwrap_err();
    assert!(error.to_string().contains("two budgets"), "{error}");
}

/// The smallest value that a key names is one that works, and the next smaller one is refused with that bound.
#[test]
fn every_lower_bound_is_the_real_one() {
    let mut tried = 0;
    for key in keys(&Registry::default())
        .into_iter()
        .filter(|key| key.only_with.is_empty())
    {
        let Some(minimum) = key.minimum else { continue };
        tried += 1;
        let set = |value: f64| {
            let overrides = [
                (key.path.as_str(), value.to_string()),
                ("data.path", "text.txt".to_owned()),
            ];
            let overrides = overrides.map(|(key, value)| (key.to_owned(), value));
            let config =
                RunConfig::from_toml(&Registry::default(), "run.toml", "", &overrides)?.config;
            config.data.validate()?;
            config.norm.plan(&config.model)?;
            Ok::<_, TrainError>(())
        };
        // Sizes may still not fit one another.
        if let Err(error) = set(minimum) {
            let message = error.to_string();
            assert!(
                !message.contains("at least"),
                "{} = {minimum}: {message}",
                key.path
            );
        }
        let message = set(minimum - 1.0).unwrap_err().to_string();
        let bound = format!("at least {minimum}");
        assert!(
            message.contains(&key.path) && message.contains(&bound),
            "{message}"
        );
    }
    assert!(tried > 20, "{tried}");
}

#[test]
fn counts_of_which_one_is_needed_say_so() {
    for (path, minimum) in [
        ("train.batch_size", 1.0),
        ("train.accumulate", 1.0),
        ("train.keep", 1.0),
        ("model.vocab_size", 1.0),
        ("model.layers", 1.0),
        ("model.kv_heads", 1.0),
        ("model.context", 1.0),
        ("model.experts.top_k", 1.0),
        ("data.tokenizer_vocab", 257.0),
        ("train.checkpoint_every", 0.0),
    ] {
        let key = keys(&Registry::default())
            .into_iter()
            .find(|key| key.path == path)
            .unwrap();
        assert_eq!(key.minimum, Some(minimum), "{path}");
    }
}

#[test]
fn the_options_of_a_recipe_stand_beside_it_alone() {
    let scion = format!("{GOOD}[optim]\nrecipe = \"scion\"\nscion_radius = 5.0\nlr = 0.01\n");
    let resolved = load(&scion, &[]).unwrap();
    let options = resolved.config.optim.recipe.options();
    assert_eq!(options["scion_radius"].as_float(), Some(5.0));

    // Beside another recipe they are refused, with whose they are.
    let adamw = scion.replace("recipe = \"scion\"\n", "");
    for (text, overrides, parts) in [
        (
            &adamw,
            &[][..],
            ["run.toml:10", "optim.scion_radius", "scion", "adamw"],
        ),
        (
            &scion,
            &[("optim.lion_beta1", "0.8")][..],
            ["command line", "optim.lion_beta1", "lion", "scion"],
        ),
    ] {
        let message = load(text, overrides).unwrap_err().to_string();
        for part in parts {
            assert!(message.contains(part), "{message} lacks {part}");
        }
    }
    let message = load(GOOD, &[("optim.recipe", "adamv")])
        .unwrap_err()
        .to_string();
    assert!(message.contains("\"adamw\""), "{message}");

    // Another recipe on the command line takes their place, and what all recipes have stays.
    let muon = [("optim.recipe", "muon"), ("optim.momentum", "0.9")];
    let resolved = load(&scion, &muon).unwrap();
    let optim = &resolved.config.optim;
    assert_eq!(optim.recipe.name(), "muon");
    assert_eq!(optim.recipe.options()["momentum"].as_float(), Some(0.9));
    assert!((optim.lr - 0.01).abs() < 1e-15);
    assert_eq!(resolved.origins.of("optim.scion_radius"), Origin::Default);

    let groups = "[{ name = 'a', path = '*', recipe = 'muon', scion_radius = 5.0 }]";
    let message = load(GOOD, &[("optim.groups", groups)])
        .unwrap_err()
        .to_string();
    for part in ["optim.groups", "scion_radius", "`muon`"] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn every_recipe_loads_by_its_name() {
    for name in Registry::default().optimizers.names() {
        let resolved = load(GOOD, &[("optim.recipe", name)]).unwrap();
        assert_eq!(resolved.config.optim.recipe.name(), name);
        let again = load(&resolved.config.to_toml().unwrap(), &[]).unwrap();
        assert_eq!(again.config, resolved.config);
    }
}
