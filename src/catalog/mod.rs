//! What exists on which platform: the components that can be given a proxy, the carriers they read it from, the settings
//! in each carrier, the services to restart, and what each of them can tell about itself.
//!
//! This is the only place that names a path such as `/etc/ecs/ecs.config` (decision D1). The planner, the documents and
//! the embedded fleet read these tables. Adding a platform means adding one file under `platforms/`.
//!
//! Not here: how a value is written into a file ([`carrier`] holds the syntaxes), and anything that an instance reported
//! (that is [`crate::fleet`]).

pub mod carrier;
mod platforms;
mod value;

use std::fmt;

pub use value::{
    ALWAYS_BYPASSED, DOCKER_PIPE, DOCKER_SOCKET, Dialect, MAX_BYPASS_CHARS, NO_PROXY_PATTERN, PROXY_URL_PATTERN,
    ProxyValues, ValueKind, ValueRule, is_no_proxy, is_proxy_url, normalise_list,
};

/// What a managed node runs, as far as proxyfleet can manage it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Platform {
    /// Amazon Linux AMI 2018.03: upstart and sysvinit, yum.
    AmazonLinux1,
    /// Amazon Linux 2: systemd 219, yum.
    AmazonLinux2,
    /// Amazon Linux 2023: systemd 252, dnf.
    AmazonLinux2023,
    /// Windows Server 2016, 2019, 2022 and 2025.
    Windows,
}

/// Where the ECS agent on Linux keeps what it knows of itself, the cluster it has joined included; newer agents use the
/// first. Once one is there, the agent refuses to start with the name of another cluster (proxy-by-os 2.4, S1).
pub const AGENT_STATE: [&str; 2] = ["/var/lib/ecs/data/agent.db", "/var/lib/ecs/data/ecs_agent_data.json"];

/// The folder of the same files on Windows, where the Machine variable `ECS_DATADIR` names no other.
pub const WINDOWS_AGENT_FOLDER: &str = r"C:\ProgramData\Amazon\ECS\data";

impl Platform {
    /// Every platform, in the order in which screens list them.
    pub const ALL: [Self; 4] = [Self::AmazonLinux1, Self::AmazonLinux2, Self::AmazonLinux2023, Self::Windows];

    /// Those on which shell scripts run.
    pub const LINUX: [Self; 3] = [Self::AmazonLinux1, Self::AmazonLinux2, Self::AmazonLinux2023];

    /// The word used in policies, reports and on screen.
    pub const fn name(self) -> &'static str {
        self.table().name
    }

    /// The platform called `name` in a policy or a report.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|platform| platform.name() == name)
    }

    /// The platform behind what SSM calls `PlatformName` and `PlatformVersion`; `None` for a system that is not supported.
    pub fn from_ssm(name: &str, version: &str) -> Option<Self> {
        let name = name.trim().to_ascii_lowercase();
        Self::ALL.into_iter().find(|platform| platform.table().system.is(&name, version))
    }

    /// Everything the catalogue knows of this platform.
    pub const fn table(self) -> &'static PlatformTable {
        match self {
            Self::AmazonLinux1 => &platforms::amazon_linux_1::TABLE,
            Self::AmazonLinux2 => &platforms::amazon_linux_2::TABLE,
            Self::AmazonLinux2023 => &platforms::amazon_linux_2023::TABLE,
            Self::Windows => &platforms::windows::TABLE,
        }
    }

    /// The row of `component` on this platform; `None` where the platform does not have it.
    pub fn component(self, component: Component) -> Option<&'static ComponentRow> {
        self.table().components.iter().find(|row| row.component == component)
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

/// One consumer that can be given a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Component {
    /// The ECS agent container.
    EcsAgent,
    /// The service on the host that fetches and starts the ECS agent.
    EcsInit,
    /// The Docker daemon.
    Docker,
    /// yum or dnf.
    PackageManager,
    /// Environment variables of the whole machine, which every service on it inherits: the way of the ECS guide on Windows.
    MachineEnvironment,
    /// The SSM agent, through which everything is done.
    SsmAgent,
}

