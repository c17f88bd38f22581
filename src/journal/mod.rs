//! The journal of a run: JSON lines in a file of its own under the state folder, for people and for `history`.
//!
//! A run appends what happens, with the time, and flushes it to the disk in batches. Nothing is ever decided by a journal but
//! which instances `--retry-failed` looks at again, so losing one, or not being able to write one, loses no correctness and
//! stops no run.
//!
//! - [`entry`]: the lines. They are types of their own, so that events can change and the format cannot by accident.
//! - [`Writer`]: a new journal that is under way, on a thread of its own.
//! - [`Store`]: the folder: which runs there are, and what one of them says.

pub mod entry;
mod error;
mod fates;
mod read;
mod store;
mod tell;
mod write;

pub use entry::{Entry, FORMAT, Line, Opening};
pub use error::JournalError;
pub use fates::{fates, to_retry};
pub use read::{Journal, State};
pub use store::{Overview, Store};
pub use write::Writer;

#[cfg(test)]
mod tests;
