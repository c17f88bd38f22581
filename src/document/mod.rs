//! The SSM documents, generated from the catalogue and from the sources under `sh/` and `ps1/`.
//!
//! `ProxyFleet-Observe` reads, `ProxyFleet-Apply-<Platform>` writes (decision D3). A document is a function of this
//! program alone: parameters carry a policy's values, and each has a pattern that lets no character through that means
//! something to a shell (decision D2). [`Document::version_name`] is the digest of the content, so publishing the same
//! document twice is one version.
//!
//! From the same sources comes the user data of new instances ([`user_data`]), and how carriers look
//! ([`rendered_files`]).
//!
//! Not here: how documents are published and sent, and what their output means ([`crate::fleet`] parses it).

mod files;
mod pack;
mod powershell;
mod script;
mod shrink;
mod user_data;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

pub use files::{RenderedFile, rendered_files, winhttp_command};
pub use user_data::{ClusterName, MAX_USER_DATA_BYTES, UserDataError, UserDataForm, UserDataRequest, user_data};

use crate::catalog::{
    Component, ComponentScope, MAX_BYPASS_CHARS, NO_PROXY_PATTERN, PROXY_URL_PATTERN, Platform, ProxyValues, System,
};
use crate::policy::PolicyName;
// What two parameters of an apply can be.
pub use crate::policy::{DockerRestart, Preflight};

/// The largest document that SSM accepts, its parameters included, in bytes (aws-ssm-facts 1).
pub const MAX_DOCUMENT_BYTES: usize = 64 * 1024;

/// How the names of the documents begin that change instances.
pub const APPLY_PREFIX: &str = "ProxyFleet-Apply-";

/// The name of the document that observes every platform.
pub const OBSERVE_DOCUMENT: &str = "ProxyFleet-Observe";

/// Seconds that an observation may take on an instance. One takes about a second; a hung docker client costs two times ten.
const OBSERVE_TIMEOUT_SECONDS: &str = "60";

/// Seconds that an apply may take: all of its own limits one after the other, a way back included, take less.
const APPLY_TIMEOUT_SECONDS: &str = "900";

/// The longest name of a run that an instance keeps with its backups, in characters.
pub const MAX_RUN_CHARS: usize = 64;

/// The longest element of `runCommand`, in characters, unless a single line is longer. Fewer elements make a smaller document.
const ELEMENT_CHARS: usize = 160;

/// A document ready to be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// The name under which it is published.
    pub name: String,
    /// The content, JSON text.
    pub content: String,
    /// The lower-case hex SHA-256 of the content, unique over the versions of a document (aws-ssm-facts 2.10).
    pub version_name: String,
    /// The platform it is for; `None` for a document that runs on all of them.
    pub platform: Option<Platform>,
}

impl Document {
    fn new(name: String, platform: Option<Platform>, body: &Value) -> Self {
        let content = to_lines(body);
        let version_name = Sha256::digest(&content).iter().fold(String::with_capacity(64), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        });
        Self { name, content, version_name, platform }
    }
}

/// The document that reports what an instance has. It takes no parameters and writes nothing.
pub fn observe() -> Document {
    let body = json!({
        "schemaVersion": "2.2",
        "description": "Reports the proxy settings of an instance: in its files, in its service manager and in its \
            processes. Reads only.",
        "mainSteps": [
            linux_step("observeLinux", OBSERVE_TIMEOUT_SECONDS, &joined(&script::observe())),
            windows_step("observeWindows", OBSERVE_TIMEOUT_SECONDS, &joined(&powershell::observe())),
        ],
    });
    Document::new(OBSERVE_DOCUMENT.to_owned(), None, &body)
}