impl Component {
    /// Every component, in the order in which screens list them.
    pub const ALL: [Self; 6] =
        [Self::EcsAgent, Self::EcsInit, Self::Docker, Self::PackageManager, Self::MachineEnvironment, Self::SsmAgent];

    /// Those that a policy can name.
    pub const IN_POLICIES: [Self; 5] =
        [Self::EcsAgent, Self::EcsInit, Self::Docker, Self::PackageManager, Self::MachineEnvironment];

    /// The word used in policies, reports and on screen.
    pub const fn name(self) -> &'static str {
        match self {
            Self::EcsAgent => "ecs-agent",
            Self::EcsInit => "ecs-init",
            Self::Docker => "docker",
            Self::PackageManager => "package-manager",
            Self::MachineEnvironment => "machine-environment",
            Self::SsmAgent => "ssm-agent",
        }
    }

    /// The component called `name` in a policy or a report.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|component| component.name() == name)
    }

    /// What a policy may do with it.
    pub const fn scope(self) -> ComponentScope {
        match self {
            Self::EcsAgent | Self::EcsInit | Self::Docker | Self::PackageManager => ComponentScope::Default,
            Self::MachineEnvironment => ComponentScope::OptIn,
            Self::SsmAgent => ComponentScope::ObservedOnly,
        }
    }
}

impl fmt::Display for Component {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

/// A key in a carrier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// `HTTP_PROXY`
    HttpProxy,
    /// `HTTPS_PROXY`
    HttpsProxy,
    /// `NO_PROXY`
    NoProxy,
    /// `proxy` of yum and dnf
    Proxy,
}

impl Key {
    /// Every key, in the order in which carriers and reports list them.
    pub const ALL: [Self; 4] = [Self::HttpProxy, Self::HttpsProxy, Self::NoProxy, Self::Proxy];

    /// The key as it is written in the carrier and in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::HttpProxy => "HTTP_PROXY",
            Self::HttpsProxy => "HTTPS_PROXY",
            Self::NoProxy => "NO_PROXY",
            Self::Proxy => "proxy",
        }
    }

    /// The key called `name` in a report.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|key| key.name() == name)
    }

    /// How values of this key are compared and shown.
    pub const fn kind(self) -> ValueKind {
        match self {
            Self::NoProxy => ValueKind::List,
            Self::HttpProxy | Self::HttpsProxy | Self::Proxy => ValueKind::Url,
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

/// A service that reads its proxy when it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Service {
    /// The Docker daemon. Its restart kills every task on the host unless live-restore is on (proxy-by-os 6.4).
    Docker,
    /// The ECS agent: on Linux ecs-init together with the agent container it creates, on Windows the service `AmazonECS`. Its
    /// restart leaves tasks alone (proxy-by-os 4.4).
    Ecs,
    /// The SSM agent. It is looked at, not restarted.
    SsmAgent,
}

impl Service {
    /// Every service, in the safe order of restarts (proxy-by-os 13.4).
    pub const ALL: [Self; 3] = [Self::Docker, Self::Ecs, Self::SsmAgent];

    /// The word in reports and on screen; on Linux the name of the unit or job as well.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Ecs => "ecs",
            Self::SsmAgent => "ssm-agent",
        }
    }

    /// The service called `name` in a report.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|service| service.name() == name)
    }

    /// Whether a restart stops the tasks that run on the host.
    pub const fn restart_stops_tasks(self) -> bool {
        matches!(self, Self::Docker)
    }
}

