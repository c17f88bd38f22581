//! `sim`: serve an embedded fleet, and start one for `--sim`.

use super::args::{Global, Sim as Options};
use super::error::CliError;
use super::{Exit, interrupted};
use crate::report::Screen;
use crate::sim::windows::Winhost;
use crate::sim::{Faults, Sim, SimOptions};

/// Starts an embedded fleet.
pub(super) fn start(options: SimOptions) -> Result<Sim, CliError> {
    let (listen, winhost) = (options.listen, options.winhost);
    if !listen.ip().is_loopback() {
        return Err(CliError::NotLoopback { address: listen });
    }
    if winhost > 0 {
        Winhost::find()?;
    }
    Sim::start(options)
        .map_err(|source| CliError::Io { doing: format!("starting the embedded fleet on {listen}"), source })
}

pub(super) async fn run(options: &Options, _: &Global, screen: Screen) -> Result<Exit, CliError> {
    let faults = options.faults.clone().unwrap_or_default();
    let sim = start(SimOptions {
        instances: options.instances,
        seed: options.seed,
        listen: options.listen,
        winhost: options.winhost,
        faults: faults.clone(),
        ..SimOptions::default()
    })?;
    let real = sim.real_windows_hosts();
    let real: Vec<String> = real
        .iter()
        .map(|(id, folder)| format!("Real Windows host {id}: winhost exec {}\n", folder.display()))
        .collect();
    let real = real.concat();
    let faults = if faults == Faults::default() { String::new() } else { format!("Faults: {faults}\n") };
    screen.result(&format!(
        "Serving {} instances, seed {}, on {}\n{faults}{real}Try: proxyfleet plan policies/ --endpoint-url {}\nCtrl-C ends it.",
        options.instances,
        options.seed,
        sim.endpoint_url(),
        sim.endpoint_url(),
    ));
    // Dropping the fleet afterwards stops the server and removes its folders.
    interrupted().await.map_err(|source| CliError::Io { doing: "waiting for Ctrl-C".to_owned(), source })?;
    Ok(Exit::Success)
}
