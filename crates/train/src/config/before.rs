//! Configurations that runs recorded before their scheme, or optimizer recipes, had the options they have now.
//!
//! Every run's `[optim]` once had the options of all recipes, of which it used its own. Those of others are left out, as they did
//! nothing; in `optim.groups` a recipe had the run's options, which stand with the group today ([`own_options`]).
//!
//! A run of `angpt` whose plan records no options is from before anGPT's branches had norms. Read today, its configuration
//! would say another network than its plan; so its options are read as what they meant:
//!
//! | recorded | read as |
//! |---|---|
//! | nothing | `branch_norm = "none"`, `softmax_gain = "none"` |
//! | no `sz_scale` | `sz_scale = 1 / sqrt(dim)` |
//! | `qk_gain = "none"` | nothing |
//! | `qk_gain = "learned"` | refused: no option says it any more |

use std::path::Path;

use evenburn_optim::{OptimizerRegistry, Recipe};
use toml::{Table, Value};

use crate::error::TrainError;
use crate::run_dir;

/// Takes out of a recorded configuration what it can't say any more; returns the keys that say the same today, those that it
/// has itself left out.
///
/// # Errors
/// [`TrainError::Invalid`] where nothing says the same.
pub(super) fn meaning(run: &Path, values: &mut Table) -> Result<Vec<(String, Value)>, TrainError> {
    let dim = section(values, "model").and_then(|model| model.get("dim")?.as_integer());
    let Some(Value::Table(norm)) = values.get_mut("norm") else {
        return Ok(Vec::new());
    };
    let is_angpt = norm.get("scheme").and_then(Value::as_str) == Some("angpt");
    if !is_angpt || !run_dir::plan_of(run).is_ok_and(|plan| lacks_options(&plan)) {
        return Ok(Vec::new());
    }
    translate(norm, dim)
}

fn section<'t>(values: &'t Table, name: &str) -> Option<&'t Table> {
    values.get(name).and_then(Value::as_table)
}

fn lacks_options(plan: &str) -> bool {
    let plan: Result<Table, _> = toml::from_str(plan);
    plan.is_ok_and(|plan| !plan.contains_key("options"))
}

fn translate(norm: &mut Table, dim: Option<i64>) -> Result<Vec<(String, Value)>, TrainError> {
    if let Some(Value::String(gain)) = norm.remove("qk_gain")
        && gain != "none"
    {
        let why = format!(
            "`{gain}` was a scale of unit heads that anGPT doesn't have any more: a program from before reads this run"
        );
        return Err(TrainError::invalid("norm.qk_gain", why));
    }
    let none = || Value::String("none".to_owned());
    let mut meant = vec![("branch_norm", none()), ("softmax_gain", none())];
    if let Some(dim) = dim {
        let scale = (dim as f64).sqrt().recip();
        meant.push(("sz_scale", Value::Float(scale)));
    }
    meant.retain(|(option, _)| !norm.contains_key(*option));
    let keys = meant.into_iter();
    Ok(keys
        .map(|(option, value)| (format!("norm.{option}"), value))
        .collect())
}

/// Options that stood in `[optim]` whatever the recipe.
const OF_ALL_RECIPES: [&str; 11] = [
    "matrix_lr",
    "lion_beta1",
    "lion_beta2",
    "momentum",
    "lookahead",
    "orthogonal_steps",
    "scaling",
    "heads",
    "scion_radius",
    "scion_sign_radius",
    "scion_form",
];

