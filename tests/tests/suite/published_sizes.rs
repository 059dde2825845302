//! The presets of the papers and of their peers have the published numbers of parameters.

use evenburn_model::strategy::{PreNorm, QkNorm};
use evenburn_model::{ParamRole, Plan, ScaleVectors};
use evenburn_train::Registry;
use evenburn_train::config::RunConfig;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Preset and exact number of parameters.
///
/// Counts of peers are those of their checkpoints. SimpleGPT and nGPT publish rounded sizes of their baselines
/// ([`ROUNDED`]): the exact counts of their own schemes follow from the sizes by hand, for SimpleGPT
/// `L (2 D^2 + 2 D G K + 3 D F + 3 D + 2 G K + 2 F) + D + 2 V D`, with a scale for each output of the seven maps; for nGPT
/// `L (4 D^2 + 3 D F + 3 D + 2 F) + 2 V D + V`; for anGPT `L (4 D^2 + 3 D F + 2 D + 1) + 2 V D + V`, for its GPT+ the same with
/// `D` in place of the last `V`; with the scale vectors of 2605.26895 the baselines of [`SCALE_VECTORS`] and
/// `L (2 (3 D + 3) - 2 D + n (2 D + 2 F + 4)) + V + 2` more, `n (..)` summed over the networks of a block.
const SIZES: [(&str, usize); 44] = [
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
    ("papers/angpt-32m", 32_100_486),
    ("papers/angpt-62m", 62_284_426),
    ("papers/angpt-125m", 127_077_522),
    ("papers/angpt-250m", 247_214_226),
    ("papers/angpt-0.5b", 505_775_256),
    ("papers/angpt-1b", 1_072_639_140),
    ("papers/gpt-plus-32m", 32_050_438),
    ("papers/gpt-plus-62m", 62_234_506),
    ("papers/gpt-plus-125m", 127_027_730),
    ("papers/gpt-plus-250m", 247_164_690),
    ("papers/gpt-plus-0.5b", 505_725_976),
    ("papers/gpt-plus-1b", 1_072_590_116),
    ("papers/scale-vectors-0.12b", 119_846_846),
    ("papers/scale-vectors-0.25b", 254_208_234),
    ("papers/scale-vectors-0.48b", 483_008_554),
    ("papers/scale-vectors-0.75b", 749_558_612),
    ("papers/scale-vectors-1b", 1_028_562_326),
    ("papers/scale-vectors-moe-0.25b", 251_548_470),
    ("papers/scale-vectors-moe-0.5b", 481_809_500),
    ("papers/scale-vectors-moe-0.8b", 798_511_526),
    ("papers/scale-vectors-moe-1b", 1_060_433_130),
    ("papers/scale-vectors-moe-2b", 1_998_892_366),
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

/// Preset of scale vectors, its baseline's parameters, those that a token meets, and the sizes that 2605.26895 names
/// (appendix B). Only the 1B mixture does not round to its: 0.38B is printed.
const SCALE_VECTORS: [(&str, usize, usize, &str, &str); 10] = [
    (
        "scale-vectors-0.12b",
        119_744_256,
        119_744_256,
        "0.12B",
        "0.12B",
    ),
    (
        "scale-vectors-0.25b",
        254_018_560,
        254_018_560,
        "0.25B",
        "0.25B",
    ),
    (
        "scale-vectors-0.48b",
        482_696_960,
        482_696_960,
        "0.48B",
        "0.48B",
    ),
    (
        "scale-vectors-0.75b",
        749_142_528,
        749_142_528,
        "0.75B",
        "0.75B",
    ),
    ("scale-vectors-1b", 1_028_065_024, 1_028_065_024, "1B", "1B"),
    (
        "scale-vectors-moe-0.25b",
        251_044_480,
        113_633_920,
        "0.25B",
        "0.11B",
    ),
    (
        "scale-vectors-moe-0.5b",
        480_942_336,
        183_671_040,
        "0.5B",
        "0.18B",
    ),
    (
        "scale-vectors-moe-0.8b",
        797_327_040,
        281_231_040,
        "0.8B",
        "0.28B",
    ),
    (
        "scale-vectors-moe-1b",
        1_058_931_712,
        354_976_768,
        "1B",
        "0.38B",
    ),
    (
        "scale-vectors-moe-2b",
        1_996_574_720,
        620_856_320,
        "2B",
        "0.62B",
    ),
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

/// anGPT's Table F.1, in millions: anGPT and GPT+.
const ANGPT: [(&str, &str, &str); 6] = [
    ("32m", "32.10M", "32.05M"),
    ("62m", "62.28M", "62.24M"),
    ("125m", "127.08M", "127.03M"),
    ("250m", "247.21M", "247.17M"),
    ("0.5b", "505.78M", "505.73M"),
    ("1b", "1073M", "1073M"),
];

/// Of two sizes of GPT+ the printed one has a gain for each channel of a head of q and k, and no scale of the scores.
#[test]
fn angpt_and_gpt_plus_round_to_their_table() {
    for (size, angpt, gpt_plus) in ANGPT {
        let own = plan(&format!("papers/angpt-{size}")).cost().params;
        assert_eq!(rounded(own, angpt), angpt, "{size}");
        let preset = format!("papers/gpt-plus-{size}");
        let one_scalar = plan(&preset).cost().params;
        let gains = baseline(&preset, QkNorm::Head).cost().params;
        let fits = match size {
            "62m" | "250m" => gains,
            _ => one_scalar,
        };
        assert_eq!(rounded(fits, gpt_plus), gpt_plus, "{size}");
    }
    let gains = |size: &str| baseline(&format!("papers/gpt-plus-{size}"), QkNorm::Head);
    assert_eq!(gains("62m").cost().params, 62_235_776);
    assert_eq!(gains("250m").cost().params, 247_166_976);
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

/// The plan of a preset of scale vectors with one gain per normalization in their place.
fn standard(preset: &str) -> Plan {
    let file = configs().join(format!("papers/{preset}.toml"));
    let mut config = RunConfig::load(&Registry::default(), Some(&file), &[])
        .unwrap()
        .config;
    config.model.scale_vectors = ScaleVectors::Standard;
    config.norm.plan(&config.model).unwrap()
}

#[test]
fn the_baselines_of_scale_vectors_are_the_papers() {
    for (preset, parameters, active, size, active_size) in SCALE_VECTORS {
        let cost = standard(preset).cost();
        assert_eq!((cost.params, cost.active), (parameters, active), "{preset}");
        assert_eq!(rounded(parameters, size), size, "{preset}");
        // Its sizes as printed make 0.355B, which the preset says.
        let fits = preset != "scale-vectors-moe-1b";
        assert_eq!(
            rounded(active, active_size) == active_size,
            fits,
            "{preset}"
        );
    }
}

#[test]
fn the_scale_vectors_of_the_paper_are_its_count() {
    // 80,640 scales of 1,028,065,024 parameters (2605.26895).
    let scales: usize = standard("scale-vectors-1b")
        .params()
        .iter()
        .filter(|spec| spec.role == ParamRole::Gain)
        .map(evenburn_model::ParamSpec::len)
        .sum();
    assert_eq!(scales, 80_640);
}
