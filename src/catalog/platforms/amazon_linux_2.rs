//! Amazon Linux 2 (proxy-by-os 2.1, 3).

use super::common::{DOCKER_SYSTEMD, ECS_AGENT, ECS_INIT_SYSTEMD, LINUX_SERVICES, package_manager};
use crate::catalog::{Init, PlatformTable, System};

pub(in crate::catalog) static TABLE: PlatformTable = PlatformTable {
    name: "amazon-linux-2",
    title: "Amazon Linux 2",
    system: System::AmazonLinux { version: "2" },
    document_suffix: "AmazonLinux2",
    init: Init::Systemd,
    services: LINUX_SERVICES,
    components: &[ECS_AGENT, ECS_INIT_SYSTEMD, DOCKER_SYSTEMD, package_manager("/etc/yum.conf")],
};
