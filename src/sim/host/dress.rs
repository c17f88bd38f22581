//! Puts settings into the files of a host that is being made up.

use super::plain::package_conf;
use super::spec::{Condition, HostSpec, LINUX_ONLY};
use super::tree::Tree;
use crate::catalog::carrier::Syntax;
use crate::catalog::{Component, ComponentRow, Init, ProxyValues, Service, Setting, ValueRule};

/// At what time the files are looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    /// When the services started.
    Start,
    /// Now.
    Now,
}

/// The files of `plain` with the conditions of `spec`, as they were at `moment`.
pub(super) fn dress(plain: &Tree, spec: &HostSpec, moment: Moment) -> Tree {
    let mut tree = plain.clone();
    // Whole files first, so that settings go into them and not under them.
    for condition in &spec.conditions {
        match condition {
            Condition::EmptyEcsConfig => tree.put(ECS_CONFIG, ""),
            Condition::MissingEcsConfig => tree.remove(ECS_CONFIG),
            Condition::SymlinkedPackageConf => {
                let path = package_conf(spec.platform);
                let name = path.rsplit('/').next().unwrap_or(path);
                tree.move_behind_link(path, &format!("managed/{name}"));
            }
            Condition::File { path, contents, mode } => tree.put_with_mode(path, contents.clone(), *mode),
            _ => {}
        }
    }
    for condition in &spec.conditions {
        set(&mut tree, spec, condition, moment);
    }
    for condition in &spec.conditions {
        match condition {
            Condition::CrlfEcsConfig => tree.edit(ECS_CONFIG, with_crlf),
            Condition::UnendedEcsConfig => tree.edit(ECS_CONFIG, |bytes| {
                bytes.truncate(bytes.trim_ascii_end().len());
            }),
            Condition::BinaryEcsConfig => tree.edit(ECS_CONFIG, |bytes| {
                bytes.extend_from_slice(b"ECS_X=\x00\xe9\xff\n");
            }),
            _ => {}
        }
    }
    tree
}

const ECS_CONFIG: &str = "/etc/ecs/ecs.config";
const SYSCONFIG_DOCKER: &str = "/etc/sysconfig/docker";

fn with_crlf(bytes: &mut Vec<u8>) {
    let mut changed = Vec::with_capacity(bytes.len() + 64);
    for byte in bytes.iter().copied() {
        if byte == b'\n' {
            changed.push(b'\r');
        }
        changed.push(byte);
    }
    *bytes = changed;
}

fn set(tree: &mut Tree, spec: &HostSpec, condition: &Condition, moment: Moment) {
    let systemd = spec.platform.table().init == Init::Systemd;
    match condition {
        Condition::Configured(values) => {
            for row in spec.platform.table().components {
                match carried(spec, row.service, moment) {
                    Carried::AsNow => write_row(tree, row, values),
                    Carried::Earlier(before) => write_row(tree, row, before),
                    Carried::Nothing => {}
                }
            }
        }
        Condition::GuideConfigured { host_port } => {
            for row in spec.platform.table().components {
                match carried(spec, row.service, moment) {
                    Carried::AsNow => write_guide(tree, row, host_port),
                    Carried::Earlier(before) => write_row(tree, row, before),
                    Carried::Nothing => {}
                }
            }
        }
        Condition::ForeignDropIn { service, file, values } if systemd => {
            let path = format!("/etc/systemd/system/{service}.service.d/{file}");
            tree.put(&path, drop_in("Service", "Environment", &variables(values)));
        }
        Condition::DaemonJsonProxies(values) => tree.put("/etc/docker/daemon.json", daemon_json(values)),
        Condition::SysconfigExports(values) => {
            tree.append(SYSCONFIG_DOCKER, &lines("export ", &variables(values)));
        }
        Condition::SysconfigVariables(values) => tree.append(SYSCONFIG_DOCKER, &lines("", &variables(values))),
        Condition::DefaultEnvironment(values) if systemd => {
            let text = drop_in("Manager", "DefaultEnvironment", &variables(values));
            tree.put("/etc/systemd/system.conf.d/proxy.conf", text);
        }
        Condition::LowerCaseVariables(values) => {
            let variables: Vec<_> =
                variables(values).into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
            tree.append(ECS_CONFIG, &lines("", &variables));
            if systemd {
                let path = "/etc/systemd/system/docker.service.d/10-lower-case.conf";
                tree.put(path, drop_in("Service", "Environment", &variables));
            } else {
                tree.append(SYSCONFIG_DOCKER, &lines("export ", &variables));
            }
        }
        _ => {}
    }
}

/// What a carrier held at some moment.
enum Carried<'a> {
    /// What it holds now.
    AsNow,
    /// Other values.
    Earlier(&'a ProxyValues),
    /// Nothing yet.
    Nothing,
}

