//! Windows Server 2016, 2019, 2022 and 2025 (proxy-by-os 2.3, 8).

use crate::catalog::carrier::Syntax;
use crate::catalog::value::variables;
use crate::catalog::{
    Carrier, Component, ComponentRow, Init, PlatformTable, Rival, RivalKind, RunningProbe, Service, Setting, System,
    ValueRule,
};

/// Entries for the ECS agent, which asks for the pipe by which it reaches Docker.
const WITH_PIPE: &[Setting] = &variables(ValueRule::BypassWithPipe);
const WITHOUT_PIPE: &[Setting] = &variables(ValueRule::Bypass);
/// Entries that programs of every kind read.
const FOR_ALL: &[Setting] = &variables(ValueRule::BypassForAll);

/// The registry's Machine variables.
const MACHINE: &str = r"HKLM\SYSTEM\CurrentControlSet\Control\Session Manager\Environment";
const DOCKER_ENVIRONMENT: &str = r"HKLM\SYSTEM\CurrentControlSet\Services\docker\Environment";

/// Variables that every service inherits and its own carrier overrides: the machine's, and those of the system account.
const INHERITED: &[Rival] = &[FROM_MACHINE, FROM_LOCAL_SYSTEM];
const FROM_MACHINE: Rival = Rival { path: MACHINE, kind: RivalKind::MachineVariables };
const FROM_LOCAL_SYSTEM: Rival = Rival { path: r"HKU\.DEFAULT\Environment", kind: RivalKind::MachineVariables };

pub(in crate::catalog) static TABLE: PlatformTable = PlatformTable {
    name: "windows",
    title: "Windows Server",
    system: System::WindowsServer {
        releases: &[("2016", "14393"), ("2019", "17763"), ("2022", "20348"), ("2025", "26100")],
    },
    document_suffix: "Windows",
    init: Init::ServiceManager,
    services: &[(Service::Docker, "docker"), (Service::Ecs, "AmazonECS"), (Service::SsmAgent, "AmazonSSMAgent")],
    components: &[ECS_AGENT, DOCKER, MACHINE_ENVIRONMENT, SSM_AGENT],
};

const ECS_AGENT: ComponentRow = ComponentRow {
    component: Component::EcsAgent,
    service: Some(Service::Ecs),
    carrier: Carrier {
        path: r"HKLM\SYSTEM\CurrentControlSet\Services\AmazonECS\Environment",
        syntax: Syntax::ServiceEnvironment,
        header: false,
        settings: WITH_PIPE,
    },
    fallback: None,
    loaded: false,
    running: RunningProbe::StartRecord,
    rivals: INHERITED,
};

/// dockerd. What its own file says wins over every variable since Docker 23 (proxy-by-os 6.1).
const DOCKER: ComponentRow = ComponentRow {
    component: Component::Docker,
    service: Some(Service::Docker),
    carrier: Carrier {
        path: r"C:\ProgramData\docker\config\daemon.json",
        syntax: Syntax::DaemonJson,
        header: false,
        settings: WITHOUT_PIPE,
    },
    fallback: Some(Carrier {
        path: DOCKER_ENVIRONMENT,
        syntax: Syntax::ServiceEnvironment,
        header: false,
        settings: WITHOUT_PIPE,
    }),
    loaded: false,
    running: RunningProbe::DockerInfo,
    rivals: &[
        Rival { path: r"HKLM\SYSTEM\CurrentControlSet\Services\docker\ImagePath", kind: RivalKind::CommandLine },
        Rival { path: DOCKER_ENVIRONMENT, kind: RivalKind::ServiceEnvironment },
        FROM_MACHINE,
        FROM_LOCAL_SYSTEM,
    ],
};

/// The guide's way. A variable that only some programs know of would cut the SSM agent off at its next start, so the three
/// are always set together (proxy-by-os S18, 8.6).
const MACHINE_ENVIRONMENT: ComponentRow = ComponentRow {
    component: Component::MachineEnvironment,
    service: None,
    carrier: Carrier { path: MACHINE, syntax: Syntax::MachineEnvironment, header: false, settings: FOR_ALL },
    fallback: None,
    loaded: false,
    running: RunningProbe::None,
    rivals: &[],
};

const SSM_AGENT: ComponentRow = ComponentRow {
    component: Component::SsmAgent,
    service: Some(Service::SsmAgent),
    carrier: Carrier {
        path: r"HKLM\SYSTEM\CurrentControlSet\Services\AmazonSSMAgent\Environment",
        syntax: Syntax::ServiceEnvironment,
        header: false,
        settings: WITHOUT_PIPE,
    },
    fallback: None,
    loaded: false,
    running: RunningProbe::Hidden,
    rivals: INHERITED,
};
