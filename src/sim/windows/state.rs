//! What a Windows host is like: starting states as data, and what an operator sees on one.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::winhost::ServerVersion;
use crate::catalog::{Platform, ProxyValues, Service};

/// Docker's own file.
pub const DAEMON_JSON: &str = r"C:\ProgramData\docker\config\daemon.json";
/// The folder that only proxyfleet uses.
pub const HOME: &str = r"C:\ProgramData\proxyfleet";

/// A value of the registry with its kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RegValue {
    /// `REG_SZ`
    Sz(String),
    /// `REG_EXPAND_SZ`, unexpanded.
    ExpandSz(String),
    /// `REG_MULTI_SZ`
    MultiSz(Vec<String>),
    /// `REG_DWORD`
    Dword(u32),
}

impl RegValue {
    /// A `REG_MULTI_SZ` of these strings.
    pub fn multi<'a>(strings: impl IntoIterator<Item = &'a str>) -> Self {
        Self::MultiSz(strings.into_iter().map(str::to_owned).collect())
    }

    /// The name that .NET has for the kind.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Sz(_) => "String",
            Self::ExpandSz(_) => "ExpandString",
            Self::MultiSz(_) => "MultiString",
            Self::Dword(_) => "DWord",
        }
    }
}

/// Named values of a registry key, in any order; names differ by more than their case.
pub type RegValues = BTreeMap<String, RegValue>;

/// Everything that can hold proxy settings, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// The value `Environment` of each service that has one.
    pub environments: BTreeMap<Service, RegValue>,
    /// The machine's environment variables, beyond those of Windows itself.
    pub machine: RegValues,
    /// Those of `LocalSystem`: `HKU\.DEFAULT\Environment`.
    pub local_system: RegValues,
    /// The bytes of `daemon.json`.
    pub daemon_json: Option<Vec<u8>>,
}

impl Settings {
    /// Nothing anywhere.
    pub fn none() -> Self {
        Self::default()
    }

    /// What an apply of these values leaves on a host that had nothing; `fallback` where Docker is older than 23.
    pub fn configured(values: &ProxyValues, fallback: bool) -> Self {
        let mut settings = Self::none();
        for row in Platform::Windows.table().components {
            let carrier = if fallback { row.fallback.as_ref().unwrap_or(&row.carrier) } else { &row.carrier };
            let wanted = carrier.settings.iter().map(|setting| (setting.key, values.value(setting.rule)));
            match (row.component, row.service, row.fallback.is_some() && !fallback) {
                (crate::catalog::Component::SsmAgent, ..) | (_, None, _) => {}
                (_, Some(service), false) => {
                    let strings = wanted.map(|(key, value)| format!("{key}={value}")).collect();
                    settings.environments.insert(service, RegValue::MultiSz(strings));
                }
                (_, Some(_), true) => {
                    let members: Vec<String> = wanted
                        .map(|(key, value)| {
                            let name = key.name().to_ascii_lowercase().replace('_', "-");
                            format!("    \"{name}\": {}", serde_json::Value::from(value))
                        })
                        .collect();
                    let text = format!("{{\n  \"proxies\": {{\n{}\n  }}\n}}\n", members.join(",\n"));
                    settings.daemon_json = Some(text.into_bytes());
                }
            }
        }
        settings
    }
}

/// When the service manager starts a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StartType {
    /// `Start` = 2: when the machine starts.
    Automatic,
    /// `Start` = 3: when somebody asks.
    Manual,
    /// `Start` = 4: never.
    Disabled,
}

impl StartType {
    /// The value of `Start` in the registry.
    pub const fn number(self) -> u32 {
        match self {
            Self::Automatic => 2,
            Self::Manual => 3,
            Self::Disabled => 4,
        }
    }

    /// The start type behind a value of `Start`.
    pub const fn from_number(number: u32) -> Option<Self> {
        match number {
            2 => Some(Self::Automatic),
            3 => Some(Self::Manual),
            4 => Some(Self::Disabled),
            _ => None,
        }
    }
}

/// One service of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceSpec {
    /// When it starts.
    pub start: StartType,
    /// Whether it runs. `AmazonECS` runs only where docker does.
    pub running: bool,
}

