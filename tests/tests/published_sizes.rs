//! The presets of the papers and of their peers have the published numbers of parameters.

#![allow(clippy::unwrap_used)] // a test fails where it unwraps nothing

use evenburn_model::{Plan, Role};
use evenburn_train::config::RunConfig;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Preset, exact number of parameters, and the published size that it must round to.
///
/// Counts of peers are those of their checkpoints. SimpleGPT and nGPT publish rounded sizes: the exact counts follow from
/// the sizes by hand, for SimpleGPT `L (2 D^2 + 2 D G K + 3 D F + 3 D + 2 G K + 2 F) + D + 2 V D`, with a scale for each
/// output of the seven maps; for nGPT `L (4 D^2 + 3 D F + 3 D + 2 F) + 2 V D + V`.
const SIZES: [(&str, usize, &str); 23] = [
    ("papers/simplegpt-20m", 19_803_392, "20M"),
    ("papers/simplegpt-22m", 21_512_960, "22M"),
    ("papers/simplegpt-35m", 35_217_024, "35M"),
    ("papers/simplegpt-39m", 38_763_904, "39M"),
    ("papers/simplegpt-60m", 60_076_544, "60M"),
    ("papers/simplegpt-67m", 66_903_552, "67M"),
    ("papers/simplegpt-102m", 101_990_528, "102M"),
    ("papers/simplegpt-134m", 134_182_656, "134M"),
    // The name says 162M, and its sizes give half a million more.
    ("papers/simplegpt-162m", 162_525_952, "163M"),
    ("papers/simplegpt-271m", 271_229_952, "271M"),
    ("papers/simplegpt-1b", 1_056_305_152, "1B"),
    ("papers/simplegpt-7b", 6_739_513_344, "7B"),
    ("papers/simplegpt-8b", 8_031_375_360, "8B"),
    ("papers/ngpt-0.5b", 468_491_520, "468M"),
    ("papers/ngpt-1b", 1_026_177_280, "1B"),
    ("papers/scale-vectors-1b", 1_028_065_024, "1B"),
    ("peers/gpt2", 124_439_808, "124M"),
    // Without its 121,344 biases and with 47 more rows of 768 in the table.
    ("peers/nanogpt", 124_373_760, "124M"),
    ("peers/llama2-7b", 6_738_415_616, "7B"),
    ("peers/llama3-8b", 8_030_261_248, "8B"),
    ("peers/qwen3-0.6b", 596_049_920, "596M"),
    ("peers/olmo2-1b", 1_484_916_736, "1B"),
    ("peers/olmo2-7b", 7_298_617_344, "7B"),
];

fn configs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs")
}

fn plan(preset: &str) -> Plan {
    let file = configs().join(format!("{preset}.toml"));
    let config = RunConfig::load(Some(&file), &[]).unwrap().config;
    Plan::new(&config.model, config.norm.strategy()).unwrap()
}

/// Millions below a billion, whole billions above.
fn rounded(parameters: usize) -> String {
    let millions = parameters as f64 / 1e6;
    if millions < 1000.0 {
        format!("{millions:.0}M")
    } else {
        format!("{:.0}B", millions / 1000.0)
    }
}

#[test]
fn presets_have_the_published_numbers_of_parameters() {
    for (preset, parameters, size) in SIZES {
        let found = plan(preset).cost().params;
        assert_eq!(found, parameters, "{preset}");
        assert_eq!(rounded(found), size, "{preset}");
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
    let counted: BTreeSet<_> = SIZES.iter().map(|(name, ..)| (*name).to_owned()).collect();
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
