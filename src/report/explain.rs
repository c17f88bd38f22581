//! One instance, explained: which policy and why, every setting with what is wanted and what is there.

use serde_json::{Value, json};

use super::layout::{paint, wrap, wrap_words};
use super::plan::reach;
use super::screen::role;
use super::words::{self, truth};
use crate::catalog::{Carrier, ComponentRow, ComponentScope, Platform, Setting, ValueKind};
use crate::fleet::{
    ForeignEffect, ForeignSource, Identity, Instance, Observation, Observed, ObservedSetting, Seen, ServiceState, Truth,
};
use crate::plan::{Assessment, Reason, Terms};

const IN_SYNC: &str = "in sync";

/// Everything `explain` knows of one instance.
#[derive(Debug)]
pub struct Explanation {
    /// The instance.
    pub instance: Instance,
    /// The policy that is for it, with where it is written and its priority.
    pub policy: Option<(Terms, String, i64)>,
    /// Other policies that match and lose: name and priority.
    pub outranked: Vec<(String, i64)>,
    /// What it reported.
    pub observation: Observation,
    /// How that compares with the policy.
    pub assessment: Option<Assessment>,
}

/// The explanation as text.
pub fn explain_text(explanation: &Explanation, width: usize) -> String {
    let mut out = String::new();
    header(&mut out, explanation, width);
    if let (Observation::Seen(observed), Some((terms, ..)), Some(assessment)) =
        (&explanation.observation, &explanation.policy, &explanation.assessment)
    {
        for row in observed.platform.table().components {
            if terms.components.contains(&row.component) {
                component(&mut out, terms, row, observed, width);
            } else if row.component.scope() == ComponentScope::ObservedOnly {
                observed_only(&mut out, row, observed, width);
            }
        }
        out.push('\n');
        verdict(&mut out, assessment, width);
    }
    out
}

fn header(out: &mut String, explanation: &Explanation, width: usize) {
    let instance = &explanation.instance;
    out.push_str(&paint(role::HEADING, &words::who(&instance.id, instance.name())));
    out.push('\n');
    let system = match &instance.identity {
        Identity::Known(platform) => platform.table().title.to_owned(),
        Identity::Unsupported { name, version } => format!("{name} {version}, which proxyfleet does not manage"),
        Identity::Unknown => "unknown".to_owned(),
    };
    field(out, "system", &format!("{system}, {}", reach(&instance.reach)), width);
    let tags: Vec<String> = instance.tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
    wrap(out, "  tags    ", &tags, 11, width);
    match &explanation.policy {
        Some((terms, origin, priority)) => {
            field(out, "policy", &format!("{} ({origin}), priority {priority}", terms.name), width);
        }
        None => field(out, "policy", "none matches its tags and system", width),
    }
    for (name, priority) in &explanation.outranked {
        field(out, "", &format!("{name} matches too, with the lower priority {priority}"), width);
    }
    if let Observation::Unanswered(why) = &explanation.observation {
        field(out, "state", &format!("not known: {why}"), width);
    }
}

fn field(out: &mut String, name: &str, text: &str, width: usize) {
    wrap_words(out, &format!("  {name:<8}"), text, 11, width);
}

fn component(out: &mut String, terms: &Terms, row: &'static ComponentRow, observed: &Observed, width: usize) {
    component_heading(out, row, observed, "", width);
    let carrier = observed.carrier(row);
    for setting in carrier.settings {
        let Some(seen) = observed.setting(row.component, setting.key) else { continue };
        let desired = terms.values.as_ref().map(|values| values.value(setting.rule));
        let (word, style) = state(seen, desired.as_deref(), setting.key.kind(), observed);
        let heading = format!("    {:<12} {}", setting.key.name(), paint(style, word));
        match &desired {
            Some(value) if word == IN_SYNC => wrap(out, &heading, &pieces(value), 6, width),
            _ => {
                out.push_str(&heading);
                out.push('\n');
                truths(out, desired, seen, carrier, width);
            }
        }
        rivals(out, terms, *setting, seen, observed, width);
    }
}

