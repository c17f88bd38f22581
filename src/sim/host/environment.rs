//! What services know and have, computed from the files of a host that is being made up.
//!
//! Only for files as this module's neighbours write them: plain quoting, no continued lines. The shims hold the whole
//! rules, and a test holds the two together: a restart of everything on a fresh host changes no environment.

use std::path::Path;

use super::tree::Tree;

/// Variables in the order in which they were first set.
#[derive(Clone, Debug, Default)]
pub(super) struct Environment(Vec<(Vec<u8>, Vec<u8>)>);

impl Environment {
    pub(super) fn set(&mut self, name: &[u8], value: &[u8]) {
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => *old = value.to_vec(),
            None => self.0.push((name.to_vec(), value.to_vec())),
        }
    }

    fn overlay(&mut self, other: &Self) {
        for (name, value) in &other.0 {
            self.set(name, value);
        }
    }

    /// One assignment a line, or each ended by `end`.
    pub(super) fn to_bytes(&self, end: u8) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (name, value) in &self.0 {
            bytes.extend_from_slice(name);
            bytes.push(b'=');
            bytes.extend_from_slice(value);
            bytes.push(end);
        }
        bytes
    }
}

/// What systemd knows of one unit.
#[derive(Clone, Debug, Default)]
pub(super) struct LoadedUnit {
    /// `Environment=`
    pub(super) environment: Environment,
    /// `EnvironmentFile=`, each with its leading `-`.
    pub(super) environment_files: Vec<String>,
    /// `PartOf docker.service` and the like.
    pub(super) dependencies: Vec<String>,
    /// Drop-in files in the order in which they were read.
    pub(super) drop_ins: Vec<String>,
    /// The unit file itself.
    pub(super) fragment: String,
}

/// The unit of `service` in `tree`; `None` where there is no unit file.
pub(super) fn load_unit(tree: &Tree, service: &str) -> Option<LoadedUnit> {
    let fragment = format!("/usr/lib/systemd/system/{service}.service");
    let text = tree.get(&fragment)?;
    let mut unit = LoadedUnit { fragment: fragment.clone(), ..LoadedUnit::default() };
    read_unit_file(text, "Environment", &mut unit);
    let folder = format!("/etc/systemd/system/{service}.service.d/");
    for path in tree.files_in(&folder).filter(|path| Path::new(path).extension().is_some_and(|end| end == "conf")) {
        read_unit_file(tree.get(path).unwrap_or_default(), "Environment", &mut unit);
        unit.drop_ins.push(path.to_owned());
    }
    Some(unit)
}

