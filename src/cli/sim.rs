//! `sim`: serve an embedded fleet, and start one for `--sim`.

use std::net::SocketAddr;

use super::args::{Global, Sim as Options};
use super::error::CliError;
use super::{Exit, interrupted};
use crate::report::Screen;
use crate::sim::windows::Winhost;
use crate::sim::{Sim, SimOptions};

/// A loopback address with a port that the system chooses.
#[cfg(feature = "aws")]
pub(super) const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// Starts an embedded fleet in which `winhost` Windows instances are real hosts.
pub(super) fn start(instances: usize, seed: u64, listen: SocketAddr, winhost: usize) -> Result<Sim, CliError> {
    if !listen.ip().is_loopback() {
        return Err(CliError::NotLoopback { address: listen });
    }
    if winhost > 0 {
        Winhost::find()?;
    }
    Sim::start(SimOptions { instances, seed, listen, winhost, ..SimOptions::default() })
        .map_err(|source| CliError::Io { doing: format!("starting the embedded fleet on {listen}"), source })
}

pub(super) async fn run(options: &Options, _: &Global, screen: Screen) -> Result<Exit, CliError> {
    let sim = start(options.instances, options.seed, options.listen, options.winhost)?;
    let real = sim.real_windows_hosts();
    let real: Vec<String> = real
        .iter()
        .map(|(id, folder)| format!("Real Windows host {id}: winhost exec {}\n", folder.display()))
        .collect();
    let real = real.concat();
    screen.result(&format!(
        "Serving {} instances, seed {}, on {}\n{real}Try: proxyfleet plan policies/ --endpoint-url {}\nCtrl-C ends it.",
        options.instances,
        options.seed,
        sim.endpoint_url(),
        sim.endpoint_url(),
    ));
    // Dropping the fleet afterwards stops the server and removes its folders.
    interrupted().await.map_err(|source| CliError::Io { doing: "waiting for Ctrl-C".to_owned(), source })?;
    Ok(Exit::Success)
}
