//! What the documents find out about a modelled host: the Rust counterpart of `facts.ps1` and `observe.ps1`.
//!
//! Reports must be equal to the byte to those of the scripts, so what is looked at, and in which order, follows the scripts.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::model::Machine;
use super::state::{DAEMON_JSON, HOME, RegValue, RegValues, StartType};
use crate::catalog::carrier::{self, Reading, SIZE_LIMIT_BYTES, Syntax};
use crate::catalog::{
    Carrier, Component, ComponentRow, Key, Platform, RivalKind, RunningProbe, Service, System, ValueKind,
    normalise_list,
};
use crate::fleet::REPORT_LIMIT_BYTES;

/// One of the truths of a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Truth {
    Set(String),
    Malformed(String),
    Unset,
    NotApplicable,
    Unknown,
    Unproven,
}

impl Truth {
    /// The word in the files of proxyfleet's own.
    pub(super) const fn state(&self) -> &'static str {
        match self {
            Self::Set(_) => "set",
            Self::Malformed(_) => "malformed",
            Self::Unset => "unset",
            Self::NotApplicable => "na",
            Self::Unknown => "unknown",
            Self::Unproven => "unproven",
        }
    }

    /// The value; empty where there is none.
    pub(super) fn value(&self) -> &str {
        match self {
            Self::Set(value) | Self::Malformed(value) => value,
            _ => "",
        }
    }

    /// The truth with this word and value.
    pub(super) fn from_words(state: &str, value: &str) -> Self {
        match state {
            "set" => Self::Set(value.to_owned()),
            "malformed" => Self::Malformed(value.to_owned()),
            "unset" => Self::Unset,
            "na" => Self::NotApplicable,
            "unproven" => Self::Unproven,
            _ => Self::Unknown,
        }
    }
}

/// A carrier that counts, and what it holds.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) row: &'static ComponentRow,
    pub(super) carrier: &'static Carrier,
    pub(super) read: Content,
}

impl Held {
    /// The line that sets a key, for the way back.
    pub(super) fn line(&self, key: Key) -> Option<String> {
        let line = carrier::raw_line(self.carrier.syntax, self.read.text.as_bytes(), key).ok().flatten()?;
        Some(String::from_utf8_lossy(&line).into_owned())
    }
}

/// What a carrier holds as text; a reason where it cannot be worked on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) exists: bool,
    pub(super) text: String,
    pub(super) reason: Option<String>,
}

/// One setting.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    pub(super) row: &'static ComponentRow,
    pub(super) key: Key,
    pub(super) carrier: Truth,
    pub(super) running: Truth,
}

/// A line of the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Recorded {
    pub(super) component: String,
    pub(super) key: String,
    pub(super) created: String,
    pub(super) state: String,
    pub(super) written: String,
    pub(super) prior: String,
    pub(super) prior_line: String,
    pub(super) text: String,
}

