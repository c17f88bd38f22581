//! Rows and settings that several platforms share.

use crate::catalog::carrier::Syntax;
use crate::catalog::value::variables;
use crate::catalog::{
    Carrier, Component, ComponentRow, Key, Rival, RivalKind, RunningProbe, Service, Setting, ValueRule,
};

/// The services of Amazon Linux, which go by our own words.
pub(super) const LINUX_SERVICES: &[(Service, &str)] = &[(Service::Docker, "docker"), (Service::Ecs, "ecs")];

/// The variables of the ECS agent and of ecs-init.
pub(super) const WITH_SOCKET: &[Setting] = &variables(ValueRule::BypassWithSocket);

/// The variables of the Docker daemon.
pub(super) const WITHOUT_SOCKET: &[Setting] = &variables(ValueRule::Bypass);

/// The key of yum and dnf. They have no bypass list (proxy-by-os 7).
pub(super) const PACKAGE_PROXY: &[Setting] = &[Setting { key: Key::Proxy, rule: ValueRule::HttpProxy }];

/// The ECS agent, which reads the same file on every Amazon Linux (proxy-by-os 4.1, 4.2).
///
/// No header: ecs-init has no comments in this file, a comment with `=` would become a variable.
pub(super) const ECS_AGENT: ComponentRow = ComponentRow {
    component: Component::EcsAgent,
    service: Some(Service::Ecs),
    carrier: Carrier { path: "/etc/ecs/ecs.config", syntax: Syntax::EnvFile, header: false, settings: WITH_SOCKET },
    fallback: None,
    loaded: false,
    running: RunningProbe::AgentContainer,
    rivals: &[],
};

/// ecs-init under systemd (proxy-by-os 2.1, S15, S16).
pub(super) const ECS_INIT_SYSTEMD: ComponentRow = ComponentRow {
    component: Component::EcsInit,
    service: Some(Service::Ecs),
    carrier: Carrier {
        path: "/etc/systemd/system/ecs.service.d/http-proxy.conf",
        syntax: Syntax::SystemdDropIn,
        header: true,
        settings: WITH_SOCKET,
    },
    fallback: None,
    loaded: true,
    running: RunningProbe::ProcessEnvironment,
    rivals: &[
        Rival { path: "/etc/systemd/system/ecs.service.d", kind: RivalKind::DropIns },
        Rival { path: "/etc/ecs/ecs.config", kind: RivalKind::EnvironmentFile },
        DEFAULT_ENVIRONMENT,
    ],
};

/// dockerd under systemd (proxy-by-os 6.1, 6.2).
pub(super) const DOCKER_SYSTEMD: ComponentRow = ComponentRow {
    component: Component::Docker,
    service: Some(Service::Docker),
    carrier: Carrier {
        path: "/etc/systemd/system/docker.service.d/http-proxy.conf",
        syntax: Syntax::SystemdDropIn,
        header: true,
        settings: WITHOUT_SOCKET,
    },
    fallback: None,
    loaded: true,
    running: RunningProbe::DockerInfo,
    rivals: &[
        Rival { path: "/etc/systemd/system/docker.service.d", kind: RivalKind::DropIns },
        Rival { path: "/etc/sysconfig/docker", kind: RivalKind::EnvironmentFile },
        Rival { path: "/etc/sysconfig/docker", kind: RivalKind::InertExports },
        DAEMON_JSON,
        DEFAULT_ENVIRONMENT,
    ],
};

/// Docker's own configuration file.
pub(super) const DAEMON_JSON: Rival = Rival { path: "/etc/docker/daemon.json", kind: RivalKind::DaemonJson };

const DEFAULT_ENVIRONMENT: Rival = Rival { path: "/etc/systemd/system.conf.d", kind: RivalKind::DefaultEnvironment };

/// A package manager that reads `proxy` in `[main]` of `path` at each run.
pub(super) const fn package_manager(path: &'static str) -> ComponentRow {
    ComponentRow {
        component: Component::PackageManager,
        service: None,
        carrier: Carrier { path, syntax: Syntax::Ini, header: false, settings: PACKAGE_PROXY },
        fallback: None,
        loaded: false,
        running: RunningProbe::None,
        rivals: &[],
    }
}
