//! A Windows host of a fleet, whichever body it has.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::model::ModelHost;
use super::proxy::Proxies;
use super::state::{Look, WindowsState};
use super::winhost::RealHost;
use crate::sim::host::Finished;

/// A Windows host of a fleet.
#[derive(Debug)]
pub enum WindowsHost {
    /// In memory.
    Model(Box<ModelHost>),
    /// Under wine.
    Real(RealBody),
}

/// A real host and what is around it.
#[derive(Debug)]
pub struct RealBody {
    host: RealHost,
    proxies: Arc<Proxies>,
    region: String,
}

impl RealBody {
    /// Brings a host into a state and gives it these surroundings.
    pub fn new(host: RealHost, state: &WindowsState, proxies: Arc<Proxies>, region: String) -> io::Result<Self> {
        host.put(state)?;
        Ok(Self { host, proxies, region })
    }

    /// The host itself.
    pub fn host(&self) -> &RealHost {
        &self.host
    }
}

impl WindowsHost {
    /// Runs a PowerShell script as the SSM agent does.
    pub fn run(&self, script: &str, environment: &[(&str, &str)], timeout: Duration) -> io::Result<Finished> {
        match self {
            Self::Model(model) => Ok(model.run(script)),
            Self::Real(body) => {
                let route = body.proxies.route();
                let around = [("AWS_SSM_REGION_NAME", body.region.as_str()), ("PROXYFLEET_ROUTE", &route)];
                let all: Vec<(&str, &str)> = around.iter().chain(environment).copied().collect();
                body.host.run(script.as_bytes(), &all, &[], timeout)
            }
        }
    }

    /// Brings the host into a state.
    pub fn put(&self, state: &WindowsState) -> io::Result<()> {
        match self {
            Self::Model(model) => {
                model.put(state);
                Ok(())
            }
            Self::Real(body) => body.host.put(state),
        }
    }

    /// What an operator sees on the host.
    pub fn look(&self) -> io::Result<Look> {
        match self {
            Self::Model(model) => Ok(model.look()),
            Self::Real(body) => body.host.look(),
        }
    }

    /// Stops the machine and starts it again.
    pub fn reboot(&self) -> io::Result<()> {
        match self {
            Self::Model(model) => {
                model.reboot();
                Ok(())
            }
            Self::Real(body) => body.host.reboot(),
        }
    }
}
