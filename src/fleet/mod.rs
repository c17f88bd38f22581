//! What we know of the instances: identity and reachability from the AWS APIs, and what each one reported of itself.
//!
//! Not here: how it was fetched ([`crate::aws`]) and what it should be ([`crate::plan`]).

mod instance;
mod observed;
mod report;

pub use instance::{Identity, Instance, InstanceId, InvalidInstanceId, Reach, Scope};
pub use observed::{
    Blocker, ForeignEffect, ForeignSource, ManagedSetting, Observation, Observed, ObservedSetting, Prior, Seen,
    ServiceState, Truth,
};
pub use report::{ApplyReport, ApplyResult, REPORT_LIMIT_BYTES, ReportError, parse_apply, parse_observe};
