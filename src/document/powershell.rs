//! The PowerShell scripts in the documents: sources, with the catalogue as PowerShell data in place of marker lines.

use std::collections::BTreeMap;

use super::script::{CATALOGUE_MARKER, PARAMETERS_MARKER, WRITING_MARKER, compact};
use crate::catalog::{
    ComponentRow, ComponentScope, DOCKER_PIPE, Platform, Rival, RivalKind, Service, System, WINDOWS_AGENT_FOLDER,
};

const COMMON: &str = include_str!("ps1/common.ps1");
const CARRIER: &str = include_str!("ps1/carrier.ps1");
const IO: &str = include_str!("ps1/io.ps1");
const RECORD: &str = include_str!("ps1/record.ps1");
const SERVICES: &str = include_str!("ps1/services.ps1");
const FACTS: &str = include_str!("ps1/facts.ps1");
const OBSERVE: &str = include_str!("ps1/observe.ps1");
const LOCK: &str = include_str!("ps1/lock.ps1");
const PREFLIGHT: &str = include_str!("ps1/preflight.ps1");
const RESTART: &str = include_str!("ps1/restart.ps1");
const DECIDE: &str = include_str!("ps1/decide.ps1");
const PUT_BACK: &str = include_str!("ps1/put_back.ps1");
const APPLY: &str = include_str!("ps1/apply.ps1");
const BOOT: &str = include_str!("ps1/boot.ps1");

/// The variables of the apply script and the document parameters behind them. The quotes hold because no parameter's
/// pattern lets a quote through.
const PARAMETERS: &str = "\
$WantState = '{{ State }}'
$WantHttp = '{{ HttpProxy }}'
$WantHttps = '{{ HttpsProxy }}'
$WantBypass = '{{ NoProxy }}'
$Requested = '{{ Components }}'.Split(',')
$DockerRestart = '{{ DockerRestart }}'
$Preflight = '{{ Preflight }}'
$Policy = '{{ Policy }}'
$RunId = '{{ Run }}'
$Action = '{{ Action }}'
";

/// Variables whose names a document keeps: those of its parameters, and those that tests look for.
pub(super) const FULL_NAMES: [&str; 12] = [
    "WantState",
    "WantHttp",
    "WantHttps",
    "WantBypass",
    "Requested",
    "DockerRestart",
    "Preflight",
    "Policy",
    "RunId",
    "Action",
    "Run",
    "LockSeconds",
];

/// What a script is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Observe,
    Apply,
    Boot,
}

/// The lines of the observe script.
pub(super) fn observe() -> Vec<String> {
    assemble(&[COMMON, CARRIER, IO, RECORD, SERVICES, FACTS, OBSERVE], Purpose::Observe)
}

/// The lines of the script that applies.
pub(super) fn apply() -> Vec<String> {
    let sources = [COMMON, CARRIER, IO, RECORD, SERVICES, FACTS, LOCK, PREFLIGHT, RESTART, DECIDE, PUT_BACK, APPLY];
    assemble(&sources, Purpose::Apply)
}

/// The lines of the script that an instance boots with. It finds its parameters set already.
///
/// Of what an apply consists of it has the functions that `boot.ps1` needs, and no more: EC2 takes a quarter of what SSM takes.
pub(super) fn boot() -> Vec<String> {
    let whole = assemble(&[COMMON, CARRIER, IO, RECORD, SERVICES, LOCK, RESTART], Purpose::Boot);
    let shared = assemble(&[FACTS, DECIDE, APPLY], Purpose::Boot);
    let own = assemble(&[BOOT], Purpose::Boot);
    let mut parts = parts(&whole);
    parts.extend(self::parts(&shared).into_iter().filter(|part| part.name.is_some()));
    parts.extend(self::parts(&own));
    needed(parts).into_iter().flat_map(|part| part.lines).cloned().collect()
}

/// A function, or a line outside of functions.
struct Part<'a> {
    name: Option<&'a str>,
    lines: &'a [String],
}

/// The parts of a script. A function ends with the first brace that is not indented.
fn parts(lines: &[String]) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut rest = lines;
    while let Some(first) = rest.first() {
        let name = first.strip_prefix("function ").and_then(|head| head.split([' ', '(']).next());
        let length = match name {
            Some(_) => rest.iter().position(|line| line == "}").map_or(rest.len(), |end| end + 1),
            None => 1,
        };
        let (lines, after) = rest.split_at(length);
        parts.push(Part { name, lines });
        rest = after;
    }
    parts
}