impl fmt::Display for Service {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

/// Everything known of one platform.
#[derive(Debug)]
pub struct PlatformTable {
    /// The word used in policies and reports.
    pub name: &'static str,
    /// The name for people.
    pub title: &'static str,
    /// How it is told from other systems.
    pub system: System,
    /// The suffix of the apply document's name: `ProxyFleet-Apply-<suffix>`.
    pub document_suffix: &'static str,
    /// How services are asked about and restarted.
    pub init: Init,
    /// The services, in the order of [`Service::ALL`], with the names that the service manager has for them.
    pub services: &'static [(Service, &'static str)],
    /// The components, in the order of [`Component::ALL`].
    pub components: &'static [ComponentRow],
}

impl PlatformTable {
    /// The name that the service manager has for `service`; its own word where the platform does not have it.
    pub fn service_name(&self, service: Service) -> &'static str {
        self.services.iter().find(|(known, _)| *known == service).map_or(service.name(), |(_, name)| name)
    }
}

/// How a system is told from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum System {
    /// `ID=amzn` in `/etc/os-release` and `Amazon Linux` in SSM (proxy-by-os 2.4, S7).
    AmazonLinux {
        /// `VERSION_ID` of `/etc/os-release`, and `PlatformVersion` of SSM.
        version: &'static str,
    },
    /// Windows Server: `Microsoft Windows Server` in SSM.
    WindowsServer {
        /// The year of each release with its build number, which SSM shows as `10.0.BUILD` and the registry as
        /// `CurrentBuildNumber`.
        releases: &'static [(&'static str, &'static str)],
    },
}

impl System {
    /// Whether this is what SSM calls `name` (in lower case) with this `version`.
    fn is(self, name: &str, version: &str) -> bool {
        match self {
            Self::AmazonLinux { version: known } => {
                name.starts_with("amazon linux")
                    && (version == known || version.strip_prefix(known).is_some_and(|rest| rest.starts_with('.')))
            }
            Self::WindowsServer { releases } => {
                let build = version.strip_prefix("10.0.").map(|rest| rest.split('.').next().unwrap_or(rest));
                name.starts_with("microsoft windows server") && releases.iter().any(|(_, known)| build == Some(*known))
            }
        }
    }
}

/// The init system of a platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Init {
    /// `systemctl`
    Systemd,
    /// upstart for `ecs` (`initctl`), sysvinit for `docker` (`service`).
    Upstart,
    /// The service control manager of Windows.
    ServiceManager,
}

impl Init {
    /// The word used in the generated tables of the scripts.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Systemd => "systemd",
            Self::Upstart => "upstart",
            Self::ServiceManager => "service-manager",
        }
    }
}

/// One component on one platform.
#[derive(Debug)]
pub struct ComponentRow {
    /// Which component.
    pub component: Component,
    /// The service that must start again before a change counts; `None` where the file is read at each run.
    pub service: Option<Service>,
    /// What carries its proxy.
    pub carrier: Carrier,
    /// What carries it where Docker is older than 23 and does not know `proxies` in its `daemon.json`; `None` where
    /// there is no choice.
    pub fallback: Option<Carrier>,
    /// Whether the service manager keeps a loaded view of the carrier that can differ from the file.
    pub loaded: bool,
    /// How to ask the running process.
    pub running: RunningProbe,
    /// Files that can set the same variables for the same consumer, and what becomes of them.
    pub rivals: &'static [Rival],
}

impl ComponentRow {
    /// The carrier at `path`, of those that the component can have.
    pub fn carrier_at(&self, path: &str) -> Option<&Carrier> {
        std::iter::once(&self.carrier).chain(&self.fallback).find(|carrier| carrier.path == path)
    }
}

/// What a policy may do with a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ComponentScope {
    /// Governed by every policy that does not say otherwise.
    Default,
    /// Governed only by policies that name it.
    OptIn,
    /// Looked at and told of, never written.
    ObservedOnly,
}

