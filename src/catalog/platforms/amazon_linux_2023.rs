//! Amazon Linux 2023 (proxy-by-os 3).

use super::common::{DOCKER_SYSTEMD, ECS_AGENT, ECS_INIT_SYSTEMD, LINUX_SERVICES, package_manager};
use crate::catalog::{Init, PlatformTable, System};

pub(in crate::catalog) static TABLE: PlatformTable = PlatformTable {
    name: "amazon-linux-2023",
    title: "Amazon Linux 2023",
    system: System::AmazonLinux { version: "2023" },
    document_suffix: "AmazonLinux2023",
    init: Init::Systemd,
    services: LINUX_SERVICES,
    components: &[ECS_AGENT, ECS_INIT_SYSTEMD, DOCKER_SYSTEMD, package_manager("/etc/dnf/dnf.conf")],
};
