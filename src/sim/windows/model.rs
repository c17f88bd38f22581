//! Windows hosts with a modelled body: registry, `daemon.json` and services as values in memory, thousands if need be.
//!
//! It behaves as a host under wine does (see the tool's README), and tests hold the two equal. Two things are simpler than
//! on Windows: nothing happens by itself (no recovery actions), and a change of a start type counts at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::put_back::Kept;
use super::state::{
    DAEMON_JSON, HOME, LOCAL_SYSTEM_KEY, Look, MACHINE_KEY, PROXY_VARIABLES, RegValue, RegValues, ServiceLook,
    Settings, StartType, WindowsState, service_key,
};
use crate::catalog::Service;
use crate::sim::host::{Finished, ProxyAnswer};

/// A modelled host.
#[derive(Debug)]
pub struct ModelHost {
    machine: Mutex<Machine>,
    surroundings: Surroundings,
}

/// What is around a machine.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// The region that scripts find in `AWS_SSM_REGION_NAME`.
    pub region: String,
    /// How proxies (`HOST:PORT`) answer.
    pub proxies: BTreeMap<String, ProxyAnswer>,
    /// How all others answer.
    pub other_proxies: ProxyAnswer,
}

impl Surroundings {
    /// A network in which every proxy lets everybody through.
    pub fn open(region: &str) -> Self {
        Self { region: region.to_owned(), proxies: BTreeMap::new(), other_proxies: ProxyAnswer::Status(200) }
    }

    /// How the proxy at `host_port` answers.
    pub(super) fn answer(&self, host_port: &str) -> ProxyAnswer {
        self.proxies.get(host_port).copied().unwrap_or(self.other_proxies)
    }
}

impl ModelHost {
    /// A host in this state.
    pub fn new(state: &WindowsState, surroundings: Surroundings) -> Self {
        Self { machine: Mutex::new(Machine::new(state)), surroundings }
    }

    /// Brings the host into another state.
    pub fn put(&self, state: &WindowsState) {
        *self.machine() = Machine::new(state);
    }

    /// What an operator sees on the host.
    pub fn look(&self) -> Look {
        self.machine().look()
    }

    /// Stops the machine and starts it again.
    pub fn reboot(&self) {
        self.machine().reboot();
    }

    /// Runs a script that gets through `steps` of what it has to do before the machine loses its power; what it had to do
    /// besides is not done. Then the machine starts again.
    pub fn run_into_reboot(&self, script: &str, steps: u32) {
        self.machine().steps_left = Some(steps);
        self.run(script);
        let mut machine = self.machine();
        machine.steps_left = None;
        machine.reboot();
    }

    /// Lets docker start only with the settings with which it last ran.
    pub fn break_docker(&self) {
        self.machine().docker_is_broken = true;
    }

    /// How often a service was started since the host was made, and how often of these by a start of the machine.
    pub fn starts(&self, service: Service) -> (usize, usize) {
        self.machine().services.get(&service).map_or((0, 0), |installed| (installed.starts, installed.boots))
    }

    /// Runs a script, if it is that of one of our documents; any other script ends with 1 and a reason.
    pub fn run(&self, script: &str) -> Finished {
        let Some((text, exit)) = super::documents::run(script, &mut self.machine(), &self.surroundings) else {
            let reason = "modelled Windows hosts run proxyfleet's documents only; use `sim --winhost N` for others\n";
            return Finished {
                stdout: Vec::new(),
                stderr: reason.as_bytes().to_vec(),
                exit: Some(1),
                timed_out: false,
            };
        };
        Finished { stdout: text.into_bytes(), stderr: Vec::new(), exit: Some(exit), timed_out: false }
    }

    /// Does something to the machine as somebody else on it would.
    pub fn change<T>(&self, what: impl FnOnce(&mut Machine) -> T) -> T {
        what(&mut self.machine())
    }

