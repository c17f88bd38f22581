//! The states in which the Windows hosts of a fleet are found.

use super::state::{HOME, RegValue, Settings, StartType, WindowsState};
use super::winhost::ServerVersion;
use crate::catalog::{Component, Platform, ProxyValues, Service};

/// The docker client of a host that keeps to the fallback.
const OLD_DOCKER: &str = "20.10.9";

/// The state of the host with this number among the Windows hosts, so that a small fleet shows every sort as well.
/// `wanted` are the values that policies ask for, `former` those of another time.
pub(crate) fn scenario(
    ordinal: usize,
    version: ServerVersion,
    wanted: &ProxyValues,
    former: &ProxyValues,
) -> WindowsState {
    let plain = WindowsState { version, ..WindowsState::plain() };
    let configured = |values: &ProxyValues| plain.clone().with(Settings::configured(values, false));
    match ordinal % 12 {
        1 => WindowsState { files: [(format!(r"{HOME}\started"), started(wanted))].into(), ..configured(wanted) },
        2 => plain.clone().with(guide(wanted)),
        3 => configured(former),
        4 => configured(wanted).started_with(Settings::configured(former, false)),
        5 => plain.clone().with(foreign(former)),
        6 => WindowsState { docker_version: OLD_DOCKER.to_owned(), ..plain },
        7 => configured(former).stopped(Service::Ecs, StartType::Manual),
        8 => plain.clone().with(Settings {
            daemon_json: Some(b"{\r\n    \"debug\": false,\r\n    \"data-root\": \"D:\\\\docker\"\r\n}\r\n".to_vec()),
            ..Settings::none()
        }),
        9 => plain.stopped(Service::Ecs, StartType::Automatic),
        10 => WindowsState {
            docker_version: OLD_DOCKER.to_owned(),
            ..plain.clone().with(Settings::configured(former, true))
        },
        11 if ordinal % 48 == 11 => plain
            .clone()
            .with(Settings { daemon_json: Some(b"{\n  \"debug\": true,\n}\n".to_vec()), ..Settings::none() })
            .started_with(Settings::none()),
        _ => plain,
    }
}

/// The note of a start with these values.
fn started(values: &ProxyValues) -> Vec<u8> {
    let row = Platform::Windows.component(Component::EcsAgent).expect("invariant: Windows has an ECS agent");
    let lines = row
        .carrier
        .settings
        .iter()
        .map(|setting| format!("{}\t{}\tset\t{}\n", row.component, setting.key, values.value(setting.rule)));
    lines.collect::<String>().into_bytes()
}

/// What the ECS guide's user data leaves behind: no `HTTPS_PROXY` (proxy-by-os 2.3).
fn guide(values: &ProxyValues) -> Settings {
    let bypass = r"169.254.169.254,169.254.170.2,\\.\pipe\docker_engine".to_owned();
    let machine = [("HTTP_PROXY", values.http.clone()), ("NO_PROXY", bypass)];
    Settings {
        machine: machine.into_iter().map(|(name, value)| (name.to_owned(), RegValue::Sz(value))).collect(),
        ..Settings::none()
    }
}

/// Entries of somebody else beside ours, and ours in another case.
fn foreign(values: &ProxyValues) -> Settings {
    let mut settings = Settings::none();
    let lower = format!("http_proxy={}", values.http);
    let strings = ["ECS_ENABLE_AWSLOGS_EXECUTIONROLE_OVERRIDE=true", &lower, "ECS_LOGLEVEL=info"];
    settings.environments.insert(Service::Ecs, RegValue::multi(strings));
    settings.environments.insert(Service::SsmAgent, RegValue::multi([lower.as_str()]));
    settings
}