/// The document that makes an instance of `platform` equal to its parameters. It refuses to act on another system.
pub fn apply(platform: Platform) -> Document {
    let table = platform.table();
    let step = match table.system {
        // With indentation they would not fit, and PowerShell not with the names that variables have in the sources either.
        System::AmazonLinux { .. } => {
            linux_step("applyLinux", APPLY_TIMEOUT_SECONDS, &unindented(&script::apply(platform)))
        }
        System::WindowsServer { .. } => {
            let lines = shrink::abbreviated(&powershell::apply(), &powershell::FULL_NAMES);
            windows_step("applyWindows", APPLY_TIMEOUT_SECONDS, &unindented(&lines))
        }
    };
    let body = json!({
        "schemaVersion": "2.2",
        "description": format!(
            "Makes the proxy settings of an instance with {} equal to the parameters, restarts what must read them \
            again, verifies, and takes everything back if that fails.",
            table.title
        ),
        "parameters": apply_parameters(platform),
        "mainSteps": [step],
    });
    Document::new(format!("{APPLY_PREFIX}{}", table.document_suffix), Some(platform), &body)
}

/// Every document, the observing one first.
pub fn all() -> Vec<Document> {
    std::iter::once(observe()).chain(Platform::ALL.into_iter().map(apply)).collect()
}

/// What an apply document is sent with.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApplyParameters {
    /// The values to write; `None` takes away what was written earlier.
    pub values: Option<ProxyValues>,
    /// The components to change, at least one.
    pub components: Vec<Component>,
    /// Whether Docker may be restarted.
    pub docker_restart: DockerRestart,
    /// Whether the proxy is tried first.
    pub preflight: Preflight,
    /// The policy that asks for it; the instance keeps the name in its record.
    pub policy: PolicyName,
    /// The run that it belongs to: at most [`MAX_RUN_CHARS`] letters, digits and dashes. Without one, which is empty,
    /// nothing can be put back later.
    pub run: String,
    /// What is to be done.
    pub action: Action,
}

/// What an apply document is to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Make the instance equal to the other parameters.
    #[default]
    Apply,
    /// Put back everything that applies of the same run changed on the instance. Of the other parameters only
    /// [`ApplyParameters::docker_restart`] counts.
    PutBack,
}

impl Action {
    /// The word for it in a document.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Apply => "apply",
            Self::PutBack => "put-back",
        }
    }
}

impl ApplyParameters {
    /// The parameters as `SendCommand` takes them; every parameter has a value, if an empty one.
    pub fn to_map(&self) -> BTreeMap<String, Vec<String>> {
        let value = |value: fn(&ProxyValues) -> &String| self.values.as_ref().map(value).cloned().unwrap_or_default();
        let components: Vec<&str> = self.components.iter().map(|component| component.name()).collect();
        [
            ("State", if self.values.is_some() { "present" } else { "absent" }.to_owned()),
            ("HttpProxy", value(|values| &values.http)),
            ("HttpsProxy", value(|values| &values.https)),
            ("NoProxy", value(|values| &values.bypass)),
            ("Components", components.join(",")),
            ("DockerRestart", self.docker_restart.name().to_owned()),
            ("Preflight", self.preflight.name().to_owned()),
            ("Policy", self.policy.as_str().to_owned()),
            ("Run", self.run.clone()),
            ("Action", self.action.name().to_owned()),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), vec![value]))
        .collect()
    }
}