    fn machine(&self) -> MutexGuard<'_, Machine> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The inside of a modelled host.
#[derive(Clone, Debug)]
pub struct Machine {
    /// `CurrentBuildNumber`
    pub(super) build: String,
    /// What the docker client says.
    pub docker_version: String,
    /// What follows the program in docker's `ImagePath`.
    pub docker_options: String,
    /// What the registry and docker's folder hold.
    pub settings: Settings,
    /// Files of proxyfleet's own.
    pub files: BTreeMap<String, Vec<u8>>,
    services: BTreeMap<Service, Installed>,
    /// The variables that services inherit: those that were there when the machine started.
    inherited: Variables,
    /// How often docker is still going to fail when it is told to start.
    docker_failures: u32,
    /// Whether docker starts only with what it last had.
    docker_is_broken: bool,
    /// How many steps of an apply are still carried out before the power goes; `None`: it stays.
    pub(super) steps_left: Option<u32>,
    /// What applies kept, the oldest first.
    pub(super) kept: Vec<Kept>,
    /// Runs of which something is no longer kept.
    pub(super) dropped: Vec<String>,
}

/// Proxy variables of a process, names in upper case.
type Variables = BTreeMap<String, String>;

#[derive(Clone, Debug)]
struct Installed {
    start: StartType,
    running: Option<Process>,
    /// The last process.
    last: Option<Process>,
    starts: usize,
    /// Of these, those at a start of the machine.
    boots: usize,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Process {
    variables: Variables,
    /// For docker: what it uses.
    proxies: [String; 3],
}

impl Machine {
    fn new(state: &WindowsState) -> Self {
        let before = state.before.as_ref().unwrap_or(&state.now);
        let mut machine = Self {
            build: state.build().to_owned(),
            docker_version: state.docker_version.clone(),
            docker_options: state.docker_options.clone(),
            settings: before.clone(),
            files: state.files.clone(),
            services: BTreeMap::new(),
            inherited: Variables::new(),
            docker_failures: 0,
            docker_is_broken: false,
            steps_left: None,
            kept: Vec::new(),
            dropped: Vec::new(),
        };
        machine.settings.environments.retain(|service, _| state.services.contains_key(service));
        for service in state.services.keys() {
            let installed = Installed { start: StartType::Automatic, running: None, last: None, starts: 0, boots: 0 };
            machine.services.insert(*service, installed);
        }
        for (service, spec) in &state.services {
            if spec.running {
                machine.start(*service);
            }
        }
        for (service, spec) in &state.services {
            if let Some(installed) = machine.services.get_mut(service) {
                installed.start = spec.start;
                installed.starts = 0;
            }
        }
        machine.settings = state.now.clone();
        machine.settings.environments.retain(|service, _| state.services.contains_key(service));
        machine
    }

    /// Whether a service is installed.
    pub fn has(&self, service: Service) -> bool {
        self.services.contains_key(&service)
    }

    /// Whether a service runs.
    pub fn is_running(&self, service: Service) -> bool {
        self.services.get(&service).is_some_and(|installed| installed.running.is_some())
    }

    /// When a service starts; `None` where it is not installed.
    pub fn start_type(&self, service: Service) -> Option<StartType> {
        self.services.get(&service).map(|installed| installed.start)
    }

    /// Lets the next starts of docker fail.
    pub fn fail_docker(&mut self, times: u32) {
        self.docker_failures = times;
    }

    /// Starts a service and what it depends on, unless it runs; says whether it runs then.
    pub fn start(&mut self, service: Service) -> bool {
        if self.is_running(service) {
            return true;
        }
        if self.start_type(service).is_none_or(|start| start == StartType::Disabled)
            || (service == Service::Ecs && !self.start(Service::Docker))
        {
            return false;
        }
        let mut process = Process { variables: self.variables(service), ..Process::default() };
        if service == Service::Docker {
            if self.docker_failures > 0 {
                self.docker_failures -= 1;
                return false;
            }
            let Some(proxies) = self.docker_proxies(&process.variables) else { return false };
            process.proxies = proxies;
            let last = self.services.get(&service).and_then(|installed| installed.last.as_ref());
            if self.docker_is_broken && last.is_some_and(|last| *last != process) {
                return false;
            }
        }
        if let Some(installed) = self.services.get_mut(&service) {
            installed.last = Some(process.clone());
            installed.running = Some(process);
            installed.starts += 1;
        }
        true
    }

    /// Stops a service and what depends on it.
    pub fn stop(&mut self, service: Service) {
        if service == Service::Docker {
            self.stop(Service::Ecs);
        }
        if let Some(installed) = self.services.get_mut(&service) {
            installed.running = None;
        }
    }

    /// Stops a service and starts it again, and what depends on it as well where that ran; says whether the service runs.
    pub fn restart(&mut self, service: Service) -> bool {
        let dependant_ran = service == Service::Docker && self.is_running(Service::Ecs);
        self.stop(service);
        let runs = self.start(service);
        if runs && dependant_ran {
            self.start(Service::Ecs);
        }
        runs
    }

    fn reboot(&mut self) {
        for service in Service::ALL {
            self.stop(service);
        }
        self.inherited.clear();
        // `LocalSystem`'s own variables win over the machine's.
        for (name, value) in self.settings.machine.iter().chain(&self.settings.local_system) {
            if let (RegValue::Sz(text) | RegValue::ExpandSz(text), Some(known)) = (value, proxy_name(name)) {
                self.inherited.insert(known.to_owned(), text.clone());
            }
        }
        let before: BTreeMap<Service, usize> =
            self.services.iter().map(|(service, installed)| (*service, installed.starts)).collect();
        for service in Service::ALL {
            if self.start_type(service) == Some(StartType::Automatic) {
                self.start(service);
            }
        }
        for (service, installed) in &mut self.services {
            installed.boots += installed.starts - before.get(service).copied().unwrap_or_default();
        }
    }

