//! The keys of the dashboard.

use std::io;
use std::time::Duration;

/// What can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Stop,
    Left,
    Right,
    Up,
    Down,
}

/// The keys that are pressed within a time.
///
/// They are read here and not by crossterm, which goes on reading for ever when the terminal is closed.
///
/// # Errors
/// When there is no terminal any more.
#[cfg(unix)]
pub(super) fn within(time: Duration) -> io::Result<Vec<Key>> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::io::retry_on_intr;

    let terminal = io::stdin();
    let mut asked = [PollFd::new(&terminal, PollFlags::IN)];
    let time = Timespec::try_from(time).ok();
    retry_on_intr(|| poll(&mut asked, time.as_ref()))?;
    let answer = asked[0].revents();
    if answer.intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL) {
        return Err(io::ErrorKind::BrokenPipe.into());
    }
    if !answer.contains(PollFlags::IN) {
        return Ok(Vec::new());
    }
    let mut bytes = [0; 64];
    match retry_on_intr(|| rustix::io::read(&terminal, &mut bytes))? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        count => Ok(keys(&bytes[..count])),
    }
}

/// What a terminal sends for keys: an arrow is ESC, `[` or `O`, and a letter. Ctrl-C comes where it is no signal.
#[cfg(unix)]
fn keys(bytes: &[u8]) -> Vec<Key> {
    let mut keys = Vec::new();
    let mut rest = bytes;
    while let Some((first, behind)) = rest.split_first() {
        let (key, behind) = match (first, behind) {
            (b'q' | 0x03, _) => (Some(Key::Stop), behind),
            (0x1b, [b'[' | b'O', arrow, behind @ ..]) => {
                let key = match arrow {
                    b'A' => Some(Key::Up),
                    b'B' => Some(Key::Down),
                    b'C' => Some(Key::Right),
                    b'D' => Some(Key::Left),
                    _ => None,
                };
                (key, behind)
            }
            _ => (None, behind),
        };
        keys.extend(key);
        rest = behind;
    }
    keys
}

/// The keys that are pressed within a time.
///
/// # Errors
/// When there is no terminal any more.
#[cfg(not(unix))]
pub(super) fn within(time: Duration) -> io::Result<Vec<Key>> {
    use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};

    if !event::poll(time)? {
        return Ok(Vec::new());
    }
    let Event::Key(pressed) = event::read()? else {
        return Ok(Vec::new());
    };
    let key = match pressed.code {
        _ if pressed.kind == KeyEventKind::Release => None,
        KeyCode::Char('q') => Some(Key::Stop),
        KeyCode::Char('c') if pressed.modifiers.contains(KeyModifiers::CONTROL) => Some(Key::Stop),
        KeyCode::Left => Some(Key::Left),
        KeyCode::Right => Some(Key::Right),
        KeyCode::Up => Some(Key::Up),
        KeyCode::Down => Some(Key::Down),
        _ => None,
    };
    Ok(key.into_iter().collect())
}

#[cfg(test)]
mod tests {
    #[cfg(unix)]
    #[test]
    fn what_a_terminal_sends_is_understood() {
        use super::{Key, keys};

        let cases: [(&[u8], &[Key]); 8] = [
            (b"", &[]),
            (b"q", &[Key::Stop]),
            (b"\x03", &[Key::Stop]),
            (b"\x1b[A\x1b[B", &[Key::Up, Key::Down]),
            (b"x\x1bOC\x1bODq", &[Key::Right, Key::Left, Key::Stop]),
            // Other keys, and what is cut off.
            (b"\x1b[5~", &[]),
            (b"\x1b", &[]),
            (b"\x1b[", &[]),
        ];
        for (bytes, expected) in cases {
            assert_eq!(keys(bytes), expected, "{bytes:?}");
        }
    }
}
