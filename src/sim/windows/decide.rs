//! What an apply has to do on a modelled host: the Rust counterpart of `decide.ps1`.

use std::collections::BTreeSet;

use super::facts::{Facts, Recorded, Setting, Truth, record_name};
use crate::catalog::carrier::Syntax;
use crate::catalog::{Component, Key, Platform, ProxyValues, Service};

/// The parameters of an apply document, as they arrive.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) state: String,
    pub(super) values: ProxyValues,
    pub(super) components: Vec<String>,
    pub(super) docker_restart: String,
    pub(super) preflight: String,
    pub(super) policy: String,
    pub(super) run: String,
    pub(super) action: String,
}

/// One edit of a carrier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Set(String),
    Remove,
    Restore(String),
}

/// What has to be done.
#[derive(Clone, Debug, Default)]
pub(super) struct Decision {
    pub(super) refusals: Vec<(&'static str, String)>,
    pub(super) edits: Vec<(Component, Key, Verb)>,
    pub(super) record: Vec<String>,
    pub(super) created: BTreeSet<Component>,
    pub(super) restart: BTreeSet<Service>,
    pub(super) left: Vec<(Component, Key)>,
}

impl Wanted {
    pub(super) fn asks_for(&self, component: Component) -> bool {
        self.components.iter().any(|name| name == component.name())
    }

    /// The value that a setting should have.
    pub(super) fn value(&self, setting: &Setting) -> String {
        let settings = setting.row.carrier.settings;
        let rule = settings.iter().find(|known| known.key == setting.key).map(|known| known.rule);
        rule.map(|rule| self.values.value(rule)).unwrap_or_default()
    }

    /// Compares the facts with what is wanted, where the services in `proven` were restarted just now.
    pub(super) fn decide(&self, facts: &Facts, proven: &[Service]) -> Decision {
        let mut decision = Decision::default();
        self.refuse(&mut decision, facts, proven);
        if !decision.refusals.is_empty() {
            return decision;
        }
        for setting in facts.settings.iter().filter(|setting| self.asks_for(setting.row.component)) {
            let written = written(facts, setting);
            if self.present() {
                self.add_present(&mut decision, facts, setting, &written, proven);
            } else if !written.is_empty() {
                add_absent(&mut decision, facts, setting, &written, proven);
            }
        }
        self.add_due_start(&mut decision, facts);
        decision
    }

    fn refuse(&self, decision: &mut Decision, facts: &Facts, proven: &[Service]) {
        for row in Platform::Windows.table().components {
            if !self.asks_for(row.component) {
                continue;
            }
            for (component, reason, path) in &facts.blocked {
                if *component == row.component {
                    decision.refusals.push(("unsupported", format!("{component} {reason} {path}")));
                }
            }
            let absent = row.service.is_some_and(|service| facts.services.get(&service) == Some(&"absent"));
            if self.present() && absent {
                decision.refusals.push(("component-absent", row.component.name().to_owned()));
            }
        }
        if !proven.is_empty() {
            return;
        }
        for setting in facts.settings.iter().filter(|setting| self.asks_for(setting.row.component)) {
            if (self.present() || !written(facts, setting).is_empty()) && setting.running == Truth::Unknown {
                decision.refusals.push(("unreadable", format!("{} {}", setting.row.component, setting.key)));
            }
        }
    }

    fn add_present(
        &self,
        decision: &mut Decision,
        facts: &Facts,
        setting: &Setting,
        written: &[&Recorded],
        proven: &[Service],
    ) {
        let wanted = Truth::Set(self.value(setting));
        if !is_right(setting, &setting.carrier, &wanted) {
            decision.edits.push((setting.row.component, setting.key, Verb::Set(wanted.value().to_owned())));
            decision.record.push(self.record_line(facts, setting, written, wanted.value()));
        }
        let wrong = setting.running != Truth::NotApplicable && !is_right(setting, &setting.running, &wanted);
        if wrong || is_unknown(setting, proven) {
            restart(decision, facts, setting);
        }
    }

    /// The line of the record for a value that is about to be written. What was there before us stays that of the first time.
    fn record_line(&self, facts: &Facts, setting: &Setting, written: &[&Recorded], wanted: &str) -> String {
        let held = facts.held(setting.row.component);
        let name = held.map(|held| record_name(held.row, held.carrier)).unwrap_or_default();
        let fields = if let Some(first) = written.first() {
            let (created, state) = (first.created.as_str(), first.state.as_str());
            [created, state, wanted, first.prior.as_str(), first.prior_line.as_str()].join("\t")
        } else {
            let made = held.is_some_and(|held| held.carrier.syntax == Syntax::DaemonJson && !held.read.exists);
            let line = held.and_then(|held| held.line(setting.key)).unwrap_or_default();
            let prior = setting.carrier.value().replace('\t', " ");
            [if made { "created" } else { "existed" }, setting.carrier.state(), wanted, &prior, &line].join("\t")
        };
        format!("{name}\t{}\t{}\t{fields}", setting.key, self.policy)
    }

