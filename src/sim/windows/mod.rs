//! Windows container instances: one interface, two bodies.
//!
//! A [`WindowsState`] says what a host is like. It becomes a [`ModelHost`], in memory, or is put onto a [`RealHost`], under
//! wine, which executes the published bytes; [`Look`] is what an operator sees on either.

mod apply;
mod body;
mod decide;
mod documents;
mod facts;
mod model;
mod proxy;
mod put_back;
mod real;
mod scenario;
mod shell;
mod state;
mod winhost;

pub use body::{RealBody, WindowsHost};
pub use model::{Machine, ModelHost, Surroundings};
pub use proxy::{Proxies, StandIn};
pub(crate) use scenario::scenario;
pub use state::{
    DAEMON_JSON, DOCKER_VERSION, HOME, Look, RegValue, RegValues, ServiceLook, ServiceSpec, Settings, StartType,
    WindowsState,
};
pub use winhost::{RealHost, ServerVersion, WhyNot, Winhost};