fn carried(spec: &HostSpec, service: Option<Service>, moment: Moment) -> Carried<'_> {
    if moment == Moment::Now {
        return Carried::AsNow;
    }
    let stale = spec.conditions.iter().find_map(|condition| match condition {
        Condition::Stale { service: stale, before, .. } if Some(*stale) == service => Some(before),
        _ => None,
    });
    match stale {
        None => Carried::AsNow,
        Some(None) => Carried::Nothing,
        Some(Some(before)) => Carried::Earlier(before),
    }
}

fn variables(values: &ProxyValues) -> Vec<(String, String)> {
    [("HTTP_PROXY", ValueRule::HttpProxy), ("HTTPS_PROXY", ValueRule::HttpsProxy), ("NO_PROXY", ValueRule::Bypass)]
        .map(|(name, rule)| (name.to_owned(), values.value(rule)))
        .to_vec()
}

fn lines(word: &str, variables: &[(String, String)]) -> String {
    let lines: Vec<String> = variables.iter().map(|(name, value)| format!("{word}{name}={value}\n")).collect();
    lines.concat()
}

fn drop_in(section: &str, key: &str, variables: &[(String, String)]) -> String {
    let line = |(name, value): &(String, String)| format!("{key}=\"{name}={}\"\n", value.replace('%', "%%"));
    format!("[{section}]\n{}", variables.iter().map(line).collect::<Vec<_>>().concat())
}

fn daemon_json(values: &ProxyValues) -> String {
    let proxies = serde_json::json!({
        "log-driver": "json-file",
        "proxies": { "http-proxy": values.http, "https-proxy": values.https, "no-proxy": values.bypass },
    });
    format!("{proxies:#}\n")
}

/// Writes a component's settings as somebody would who does it right by hand.
fn write_row(tree: &mut Tree, row: &ComponentRow, values: &ProxyValues) {
    let settings: Vec<(String, String)> =
        row.carrier.settings.iter().map(|Setting { key, rule }| (key.name().to_owned(), values.value(*rule))).collect();
    let path = row.carrier.path;
    match row.carrier.syntax {
        Syntax::EnvFile => tree.append(path, &lines("", &settings)),
        Syntax::SystemdDropIn => tree.put(path, drop_in("Service", "Environment", &settings)),
        Syntax::UpstartOverride => tree.put(path, lines("env ", &settings)),
        Syntax::ShellExport => tree.append(path, &lines("export ", &settings)),
        Syntax::Ini => tree.edit(path, |bytes| {
            let text =
                String::from_utf8_lossy(bytes).replacen("[main]\n", &format!("[main]\n{}", lines("", &settings)), 1);
            *bytes = text.into_bytes();
        }),
        Syntax::ServiceEnvironment | Syntax::MachineEnvironment | Syntax::DaemonJson => unreachable!("{LINUX_ONLY}"),
    }
}

/// Writes what the guide's script writes for a component, defects included (proxy-by-os 2.1, 2.4).
fn write_guide(tree: &mut Tree, row: &ComponentRow, host_port: &str) {
    const BOTH: &str = "169.254.169.254,169.254.170.2";
    let with_socket = format!("{BOTH},/var/run/docker.sock");
    let path = row.carrier.path;
    let docker = [
        ("HTTP_PROXY".to_owned(), format!("http://{host_port}/")),
        ("HTTPS_PROXY".to_owned(), format!("https://{host_port}/")),
        ("NO_PROXY".to_owned(), BOTH.to_owned()),
    ];
    let ecs = |slash: &str| {
        [("HTTP_PROXY".to_owned(), format!("{host_port}{slash}")), ("NO_PROXY".to_owned(), with_socket.clone())]
    };
    match (row.component, row.carrier.syntax) {
        // Replaced, not edited: what the user had there is gone (S1).
        (Component::EcsAgent, _) => tree.put(path, format!("ECS_CLUSTER=default\n{}", lines("", &ecs("")))),
        (Component::EcsInit, Syntax::UpstartOverride) => tree.put(path, lines("env ", &ecs(""))),
        (Component::EcsInit, _) => tree.put(path, drop_in("Service", "Environment", &ecs("/"))),
        (Component::Docker, Syntax::ShellExport) => tree.append(path, &lines("export ", &docker)),
        (Component::Docker, _) => tree.put(path, drop_in("Service", "Environment", &docker)),
        // Appended, so it lands in whichever section is the last (S12).
        (Component::PackageManager, _) => tree.append("/etc/yum.conf", &format!("proxy=http://{host_port}\n")),
        (Component::MachineEnvironment | Component::SsmAgent, _) => unreachable!("{LINUX_ONLY}"),
    }
}