    /// The proxy variables with which a service would start now.
    fn variables(&self, service: Service) -> Variables {
        let mut variables = self.inherited.clone();
        if let Some(RegValue::MultiSz(strings)) = self.settings.environments.get(&service) {
            for string in strings.iter().take_while(|string| !string.is_empty()) {
                if let Some((name, value)) = split_entry(string)
                    && let Some(known) = proxy_name(name)
                {
                    variables.insert(known.to_owned(), value.to_owned());
                }
            }
        }
        variables
    }

    /// What docker would use; `None` where it refuses to start.
    fn docker_proxies(&self, variables: &Variables) -> Option<[String; 3]> {
        let mut file = serde_json::Value::Null;
        if let Some(bytes) = &self.settings.daemon_json {
            file = serde_json::from_slice(bytes).ok().filter(serde_json::Value::is_object)?;
        }
        Some([("http-proxy", 0), ("https-proxy", 1), ("no-proxy", 2)].map(|(member, index)| {
            let named = file["proxies"][member].as_str().filter(|value| !value.is_empty());
            let inherited = variables.get(PROXY_VARIABLES[index]).map(String::as_str);
            named.or(inherited).unwrap_or_default().to_owned()
        }))
    }

    /// What `docker info` says of http, https and no-proxy, credentials masked; `None` where docker does not run.
    pub(super) fn docker_info(&self) -> Option<[String; 3]> {
        let [http, https, bypass] = self.services.get(&Service::Docker)?.running.as_ref()?.proxies.clone();
        Some([mask(&http), mask(&https), bypass])
    }

    /// The value `ImagePath` of docker.
    pub(super) fn image_path(&self, service: Service) -> String {
        let options = if service == Service::Docker { self.docker_options.as_str() } else { "" };
        format!(r"C:\winhost\service-stub.exe {options}").trim_end().to_owned()
    }

    fn look(&self) -> Look {
        let mut look = Look::default();
        for (service, installed) in &self.services {
            let key = service_key(*service);
            let mut value = |name: &str, value: RegValue| look.registry.insert(format!(r"{key}\{name}"), value);
            value("ImagePath", RegValue::ExpandSz(self.image_path(*service)));
            value("Start", RegValue::Dword(installed.start.number()));
            if let Some(environment) = self.settings.environments.get(service) {
                value("Environment", environment.clone());
            }
            let process = installed.running.as_ref();
            let variables = process.map(|process| &process.variables);
            let proxies: BTreeSet<String> =
                variables.into_iter().flatten().map(|(name, value)| format!("{name}={value}")).collect();
            look.services
                .insert(*service, ServiceLook { running: process.is_some(), starts: installed.starts, proxies });
            if let (Service::Docker, Some(process)) = (service, process) {
                look.docker = process.proxies.to_vec();
            }
        }
        let mut variables = |key: &str, values: &RegValues| {
            look.registry.extend(values.iter().map(|(name, value)| (format!(r"{key}\{name}"), value.clone())));
        };
        variables(MACHINE_KEY, &self.settings.machine);
        variables(LOCAL_SYSTEM_KEY, &self.settings.local_system);
        let ours = self.files.iter().filter(|(path, _)| !path.starts_with(&format!(r"{HOME}\backup\")));
        look.files = ours.map(|(path, bytes)| (path.clone(), bytes.clone())).collect();
        if let Some(bytes) = &self.settings.daemon_json {
            look.files.insert(DAEMON_JSON.to_owned(), bytes.clone());
        }
        look
    }
}

/// The name in upper case of a variable for a proxy.
fn proxy_name(name: &str) -> Option<&'static str> {
    PROXY_VARIABLES.into_iter().find(|known| known.eq_ignore_ascii_case(name))
}

/// Splits `NAME=value` as the service manager does: a name has at least one character, which may be `=`.
fn split_entry(entry: &str) -> Option<(&str, &str)> {
    let first = entry.chars().next()?.len_utf8();
    let at = entry[first..].find('=')? + first;
    Some((&entry[..at], &entry[at + 1..]))
}

/// A URL without its credentials, as dockerd shows it.
fn mask(url: &str) -> String {
    match (url.find('@'), url.find("://")) {
        (Some(at), Some(scheme)) => format!("{}xxxxx:xxxxx{}", &url[..scheme + 3], &url[at..]),
        _ => url.to_owned(),
    }
}
