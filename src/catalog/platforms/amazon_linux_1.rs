//! Amazon Linux AMI 2018.03 (proxy-by-os 2.2, 13.3).

use super::common::{DAEMON_JSON, ECS_AGENT, LINUX_SERVICES, WITH_SOCKET, WITHOUT_SOCKET, package_manager};
use crate::catalog::carrier::Syntax;
use crate::catalog::{Carrier, Component, ComponentRow, Init, PlatformTable, RunningProbe, Service, System};

pub(in crate::catalog) static TABLE: PlatformTable = PlatformTable {
    name: "amazon-linux-1",
    title: "Amazon Linux AMI",
    system: System::AmazonLinux { version: "2018.03" },
    document_suffix: "AmazonLinux1",
    init: Init::Upstart,
    services: LINUX_SERVICES,
    components: &[
        ECS_AGENT,
        // The override, not `/etc/init/ecs.conf`: edits to that one are lost when the package is updated.
        ComponentRow {
            component: Component::EcsInit,
            service: Some(Service::Ecs),
            carrier: Carrier {
                path: "/etc/init/ecs.override",
                syntax: Syntax::UpstartOverride,
                header: true,
                settings: WITH_SOCKET,
            },
            fallback: None,
            loaded: false,
            running: RunningProbe::ProcessEnvironment,
            rivals: &[],
        },
        // The sysvinit script sources the file, so only `export` lines reach dockerd.
        ComponentRow {
            component: Component::Docker,
            service: Some(Service::Docker),
            carrier: Carrier {
                path: "/etc/sysconfig/docker",
                syntax: Syntax::ShellExport,
                header: false,
                settings: WITHOUT_SOCKET,
            },
            fallback: None,
            loaded: false,
            running: RunningProbe::DockerInfo,
            rivals: &[DAEMON_JSON],
        },
        package_manager("/etc/yum.conf"),
    ],
};
