//! Files of hubs, object stores, web servers and this machine: listed, read with ranges, cached and checked.
//!
//! A [`Location`] says where files are. A [`Storage`] lists them, with size and [`ContentId`], before a byte is read, and
//! each [`StoredFile`] opens to a blocking reader with `Read` and `Seek`.
//!
//! ```text
//! Location -> Place (hub, s3, azure, web, local) -> Listing of StoredFiles -> open: cache (whole, checked) or ranges
//!                            \_______________ http: retries, limits, redirects _______________/
//! ```
//!
//! - A repository's revision is looked up once, and everything is read at that commit.
//! - No byte of a file with a digest is handed out before all of them are checked, unless the file is read by ranges.
//! - What came before a connection broke isn't sent again, and bytes of two states of a file are never mixed.
//! - Servers are asked again after passing failures, never sooner than they say.
//! - A token goes to the hub's own origin. Tokens and signatures are in no message and no `Debug`.

mod address;
mod aws;
mod azure;
mod cache;
mod clock;
mod digest;
mod environment;
mod error;
mod file;
mod http;
mod hub;
mod local;
mod location;
mod objects;
mod passing;
mod pattern;
mod plain;
mod ranges;
mod remote;
mod repository;
mod request;
mod retry;
mod s3;
mod signature;
mod storage;
mod validator;
mod web;
mod xml;

pub use clock::{Clock, SystemClock};
pub use environment::Environment;
pub use error::LocationError;
pub use file::{ContentId, Listing, Place, ReadSeek, StoredFile};
pub use http::Traffic;
pub use location::Location;
pub use storage::{Cached, Settings, Storage};
