//! Windows container instances.

mod winhost;

pub use winhost::{RealHost, ServerVersion, WhyNot, Winhost};