/// Takes the options of other recipes out of a recorded `[optim]`, and puts those that a group's recipe had from there, and that
/// said something else than it does without, into the group. Returns whether one of them wasn't at its default.
pub(super) fn own_options(registry: &OptimizerRegistry, values: &mut Table) -> bool {
    let Some(Value::Table(optim)) = values.get_mut("optim") else {
        return false;
    };
    let options_of = |name: Option<&str>| match name {
        None => Some(Recipe::default()),
        Some(name) => registry.recipe(name).ok(),
    };
    let own = optim
        .get("recipe")
        .and_then(Value::as_str)
        .map(str::to_owned);
    let Some(recipe) = options_of(own.as_deref()) else {
        return false;
    };
    let foreign: Table = OF_ALL_RECIPES
        .into_iter()
        .filter(|option| !registry.has_option(recipe.name(), option))
        .filter_map(|option| optim.remove_entry(option))
        .collect();
    let is_default = |(option, value): (&String, &Value)| {
        let mut recipes = registry.recipes();
        recipes.any(|recipe| recipe.defaults().get(option) == Some(value))
    };
    let said_something = !foreign.iter().all(is_default);
    let groups = optim.get_mut("groups").and_then(Value::as_array_mut);
    for group in groups.into_iter().flatten().filter_map(Value::as_table_mut) {
        let name = group.get("recipe").and_then(Value::as_str);
        let Some(other) = name.and_then(|name| registry.recipe(name).ok()) else {
            continue;
        };
        for (option, value) in &foreign {
            let says_more = other.defaults().get(option) != Some(value);
            if says_more && registry.has_option(other.name(), option) {
                group.entry(option).or_insert_with(|| value.clone());
            }
        }
    }
    said_something
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> Table {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn what_was_left_out_meant_no_norms_and_a_scale_by_the_width() {
        let mut norm = table("scheme = 'angpt'\nqk_gain = 'none'\nalpha_init = 0.1");
        let none = || Value::String("none".to_owned());
        let meant = translate(&mut norm, Some(64)).unwrap();
        let expected = [
            ("norm.branch_norm", none()),
            ("norm.softmax_gain", none()),
            ("norm.sz_scale", Value::Float(0.125)),
        ];
        assert_eq!(meant, expected.map(|(key, value)| (key.to_owned(), value)));
        assert_eq!(norm, table("scheme = 'angpt'\nalpha_init = 0.1"));
    }

    #[test]
    fn what_is_said_stays() {
        let mut norm = table("scheme = 'angpt'\nsz_scale = 0.5\nbranch_norm = 'none'");
        let meant = translate(&mut norm, Some(64)).unwrap();
        let names: Vec<&str> = meant.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(names, ["norm.softmax_gain"]);
    }

    #[test]
    fn a_scale_that_nothing_says_any_more_is_refused() {
        let mut norm = table("scheme = 'angpt'\nqk_gain = 'learned'");
        let error = translate(&mut norm, Some(64)).unwrap_err();
        assert!(error.to_string().contains("norm.qk_gain"), "{error}");
    }

    #[test]
    fn a_plan_with_options_is_of_today() {
        let run = tempfile::tempdir().unwrap();
        let recorded = "[model]\ndim = 64\n[norm]\nscheme = 'angpt'\n";
        let meant = |plan: &str| {
            std::fs::write(run.path().join("plan.toml"), plan).unwrap();
            meaning(run.path(), &mut table(recorded)).unwrap().len()
        };
        assert_eq!(meant("scheme = 'angpt'\n"), 3);
        assert_eq!(meant("scheme = 'angpt'\n[options]\nqk = 'unit'\n"), 0);
        let mut other = table("[norm]\nscheme = 'ngpt'\n");
        std::fs::write(run.path().join("plan.toml"), "scheme = 'ngpt'\n").unwrap();
        assert!(meaning(run.path(), &mut other).unwrap().is_empty());
    }

    #[test]
    fn options_of_other_recipes_are_left_out_or_go_to_the_groups_that_had_them() {
        let registry = OptimizerRegistry::default();
        let read = |text: &str| {
            let mut values = table(text);
            let found = own_options(&registry, &mut values);
            (found, values)
        };
        let all =
            "lr = 0.1\nlion_beta1 = 0.9\northogonal_steps = 5\nheads = 'joined'\nmomentum = 0.8\n";
        let groups =
            "groups = [{ name = 'a', path = '*', recipe = 'muon' }, { name = 'b', role = 'gain' }]";
        let (found, values) = read(&format!("[optim]\n{all}{groups}"));
        assert!(found);
        let expected = "[optim]\nlr = 0.1\ngroups = [{ name = 'a', path = '*', recipe = 'muon', momentum = 0.8 }, \
                        { name = 'b', role = 'gain' }]";
        assert_eq!(values, table(expected));
        let (found, values) = read(&format!("[optim]\nrecipe = 'muon'\n{all}{groups}"));
        assert!(!found);
        let text = format!(
            "[optim]\nrecipe = 'muon'\n{}{groups}",
            all.replace("lion_beta1 = 0.9\n", "")
        );
        assert_eq!(values, table(&text));
        assert_eq!(read(&text), (false, table(&text)));
        // At their defaults they say nothing.
        let defaults = "lion_beta1 = 0.9\nlion_beta2 = 0.99\nscion_form = 'unconstrained'\n";
        let (found, values) = read(&format!("[optim]\n{defaults}lr = 0.1"));
        assert_eq!((found, values), (false, table("[optim]\nlr = 0.1")));
        // Of a recipe that isn't known, nothing can be said.
        let theirs = "[optim]\nrecipe = 'theirs'\nmomentum = 0.8";
        assert_eq!(read(theirs), (false, table(theirs)));
    }
}
