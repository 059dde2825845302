//! Files that appear complete or not at all, and the hash that sources are known by.
//!
//! Whoever writes a file or a folder that others read writes it aside, waits until it is on disk and renames it: a kill or a
//! power cut then leaves either the old or the new.
//!
//! ```
//! let folder = std::env::temp_dir().join(format!("evenburn-files-{}", std::process::id()));
//! std::fs::create_dir_all(&folder).unwrap();
//! let path = folder.join("note.txt");
//! evenburn_files::replace(&path, b"first")?;
//! evenburn_files::replace(&path, b"second")?;
//! assert_eq!(std::fs::read(&path).unwrap(), b"second");
//! # std::fs::remove_dir_all(&folder).unwrap();
//! # Ok::<(), evenburn_files::FileError>(())
//! ```

mod draft;
mod error;
mod sha256;
mod write;

pub use draft::Draft;
pub use error::FileError;
pub use sha256::{Sha256, sha256};
pub use write::{aside, rename, replace, sync_file, sync_folder, write};

/// Bytes as lower-case hexadecimal.
///
/// ```
/// assert_eq!(evenburn_files::hex(&[0, 171]), "00ab");
/// ```
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string can't fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