/// The component, what carries its settings, and its service, with a remark behind.
fn component_heading(out: &mut String, row: &'static ComponentRow, observed: &Observed, remark: &str, width: usize) {
    let service = row.service.zip(row.service.and_then(|service| observed.service(service)));
    let service = service.map_or_else(String::new, |(service, state)| {
        let name = observed.platform.table().service_name(service);
        let state = match state {
            ServiceState::Active => "is running",
            ServiceState::Inactive => "is stopped",
            ServiceState::Due => "is stopped, but set to start by itself",
            ServiceState::Failed => "is failed",
            ServiceState::Absent => "is not installed",
        };
        format!(", service {name} {state}")
    });
    out.push('\n');
    let text = format!("{}{service}{remark}", observed.carrier(row).path);
    wrap_words(out, &format!("  {}", paint(role::HEADING, row.component.name())), &text, 4, width);
}

/// A component that no policy can govern: what its carrier says.
fn observed_only(out: &mut String, row: &'static ComponentRow, observed: &Observed, width: usize) {
    component_heading(out, row, observed, "; only looked at", width);
    for setting in observed.carrier(row).settings {
        let Some(seen) = observed.setting(row.component, setting.key) else { continue };
        wrap(out, &format!("    {:<12}", setting.key.name()), &pieces(&truth(&seen.carrier)), 6, width);
    }
}

/// What is wanted and what is there, a line each.
fn truths(out: &mut String, desired: Option<String>, seen: &ObservedSetting, carrier: &Carrier, width: usize) {
    for (name, value) in [
        ("desired", desired.unwrap_or_else(|| "not set by proxyfleet".to_owned())),
        (if carrier.is_in_registry() { "registry" } else { "file" }, truth(&seen.carrier)),
        ("loaded", truth(&seen.loaded)),
        ("running", truth(&seen.running)),
    ] {
        if value != "-" {
            wrap(out, &format!("      {name:<9}"), &pieces(&value), 16, width);
        }
    }
}

/// Other sources of the same setting that say something else.
fn rivals(
    out: &mut String,
    terms: &Terms,
    setting: Setting,
    seen: &ObservedSetting,
    observed: &Observed,
    width: usize,
) {
    let desired = terms.values.as_ref().map(|values| values.value(setting.rule));
    let agrees = |value: &Seen| desired.as_ref().is_some_and(|desired| value.is(desired, setting.key.kind()));
    let of_this = |source: &&ForeignSource| (source.component, source.key) == (seen.component, seen.key);
    for source in observed.foreign.iter().filter(of_this).filter(|source| !agrees(&source.value)) {
        let effect = match source.effect {
            ForeignEffect::Overrides => "wins with",
            ForeignEffect::Inert => "has no effect with",
        };
        wrap_words(out, "      also     ", &format!("{} {effect} {}", source.path, source.value), 16, width);
    }
}

/// A list may be broken after its commas so that it fits.
fn pieces(value: &str) -> Vec<String> {
    if value.contains(' ') || value.len() < 60 {
        return vec![value.to_owned()];
    }
    value.split_inclusive(',').map(str::to_owned).collect()
}

fn state(
    seen: &ObservedSetting,
    desired: Option<&str>,
    kind: ValueKind,
    observed: &Observed,
) -> (&'static str, anstyle::Style) {
    let Some(desired) = desired else {
        let ours = observed
            .managed
            .iter()
            .any(|managed| (managed.component, managed.key) == (seen.component, seen.key) && managed.intact);
        return match (ours, &seen.carrier) {
            (true, _) => ("unwanted", role::CHANGE),
            (false, Truth::Unset) => (IN_SYNC, role::GOOD),
            (false, _) => ("not ours", role::ATTENTION),
        };
    };
    let right = |truth: &Truth| truth.is(desired, kind);
    match &seen.carrier {
        Truth::Unset => ("missing", role::CHANGE),
        Truth::Unknown => ("unknown", role::BAD),
        carrier if !right(carrier) => ("different", role::CHANGE),
        _ if !right(&seen.loaded) || !right(&seen.running) => ("stale", role::ATTENTION),
        _ => (IN_SYNC, role::GOOD),
    }
}

