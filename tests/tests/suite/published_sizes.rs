//! The presets of the papers and of their peers have the published numbers of parameters.

use evenburn_model::strategy::{PreNorm, QkNorm};
use evenburn_model::{Plan, Registry, Role};
use evenburn_train::config::RunConfig;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Preset and exact number of parameters.
///
/// Counts of peers are those of their checkpoints. SimpleGPT and nGPT publish rounded sizes of their baselines
/// ([`ROUNDED`]): the exact counts of their own schemes follow from the sizes by hand, for SimpleGPT
/// `L (2 D^2 + 2 D G K + 3 D F + 3 D + 2 G K + 2 F) + D + 2 V D`, with a scale for each output of the seven maps; for nGPT
/// `L (4 D^2 + 3 D F + 3 D + 2 F) + 2 V D + V`.
const SIZES: [(&str, usize); 23] = [
    ("papers/simplegpt-20m", 19_803_392),
    ("papers/simplegpt-22m", 21_512_960),
    ("papers/simplegpt-35m", 35_217_024),
    ("papers/simplegpt-39m", 38_763_904),
    ("papers/simplegpt-60m", 60_076_544),
    ("papers/simplegpt-67m", 66_903_552),
    ("papers/simplegpt-102m", 101_990_528),
    ("papers/simplegpt-134m", 134_182_656),
    ("papers/simplegpt-162m", 162_525_952),
    ("papers/simplegpt-271m", 271_229_952),
    ("papers/simplegpt-1b", 1_056_305_152),
    ("papers/simplegpt-7b", 6_739_513_344),
    ("papers/simplegpt-8b", 8_031_375_360),
    ("papers/ngpt-0.5b", 468_491_520),
    ("papers/ngpt-1b", 1_026_177_280),
    ("papers/scale-vectors-1b", 1_028_065_024),
    ("peers/gpt2", 124_439_808),
    // GPT-2 without its 82,944 biases of maps and 19,200 of norms, with 47 more rows of 768 in the table.
    ("peers/nanogpt", 124_373_760),
    ("peers/llama2-7b", 6_738_415_616),
    ("peers/llama3-8b", 8_030_261_248),
    ("peers/qwen3-0.6b", 596_049_920),
    ("peers/olmo2-1b", 1_484_916_736),
    ("peers/olmo2-7b", 7_298_617_344),
];

/// Preset of a scheme, a baseline by its q/k norm, and the size that its source gives the baseline: the model table of
/// SimpleGPT's code, whose names fit its variant with q/k norm, and the table of models in nGPT's paper.
const ROUNDED: [(&str, QkNorm, &str); 15] = [
    ("papers/simplegpt-20m", QkNorm::Full, "20M"),
    ("papers/simplegpt-22m", QkNorm::Full, "22M"),
    ("papers/simplegpt-35m", QkNorm::Full, "35M"),
    ("papers/simplegpt-39m", QkNorm::Full, "39M"),
    ("papers/simplegpt-60m", QkNorm::Full, "60M"),
    ("papers/simplegpt-67m", QkNorm::Full, "67M"),
    ("papers/simplegpt-102m", QkNorm::Full, "102M"),
    ("papers/simplegpt-134m", QkNorm::Full, "134M"),
    ("papers/simplegpt-162m", QkNorm::Full, "162M"),
    ("papers/simplegpt-271m", QkNorm::Full, "271M"),
    ("papers/simplegpt-1b", QkNorm::Full, "1B"),
    ("papers/simplegpt-7b", QkNorm::Full, "7B"),
    ("papers/simplegpt-8b", QkNorm::Full, "8B"),
    ("papers/ngpt-0.5b", QkNorm::None, "468.2M"),
    ("papers/ngpt-1b", QkNorm::None, "1025.7M"),
];

fn configs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs")
}

fn plan(preset: &str) -> Plan {
    let file = configs().join(format!("{preset}.toml"));
    let config = RunConfig::load(&Registry::default(), Some(&file), &[])
        .unwrap()
        .config;
    config.norm.plan(&config.model).unwrap()
}

/// The plan of a preset with pre-norm in place of its own scheme.
fn baseline(preset: &str, qk: QkNorm) -> Plan {
    let file = configs().join(format!("{preset}.toml"));
    let config = RunConfig::load(&Registry::default(), Some(&file), &[])
        .unwrap()
        .config;
    let pre_norm = PreNorm {
        qk,
        ..PreNorm::default()
    };
    Plan::new(&config.model, &pre_norm).unwrap()
}

/// A count in the unit and with the decimals of `like`.
fn rounded(parameters: usize, like: &str) -> String {
    let (number, unit) = like.split_at(like.len() - 1);
    let decimals = number.split_once('.').map_or(0, |(_, digits)| digits.len());
    let size = match unit {
        "M" => 1e6,
        "B" => 1e9,
        other => panic!("no unit: {other}"),
    };
    format!("{:.decimals$}{unit}", parameters as f64 / size)
}

#[test]
fn presets_have_the_published_numbers_of_parameters() {
    for (preset, parameters) in SIZES {
        assert_eq!(plan(preset).cost().params, parameters, "{preset}");
    }
}

#[test]
fn baselines_round_to_the_sizes_that_the_papers_name() {
    for (preset, qk, size) in ROUNDED {
        let parameters = baseline(preset, qk).cost().params;
        assert_eq!(rounded(parameters, size), size, "{preset}");
    }
}

#[test]
fn the_largest_baselines_are_the_llamas() {
    for (preset, llama) in [
        ("papers/simplegpt-7b", "peers/llama2-7b"),
        ("papers/simplegpt-8b", "peers/llama3-8b"),
    ] {
        let (ours, theirs) = (baseline(preset, QkNorm::None).cost(), plan(llama).cost());
        assert_eq!(ours.params, theirs.params, "{preset}");
        assert_eq!(ours.non_embedding, theirs.non_embedding, "{preset}");
    }
}

#[test]
fn every_preset_of_a_paper_or_a_peer_is_counted() {
    let mut files = BTreeSet::new();
    for folder in ["papers", "peers"] {
        for entry in std::fs::read_dir(configs().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap();
            files.insert(format!("{folder}/{name}"));
        }
    }
    let counted: BTreeSet<_> = SIZES.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(files, counted);
}

#[test]
fn the_scale_vectors_of_the_paper_are_its_count() {
    // 80,640 scales of 1,028,065,024 parameters (2605.26895).
    let scales: usize = plan("papers/scale-vectors-1b")
        .params()
        .iter()
        .filter(|spec| spec.role == Role::Gain)
        .map(evenburn_model::ParamSpec::len)
        .sum();
    assert_eq!(scales, 80_640);
}