/// The environment that systemd gives to every service.
pub(super) fn load_manager(tree: &Tree) -> Environment {
    let mut manager = LoadedUnit::default();
    manager.environment.set(b"LANG", b"en_US.UTF-8");
    manager.environment.set(b"PATH", b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin");
    for path in tree.files_in("/etc/systemd/system.conf.d/") {
        read_unit_file(tree.get(path).unwrap_or_default(), "DefaultEnvironment", &mut manager);
    }
    manager.environment
}

fn read_unit_file(text: &[u8], environment_key: &str, unit: &mut LoadedUnit) {
    for line in String::from_utf8_lossy(text).lines() {
        let Some((key, value)) = line.trim().split_once('=') else { continue };
        match key {
            "EnvironmentFile" => unit.environment_files.push(value.to_owned()),
            "PartOf" | "Requires" | "Wants" | "After" => {
                unit.dependencies.extend(value.split_whitespace().map(|other| format!("{key} {other}")));
            }
            _ if key == environment_key => {
                let assignment = value.trim_matches('"').replace("%%", "\0");
                if let (false, Some((name, value))) = (assignment.contains('%'), assignment.split_once('=')) {
                    unit.environment.set(name.as_bytes(), value.replace('\0', "%").as_bytes());
                }
            }
            _ => {}
        }
    }
}

/// What a process of `unit` gets when it starts with the files of `tree` (proxy-by-os 13.1).
pub(super) fn systemd_environment(tree: &Tree, manager: &Environment, unit: &LoadedUnit) -> Environment {
    let mut environment = manager.clone();
    environment.overlay(&unit.environment);
    for file in &unit.environment_files {
        let text = tree.get(file.trim_start_matches('-')).unwrap_or_default();
        for line in text.split(|byte| matches!(byte, b'\n' | b'\r')) {
            let line = line.trim_ascii();
            if let (false, Some((name, value))) = (line.starts_with(b"#"), split_assignment(line))
                && is_variable_name(name.trim_ascii_end())
            {
                let value = value.trim_ascii_start();
                let quoted = value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
                environment.set(name.trim_ascii_end(), quoted.unwrap_or(value));
            }
        }
    }
    environment
}

/// What ecs-init makes of its files for the agent container (proxy-by-os 4.2).
pub(super) fn agent_environment(tree: &Tree) -> Environment {
    let mut environment = Environment::default();
    for (name, value) in [
        ("ECS_DATADIR", "/data"),
        ("ECS_LOGFILE", "/log/ecs-agent.log"),
        ("ECS_AGENT_CONFIG_FILE_PATH", "/etc/ecs/ecs.config.json"),
        ("ECS_UPDATE_DOWNLOAD_DIR", "/var/cache/ecs"),
        ("ECS_UPDATES_ENABLED", "true"),
        ("ECS_AVAILABLE_LOGGING_DRIVERS", r#"["json-file","syslog","awslogs","fluentd","none"]"#),
        ("ECS_ENABLE_TASK_ENI", "true"),
        ("ECS_ENABLE_TASK_IAM_ROLE", "true"),
        ("SSL_CERT_DIR", "/etc/pki/tls/certs"),
    ] {
        environment.set(name.as_bytes(), value.as_bytes());
    }
    for file in ["/var/lib/ecs/ecs.config", "/etc/ecs/ecs.config"] {
        for line in tree.get(file).unwrap_or_default().split(|byte| *byte == b'\n') {
            if let Some((name, value)) = split_assignment(line.trim_ascii()) {
                environment.set(name, value);
            }
        }
    }
    environment.set(b"PATH", b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    environment
}

/// What the upstart job of ecs gives to ecs-init.
pub(super) fn job_environment(tree: &Tree) -> Environment {
    let mut environment = Environment::default();
    environment.set(b"PATH", b"/sbin:/usr/sbin:/bin:/usr/bin");
    environment.set(b"TERM", b"linux");
    overlay_words(&mut environment, tree.get("/etc/init/ecs.override").unwrap_or_default(), b"env ");
    environment.set(b"UPSTART_JOB", b"ecs");
    environment.set(b"UPSTART_INSTANCE", b"");
    environment
}

/// What the sysvinit script of docker gives to dockerd.
pub(super) fn sysvinit_environment(tree: &Tree) -> Environment {
    let mut environment = Environment::default();
    environment.set(b"PATH", b"/sbin:/usr/sbin:/bin:/usr/bin");
    environment.set(b"TERM", b"dumb");
    overlay_words(&mut environment, tree.get("/etc/sysconfig/docker").unwrap_or_default(), b"export ");
    environment
}

/// Takes over the assignments of the lines that begin with `word`.
fn overlay_words(environment: &mut Environment, text: &[u8], word: &[u8]) {
    for line in text.split(|byte| *byte == b'\n') {
        if let Some((name, value)) = line.strip_prefix(word).and_then(split_assignment) {
            environment.set(name, value);
        }
    }
}

fn split_assignment(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = line.iter().position(|byte| *byte == b'=').filter(|at| *at > 0)?;
    Some((&line[..at], &line[at + 1..]))
}

fn is_variable_name(name: &[u8]) -> bool {
    !name.is_empty()
        && !name[0].is_ascii_digit()
        && name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
}
