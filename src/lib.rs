//! proxyfleet keeps the HTTP proxy settings of a fleet of container instances equal to YAML policies, through AWS Systems
//! Manager.
//!
//! The modules, in the order of dependence; each may use those above it and none below:
//!
//! - [`catalog`]: per platform, which components exist, where they read their proxy from, and how those files are edited.
//! - [`policy`]: YAML text to checked policies.
//! - [`fleet`]: what is known of the instances, and the format in which they report.
//! - [`plan`]: policies and observations to the list of changes.
//! - [`document`]: the catalogue to SSM documents.
//!
//! These five are pure: no I/O, no clock, no randomness, no async, no AWS type.
//!
//! - `aws` (feature `aws`): everything that talks to AWS, and the only module that names a type of its SDK.
//! - [`rollout`]: carrying a plan out; its decisions are pure, its driver needs `aws`.
//! - [`journal`]: what runs leave behind for people.
//! - [`report`]: how results look.
//! - [`cli`]: the commands.
//! - `sim` (feature `sim`): the embedded fleet, which the others meet over HTTP only.

#[cfg(feature = "aws")]
pub mod aws;
pub mod catalog;
pub mod cli;
pub mod document;
pub mod fleet;
pub mod journal;
pub mod plan;
pub mod policy;
pub mod report;
pub mod rollout;
#[cfg(feature = "sim")]
pub mod sim;
