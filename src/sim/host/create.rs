//! Makes a host: its files, and what its services loaded and run with. No process is started for it.

use std::collections::BTreeSet;
use std::fs::{self, File, FileTimes};
use std::io::{self, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::dress::{Moment, dress};
use super::environment::{
    Environment, LoadedUnit, agent_environment, job_environment, load_manager, load_unit, systemd_environment,
    sysvinit_environment,
};
use super::plain::{Dice, has_ecs, plain_tree};
use super::spec::{Condition, DockerVersion, Fault, FaultWhen, HostSpec, LINUX_ONLY, ProxyAnswer};
use super::tree::{Node, Tree};
use crate::catalog::{Init, Platform, Service};

/// Files of a fresh host were written in September 2023, so that whatever is written later is seen to be newer.
const WRITTEN: Duration = Duration::from_secs(1_694_600_000);

pub(super) fn create(root: &Path, spec: &HostSpec) -> io::Result<()> {
    let mut dice = Dice::new(spec.seed);
    let plain = plain_tree(spec, &mut dice);
    let start = dress(&plain, spec, Moment::Start);
    let now = dress(&plain, spec, Moment::Now);
    let services = Services::new(spec, &start, &now);

    let mut files = Writer { root, folders: BTreeSet::new() };
    for folder in FOLDERS {
        files.folder(folder)?;
    }
    for (path, node) in now.nodes() {
        files.node(path, node)?;
    }
    files.state("host", host_facts(spec, &mut dice))?;
    files.state("proxies", proxies(spec))?;
    for counter in ["docker.starts", "docker.boots", "ecs.starts", "ecs.boots", "daemon-reloads", "tasks-killed"] {
        files.state(&format!("count/{counter}"), "0\n")?;
    }
    for condition in &spec.conditions {
        match condition {
            Condition::Failing(service, fault) => files.state(&format!("fail/{service}"), fault_text(fault))?,
            Condition::DiskFull => files.state("disk-full", "")?,
            _ => {}
        }
    }
    services.write(&mut files)
}

const FOLDERS: [&str; 14] = [
    "/.sim/state",
    "/.sim/loaded",
    "/.sim/running",
    "/.sim/count",
    "/.sim/fail",
    "/etc/systemd/system",
    "/etc/docker",
    "/proc",
    "/run/lock",
    "/tmp",
    "/var/lib/amazon/ssm",
    "/var/lib/ecs/data",
    "/var/log/ecs",
    "/var/tmp",
];

/// What a fault's file says; see `find_fault` in `shims/common.sh`.
pub(super) fn fault_text(fault: &Fault) -> String {
    let when = match fault.when {
        FaultWhen::Start => "start",
        FaultWhen::Late => "late",
        FaultWhen::Changed => "changed",
    };
    format!("{when}\n{}\n", fault.containing.as_deref().unwrap_or_default())
}

/// One line of the file `proxies`.
pub(super) fn proxy_line(host_port: &str, answer: ProxyAnswer) -> String {
    match answer {
        ProxyAnswer::Status(status) => format!("{host_port} {status}\n"),
        ProxyAnswer::Unreachable => format!("{host_port} unreachable\n"),
    }
}

fn proxies(spec: &HostSpec) -> String {
    let named = spec.conditions.iter().rev().filter_map(|condition| match condition {
        Condition::Proxy { host_port, answer } => Some(proxy_line(host_port, *answer)),
        _ => None,
    });
    named.chain([proxy_line("*", spec.other_proxies)]).collect()
}

fn host_facts(spec: &HostSpec, dice: &mut Dice) -> String {
    let systemd = match spec.platform {
        Platform::AmazonLinux1 => 0,
        Platform::AmazonLinux2 => 219,
        Platform::AmazonLinux2023 => 252,
        Platform::Windows => unreachable!("{LINUX_ONLY}"),
    };
    let tasks = 1 + dice.roll(6);
    format!("systemd={systemd}\ndocker_version={}\ntasks={tasks}\n", spec.docker.number())
}

/// What the services of a fresh host are like.
struct Services {
    /// On systemd hosts: the unit, its files when it was loaded, for docker and ecs.
    units: Vec<(Service, LoadedUnit, Tree)>,
    manager: Environment,
    docker: Option<Environment>,
    docker_json: Vec<u8>,
    docker_state: &'static str,
    ecs: Option<Environment>,
    agent: Option<Environment>,
    ecs_state: &'static str,
}

impl Services {
    fn new(spec: &HostSpec, start: &Tree, now: &Tree) -> Self {
        let has = |wanted: fn(&Condition) -> bool| spec.conditions.iter().any(wanted);
        let has_ecs = has_ecs(spec);
        let docker_json = start.get("/etc/docker/daemon.json").map(running_proxies).unwrap_or_default();
        // Docker 20 refuses the key, so it cannot run on such a host.
        let refuses = spec.docker == DockerVersion::Engine20 && !docker_json.is_empty();
        let stopped = has(|condition| matches!(condition, Condition::DockerStopped));
        let docker_state = if refuses {
            "failed"
        } else if stopped {
            "inactive"
        } else {
            "active"
        };
        let ecs_stopped = has(|condition| matches!(condition, Condition::EcsStopped));
        let ecs_state = if has_ecs && docker_state == "active" && !ecs_stopped { "active" } else { "inactive" };

        let manager = load_manager(start);
        let (mut docker, mut ecs, mut units) = (None, None, Vec::new());
        match spec.platform.table().init {
            Init::Systemd => {
                for (service, _) in spec.platform.table().services {
                    let Some(started) = load_unit(start, service.name()) else { continue };
                    let environment = systemd_environment(start, &manager, &started);
                    match service {
                        Service::Docker => docker = Some(environment),
                        Service::Ecs => ecs = Some(environment),
                        Service::SsmAgent => {}
                    }
                    let loaded_from = if was_reloaded(spec, *service) { now } else { start };
                    let loaded = load_unit(loaded_from, service.name()).unwrap_or(started);
                    units.push((*service, loaded, loaded_from.clone()));
                }
            }
            Init::Upstart => {
                docker = Some(sysvinit_environment(start));
                ecs = has_ecs.then(|| job_environment(start));
            }
            Init::ServiceManager => unreachable!("{LINUX_ONLY}"),
        }
        let agent = has_ecs.then(|| agent_environment(start));
        Self { units, manager, docker, docker_json, docker_state, ecs, agent, ecs_state }
    }

    fn write(&self, files: &mut Writer<'_>) -> io::Result<()> {
        files.state("loaded/manager.env", self.manager.to_bytes(b'\n'))?;
        for (service, unit, tree) in &self.units {
            let at = |what: &str| format!("loaded/{service}.{what}");
            files.state(&at("env"), unit.environment.to_bytes(b'\n'))?;
            files.state(&at("envfiles"), join_lines(&unit.environment_files))?;
            files.state(&at("deps"), join_lines(&unit.dependencies))?;
            files.state(&at("dropins"), join_lines(&unit.drop_ins))?;
            for path in [&unit.fragment].into_iter().chain(&unit.drop_ins) {
                // The name under which `systemctl.sh` looks for the copy.
                let top = path.trim_start_matches('/').split('/').next().unwrap_or_default();
                let name = path.rsplit('/').next().unwrap_or_default();
                files.state(&format!("loaded/{service}.files/{top}+{name}"), tree.get(path).unwrap_or_default())?;
            }
        }
        files.state("running/docker.json", &self.docker_json)?;
        let mut next_id = 2000;
        let started = [(Service::Docker, &self.docker, self.docker_state), (Service::Ecs, &self.ecs, self.ecs_state)];
        for (service, environment, state) in started {
            let mut process = 0;
            if let Some(environment) = environment {
                files.state(&format!("running/{service}.env"), environment.to_bytes(b'\n'))?;
                if state == "active" {
                    next_id += 400;
                    process = next_id;
                    files.file(&format!("/proc/{process}/environ"), &environment.to_bytes(0), 0o400)?;
                }
            }
            files.state(&format!("state/{service}"), format!("state={state}\npid={process}\n"))?;
            if service == Service::Docker && process > 0 {
                files.file("/var/run/docker.pid", process.to_string().as_bytes(), 0o644)?;
            }
        }
        if let Some(agent) = &self.agent {
            files.state("running/agent.env", agent.to_bytes(b'\n'))?;
        }
        files.state("pid", format!("{next_id}\n"))
    }
}

/// Whether the files of `service` are loaded as they are now, although it started with others.
fn was_reloaded(spec: &HostSpec, service: Service) -> bool {
    spec.conditions.iter().any(
        |condition| matches!(condition, Condition::Stale { service: stale, reloaded: true, .. } if *stale == service),
    )
}

/// The lines that `daemon-json.awk` prints.
fn running_proxies(daemon_json: &[u8]) -> Vec<u8> {
    let parsed: serde_json::Value = serde_json::from_slice(daemon_json).unwrap_or_default();
    [("http", "http-proxy"), ("https", "https-proxy"), ("bypass", "no-proxy")]
        .into_iter()
        .filter_map(|(word, key)| Some(format!("{word} {}\n", parsed["proxies"][key].as_str()?)))
        .collect::<String>()
        .into_bytes()
}

fn join_lines(lines: &[String]) -> String {
    let lines: Vec<String> = lines.iter().map(|line| format!("{line}\n")).collect();
    lines.concat()
}

/// Writes files below a root.
struct Writer<'a> {
    root: &'a Path,
    folders: BTreeSet<String>,
}

impl Writer<'_> {
    fn folder(&mut self, folder: &str) -> io::Result<()> {
        if self.folders.insert(folder.to_owned()) {
            fs::create_dir_all(self.root.join(folder.trim_start_matches('/')))?;
        }
        Ok(())
    }

    fn node(&mut self, path: &str, node: &Node) -> io::Result<()> {
        match node {
            Node::File { bytes, mode } => self.file(path, bytes, *mode),
            Node::Link(target) => {
                self.folder(parent(path))?;
                symlink(target, self.root.join(path.trim_start_matches('/')))
            }
        }
    }

    fn file(&mut self, path: &str, bytes: &[u8], mode: u32) -> io::Result<()> {
        self.folder(parent(path))?;
        let mut file = File::create(self.root.join(path.trim_start_matches('/')))?;
        file.write_all(bytes)?;
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        file.set_times(FileTimes::new().set_modified(SystemTime::UNIX_EPOCH + WRITTEN))
    }

    fn state(&mut self, name: &str, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.file(&format!("/.sim/{name}"), bytes.as_ref(), 0o644)
    }
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}
