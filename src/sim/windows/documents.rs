//! What proxyfleet's own documents do on a modelled host.
//!
//! A modelled host cannot run a script, so it has to know it: a script is ours when it is, to the byte, the PowerShell step
//! of a document of this program with values in the places of the parameters.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::Value;

use super::apply::apply;
use super::decide::Wanted;
use super::facts::observe;
use super::model::{Machine, Surroundings};
use crate::catalog::{Platform, ProxyValues};
use crate::document::{self, Document};
use crate::document::{Action, DockerRestart, MAX_RUN_CHARS, Preflight};

/// Runs a script if it is that of one of our documents; returns what it prints and its exit code.
pub(super) fn run(script: &str, machine: &mut Machine, surroundings: &Surroundings) -> Option<(String, i32)> {
    static OBSERVE: LazyLock<Option<String>> = LazyLock::new(|| powershell(&document::observe()));
    static APPLY: LazyLock<Option<String>> = LazyLock::new(|| powershell(&document::apply(Platform::Windows)));
    if OBSERVE.as_deref() == Some(script) {
        return Some((observe(machine), 0));
    }
    let parameters = arguments(APPLY.as_deref()?, script)?;
    Some(apply(machine, surroundings, &wanted(&parameters)))
}

/// The PowerShell script of a document, lines joined as the agent does.
fn powershell(document: &Document) -> Option<String> {
    let body: Value = serde_json::from_str(&document.content).ok()?;
    let steps = body["mainSteps"].as_array()?;
    let step = steps.iter().find(|step| step["action"] == "aws:runPowerShellScript")?;
    let lines: Option<Vec<&str>> = step["inputs"]["runCommand"].as_array()?.iter().map(Value::as_str).collect();
    Some(lines?.join("\n") + "\n")
}

/// The values that `script` has in the places of the references `{{ Name }}` of `template`, if it is the same otherwise. Each
/// stands in single quotes, which no value contains.
fn arguments(template: &str, script: &str) -> Option<BTreeMap<String, String>> {
    let mut parts = template.split("{{ ");
    let mut rest = script.strip_prefix(parts.next()?)?;
    let mut found = BTreeMap::new();
    for part in parts {
        let (name, text) = part.split_once(" }}")?;
        let value = &rest[..rest.find('\'')?];
        found.insert(name.to_owned(), value.to_owned());
        rest = rest[value.len()..].strip_prefix(text)?;
    }
    rest.is_empty().then_some(found)
}

fn wanted(parameters: &BTreeMap<String, String>) -> Wanted {
    let value = |name: &str| parameters.get(name).cloned().unwrap_or_default();
    Wanted {
        state: value("State"),
        values: ProxyValues { http: value("HttpProxy"), https: value("HttpsProxy"), bypass: value("NoProxy") },
        components: value("Components").split(',').map(str::to_owned).collect(),
        docker_restart: value("DockerRestart"),
        preflight: value("Preflight"),
        policy: value("Policy"),
        run: value("Run"),
        action: value("Action"),
    }
}

impl Wanted {
    /// Whether the settings are to be there.
    pub(super) fn present(&self) -> bool {
        self.state == "present"
    }

    /// Whether Docker may be restarted.
    pub(super) fn docker_may_restart(&self) -> bool {
        self.docker_restart == DockerRestart::Allow.name()
    }

    /// Whether every parameter has a value that it can have.
    pub(super) fn is_sound(&self) -> bool {
        let words = |word: &str, known: [&str; 2]| known.contains(&word);
        let given = [&self.values.http, &self.values.https, &self.values.bypass].iter().all(|value| !value.is_empty());
        let is_run = self.run.len() <= MAX_RUN_CHARS
            && self.run.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        words(&self.state, ["present", "absent"])
            && (given || !self.present())
            && words(&self.docker_restart, [DockerRestart::Allow.name(), DockerRestart::Defer.name()])
            && words(&self.preflight, [Preflight::Require.name(), Preflight::Skip.name()])
            && words(&self.action, [Action::Apply.name(), Action::PutBack.name()])
            && is_run
            && (self.action == Action::Apply.name() || !self.run.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::arguments;

    #[test]
    fn a_script_is_known_by_its_text() {
        let template = "$A = '{{ A }}'\n$B = '{{ B }}'\nWrite-Output $A\n";
        let script = template.replace("{{ A }}", "one").replace("{{ B }}", "");
        let found = arguments(template, &script).expect("the script is that of the template");
        assert_eq!((found["A"].as_str(), found["B"].as_str()), ("one", ""));
        for other in ["", "$A = 'one'\n", &script.replace("Output", "Host"), &format!("{script}more\n"), &script[1..]] {
            assert_eq!(arguments(template, other), None, "{other}");
        }
    }
}