/// Everything.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    pub(super) services: BTreeMap<Service, &'static str>,
    pub(super) carriers: Vec<Held>,
    pub(super) settings: Vec<Setting>,
    pub(super) foreign: Vec<(Component, Key, String, &'static str)>,
    pub(super) blocked: Vec<(Component, String, &'static str)>,
    pub(super) record: Vec<Recorded>,
}

impl Facts {
    /// Looks at a machine.
    pub(super) fn gather(machine: &Machine) -> Self {
        let table = Platform::Windows.table();
        let mut facts = Self::default();
        for (service, _) in table.services {
            facts.services.insert(*service, service_state(machine, *service));
        }
        let started = notes(machine, "started");
        for row in table.components {
            match select_carrier(machine, row) {
                None => facts.blocked.push((row.component, "docker-version".to_owned(), row.carrier.path)),
                Some(carrier) => {
                    facts.carriers.push(Held { row, carrier, read: read_carrier(machine, carrier) });
                }
            }
            let held = facts.carriers.last().filter(|held| held.row.component == row.component).cloned();
            facts.add_settings(machine, row, held.as_ref(), &started);
            if let Some(held) = &held {
                facts.add_rivals(machine, held);
            }
        }
        let names: Vec<String> = facts.carriers.iter().map(|held| record_name(held.row, held.carrier)).collect();
        for mut line in record(machine) {
            if names.contains(&line.component) {
                line.component.truncate(line.component.find(':').unwrap_or(line.component.len()));
                facts.record.push(line);
            }
        }
        facts
    }

    /// The setting of a component.
    pub(super) fn setting(&self, component: &str, key: &str) -> Option<&Setting> {
        self.settings.iter().find(|setting| setting.row.component.name() == component && setting.key.name() == key)
    }

    /// The carrier that counts for a component.
    pub(super) fn held(&self, component: Component) -> Option<&Held> {
        self.carriers.iter().find(|held| held.row.component == component)
    }

    fn add_settings(
        &mut self,
        machine: &Machine,
        row: &'static ComponentRow,
        held: Option<&Held>,
        started: &[Vec<String>],
    ) {
        let mut reason = held.and_then(|held| held.read.reason.clone());
        for setting in row.carrier.settings {
            let mut found = Truth::Unknown;
            if let (Some(held), None) = (held, &reason) {
                match find(held.carrier.syntax, &held.read.text, setting.key) {
                    Ok(truth) => found = truth,
                    Err(unsupported) => reason = Some(unsupported),
                }
            }
            let running = self.running(machine, row, setting.key, &found, started);
            self.settings.push(Setting { row, key: setting.key, carrier: found, running });
        }
        if let (Some(reason), Some(held)) = (reason, held) {
            self.blocked.push((row.component, reason, held.carrier.path));
        }
    }

    /// What the process behind a component was started with, where its carrier has the setting `found`.
    fn running(
        &self,
        machine: &Machine,
        row: &ComponentRow,
        key: Key,
        found: &Truth,
        started: &[Vec<String>],
    ) -> Truth {
        if row.service.is_none_or(|service| self.services.get(&service) != Some(&"active")) {
            return Truth::NotApplicable;
        }
        match row.running {
            RunningProbe::DockerInfo => {
                let info = machine.docker_info().unwrap_or_default();
                let at = Key::ALL.iter().position(|known| *known == key).unwrap_or_default();
                match info.get(at).map(|value| value.trim_end()).filter(|value| !value.is_empty()) {
                    Some(value) => Truth::Set(value.trim_start_matches(' ').to_owned()),
                    None => Truth::Unset,
                }
            }
            RunningProbe::StartRecord => {
                let noted = started
                    .iter()
                    .find(|line| line.len() == 4 && line[0] == row.component.name() && line[1] == key.name());
                match noted.map(|line| Truth::from_words(&line[2], &line[3])) {
                    Some(noted) if noted == *found => noted,
                    _ => Truth::Unproven,
                }
            }
            RunningProbe::Hidden => Truth::Unknown,
            _ => Truth::NotApplicable,
        }
    }

    fn add_rivals(&mut self, machine: &Machine, held: &Held) {
        let component = held.row.component;
        for rival in held.row.rivals {
            if rival.path == held.carrier.path {
                continue;
            }
            let syntax = match rival.kind {
                RivalKind::CommandLine => {
                    if held.carrier.syntax == Syntax::DaemonJson {
                        let line = machine.image_path(Service::Docker);
                        let blocks = command_line_blocks(&line);
                        self.blocked.extend(blocks.map(|reason| (component, reason.to_owned(), rival.path)));
                    }
                    continue;
                }
                RivalKind::ServiceEnvironment => Syntax::ServiceEnvironment,
                _ => Syntax::MachineEnvironment,
            };
            let read = read_place(machine, rival.path, syntax);
            for setting in held.row.carrier.settings {
                match find(syntax, &read.text, setting.key) {
                    Err(_) => break,
                    Ok(Truth::Set(value) | Truth::Malformed(value)) => {
                        self.foreign.push((component, setting.key, value, rival.path));
                    }
                    Ok(_) => {}
                }
            }
        }
    }
}

fn service_state(machine: &Machine, service: Service) -> &'static str {
    match machine.start_type(service) {
        None => "absent",
        Some(_) if machine.is_running(service) => "active",
        Some(StartType::Automatic) => "due",
        Some(_) => "inactive",
    }
}