/// The state of a Windows host before anything happens to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WindowsState {
    /// The version of the server that a real host is made as.
    pub version: ServerVersion,
    /// `CurrentBuildNumber`, where it is not that of the version.
    pub build: Option<String>,
    /// What the docker client says.
    pub docker_version: String,
    /// What follows the program in docker's `ImagePath`.
    pub docker_options: String,
    /// The services; a missing one is not installed.
    pub services: BTreeMap<Service, ServiceSpec>,
    /// What the running services found when they started; `None`: what there is now. The variables of the machine and of
    /// `LocalSystem` reach a service only after the machine has started anew.
    pub before: Option<Settings>,
    /// What there is now.
    pub now: Settings,
    /// Other files, such as proxyfleet's own.
    pub files: BTreeMap<String, Vec<u8>>,
}

/// The version of Docker that a plain host has.
pub const DOCKER_VERSION: &str = "25.0.6";

impl WindowsState {
    /// A plain host: all services run, no proxy anywhere.
    pub fn plain() -> Self {
        let running = ServiceSpec { start: StartType::Automatic, running: true };
        Self {
            version: ServerVersion::Server2022,
            build: None,
            docker_version: DOCKER_VERSION.to_owned(),
            docker_options: String::new(),
            services: Service::ALL.into_iter().map(|service| (service, running)).collect(),
            before: None,
            now: Settings::none(),
            files: BTreeMap::new(),
        }
    }

    /// The same host with other settings in place since before the services started.
    #[must_use]
    pub fn with(mut self, settings: Settings) -> Self {
        self.now = settings;
        self
    }

    /// The same host with services that started when there were other settings.
    #[must_use]
    pub fn started_with(mut self, settings: Settings) -> Self {
        self.before = Some(settings);
        self
    }

    /// The same host with a service that does not run and starts as said.
    #[must_use]
    pub fn stopped(mut self, service: Service, start: StartType) -> Self {
        self.services.insert(service, ServiceSpec { start, running: false });
        if service == Service::Docker
            && let Some(ecs) = self.services.get_mut(&Service::Ecs)
        {
            ecs.running = false;
        }
        self
    }

    /// The build number.
    pub fn build(&self) -> &str {
        self.build.as_deref().unwrap_or(self.version.build())
    }
}

/// What an operator sees on a host, as far as it has to do with proxies. Two hosts in the same state look the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// Values of the registry by their path, with the names in the case that they have.
    pub registry: BTreeMap<String, RegValue>,
    /// Files of docker's folder and of our own with their content, less backups and the lock; empty folders are not seen.
    pub files: BTreeMap<String, Vec<u8>>,
    /// The services.
    pub services: BTreeMap<Service, ServiceLook>,
    /// What docker uses: http, https, no-proxy; empty where it does not run.
    pub docker: Vec<String>,
}

impl fmt::Display for Look {
    /// A line for each thing that is seen.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (path, value) in &self.registry {
            writeln!(formatter, "value {path} {value:?}")?;
        }
        for (path, bytes) in &self.files {
            writeln!(formatter, "file {path} {:?}", String::from_utf8_lossy(bytes))?;
        }
        for (service, look) in &self.services {
            writeln!(formatter, "service {service} running {} starts {}", look.running, look.starts)?;
            for variable in &look.proxies {
                writeln!(formatter, "variable of {service} {variable}")?;
            }
        }
        writeln!(formatter, "docker {:?}", self.docker)
    }
}

/// What an operator sees of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceLook {
    /// Whether it runs.
    pub running: bool,
    /// How often it was started since the state was made.
    pub starts: usize,
    /// The proxy variables of its process, names in upper case; empty where it does not run.
    pub proxies: BTreeSet<String>,
}

/// The path under which a host keeps the `Environment` of a service.
pub(super) fn service_key(service: Service) -> String {
    format!(r"HKLM\SYSTEM\CurrentControlSet\Services\{}", Platform::Windows.table().service_name(service))
}

/// The key of the machine's variables.
pub(super) const MACHINE_KEY: &str = r"HKLM\SYSTEM\CurrentControlSet\Control\Session Manager\Environment";
/// The key of `LocalSystem`'s variables.
pub(super) const LOCAL_SYSTEM_KEY: &str = r"HKU\.DEFAULT\Environment";

/// Variables by which programs find their proxy.
pub(super) const PROXY_VARIABLES: [&str; 3] = ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"];

/// Whether a variable is one by which programs find their proxy; Windows does not tell case apart.
pub(super) fn is_proxy_variable(name: &str) -> bool {
    PROXY_VARIABLES.iter().any(|known| known.eq_ignore_ascii_case(name))
}
