//! Every reference case of the repository, to its tolerances.

use evenburn_parity as parity;
use std::path::Path;

#[test]
fn every_case_is_within_its_tolerances() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let report = parity::run_folder(&folder).unwrap();
    assert!(report.passes(), "{report}");
}

#[test]
fn a_wrong_number_is_noticed() {
    // The loss of one case beside the numbers of another.
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(
        fixtures.join("prenorm.safetensors"),
        folder.path().join("case.safetensors"),
    )
    .unwrap();
    let text = std::fs::read_to_string(fixtures.join("prenorm.json")).unwrap();
    let mut description: serde_json::Value = serde_json::from_str(&text).unwrap();
    description["norm_eps"] = serde_json::json!(1e-4);
    std::fs::write(folder.path().join("case.json"), description.to_string()).unwrap();
    let report = parity::run_folder(folder.path()).unwrap();
    assert!(!report.passes(), "{report}");

    description["scheme"] = serde_json::json!("no_such_scheme");
    std::fs::write(folder.path().join("case.json"), description.to_string()).unwrap();
    let report = parity::run_folder(folder.path()).unwrap();
    assert!(report.to_string().contains("no_such_scheme"), "{report}");
}