/// The carrier that counts; `None` where that depends on a version which cannot be told.
fn select_carrier(machine: &Machine, row: &'static ComponentRow) -> Option<&'static Carrier> {
    let Some(fallback) = &row.fallback else { return Some(&row.carrier) };
    if row.service.is_none_or(|service| !machine.has(service)) {
        return Some(&row.carrier);
    }
    let digits: String = machine.docker_version.chars().take_while(char::is_ascii_digit).collect();
    match digits.parse::<u32>() {
        Ok(major) if digits.len() < 6 && major > 0 => Some(if major < 23 { fallback } else { &row.carrier }),
        _ => None,
    }
}

/// What a carrier holds.
pub(super) fn read_carrier(machine: &Machine, carrier: &Carrier) -> Content {
    read_place(machine, carrier.path, carrier.syntax)
}

fn read_place(machine: &Machine, path: &str, syntax: Syntax) -> Content {
    let settings = &machine.settings;
    match syntax {
        Syntax::DaemonJson => read_file((path == DAEMON_JSON).then_some(settings.daemon_json.as_deref()).flatten()),
        Syntax::MachineEnvironment => {
            let machine_wide = path.starts_with("HKLM");
            read_variables(if machine_wide { &settings.machine } else { &settings.local_system })
        }
        _ => read_strings(service_at(path).and_then(|service| settings.environments.get(&service))),
    }
}

/// The service whose `Environment` is at `path`.
pub(super) fn service_at(path: &str) -> Option<Service> {
    let services = Platform::Windows.table().services;
    services.iter().find(|(_, name)| path.contains(&format!(r"\Services\{name}\"))).map(|(service, _)| *service)
}

fn read_strings(value: Option<&RegValue>) -> Content {
    match value {
        None => Content::default(),
        Some(RegValue::MultiSz(strings)) => {
            let odd = strings.iter().any(|string| string.is_empty() || string.contains(['\0', '\n', '\r']));
            let text = strings.iter().flat_map(|string| [string.as_str(), "\n"]).collect();
            Content { exists: true, text, reason: odd.then(|| "not-text".to_owned()) }
        }
        Some(_) => Content { exists: true, text: String::new(), reason: Some("wrong-kind".to_owned()) },
    }
}

fn read_variables(values: &RegValues) -> Content {
    let mut content = Content::default();
    for key in [Key::HttpProxy, Key::HttpsProxy, Key::NoProxy] {
        let Some((name, value)) = values.iter().find(|(name, _)| name.eq_ignore_ascii_case(key.name())) else {
            continue;
        };
        content.exists = true;
        let (word, text) = match value {
            RegValue::Sz(text) => ("REG_SZ", text),
            RegValue::ExpandSz(text) => ("REG_EXPAND_SZ", text),
            _ => {
                content.reason = Some("wrong-kind".to_owned());
                continue;
            }
        };
        content.text.extend([word, " ", name, "=", text, "\n"]);
        if text.contains(['\0', '\n', '\r']) {
            content.reason = Some("not-text".to_owned());
        }
    }
    content
}

fn read_file(bytes: Option<&[u8]>) -> Content {
    let Some(bytes) = bytes else { return Content::default() };
    let refused = |reason: &str| Content { exists: true, text: String::new(), reason: Some(reason.to_owned()) };
    if bytes.len() > SIZE_LIMIT_BYTES {
        return refused("too-large");
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => Content { exists: true, text: text.to_owned(), reason: None },
        Err(_) => refused("not-text"),
    }
}

fn find(syntax: Syntax, text: &str, key: Key) -> Result<Truth, String> {
    let lossy = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    match carrier::read(syntax, text.as_bytes(), key) {
        Ok(Reading::Unset) => Ok(Truth::Unset),
        Ok(Reading::Value(value)) => Ok(Truth::Set(lossy(value))),
        Ok(Reading::Malformed(value)) => Ok(Truth::Malformed(lossy(value))),
        Err(unsupported) => Err(unsupported.as_str().to_owned()),
    }
}

/// What a command line has against `daemon.json`.
fn command_line_blocks(line: &str) -> impl Iterator<Item = &'static str> {
    let has = |option: &str| {
        line.match_indices(option).any(|(at, _)| {
            let before = line[..at].chars().next_back();
            let after = line[at + option.len()..].chars().next();
            before.is_none_or(|before| before.is_whitespace() || before == '"')
                && after.is_none_or(|after| after.is_whitespace() || matches!(after, '"' | '='))
        })
    };
    let flag = ["--http-proxy", "--https-proxy", "--no-proxy"].into_iter().any(has);
    [(flag, "flag"), (has("--config-file"), "other-config-file")]
        .into_iter()
        .filter_map(|(found, reason)| found.then_some(reason))
}

/// The lines of a file of proxyfleet's own, split at tabs.
pub(super) fn notes(machine: &Machine, name: &str) -> Vec<Vec<String>> {
    note_lines(machine, name).iter().map(|line| line.splitn(4, '\t').map(str::to_owned).collect()).collect()
}

pub(super) fn note_lines(machine: &Machine, name: &str) -> Vec<String> {
    let bytes = machine.files.get(&format!(r"{HOME}\{name}")).map(Vec::as_slice).unwrap_or_default();
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    text.split('\n').filter(|line| line.contains('\t')).map(str::to_owned).collect()
}

/// The lines of the note of what a service starts with now; none for a service of which there is no note.
pub(super) fn start_lines(machine: &Machine, service: Service) -> Vec<String> {
    let mut lines = Vec::new();
    for row in Platform::Windows.table().components {
        if row.service != Some(service) || row.running != RunningProbe::StartRecord {
            continue;
        }
        let read = read_carrier(machine, &row.carrier);
        for setting in row.carrier.settings {
            let found = find(row.carrier.syntax, &read.text, setting.key).unwrap_or(Truth::Unset);
            lines.push(format!("{}\t{}\t{}\t{}", row.component, setting.key, found.state(), found.value()));
        }
    }
    lines
}

/// The record of what proxyfleet wrote.
pub(super) fn record(machine: &Machine) -> Vec<Recorded> {
    let parse = |text: String| {
        let fields: Vec<&str> = text.splitn(8, '\t').collect();
        let [component, key, _, created, state, written, prior, prior_line] = fields[..] else { return None };
        Some(Recorded {
            component: component.to_owned(),
            key: key.to_owned(),
            created: created.to_owned(),
            state: state.to_owned(),
            written: written.to_owned(),
            prior: prior.to_owned(),
            prior_line: prior_line.to_owned(),
            text: text.clone(),
        })
    };
    note_lines(machine, "managed").into_iter().filter_map(parse).collect()
}

/// The name of a component in the record when it has this carrier.
pub(super) fn record_name(row: &ComponentRow, carrier: &Carrier) -> String {
    if carrier.path == row.carrier.path {
        return row.component.name().to_owned();
    }
    format!("{}:{}", row.component.name(), carrier.syntax.name())
}

/// The report of the observe document.
pub(super) fn observe(machine: &Machine) -> String {
    if !is_known(&machine.build) {
        return format!("proxyfleet/1 observe unsupported windows 10.0.{}\nend\n", machine.build);
    }
    let facts = Facts::gather(machine);
    let size = |lines: &[String]| lines.iter().map(|line| line.len() + 1).sum::<usize>();
    let mut lines = report(&facts, 400);
    if size(&lines) > REPORT_LIMIT_BYTES {
        lines = report(&facts, 64);
    }
    // A digest is 33 characters long.
    for longest in [64, 33] {
        if size(&lines) > REPORT_LIMIT_BYTES {
            lines = report(&facts, longest);
            for at in (0..lines.len()).rev() {
                if size(&lines) > REPORT_LIMIT_BYTES && lines[at].starts_with("f ") {
                    lines.remove(at);
                }
            }
        }
    }
    let printed: Vec<String> = lines.iter().map(|line| printable(line)).collect();
    printed.join("\n") + "\n"
}

/// Whether the catalogue has the release with this build number.
pub(super) fn is_known(build: &str) -> bool {
    match Platform::Windows.table().system {
        System::WindowsServer { releases } => releases.iter().any(|(_, known)| *known == build),
        System::AmazonLinux { .. } => false,
    }
}

/// The value table of a report.
struct Table {
    longest: usize,
    known: Vec<String>,
}

impl Table {
    fn number(&mut self, kind: ValueKind, truth: &Truth) -> String {
        let value = truth.value();
        let mut text = shown(value);
        if text.len() > self.longest {
            let normal = match (kind, truth) {
                (ValueKind::List, Truth::Set(_)) => normalise_list(value),
                _ => value.to_owned(),
            };
            text = format!("#{}", digest(&normal));
        }
        let at = self.known.iter().position(|known| *known == text).unwrap_or_else(|| {
            self.known.push(text);
            self.known.len() - 1
        });
        let mark = if matches!(truth, Truth::Malformed(_)) { "~" } else { "" };
        format!("{mark}{}", at + 1)
    }

    fn word(&mut self, kind: ValueKind, truth: &Truth) -> String {
        match truth {
            Truth::Unset => "-".to_owned(),
            Truth::NotApplicable => ".".to_owned(),
            Truth::Unknown => "?".to_owned(),
            Truth::Unproven => "+".to_owned(),
            Truth::Set(_) | Truth::Malformed(_) => self.number(kind, truth),
        }
    }
}

fn report(facts: &Facts, longest: usize) -> Vec<String> {
    let mut table = Table { longest, known: Vec::new() };
    let mut details = Vec::new();
    for setting in &facts.settings {
        let (component, key, kind) = (setting.row.component, setting.key, setting.key.kind());
        let (carrier, running) = (table.word(kind, &setting.carrier), table.word(kind, &setting.running));
        details.push(format!("k {component} {key} {carrier} . {running}"));
    }
    details.extend(managed(facts, &mut table));
    for (component, key, value, path) in &facts.foreign {
        let number = table.number(key.kind(), &Truth::Set(value.clone()));
        details.push(format!("f {component} {key} inert {number} {path}"));
    }
    details.extend(facts.blocked.iter().map(|(component, reason, path)| format!("b {component} {reason} {path}")));
    details.push("end".to_owned());

    let mut lines = vec![format!("proxyfleet/1 observe {}", Platform::Windows)];
    lines.extend(facts.services.iter().map(|(service, state)| format!("s {service} {state}")));
    let choices = facts.carriers.iter().filter(|held| held.row.fallback.is_some());
    lines.extend(choices.map(|held| format!("c {} {}", held.row.component, held.carrier.path)));
    lines.extend(table.known.iter().enumerate().map(|(at, text)| format!("= {} {text}", at + 1)));
    lines.extend(details);
    lines
}

fn managed(facts: &Facts, table: &mut Table) -> Vec<String> {
    let mut lines = Vec::new();
    let mut told: Vec<(&str, &str)> = Vec::new();
    for line in &facts.record {
        let name = (line.component.as_str(), line.key.as_str());
        let Some(setting) = facts.setting(name.0, name.1).filter(|_| !told.contains(&name)) else { continue };
        told.push(name);
        let kind = setting.key.kind();
        let of_setting = || facts.record.iter().filter(|other| (other.component.as_str(), other.key.as_str()) == name);
        let intact = matches!(&setting.carrier, Truth::Set(value)
            if of_setting().any(|other| kind.same(value, &other.written)));
        let last = of_setting().next_back().unwrap_or(line);
        let prior = table.word(kind, &Truth::from_words(&last.state, &last.prior));
        lines.push(format!("m {} {} {} {prior}", name.0, name.1, if intact { "intact" } else { "changed" }));
    }
    lines
}

/// What may be shown of a value: no userinfo, nothing but printable ASCII.
fn shown(value: &str) -> String {
    let hide = |text: &str| match text.rfind('@') {
        Some(at) => format!("***{}", &text[at..]),
        None => text.to_owned(),
    };
    let (head, rest) = value.split_at(value.find("://").map_or(0, |at| at + 3));
    printable(&(hide(head) + &hide(rest)))
}

/// A text with everything that is not printable ASCII replaced by `?`, which .NET counts in units of UTF-16.
pub(super) fn printable(text: &str) -> String {
    text.encode_utf16()
        .map(|unit| char::from_u32(u32::from(unit)).filter(|c| matches!(c, ' '..='~')).unwrap_or('?'))
        .collect()
}

fn digest(text: &str) -> String {
    use std::fmt::Write as _;
    Sha256::digest(text.as_bytes()).iter().take(16).fold(String::with_capacity(32), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
