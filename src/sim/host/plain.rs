//! The files of a host on which nobody has set a proxy yet.

use super::spec::{Condition, EcsUnit, HostSpec, LINUX_ONLY};
use super::tree::Tree;
use crate::catalog::{Init, Platform};

/// Deterministic small choices from a seed (splitmix64).
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        usize::try_from(mixed % sides as u64).expect("invariant: less than a usize")
    }

    fn pick<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.roll(choices.len())]
    }
}

/// Where the package manager of a platform keeps its settings.
pub(super) fn package_conf(platform: Platform) -> &'static str {
    match platform {
        Platform::AmazonLinux1 | Platform::AmazonLinux2 => "/etc/yum.conf",
        Platform::AmazonLinux2023 => "/etc/dnf/dnf.conf",
        Platform::Windows => unreachable!("{LINUX_ONLY}"),
    }
}

pub(super) fn plain_tree(spec: &HostSpec, dice: &mut Dice) -> Tree {
    let mut tree = Tree::default();
    let unsupported = spec.conditions.iter().any(|condition| matches!(condition, Condition::UnsupportedSystem));
    tree.put("/etc/os-release", os_release(spec.platform, unsupported));
    tree.put("/proc/sys/kernel/random/boot_id", boot_id(dice));
    tree.put("/etc/sysconfig/docker", include_str!("files/sysconfig-docker"));
    tree.put_with_mode("/etc/ecs/ecs.config", ecs_config(dice), 0o644);
    tree.put("/etc/ecs/ecs.config.json", "");
    tree.put("/var/lib/ecs/ecs.config", "");
    match spec.platform {
        Platform::AmazonLinux1 | Platform::AmazonLinux2 => tree.put("/etc/yum.conf", include_str!("files/yum.conf")),
        Platform::AmazonLinux2023 => {
            tree.put("/etc/dnf/dnf.conf", include_str!("files/dnf.conf"));
            tree.link("/etc/yum.conf", "dnf/dnf.conf");
        }
        Platform::Windows => unreachable!("{LINUX_ONLY}"),
    }
    match spec.platform.table().init {
        Init::Systemd => {
            tree.put("/usr/lib/systemd/system/docker.service", include_str!("files/docker.service"));
            tree.put("/usr/lib/systemd/system/ecs.service", ecs_service(spec));
            tree.link("/var/run", "../run");
        }
        Init::Upstart => {
            tree.put("/etc/init/ecs.conf", include_str!("files/ecs.conf"));
            tree.put_with_mode("/etc/init.d/docker", include_str!("files/docker-init"), 0o755);
        }
        Init::ServiceManager => unreachable!("{LINUX_ONLY}"),
    }
    if has_ecs(spec) {
        return tree;
    }
    for path in [
        "/etc/ecs/ecs.config",
        "/etc/ecs/ecs.config.json",
        "/var/lib/ecs/ecs.config",
        "/usr/lib/systemd/system/ecs.service",
        "/etc/init/ecs.conf",
    ] {
        tree.remove(path);
    }
    tree
}

pub(super) fn has_ecs(spec: &HostSpec) -> bool {
    !spec.conditions.iter().any(|condition| matches!(condition, Condition::NoEcs))
}

fn os_release(platform: Platform, unsupported: bool) -> &'static str {
    if unsupported {
        return include_str!("files/os-release.ubuntu");
    }
    match platform {
        Platform::AmazonLinux1 => include_str!("files/os-release.al1"),
        Platform::AmazonLinux2 => include_str!("files/os-release.al2"),
        Platform::AmazonLinux2023 => include_str!("files/os-release.al2023"),
        Platform::Windows => unreachable!("{LINUX_ONLY}"),
    }
}

fn boot_id(dice: &mut Dice) -> String {
    let mut digits = |count: usize| -> String { (0..count).map(|_| dice.pick(&HEX_DIGITS)).collect() };
    format!("{}-{}-{}-{}-{}\n", digits(8), digits(4), digits(4), digits(4), digits(12))
}

const HEX_DIGITS: [&str; 16] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "a", "b", "c", "d", "e", "f"];

fn ecs_service(spec: &HostSpec) -> String {
    let unit = include_str!("files/ecs.service");
    let chosen = spec.conditions.iter().rev().find_map(|condition| match condition {
        Condition::EcsUnit(unit) => Some(*unit),
        _ => None,
    });
    match chosen.unwrap_or(EcsUnit::PartOf) {
        EcsUnit::PartOf => unit.to_owned(),
        EcsUnit::Requires => unit.replace("Wants=docker.service\nPartOf=docker.service\n", "Requires=docker.service\n"),
        EcsUnit::WantsOnly => unit.replace("PartOf=docker.service\n", ""),
    }
}

/// Every host has keys and comments of its own, in an order of its own. No comment of a careful author holds a `=`:
/// ecs-init would make a variable of it.
fn ecs_config(dice: &mut Dice) -> String {
    let cluster = dice.pick(&["web-production", "batch", "default", "payments-eu", "internal_tools"]);
    let mut lines =
        vec![format!("ECS_CLUSTER={cluster}"), r#"ECS_AVAILABLE_LOGGING_DRIVERS=["json-file","awslogs"]"#.to_owned()];
    let optional = [
        "ECS_ENABLE_SPOT_INSTANCE_DRAINING=true",
        r#"ECS_INSTANCE_ATTRIBUTES={"stack":"blue","purchase":"on demand"}"#,
        "ECS_RESERVED_MEMORY=256",
        "ECS_IMAGE_PULL_BEHAVIOR=prefer-cached",
        "# Do not edit by hand, ask the platform team first",
        "ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION=1h",
        "",
    ];
    for line in optional {
        if dice.roll(2) == 0 {
            let at = dice.roll(lines.len() + 1);
            lines.insert(at, line.to_owned());
        }
    }
    lines.push(String::new());
    lines.join("\n")
}
