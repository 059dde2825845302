//! A run that names a device which this build doesn't have.

use crate::program::{refusal, sandbox, text};
use evenburn_tests::cli::Sandbox;
use std::fs;

/// The program's result and what it says beside it.
fn both(sandbox: &Sandbox, line: &[&str]) -> (String, String) {
    let output = sandbox.run(line).unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (stdout, stderr) = (text(output.stdout), text(output.stderr));
    assert!(output.status.success(), "{line:?}\n{stderr}");
    (stdout, stderr)
}

#[test]
fn it_is_read_on_the_cpu_and_says_so() {
    let (_folder, sandbox) = sandbox();
    let line = Sandbox::train(
        "angpt",
        "run",
        &["--train.steps", "2", "--train.precision", "bf16"],
    );
    text(&sandbox, &line);
    text(&sandbox, &["fold", "run", "--out", "folded"]);
    let commands: [&[&str]; 5] = [
        &["sample", "run", "--tokens", "4"],
        &["sample", "run/checkpoints/step-00000002", "--tokens", "4"],
        &["sample", "folded", "--tokens", "4"],
        &["eval", "run", "--tokens", "64", "--json"],
        &["describe", "run"],
    ];
    let before = commands.map(|line| both(&sandbox, line).0);
    let on = |device: &str| {
        for run in ["run", "folded"] {
            let file = sandbox.path(run).join("config.toml");
            let config = fs::read_to_string(&file).unwrap();
            let start = config.find("device = ").unwrap();
            let end = start + config[start..].find('\n').unwrap();
            let config = format!(
                "{}device = \"{device}\"{}",
                &config[..start],
                &config[end..]
            );
            fs::write(file, config).unwrap();
        }
    };
    for device in ["cuda", "metal", "rocm", "vulkan"] {
        on(device);
        for (line, before) in commands.iter().zip(&before) {
            let (stdout, stderr) = both(&sandbox, line);
            assert_eq!(&stdout, before, "{device} {line:?}");
            let notes = stderr.lines().filter(|line| line.contains("train.device"));
            let expected = usize::from(line[0] != "describe");
            assert_eq!(notes.count(), expected, "{line:?}: {stderr}");
            assert!(line[0] == "describe" || stderr.contains(device), "{stderr}");
        }
    }
    for (n, asked) in ["--device", "--train.device"].iter().enumerate() {
        for line in commands.iter().take(4) {
            let (_, stderr) = both(&sandbox, &[*line, &[asked, "flex"]].concat());
            assert!(!stderr.contains("train.device"), "{stderr}");
            let output = sandbox.run(&[*line, &[asked, "cuda"]].concat()).unwrap();
            let stderr = refusal(&output);
            assert!(
                stderr.contains("cuda") && stderr.contains("has flex"),
                "{stderr}"
            );
            let output = sandbox.run(&[*line, &[asked, "gpu"]].concat()).unwrap();
            assert!(refusal(&output).contains("\"flex\" | \"cuda\""), "{line:?}");
        }
        // What is written keeps the device of the run: it is a matter of this machine.
        let folded = format!("folded{n}");
        let (_, stderr) = both(&sandbox, &["fold", "run", "--out", &folded]);
        assert!(stderr.contains("train.device"), "{stderr}");
        let config = fs::read_to_string(sandbox.path(&folded).join("config.toml")).unwrap();
        assert!(config.contains("device = \"vulkan\""), "{config}");
        let exported = format!("exported{n}");
        both(&sandbox, &["export", "run", &exported, asked, "flex"]);
    }
    let output = sandbox.run(&["train", "--resume", "run"]).unwrap();
    assert!(refusal(&output).contains("has flex"));
}