/// The parameters of an apply document. The agent checks patterns only, the service the rest as well (aws-ssm-facts 4.2).
fn apply_parameters(platform: Platform) -> Value {
    // Nothing to write with State=absent.
    let url_pattern = format!("^$|{PROXY_URL_PATTERN}");
    let rows = platform.table().components.iter().filter(|row| row.component.scope() != ComponentScope::ObservedOnly);
    let components: Vec<&str> = rows.map(|row| row.component.name()).collect();
    let component = components.join("|");
    json!({
        "State": choice("Whether the settings are to be there or to be taken away again.", &["present", "absent"]),
        "HttpProxy": text("URL of the proxy for http targets.", &url_pattern, 300, Some("")),
        "HttpsProxy": text("URL of the proxy for https targets.", &url_pattern, 300, Some("")),
        "NoProxy": text(
            "Hosts that are reached without the proxy, separated by commas.",
            NO_PROXY_PATTERN,
            MAX_BYPASS_CHARS,
            Some(""),
        ),
        "Components": text(
            "What to change, separated by commas.",
            &format!("^({component})(,({component}))*$"),
            // Each once, and commas.
            components.iter().map(|name| name.len() + 1).sum::<usize>() - 1,
            None,
        ),
        "DockerRestart": choice(
            "Whether Docker may be restarted. A restart stops the tasks on the instance.",
            &[DockerRestart::Allow.name(), DockerRestart::Defer.name()],
        ),
        "Preflight": choice(
            "Whether the proxy must answer before anything is written.",
            &[Preflight::Require.name(), Preflight::Skip.name()],
        ),
        "Policy": text("Name of the policy that asks for this.", "^[a-z0-9][a-z0-9-]{0,63}$", 64, None),
        "Run": text(
            "The rollout that this belongs to.",
            &format!("^[0-9A-Za-z-]{{0,{MAX_RUN_CHARS}}}$"),
            MAX_RUN_CHARS,
            Some(""),
        ),
        "Action": choice_or(
            "Whether the settings are applied, or what the same run changed is put back.",
            &[Action::Apply.name(), Action::PutBack.name()],
        ),
    })
}

fn text(description: &str, pattern: &str, max_chars: usize, default: Option<&str>) -> Value {
    let mut parameter = json!({
        "type": "String",
        "description": description,
        "allowedPattern": pattern,
        "maxChars": max_chars,
    });
    if let Some(default) = default {
        parameter["default"] = json!(default);
    }
    parameter
}

fn choice(description: &str, words: &[&str]) -> Value {
    json!({
        "type": "String",
        "description": description,
        "allowedValues": words,
        "allowedPattern": format!("^({})$", words.join("|")),
    })
}

/// A choice whose first word is the default.
fn choice_or(description: &str, words: &[&str]) -> Value {
    let mut parameter = choice(description, words);
    parameter["default"] = json!(words[0]);
    parameter
}

fn linux_step(name: &str, timeout_seconds: &str, lines: &[String]) -> Value {
    step("aws:runShellScript", "Linux", name, timeout_seconds, lines)
}

fn windows_step(name: &str, timeout_seconds: &str, lines: &[String]) -> Value {
    step("aws:runPowerShellScript", "Windows", name, timeout_seconds, lines)
}

fn step(action: &str, system: &str, name: &str, timeout_seconds: &str, lines: &[String]) -> Value {
    json!({
        "action": action,
        "name": name,
        "precondition": { "StringEquals": ["platformType", system] },
        "inputs": { "timeoutSeconds": timeout_seconds, "onFailure": "exit", "runCommand": lines },
    })
}

/// The lines of a script as elements of several lines, which the agent joins again. Each element belongs to one function
/// or other block, so that a change of one does not move the lines of others.
fn joined(lines: &[String]) -> Vec<String> {
    let mut elements: Vec<String> = Vec::new();
    for line in lines {
        let begins_block = !line.starts_with([' ', '}', ')', '\'']);
        match elements.last_mut() {
            Some(last) if !begins_block && last.len() + line.len() < ELEMENT_CHARS => {
                last.push('\n');
                last.push_str(line);
            }
            _ => elements.push(line.clone()),
        }
    }
    elements
}

/// The same without indentation.
fn unindented(lines: &[String]) -> Vec<String> {
    let elements = joined(lines);
    elements.iter().map(|element| element.lines().map(str::trim_start).collect::<Vec<_>>().join("\n")).collect()
}

/// JSON with one element a line, so that a review shows where a script changed, and without indentation, which would be a
/// fifth of the size.
fn to_lines(body: &Value) -> String {
    let mut content = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"");
    let mut serializer = serde_json::Serializer::with_formatter(&mut content, formatter);
    serde::Serialize::serialize(body, &mut serializer).expect("invariant: a JSON value can always be written");
    content.push(b'\n');
    String::from_utf8(content).expect("invariant: JSON is UTF-8")
}