/// A file, or a place in the registry, that holds settings of one component.
#[derive(Debug, PartialEq, Eq)]
pub struct Carrier {
    /// Absolute path on the instance; in the registry the path of the value, or of the key where each setting is a value.
    pub path: &'static str,
    /// How the file is written.
    pub syntax: carrier::Syntax,
    /// Whether proxyfleet puts its header into the file when it has to create it, and takes the file away again
    /// when nothing but the header is left. False for files that belong to somebody else.
    pub header: bool,
    /// The settings, in the order in which they are written.
    pub settings: &'static [Setting],
}

impl Carrier {
    /// Whether it is a place in the registry and not a file.
    pub const fn is_in_registry(&self) -> bool {
        matches!(self.syntax, carrier::Syntax::ServiceEnvironment | carrier::Syntax::MachineEnvironment)
    }
}

/// One key in a carrier and the rule for its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The key.
    pub key: Key,
    /// Where its value comes from.
    pub rule: ValueRule,
}

/// How a component's running truth is found out (proxy-by-os 14).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunningProbe {
    /// `docker inspect ecs-agent`: the environment the agent container was created with.
    AgentContainer,
    /// `/proc/<main pid>/environ` of the component's service.
    ProcessEnvironment,
    /// `docker info`: what the daemon uses, all of its sources merged.
    DockerInfo,
    /// proxyfleet's own note of the values with which it last saw the service start. Windows shows nobody the environment
    /// of another process (proxy-by-os 8.4), but a service starts with what the registry says, so the note holds as long as
    /// the carrier has not changed.
    StartRecord,
    /// A process runs, and nothing tells what it has.
    Hidden,
    /// Nothing runs; the file is read at each use.
    None,
}

impl RunningProbe {
    /// The word used in the generated tables of the scripts.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AgentContainer => "container",
            Self::ProcessEnvironment => "process",
            Self::DockerInfo => "docker-info",
            Self::StartRecord => "start-record",
            Self::Hidden => "hidden",
            Self::None => "none",
        }
    }
}

/// Another place that can set the same variables.
#[derive(Debug)]
pub struct Rival {
    /// A file, a place in the registry, or a folder of `*.conf` files where [`RivalKind::DropIns`].
    pub path: &'static str,
    /// How it is read.
    pub kind: RivalKind,
}

/// What a rival is and who wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RivalKind {
    /// The other `*.conf` files of a drop-in folder: those that sort after our file win, earlier ones lose.
    DropIns,
    /// An `EnvironmentFile=` of the unit: it beats `Environment=` whatever the order (proxy-by-os 13.1).
    EnvironmentFile,
    /// `export KEY=...` lines in a file that systemd reads as an environment file: they have no effect (proxy-by-os S5).
    InertExports,
    /// `proxies` in Docker's `daemon.json`: beats the environment since Engine 23 (proxy-by-os 6.1).
    DaemonJson,
    /// `DefaultEnvironment=` of the service manager: reaches every unit, loses against the unit's own (proxy-by-os 9.4).
    DefaultEnvironment,
    /// The `Environment` of a Windows service that has another carrier: loses against it (proxy-by-os 8.3).
    ServiceEnvironment,
    /// Environment variables of the machine or of the system account: every service inherits them, its own carrier wins
    /// (proxy-by-os 8.1).
    MachineVariables,
    /// The command line of a Windows service: an option of Docker that `daemon.json` sets as well keeps Docker from starting
    /// (proxy-by-os 18).
    CommandLine,
}

impl RivalKind {
    /// The word used in the generated tables of the scripts.
    pub const fn name(self) -> &'static str {
        match self {
            Self::DropIns => "drop-ins",
            Self::EnvironmentFile => "environment-file",
            Self::InertExports => "inert-exports",
            Self::DaemonJson => "daemon-json",
            Self::DefaultEnvironment => "default-environment",
            Self::ServiceEnvironment => "service-environment",
            Self::MachineVariables => "machine-variables",
            Self::CommandLine => "command-line",
        }
    }
}
