//! A terminal that goes away while the dashboard is on it.
//!
//! The dashboard takes a terminal that fails for a fault of the program: its thread panics, and where the message can't be
//! written either, the process aborts, before the checkpoint that SIGHUP asks for. So a pseudo-terminal that nobody looks at
//! takes the place of one that is gone, and the run never learns of it.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::thread;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::retry_on_intr;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};
use rustix::termios::{Winsize, tcsetwinsize};

/// Sees to it that the terminal on standard input can go away without harm, from now on.
pub(crate) fn outlive() {
    let errors_too = io::stderr().is_terminal();
    let watch = move || {
        if is_gone().is_ok_and(|gone| gone) {
            // The dashboard then fails as it would have.
            let _ = replace(errors_too);
        }
    };
    let _ = thread::Builder::new()
        .name("terminal".to_owned())
        .spawn(watch);
}

/// Waits until the terminal is gone; false where it can't be waited for.
fn is_gone() -> io::Result<bool> {
    let terminal = io::stdin();
    let mut asked = [PollFd::new(&terminal, PollFlags::empty())];
    retry_on_intr(|| poll(&mut asked, None))?;
    let answer = asked[0].revents();
    Ok(answer.intersects(PollFlags::HUP | PollFlags::ERR))
}

/// Puts a terminal that drops what is written to it in the place of the one that is gone.
fn replace(errors_too: bool) -> io::Result<()> {
    let reader = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
    grantpt(&reader)?;
    unlockpt(&reader)?;
    let name = ptsname(&reader, Vec::new())?;
    let terminal = File::options()
        .read(true)
        .write(true)
        .custom_flags(OpenptFlags::NOCTTY.bits().cast_signed())
        .open(OsStr::from_bytes(name.to_bytes()))?;
    // What a terminal has where nobody says.
    let size = Winsize {
        ws_row: 24,
        ws_col: 80,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(&terminal, size)?;
    let drop_all = move || io::copy(&mut File::from(reader), &mut io::sink());
    thread::Builder::new()
        .name("terminal-drain".to_owned())
        .spawn(drop_all)?;
    dup2_stdout(&terminal)?;
    dup2_stdin(&terminal)?;
    if errors_too {
        dup2_stderr(&terminal)?;
    }
    Ok(())
}
