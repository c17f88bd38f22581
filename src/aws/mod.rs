//! AWS: reading the fleet, publishing documents, sending and following commands, within the rates the service allows.
//!
//! This is the only module that names a type of the SDK; everything it returns is ours. It decides nothing about policies:
//! it fetches, sends and reports what the service said. A stand-in on this machine, such as the embedded fleet, is reached
//! through the same code.
//!
//! [`Session`] is the way in. The cheapest call comes first (decision D10): per 1,000 instances one call, per 50 nodes one
//! call, per 50 results one call, and never one per instance on the normal path.

mod commands;
mod endpoint;
mod error;
mod fleet_reader;
mod follow;
mod halts;
pub mod limiter;
mod operation;
mod publisher;
mod session;
mod under_way;

pub use commands::{Invocation, Invocations, Rejection, SendRequest, Sent, Status, StepOutput};
pub use error::{AwsError, CallError, Class, EndpointProblem};
pub use fleet_reader::InstanceQuery;
pub use follow::{CommandProgress, Follower, Progress};
pub use halts::{Halt, HaltScope, Halts, LONGEST_REASON, Placed};
pub use limiter::{CallCount, Pace};
pub use operation::Operation;
pub use publisher::PublishedDocument;
pub use session::{Session, SessionOptions};
pub use under_way::UnderWay;
