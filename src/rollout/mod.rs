//! Carrying a plan out.
//!
//! The pure half decides: [`Machine`] who is sent what and when, and when to stop, [`Fate`] what became of an instance. The
//! other half, with the `aws` feature, only turns actions into calls and answers into inputs, and tells [`Event`]s.

#[cfg(feature = "aws")]
mod adopt;
mod budget;
#[cfg(feature = "aws")]
mod driver;
mod event;
#[cfg(feature = "aws")]
mod gate;
mod machine;
#[cfg(feature = "aws")]
mod observe;
mod outcome;

#[cfg(feature = "aws")]
pub use adopt::{Adopted, adopt};
pub use budget::Tally;
#[cfg(feature = "aws")]
pub use driver::{Run, Stop, run};
pub use event::{Event, Note, Purpose};
pub use machine::{Action, Command, CommandKind, CommandNumber, GateVerdict, Input, Machine, Moment};
#[cfg(feature = "aws")]
pub use observe::observe;
pub use outcome::{Attempt, BudgetKind, Fate, Hope, Look, Reply, Summary};