    /// Adds the start of an agent that is down although it starts by itself, where this apply gives it new values or a new
    /// docker.
    fn add_due_start(&self, decision: &mut Decision, facts: &Facts) {
        let states = (facts.services.get(&Service::Ecs), facts.services.get(&Service::Docker));
        if states != (Some(&"due"), Some(&"active")) {
            return;
        }
        let new_docker = decision.restart.contains(&Service::Docker) && self.docker_may_restart();
        let new_values = decision.edits.iter().any(|(component, ..)| {
            Platform::Windows.component(*component).is_some_and(|row| row.service == Some(Service::Ecs))
        });
        if new_docker || new_values {
            decision.restart.insert(Service::Ecs);
        }
    }
}

fn add_absent(decision: &mut Decision, facts: &Facts, setting: &Setting, written: &[&Recorded], proven: &[Service]) {
    let first = written[0];
    let prior = Truth::from_words(&first.state, &first.prior);
    let mut target = &setting.carrier;
    if !is_right(setting, &setting.carrier, &prior) {
        if is_ours(setting, &setting.carrier, written) {
            target = &prior;
            let verb = match prior {
                Truth::Unset => Verb::Remove,
                _ => Verb::Restore(first.prior_line.clone()),
            };
            decision.edits.push((setting.row.component, setting.key, verb));
            if first.created == "created" {
                decision.created.insert(setting.row.component);
            }
        } else {
            decision.left.push((setting.row.component, setting.key));
        }
    }
    if is_unknown(setting, proven) || keeps_ours(facts, setting, written, target, proven) {
        restart(decision, facts, setting);
    }
}

/// The lines of the record about a setting.
fn written<'a>(facts: &'a Facts, setting: &Setting) -> Vec<&'a Recorded> {
    let is_of = |line: &&Recorded| line.component == setting.row.component.name() && line.key == setting.key.name();
    facts.record.iter().filter(is_of).collect()
}

/// Whether a truth is what it should be.
fn is_right(setting: &Setting, truth: &Truth, wanted: &Truth) -> bool {
    match (truth, wanted) {
        (Truth::Set(value), Truth::Set(wanted)) => setting.key.kind().same(value, wanted),
        _ => truth == wanted,
    }
}

fn is_ours(setting: &Setting, truth: &Truth, written: &[&Recorded]) -> bool {
    written.iter().any(|line| is_right(setting, truth, &Truth::Set(line.written.clone())))
}

/// Whether a process still has a value of ours that it would not get again.
fn keeps_ours(facts: &Facts, setting: &Setting, written: &[&Recorded], target: &Truth, proven: &[Service]) -> bool {
    if setting.row.service.is_some_and(|service| proven.contains(&service)) {
        return false;
    }
    match &setting.running {
        Truth::Unproven => true,
        Truth::Set(value) => {
            let kind = setting.key.kind();
            let again = *target != Truth::Unset && kind.same(target.value(), value);
            !again && !is_from_elsewhere(facts, setting, value) && is_ours(setting, &setting.running, written)
        }
        _ => false,
    }
}

/// Whether another source than its carrier gives a process this value.
fn is_from_elsewhere(facts: &Facts, setting: &Setting, value: &str) -> bool {
    facts.foreign.iter().any(|(component, key, other, _)| {
        *component == setting.row.component && *key == setting.key && setting.key.kind().same(other, value)
    })
}

/// Whether a process has another value than its carrier gives now.
pub(super) fn is_stale(facts: &Facts, setting: &Setting) -> bool {
    if setting.running == Truth::NotApplicable || is_right(setting, &setting.running, &setting.carrier) {
        return false;
    }
    match (&setting.carrier, &setting.running) {
        (Truth::Unset, Truth::Set(value)) => !is_from_elsewhere(facts, setting, value),
        _ => true,
    }
}

/// Whether it is not known with what a process runs although it should be.
fn is_unknown(setting: &Setting, proven: &[Service]) -> bool {
    let is_proven = setting.row.service.is_some_and(|service| proven.contains(&service));
    setting.running == Truth::Unknown || (setting.running == Truth::NotApplicable && is_proven)
}

fn restart(decision: &mut Decision, facts: &Facts, setting: &Setting) {
    if let Some(service) = setting.row.service
        && facts.services.get(&service) == Some(&"active")
    {
        decision.restart.insert(service);
    }
}
