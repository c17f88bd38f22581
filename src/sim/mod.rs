//! The embedded fleet: simulated hosts, and the server through which they are reached (decision D14).
//!
//! [`Sim::start`] makes up a fleet from a seed and serves the SSM, EC2 and STS wire protocols for it on a loopback port.
//! It is meant to be as strict as the real services: limits, error names, eventual consistency, page tokens. What it does
//! not offer is an error that says so, never a made-up success.

mod agent;
mod commands;
mod content;
mod documents;
mod driver;
mod faults;
mod fleet;
pub mod host;
mod line;
mod parameters;
mod server;
pub mod windows;
mod wire;
mod world;

pub use faults::{FaultCounts, Faults, FaultsError, Percent};
pub use server::{Sim, SimOptions, Struck};
