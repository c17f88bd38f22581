//! What a simulated host should be like.

use crate::catalog::{Platform, ProxyValues, Service};

/// Why [`Platform::Windows`] does not come up in this module.
pub(super) const LINUX_ONLY: &str = "invariant: hosts with a root folder run Linux";

/// A Linux host to create.
#[derive(Clone, Debug)]
pub struct HostSpec {
    /// What it runs, one of [`Platform::LINUX`].
    pub platform: Platform,
    /// Its Docker.
    pub docker: DockerVersion,
    /// The id that its scripts find in `AWS_SSM_INSTANCE_ID`.
    pub instance_id: String,
    /// The region that its scripts find in `AWS_SSM_REGION_NAME`.
    pub region: String,
    /// Decides what may differ between hosts without meaning anything: cluster, comments, order of keys, number of tasks.
    pub seed: u64,
    /// How proxies answer that no [`Condition::Proxy`] names.
    pub other_proxies: ProxyAnswer,
    /// What differs from a plain host without any proxy. Later ones are applied on top of earlier ones.
    pub conditions: Vec<Condition>,
}

impl HostSpec {
    /// A plain host: services run, no proxy anywhere, every proxy can be reached.
    pub fn new(platform: Platform) -> Self {
        let docker = match platform {
            Platform::AmazonLinux1 => DockerVersion::Engine20,
            Platform::AmazonLinux2 | Platform::AmazonLinux2023 => DockerVersion::Engine25,
            Platform::Windows => unreachable!("{LINUX_ONLY}"),
        };
        Self {
            platform,
            docker,
            instance_id: "i-0123456789abcdef0".to_owned(),
            region: "eu-central-1".to_owned(),
            seed: 0,
            other_proxies: ProxyAnswer::Status(200),
            conditions: Vec::new(),
        }
    }

    /// The same host with one more condition.
    #[must_use]
    pub fn with(mut self, condition: Condition) -> Self {
        self.conditions.push(condition);
        self
    }
}

/// The Docker Engine of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DockerVersion {
    /// Older than 23: does not start when `daemon.json` has `proxies`.
    Engine20,
    /// Knows `proxies` in `daemon.json`, which win over the environment (proxy-by-os 6.1).
    Engine25,
}

impl DockerVersion {
    /// As `docker info` prints it.
    pub const fn number(self) -> &'static str {
        match self {
            Self::Engine20 => "20.10.25",
            Self::Engine25 => "25.0.16",
        }
    }
}

/// How a proxy answers when a host asks it for a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyAnswer {
    /// With this status: 200 lets through, 403 and 407 do not.
    Status(u16),
    /// Not at all.
    Unreachable,
}

/// One difference from a plain host. Those that set variables do so before the services started, so the processes have
/// them, unless a [`Condition::Stale`] says otherwise.
#[derive(Clone, Debug)]
pub enum Condition {
    /// Every carrier of the catalogue holds these values.
    Configured(ProxyValues),
    /// What the user data of the ECS guide leaves behind with this proxy, with its defects (proxy-by-os 2.1, 2.4).
    GuideConfigured {
        /// `HOST:PORT`
        host_port: String,
    },
    /// The carriers of this service were written after it started.
    Stale {
        /// The service that was not restarted.
        service: Service,
        /// What the carriers held when it started; `None`: nothing.
        before: Option<ProxyValues>,
        /// Whether there was a `daemon-reload` since; without a meaning on Amazon Linux 1.
        reloaded: bool,
    },
    /// Another drop-in file for a service (systemd only).
    ForeignDropIn {
        /// The service.
        service: Service,
        /// The name of the file; what sorts after `http-proxy.conf` wins.
        file: String,
        /// Its values.
        values: ProxyValues,
    },
    /// `proxies` in Docker's `daemon.json`. Docker 20 does not start with them.
    DaemonJsonProxies(ProxyValues),
    /// `export KEY=value` lines in `/etc/sysconfig/docker`: right on Amazon Linux 1, without effect elsewhere (S5).
    SysconfigExports(ProxyValues),
    /// `KEY=value` lines in `/etc/sysconfig/docker`: they win over drop-ins, and have no effect on Amazon Linux 1.
    SysconfigVariables(ProxyValues),
    /// `DefaultEnvironment=` of systemd (systemd only).
    DefaultEnvironment(ProxyValues),
    /// `http_proxy` and the like, in lower case, in `ecs.config` and for Docker.
    LowerCaseVariables(ProxyValues),
    /// `ecs.config` has CRLF line ends.
    CrlfEcsConfig,
    /// The last line of `ecs.config` has no line end.
    UnendedEcsConfig,
    /// `ecs.config` is there and empty, as the image ships it.
    EmptyEcsConfig,
    /// There is no `ecs.config`.
    MissingEcsConfig,
    /// `ecs.config` holds bytes that are no text.
    BinaryEcsConfig,
    /// The package manager's file is a symbolic link.
    SymlinkedPackageConf,
    /// What the unit of ecs says about docker (systemd only).
    EcsUnit(EcsUnit),
    /// Docker, and with it ecs, does not run.
    DockerStopped,
    /// ecs does not run.
    EcsStopped,
    /// The next starts of a service fail.
    Failing(Service, Fault),
    /// What a script writes into a file fails. As on a full disk, names can still be made, changed and removed, and what is in
    /// memory alone (`/run`) works. The means is the limit on the size of files that a process may write.
    DiskFull,
    /// How one proxy answers.
    Proxy {
        /// `HOST:PORT`
        host_port: String,
        /// Its answer.
        answer: ProxyAnswer,
    },
    /// Docker without ECS.
    NoEcs,
    /// Not a system of the catalogue: the same machine, but `/etc/os-release` is that of Ubuntu 22.04.
    UnsupportedSystem,
    /// Any other file, there since before the services started.
    File {
        /// Absolute path on the host.
        path: String,
        /// What is in it.
        contents: Vec<u8>,
        /// Its mode.
        mode: u32,
    },
}

/// What `ecs.service` says about `docker.service`, which changed with the versions of ecs-init (proxy-by-os 13.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EcsUnit {
    /// `Wants` and `PartOf`: a restart of docker restarts ecs.
    PartOf,
    /// `Requires`: the same.
    Requires,
    /// `Wants` alone: a restart of docker leaves ecs failed. (On a real host it comes back by itself after ten seconds.)
    WantsOnly,
}

/// Why the next starts of a service fail, for as long as the fault is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// When the service fails.
    pub when: FaultWhen,
    /// The fault strikes only where the environment of the process, or that of the agent container, contains this text:
    /// with a new proxy's address here, a start with the old configuration succeeds. `None`: always. Without a meaning for
    /// [`FaultWhen::Changed`].
    pub containing: Option<String>,
}

/// When a service fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultWhen {
    /// The start itself fails, and its command says so.
    Start,
    /// The command succeeds, and the process dies right after it.
    Late,
    /// The start fails wherever the process would get something else than at the last start that went well.
    Changed,
}