fn verdict(out: &mut String, assessment: &Assessment, width: usize) {
    for reason in &assessment.obstacles {
        let (what, remedy) = words::reason(reason);
        wrap_words(out, &paint(role::ATTENTION, "Left out:"), &format!("{what}; {remedy}"), 2, width);
    }
    for finding in &assessment.findings {
        let (what, meaning) = words::finding(finding);
        wrap_words(out, "Note:", &format!("{what}; {meaning}"), 2, width);
    }
    let restarts: Vec<String> = assessment
        .work
        .restarts
        .iter()
        .map(|service| format!("restart {service} ({})", words::task_effect(*service)))
        .collect();
    let sentence = match (assessment.work.changes.len(), assessment.pending.is_empty()) {
        (0, true) if assessment.obstacles.is_empty() => paint(role::GOOD, "In sync."),
        (0, true) => paint(role::ATTENTION, "Nothing that proxyfleet could change."),
        (0, false) => paint(role::ATTENTION, "Files are right; a restart is missing, which the policy defers."),
        (changes, _) => {
            let settings = super::layout::count(changes, "setting");
            let restarts = if restarts.is_empty() { "no restart".to_owned() } else { restarts.join(", ") };
            paint(role::CHANGE, &format!("An apply would set {settings}; {restarts}."))
        }
    };
    wrap_words(out, "", &sentence, 2, width);
}

/// The same for machines, version 1.
pub fn explain_json(explanation: &Explanation) -> Value {
    let instance = &explanation.instance;
    let settings = match (&explanation.observation, &explanation.policy) {
        (Observation::Seen(observed), Some((terms, ..))) => settings_json(terms, observed),
        _ => Vec::new(),
    };
    json!({
        "format": "proxyfleet-explain/1",
        "id": instance.id.as_str(),
        "name": instance.name(),
        "platform": instance.platform().map(Platform::name),
        "reach": reach(&instance.reach),
        "tags": instance.tags,
        "policy": explanation.policy.as_ref().map(|(terms, origin, priority)| json!({
            "name": terms.name.as_str(), "origin": origin, "priority": priority,
        })),
        "outranked": explanation.outranked.iter().map(|(name, _)| name).collect::<Vec<_>>(),
        "not_observed": match &explanation.observation {
            Observation::Unanswered(why) => Some(why),
            Observation::Seen(_) | Observation::NotAsked => None,
        },
        "settings": settings,
        "in_sync": explanation.assessment.as_ref().map(Assessment::in_sync),
        "left_out": explanation.assessment.iter().flat_map(|assessment| &assessment.obstacles)
            .map(|reason: &Reason| words::reason(reason).0).collect::<Vec<_>>(),
    })
}

fn settings_json(terms: &Terms, observed: &Observed) -> Vec<Value> {
    let mut settings = Vec::new();
    for row in observed.platform.table().components {
        for setting in observed.carrier(row).settings.iter().filter(|_| terms.components.contains(&row.component)) {
            let Some(seen) = observed.setting(row.component, setting.key) else { continue };
            let desired = terms.values.as_ref().map(|values| values.value(setting.rule));
            let (word, _) = state(seen, desired.as_deref(), setting.key.kind(), observed);
            settings.push(json!({
                "component": row.component.name(),
                "key": setting.key.name(),
                "path": observed.carrier(row).path,
                "state": word,
                "desired": desired,
                "file": truth(&seen.carrier),
                "loaded": truth(&seen.loaded),
                "running": truth(&seen.running),
            }));
        }
    }
    settings
}
