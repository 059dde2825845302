//! Who reads and who stops the program: pipes that close, full disks, signals, terminals that go away.

use crate::program::{sandbox, text};
use evenburn_tests::cli::Sandbox;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// What a shell says of a program that a closed pipe ended.
const CLOSED_PIPE: i32 = 141;

/// A pipe that nobody reads.
fn unread() -> Stdio {
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    writer.into()
}

/// Something that can't be written to.
fn full() -> Stdio {
    File::options()
        .write(true)
        .open("/dev/full")
        .unwrap()
        .into()
}

fn trained() -> (tempfile::TempDir, Sandbox) {
    let (folder, sandbox) = sandbox();
    text(
        &sandbox,
        &Sandbox::train("pre_norm", "run", &["--train.steps", "2"]),
    );
    text(
        &sandbox,
        &[
            "tokenizer",
            "train",
            "text",
            "--vocab",
            "300",
            "--out",
            "t.json",
        ],
    );
    (folder, sandbox)
}

/// Every kind of command that prints and writes nothing.
const PRINTING: [&[&str]; 10] = [
    &["config", "keys"],
    &["config", "print"],
    &["describe", "run"],
    &["describe", "tiny.toml"],
    &["data", "inspect", "--config", "run"],
    &["data", "ids", "--tokenizer", "t.json", "text"],
    &["eval", "run", "--tokens", "64"],
    &["eval", "run", "--tokens", "64", "--json"],
    &["sample", "run", "--tokens", "2"],
    &["sample", "run", "--tokens", "2", "--count", "3"],
];

fn no_panic(line: &[&str], output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!stderr.contains("panicked"), "{line:?}: {stderr}");
    let code = output.status.code();
    assert!(
        code.is_some_and(|code| code != 101),
        "{line:?}: {:?} {stderr}",
        output.status
    );
    stderr
}

#[test]
fn a_reader_that_has_enough_ends_a_command_in_silence() {
    let (_folder, sandbox) = trained();
    for line in PRINTING {
        let output = sandbox.command(line).stdout(unread()).output().unwrap();
        let stderr = no_panic(line, &output);
        assert_eq!(output.status.code(), Some(CLOSED_PIPE), "{line:?}");
        assert!(!stderr.contains("error"), "{line:?}: {stderr}");
    }
    let helps: [&[&str]; 4] = [&["--help"], &["--version"], &["train", "--help"], &["help"]];
    for line in helps {
        no_panic(
            line,
            &sandbox.command(line).stdout(unread()).output().unwrap(),
        );
        no_panic(
            line,
            &sandbox.command(line).stdout(full()).output().unwrap(),
        );
    }
}

#[test]
fn results_that_can_not_be_written_are_a_failure() {
    let (_folder, sandbox) = trained();
    for line in PRINTING {
        let output = sandbox.command(line).stdout(full()).output().unwrap();
        let stderr = no_panic(line, &output);
        assert_eq!(output.status.code(), Some(1), "{line:?}");
        assert!(
            stderr.contains("error: cannot write to standard output"),
            "{stderr}"
        );
    }
}

#[test]
fn errors_that_nobody_reads_keep_their_code() {
    let (_folder, sandbox) = sandbox();
    let lines: [&[&str]; 4] = [&["sample", "nowhere"], &["nonsense"], &[], &["train"]];
    for line in lines {
        for errors in [unread(), full()] {
            let mut command = sandbox.command(line);
            let output = command.stdout(unread()).stderr(errors).output().unwrap();
            assert_eq!(output.status.code(), Some(2), "{line:?}");
        }
    }
}

#[test]
fn closed_streams_are_no_trouble() {
    let (_folder, sandbox) = trained();
    for redirections in [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"] {
        for line in PRINTING {
            let output = shell(&sandbox, redirections, line).output().unwrap();
            no_panic(line, &output);
            assert_eq!(output.status.code(), Some(0), "{line:?} {redirections}");
        }
        let run = format!("run{}", redirections.len());
        let line = Sandbox::train("pre_norm", &run, &["--train.steps", "2"]);
        let output = shell(&sandbox, redirections, &line).output().unwrap();
        no_panic(&line, &output);
        assert_eq!(output.status.code(), Some(0), "{redirections}");
        assert!(
            sandbox
                .path(&run)
                .join("checkpoints/step-00000002")
                .exists()
        );
    }
}

/// The program behind a shell that sets something up and then becomes it.
fn shell(sandbox: &Sandbox, setup: &str, line: &[&str]) -> Command {
    let program = sandbox.command(line);
    let mut command = Command::new("sh");
    command
        .arg("-c")
        .arg(if setup.starts_with("trap") {
            format!("{setup}; exec \"$@\"")
        } else {
            format!("exec \"$@\" {setup}")
        })
        .arg("sh")
        .arg(program.get_program())
        .args(program.get_args())
        .current_dir(sandbox.folder())
        .env("EVENBURN_CACHE", sandbox.path("cache"));
    command
}

#[test]
fn a_run_that_nobody_watches_goes_on_to_its_end() {
    let (_folder, sandbox) = sandbox();
    let streams: [fn(&mut Command); 4] = [
        |command| {
            command.stdout(unread()).stderr(unread());
        },
        |command| {
            command.stdout(unread());
        },
        |command| {
            command.stderr(unread());
        },
        |command| {
            command.stderr(full());
        },
    ];
    for (n, streams) in streams.into_iter().enumerate() {
        let run = format!("run{n}");
        let line = Sandbox::train("pre_norm", &run, &["--train.log_every", "1"]);
        let mut command = sandbox.command(&line);
        streams(&mut command);
        let output = command.output().unwrap();
        no_panic(&line, &output);
        assert_eq!(output.status.code(), Some(0), "{n}");
        assert!(
            sandbox
                .path(&run)
                .join("checkpoints/step-00000040")
                .exists()
        );
    }
}

