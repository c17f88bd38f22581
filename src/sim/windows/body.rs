//! A Windows host of a fleet, whichever body it has.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::model::ModelHost;
use super::proxy::Proxies;
use super::state::{Look, WindowsState};
use super::winhost::RealHost;
use crate::catalog::{Platform, Service};
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
    /// How often services were started by a start of the machine.
    boots: Mutex<BTreeMap<Service, usize>>,
}

impl RealBody {
    /// Brings a host into a state and gives it these surroundings.
    pub fn new(host: RealHost, state: &WindowsState, proxies: Arc<Proxies>, region: String) -> io::Result<Self> {
        host.put(state)?;
        Ok(Self { host, proxies, region, boots: Mutex::default() })
    }

    /// The host itself.
    pub fn host(&self) -> &RealHost {
        &self.host
    }

    fn reboot(&self) -> io::Result<()> {
        let services = Platform::Windows.table().services;
        let before: Vec<usize> = services.iter().map(|(_, name)| self.host.starts(name)).collect();
        self.host.reboot()?;
        let mut boots = self.boots.lock().unwrap_or_else(PoisonError::into_inner);
        for ((service, name), before) in services.iter().zip(before) {
            *boots.entry(*service).or_default() += self.host.starts(name).saturating_sub(before);
        }
        Ok(())
    }

    fn starts(&self, service: Service) -> (usize, usize) {
        let services = Platform::Windows.table().services;
        let name = services.iter().find(|(known, _)| *known == service).map(|(_, name)| *name);
        let boots = self.boots.lock().unwrap_or_else(PoisonError::into_inner);
        (name.map_or(0, |name| self.host.starts(name)), boots.get(&service).copied().unwrap_or_default())
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
            Self::Real(body) => body.reboot(),
        }
    }

    /// Starts the machine again in the middle of a script: a model after so many steps of an apply, a real host before the
    /// first, because nobody can pull the plug of wine between two.
    pub fn run_into_reboot(&self, script: &str, steps: u32) -> io::Result<()> {
        match self {
            Self::Model(model) => {
                model.run_into_reboot(script, steps);
                Ok(())
            }
            Self::Real(body) => body.reboot(),
        }
    }

    /// How often a service was started since the host was made, and how often of these by a start of the machine.
    pub fn starts(&self, service: Service) -> (usize, usize) {
        match self {
            Self::Model(model) => model.starts(service),
            Self::Real(body) => body.starts(service),
        }
    }
}
