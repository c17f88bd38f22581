//! Carrying a plan out.
//!
//! The pure half decides: [`Queue`] which command comes next and when to stop, [`Outcome`] what became of an instance. The
//! other half, with the `aws` feature, only turns decisions into calls and answers into [`Event`]s.

#[cfg(feature = "aws")]
mod driver;
mod event;
#[cfg(feature = "aws")]
mod observe;
mod outcome;
mod queue;

#[cfg(feature = "aws")]
pub use driver::{Stop, run};
pub use event::Event;
#[cfg(feature = "aws")]
pub use observe::observe;
pub use outcome::{After, Attempt, Outcome, Summary, Verdict};
pub use queue::{Batch, Next, Queue};