/// Arguments of a run that ends when it is told to.
fn endless(run: &str) -> Vec<&str> {
    let more = [
        "--train.steps",
        "1000000",
        "--train.eval_every",
        "0",
        "--train.keep",
        "1",
    ];
    Sandbox::train("pre_norm", run, &more)
}

fn steps(run: &Path) -> usize {
    let log = fs::read_to_string(run.join("metrics.jsonl")).unwrap_or_default();
    log.lines().count()
}

/// Waits until a run has taken some steps.
fn wait_for(run: &Path, count: usize, child: &mut Child) {
    let deadline = Instant::now() + Duration::from_mins(1);
    while steps(run) < count {
        let ended = child.try_wait().unwrap();
        assert!(
            ended.is_none(),
            "ended after {} of {count} steps: {ended:?}",
            steps(run)
        );
        assert!(Instant::now() < deadline, "{} of {count} steps", steps(run));
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn send(signal: &str, child: &Child) {
    let line = format!("kill -{signal} {}", child.id());
    assert!(
        Command::new("sh")
            .args(["-c", &line])
            .status()
            .unwrap()
            .success()
    );
}

/// The checkpoint of a run is at its last step.
fn is_saved(run: &Path) {
    let latest = fs::read_to_string(run.join("checkpoints/latest")).unwrap();
    assert_eq!(latest.trim(), format!("step-{:08}", steps(run)));
}

#[test]
fn signals_end_a_run_with_a_checkpoint() {
    let (_folder, sandbox) = sandbox();
    // A shell and the kernel send a SIGHUP each when a terminal closes, the end of a session a SIGTERM.
    let cases: [&[&str]; 5] = [
        &["HUP"],
        &["TERM"],
        &["INT"],
        &["HUP", "HUP"],
        &["HUP", "TERM"],
    ];
    for (n, signals) in cases.into_iter().enumerate() {
        let run = format!("run{n}");
        let mut child = sandbox
            .command(&endless(&run))
            .stdout(unread())
            .stderr(unread())
            .spawn()
            .unwrap();
        wait_for(&sandbox.path(&run), 3, &mut child);
        for signal in signals {
            send(signal, &child);
        }
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{signals:?}");
        is_saved(&sandbox.path(&run));
    }
}

#[test]
fn a_run_that_was_told_to_outlive_its_terminal_does() {
    let (_folder, sandbox) = sandbox();
    let run = sandbox.path("run");
    let mut child = shell(&sandbox, "trap '' HUP", &endless("run"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_for(&run, 3, &mut child);
    send("HUP", &child);
    let more = steps(&run) + 20;
    wait_for(&run, more, &mut child);
    send("TERM", &child);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    is_saved(&run);
}

/// With the dashboard on it, and with progress lines.
#[test]
fn a_terminal_may_go_away() {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

    let (_folder, sandbox) = sandbox();
    for (n, more) in [&[][..], &["--no-dashboard"]].into_iter().enumerate() {
        // The program must not have this end too.
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let reader = openpt(flags).unwrap();
        grantpt(&reader).unwrap();
        unlockpt(&reader).unwrap();
        let name = ptsname(&reader, Vec::new()).unwrap();
        let path = Path::new(std::ffi::OsStr::from_bytes(name.to_bytes()));
        // Whoever else has it keeps it, as a shell does.
        let terminal = File::options().read(true).write(true).open(path).unwrap();
        let stream = || terminal.try_clone().unwrap();
        let run = format!("run{n}");
        let line = [&endless(&run)[..], more].concat();
        let mut child = sandbox
            .command(&line)
            .env("TERM", "xterm")
            .stdin(stream())
            .stdout(stream())
            .stderr(stream())
            .spawn()
            .unwrap();
        let run = sandbox.path(&run);
        let (gone, wait) = std::sync::mpsc::channel();
        let reading = std::thread::spawn(move || {
            let mut reader = File::from(reader);
            let mut seen = Vec::new();
            let mut part = [0; 4096];
            while wait.try_recv().is_err() {
                match reader.read(&mut part) {
                    Ok(read) => seen.extend_from_slice(&part[..read]),
                    Err(_) => break,
                }
            }
            // Dropping it closes the terminal.
            seen.len()
        });
        wait_for(&run, 20, &mut child);
        gone.send(()).unwrap();
        assert!(reading.join().unwrap() > 0);
        // Ten times as long as the dashboard waits between two pictures.
        std::thread::sleep(Duration::from_secs(1));
        let more = steps(&run) + 20;
        wait_for(&run, more, &mut child);
        send("TERM", &child);
        let deadline = Instant::now() + Duration::from_mins(1);
        let ended = loop {
            if let Some(ended) = child.try_wait().unwrap() {
                break ended;
            }
            assert!(Instant::now() < deadline, "{line:?} doesn't end");
            std::thread::sleep(Duration::from_millis(5));
        };
        assert_eq!(ended.code(), Some(0), "{line:?}");
        is_saved(&run);
        let log = fs::read_to_string(run.join("run.log")).unwrap();
        assert!(!log.contains("PANIC"), "{log}");
    }
}