/// The parts that run or can be called. Of two functions with one name the later counts.
fn needed(parts: Vec<Part<'_>>) -> Vec<Part<'_>> {
    let places: BTreeMap<&str, usize> =
        parts.iter().enumerate().filter_map(|(place, part)| Some((part.name?, place))).collect();
    let mut keep: Vec<bool> = parts.iter().map(|part| part.name.is_none()).collect();
    let mut open: Vec<usize> = (0..parts.len()).filter(|place| keep[*place]).collect();
    while let Some(place) = open.pop() {
        let words =
            parts[place].lines.iter().flat_map(|line| line.split(|c: char| !c.is_ascii_alphanumeric() && c != '-'));
        for called in words.filter_map(|word| places.get(word)) {
            if !std::mem::replace(&mut keep[*called], true) {
                open.push(*called);
            }
        }
    }
    parts.into_iter().zip(keep).filter_map(|(part, keep)| keep.then_some(part)).collect()
}

/// Joins sources to one script. To fit into a document it goes without blank lines and comments, and each level of
/// indentation is one blank. No source has a text over several lines, which would change with that.
fn assemble(sources: &[&str], purpose: Purpose) -> Vec<String> {
    let mut lines = Vec::new();
    if purpose != Purpose::Boot {
        lines.push(
            "# Generated by proxyfleet from its catalogue; the commented sources are in src/document/ps1.".to_owned(),
        );
    }
    for source in sources {
        for line in source.lines() {
            match line.trim() {
                CATALOGUE_MARKER => lines.extend(catalogue(purpose)),
                PARAMETERS_MARKER => lines.extend(PARAMETERS.lines().map(str::to_owned)),
                WRITING_MARKER if purpose == Purpose::Observe => break,
                _ => lines.extend(compact(line, 4)),
            }
        }
    }
    lines
}

/// The catalogue as assignments of PowerShell data.
fn catalogue(purpose: Purpose) -> Vec<String> {
    let table = Platform::Windows.table();
    let builds: Vec<&str> = match table.system {
        System::WindowsServer { releases } => releases.iter().map(|(_, build)| *build).collect(),
        System::AmazonLinux { .. } => Vec::new(),
    };
    let services: Vec<String> = table
        .services
        .iter()
        .map(|(service, real)| data(&[("Name", &quoted(service.name())), ("Real", &quoted(real))]))
        .collect();
    let mut lines = vec![
        format!("$Platform = {}", quoted(table.name)),
        format!("$Builds = {}", builds.iter().map(|build| quoted(build)).collect::<Vec<_>>().join(", ")),
        format!("$Services = {}", list(&services)),
    ];
    if purpose != Purpose::Observe {
        lines.push(format!("$DockerPipe = {}", quoted(DOCKER_PIPE)));
    }
    if purpose == Purpose::Boot {
        lines.push(format!("$AgentFolder = {}", quoted(WINDOWS_AGENT_FOLDER)));
    }
    lines.push("$Components = @(".to_owned());
    let is_there =
        |row: &&ComponentRow| purpose != Purpose::Boot || row.component.scope() != ComponentScope::ObservedOnly;
    let rows: Vec<&ComponentRow> = table.components.iter().filter(is_there).collect();
    for (index, row) in rows.iter().enumerate() {
        let comma = if index + 1 == rows.len() { "" } else { "," };
        lines.extend(component(row, purpose));
        lines.push(format!("}}{comma}"));
    }
    lines.push(")".to_owned());
    lines
}

/// One component: the carriers that it can have, the first one first, its settings, and other sources of the same. What
/// repeats is written as words, which `common.ps1` takes apart.
fn component(row: &ComponentRow, purpose: Purpose) -> Vec<String> {
    let carriers: Vec<String> = std::iter::once(&row.carrier)
        .chain(&row.fallback)
        .map(|carrier| quoted(&format!("{} {}", carrier.syntax.name(), carrier.path)))
        .collect();
    let settings = row.carrier.settings.iter();
    let settings: Vec<String> = settings
        .map(|setting| quoted(&format!("{} {} {}", setting.key.name(), setting.key.kind().name(), setting.rule.name())))
        .collect();
    // User data looks for nothing but what keeps docker from starting.
    let counts = |rival: &&Rival| purpose != Purpose::Boot || rival.kind == RivalKind::CommandLine;
    let rivals = row.rivals.iter().filter(counts);
    let rivals: Vec<String> = rivals.map(|rival| quoted(&format!("{} {}", rival.kind.name(), rival.path))).collect();
    vec![
        format!("@{{ Name = {}", quoted(row.component.name())),
        format!(" Service = {}", quoted(row.service.map_or("", Service::name))),
        format!(" Written = ${}", row.component.scope() != ComponentScope::ObservedOnly),
        format!(" Probe = {}", quoted(row.running.name())),
        format!(" Carriers = {}", words("Syntax Path", &carriers)),
        format!(" Settings = {}", words("Key Kind Rule", &settings)),
        format!(" Rivals = {}", words("Kind Path", &rivals)),
    ]
}

/// An array of hash tables with these keys, each made of a text; the last key has the rest of it.
fn words(keys: &str, texts: &[String]) -> String {
    format!("@(Split-Words '{keys}' @({}))", texts.join(", "))
}

/// A hash table.
fn data(fields: &[(&str, &str)]) -> String {
    let fields: Vec<String> = fields.iter().map(|(name, value)| format!("{name} = {value}")).collect();
    format!("@{{ {} }}", fields.join("; "))
}

/// An array.
fn list(items: &[String]) -> String {
    format!("@({})", items.join(", "))
}

/// A string; nothing in it has a meaning.
pub(super) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
