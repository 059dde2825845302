//! The terminal while the dashboard is on it.

use std::io;
use std::mem::ManuallyDrop;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};

use super::board::Board;
use super::keys::{self, Key};

/// Time between two drawings.
const TICK: Duration = Duration::from_millis(100);

/// Whether the terminal is the dashboard's.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// A thread that draws a board and reads keys, and the terminal it does that on.
pub(crate) struct Screen {
    closing: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Screen {
    /// Takes the terminal until this is dropped. `stop` is called by whoever presses the key for that.
    pub(crate) fn open(
        board: Arc<Mutex<Board>>,
        stop: impl Fn() + Send + 'static,
    ) -> io::Result<Self> {
        enter()?;
        let terminal =
            Terminal::new(CrosstermBackend::new(io::stdout())).inspect_err(|_| leave())?;
        // Dropped, it would complain on a standard error that may be gone too; what it would restore, `leave` does.
        let mut terminal = ManuallyDrop::new(terminal);
        let closing = Arc::new(AtomicBool::new(false));
        let closes = Arc::clone(&closing);
        let show = move || {
            let board = || board.lock().unwrap_or_else(PoisonError::into_inner);
            while !closes.load(Ordering::Relaxed) {
                // A terminal that has gone away is no reason to end the run.
                if terminal.draw(|frame| board().draw(frame)).is_err() {
                    break;
                }
                let Ok(keys) = keys::within(TICK) else {
                    break;
                };
                for key in keys {
                    obey(key, &mut board(), &stop);
                }
            }
        };
        let thread = thread::Builder::new()
            .name("dashboard".to_owned())
            .spawn(show)
            .inspect_err(|_| leave())?;
        Ok(Self {
            closing,
            thread: Some(thread),
        })
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.closing.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It has nothing to return, and a panic of it was shown when it happened.
            let _ = thread.join();
        }
        leave();
    }
}

fn obey(key: Key, board: &mut Board, stop: &impl Fn()) {
    match key {
        Key::Stop => {
            board.stop();
            stop();
        }
        Key::Left => board.select(false),
        Key::Right => board.select(true),
        Key::Up => board.look_at(true),
        Key::Down => board.look_at(false),
    }
}

fn enter() -> io::Result<()> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            // A message on the other screen would vanish with it.
            leave();
            before(panic);
        }));
    });
    enable_raw_mode()?;
    TAKEN.store(true, Ordering::Relaxed);
    signals::keep_on();
    execute!(io::stdout(), EnterAlternateScreen).inspect_err(|_| leave())
}

/// Gives the terminal back as it was; does nothing where that has happened.
fn leave() {
    if TAKEN.swap(false, Ordering::Relaxed) {
        // What fails here fails because there is no terminal any more.
        let _ = execute!(io::stdout(), LeaveAlternateScreen, Show);
        let _ = disable_raw_mode();
    }
}

#[cfg(unix)]
mod signals {
    use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

    /// Turns Ctrl-C back into a signal, so that it interrupts a run through the same handler as everywhere else. Leaving
    /// raw mode restores what was before it.
    pub(super) fn keep_on() {
        let terminal = std::io::stdin();
        if let Ok(mut modes) = tcgetattr(&terminal) {
            modes.local_modes.insert(LocalModes::ISIG);
            // Without it, `q` still stops the run.
            let _ = tcsetattr(&terminal, OptionalActions::Now, &modes);
        }
    }
}

#[cfg(not(unix))]
mod signals {
    /// Elsewhere Ctrl-C comes as a key.
    pub(super) fn keep_on() {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_key_stops_the_run_and_the_others_choose_what_is_drawn() {
        for key in [Key::Stop, Key::Left, Key::Right, Key::Up, Key::Down] {
            let stopped = AtomicBool::new(false);
            let stop = || stopped.store(true, Ordering::Relaxed);
            obey(key, &mut Board::default(), &stop);
            assert_eq!(stopped.into_inner(), key == Key::Stop, "{key:?}");
        }
    }
}
