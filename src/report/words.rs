//! Sentences for the closed sets of the engine: one place says what each reason means and what to do about it.

use std::time::Duration;

use crate::catalog::Service;
use crate::catalog::carrier::Unsupported;
use crate::fleet::{InstanceId, Truth};
use crate::plan::{Finding, Obstacle, Reason};
use crate::rollout::{BudgetKind, Fate, Tally};

/// `ecs-web-0001 (i-0123...)`, or the id alone.
pub(super) fn who(id: &InstanceId, name: Option<&str>) -> String {
    match name {
        Some(name) => format!("{id} {name}"),
        None => id.to_string(),
    }
}

/// What became of an instance, behind its number.
pub(super) fn fate(fate: &Fate) -> &'static str {
    match fate {
        Fate::Converged { pending } if pending.is_empty() => "converged",
        Fate::Converged { .. } => "waiting for a restart",
        Fate::Refused(_) => "refused",
        Fate::RolledBack(_) => "rolled back",
        Fate::Failed(_) => "failed",
        Fate::Unreachable(_) => "unreachable",
        Fate::Unknown(_) => "unknown",
        Fate::PutBack => "put back",
        Fate::NotStarted(_) => "not started",
    }
}

/// When a rollout stops.
pub(super) fn budgets(budgets: Tally) -> String {
    let counts = BudgetKind::ALL.map(|kind| budgets.get(kind));
    match counts {
        [0, 0, 0, 0] => "stops at the first failure".to_owned(),
        [first, ..] if counts == [first; 4] => format!("stops after more than {first} of one kind of failure"),
        _ => {
            let each = BudgetKind::ALL.map(|kind| format!("{} {}", budgets.get(kind), kind.words()));
            format!("stops after more than {}", each.join(", "))
        }
    }
}

/// A time that is given in whole seconds, in its largest unit.
pub(super) fn span(span: Duration) -> String {
    match span.as_secs() {
        seconds if seconds >= 3600 && seconds % 3600 == 0 => format!("{} h", seconds / 3600),
        seconds if seconds >= 60 && seconds % 60 == 0 => format!("{} min", seconds / 60),
        seconds => format!("{seconds} s"),
    }
}

/// What a truth looks like in a sentence.
pub(super) fn truth(truth: &Truth) -> String {
    match truth {
        Truth::Unset => "not set".to_owned(),
        Truth::Is(seen) => seen.to_string(),
        Truth::NotApplicable => "-".to_owned(),
        Truth::Unknown => "could not be read".to_owned(),
        Truth::Unproven => "not known until it starts again".to_owned(),
    }
}

/// Why an instance or a component is left alone: a heading that groups equal reasons, and what to do.
pub(super) fn reason(reason: &Reason) -> (String, String) {
    match reason {
        Reason::Offline { .. } => ("offline".into(), "the SSM agent does not report; the next run picks it up".into()),
        Reason::Unregistered => (
            "not registered with SSM".into(),
            "check the SSM agent, its instance profile and its way to the endpoints".into(),
        ),
        Reason::NotRunning { state } => (state.clone(), "the next run picks it up when it runs".into()),
        Reason::Unsupported { name, version } => {
            (format!("unsupported system {name} {version}"), "proxyfleet never touches it".into())
        }
        Reason::NotObserved { why } => (format!("not observed: {why}"), "look at the command in Run Command".into()),
        Reason::Component { component, obstacle } => {
            let (what, remedy) = obstacle_words(obstacle);
            (format!("{component} {what}"), remedy)
        }
    }
}

fn obstacle_words(obstacle: &Obstacle) -> (String, String) {
    match obstacle {
        Obstacle::NotInstalled(service) => {
            (format!("not installed (no service {service})"), "take it out of the policy, or install it".into())
        }
        Obstacle::Overridden { key, path } => {
            (format!("{key} overridden by {path}"), "remove the setting there, then run again".into())
        }
        Obstacle::Blocked { reason, path } => {
            let known = Unsupported::from_name(reason);
            let what = known.map_or_else(|| reason.clone(), |known| known.to_string());
            let remedy = known.map_or("look at the host, then run again", Unsupported::remedy);
            (format!("cannot edit {path}: {what}"), remedy.into())
        }
        Obstacle::Unreadable { key, truth } => {
            (format!("{truth} {key} could not be read"), "look at the host; proxyfleet does not act on guesses".into())
        }
    }
}

/// A finding, and what it means.
pub(super) fn finding(finding: &Finding) -> (String, String) {
    match finding {
        Finding::Down { service, failed } => (
            format!("{service} is {}", if *failed { "failed" } else { "stopped" }),
            "proxyfleet does not start it; it reads its settings when it starts".into(),
        ),
        Finding::Orphan { component } => (
            format!("{component} was managed and no longer is"),
            "its settings stay; a policy with `state: absent` takes them away".into(),
        ),
        Finding::NotOurs { .. } => (
            "proxy settings that proxyfleet did not write".into(),
            "they stay, `explain` lists them; remove them by hand if they should go".into(),
        ),
        Finding::Inert { component, path } => {
            let meaning =
                if path.starts_with("HK") { "other programs may read them" } else { "harmless; remove them by hand" };
            (format!("{component}: proxy settings without effect in {path}"), meaning.into())
        }
        Finding::Lost { component, dialect, entries } => (
            format!("{component}: {} do not honour {entries} in no_proxy", dialect.readers()),
            "for them these hosts go through the proxy; name them in another way if that matters".into(),
        ),
        Finding::SsmAgentAtRisk { path } => (
            format!("ssm-agent finds HTTP_PROXY and no HTTPS_PROXY in {path}"),
            "from its next start it goes without a proxy and may be out of reach for good; set both or none there, \
             such as with machine-environment"
                .into(),
        ),
        Finding::MachineWide => (
            "machine-environment changes what every service on the instance inherits, the SSM agent included".into(),
            "each reads it when it starts next; nothing is restarted for it".into(),
        ),
    }
}

/// What a restart of a service does to tasks.
pub(super) fn task_effect(service: Service) -> &'static str {
    if service.restart_stops_tasks() { "every task there stops" } else { "tasks keep running" }
}
