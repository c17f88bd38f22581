//! The embedded fleet: simulated hosts, and the server through which they are reached (decision D14).

pub mod host;
