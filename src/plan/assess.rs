//! One policy against one report: what differs, what would be done about it, and what stands in the way.

use std::sync::Arc;

use crate::catalog::{Component, ComponentRow, ComponentScope, Key, ProxyValues, Rival, RivalKind, Service, Setting};
use crate::fleet::{ForeignEffect, ManagedSetting, Observed, ObservedSetting, Prior, Seen, ServiceState, Truth};
use crate::plan::{Change, Drift, Finding, Obstacle, Reason, Target, Terms, Work};
use crate::policy::DockerRestart;

/// What a policy means for an instance that reported.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assessment {
    /// What would be done; empty when nothing would.
    pub work: Work,
    /// Services that only a restart is missing on, which the policy defers.
    pub pending: Vec<Service>,
    /// Components that are left alone.
    pub obstacles: Vec<Reason>,
    /// What else is worth knowing.
    pub findings: Vec<Finding>,
}

impl Assessment {
    /// Whether the instance is all that its policy wants.
    pub fn in_sync(&self) -> bool {
        self.work.components.is_empty() && self.pending.is_empty() && self.obstacles.is_empty()
    }
}

/// Compares what an instance reported with what a policy wants.
pub fn assess(terms: &Terms, observed: &Observed) -> Assessment {
    let mut assessment = Assessment::default();
    for row in observed.platform.table().components {
        if row.component.scope() == ComponentScope::ObservedOnly {
            assessment.findings.extend(ssm_agent_at_risk(terms, row, observed));
            continue;
        }
        if !terms.components.contains(&row.component) {
            if observed.managed.iter().any(|managed| managed.component == row.component) {
                assessment.findings.push(Finding::Orphan { component: row.component });
            }
            continue;
        }
        match &terms.values {
            Some(values) => present(&mut assessment, terms, values, row, observed),
            None => absent(&mut assessment, terms, row, observed),
        }
    }
    if starts_ecs(&assessment.work, observed) {
        push_once(&mut assessment.work.restarts, Service::Ecs);
    }
    services_down(&mut assessment, terms, observed);
    assessment.work.restarts.sort_unstable();
    assessment
}

/// Whether the SSM agent, which is only looked at, would lose its way at its next start.
fn ssm_agent_at_risk(terms: &Terms, row: &'static ComponentRow, observed: &Observed) -> Option<Finding> {
    // The policy is about to set all three.
    if terms.values.is_some() && terms.components.contains(&Component::MachineEnvironment) {
        return None;
    }
    let is_set = |key: Key| {
        let own = observed.setting(row.component, key).filter(|seen| matches!(seen.carrier, Truth::Is(_)));
        let inherited = observed.foreign.iter().find(|source| (source.component, source.key) == (row.component, key));
        own.map(|_| row.carrier.path).or(inherited.map(|source| source.path.as_str()))
    };
    let path = is_set(Key::HttpProxy).filter(|_| is_set(Key::HttpsProxy).is_none())?;
    Some(Finding::SsmAgentAtRisk { path: path.to_owned() })
}

/// Whether the work starts the ECS agent's service besides what its own settings ask for. A restart of Docker takes it
/// along (proxy-by-os 13.2). One that should run and does not is started when there is work on it, or on the Docker that it
/// needs: nothing else would (proxy-by-os 8.5).
fn starts_ecs(work: &Work, observed: &Observed) -> bool {
    let restarts_docker = work.restarts.contains(&Service::Docker);
    match observed.service(Service::Ecs) {
        Some(ServiceState::Active) => restarts_docker,
        Some(ServiceState::Due) => {
            is_active(observed, Service::Docker) && (restarts_docker || work.components.contains(&Component::EcsAgent))
        }
        _ => false,
    }
}

/// How far one component is from what the policy wants.
#[derive(Default)]
struct Gap {
    changes: Vec<Change>,
    /// A file must be written or a definition loaded; false where a restart alone is missing.
    beyond_restart: bool,
    /// The running process must start again to have the right values. A process that has them already is left alone,
    /// whatever happened to its file (decision D6).
    restart: bool,
}

fn present(
    assessment: &mut Assessment,
    terms: &Terms,
    values: &ProxyValues,
    row: &'static ComponentRow,
    observed: &Observed,
) {
    if let Some(obstacle) = obstacle(terms, values, row, observed) {
        assessment.obstacles.push(Reason::Component { component: row.component, obstacle });
        return;
    }
    let mut gap = Gap::default();
    for setting in observed.carrier(row).settings {
        let Some(seen) = observed.setting(row.component, setting.key) else { continue };
        present_setting(&mut gap, *setting, &values.value(setting.rule), seen, observed.carrier(row).path);
    }
    for source in observed.foreign.iter().filter(|source| source.component == row.component) {
        let finding = Finding::Inert { component: row.component, path: source.path.clone() };
        let of_machine = |rival: &Rival| rival.kind == RivalKind::MachineVariables && rival.path == source.path;
        let is_ours = row.rivals.iter().any(of_machine) && is_governed(terms, observed, &source.path);
        if source.effect == ForeignEffect::Inert && !is_ours && !assessment.findings.contains(&finding) {
            assessment.findings.push(finding);
        }
    }
    if let Some(finding) = lost_entries(row, values) {
        assessment.findings.push(finding);
    }
    close(assessment, terms, row, observed, gap);
}

/// What of the bypass list some reader of the component's carrier does not understand.
fn lost_entries(row: &ComponentRow, values: &ProxyValues) -> Option<Finding> {
    let dialects = row.carrier.settings.iter().filter_map(|setting| setting.rule.dialect());
    dialects
        .map(|dialect| (dialect, dialect.lost(&values.bypass)))
        .find(|(_, lost)| !lost.is_empty())
        .map(|(dialect, lost)| Finding::Lost { component: row.component, dialect, entries: lost.join(",") })
}

fn present_setting(gap: &mut Gap, setting: Setting, desired: &str, seen: &ObservedSetting, path: &'static str) {
    let right = |truth: &Truth| truth.is(desired, setting.key.kind());
    let (drift, from) = match &seen.carrier {
        Truth::Unset => (Drift::Missing, &seen.carrier),
        carrier if !right(carrier) => (Drift::Different, carrier),
        _ if !right(&seen.loaded) => (Drift::Stale, &seen.loaded),
        _ if !right(&seen.running) => (Drift::Stale, &seen.running),
        _ => return,
    };
    gap.beyond_restart |= drift != Drift::Stale || !right(&seen.loaded);
    gap.restart |= !right(&seen.running);
    gap.changes.push(Change {
        component: seen.component,
        key: seen.key,
        path,
        drift,
        from: from.clone(),
        to: Target::Value(Arc::from(desired)),
    });
}

fn absent(assessment: &mut Assessment, terms: &Terms, row: &'static ComponentRow, observed: &Observed) {
    let is_ours = observed.managed.iter().any(|managed| managed.component == row.component);
    if let Some(blocker) = blocker(row, observed).filter(|_| is_ours) {
        assessment.obstacles.push(Reason::Component { component: row.component, obstacle: blocker });
        return;
    }
    let mut gap = Gap::default();
    let mut stale = false;
    for setting in observed.carrier(row).settings {
        let Some(seen) = observed.setting(row.component, setting.key) else { continue };
        let managed =
            observed.managed.iter().find(|managed| (managed.component, managed.key) == (row.component, setting.key));
        match managed {
            Some(managed) if managed.intact => absent_setting(&mut gap, managed, seen, observed.carrier(row).path),
            _ if matches!(seen.carrier, Truth::Is(_)) => {
                assessment.findings.push(Finding::NotOurs { component: row.component, key: setting.key });
            }
            _ => stale |= outlives_its_carrier(seen, observed),
        }
    }
    if gap.changes.is_empty() {
        // Whoever took the setting out of the file, the process still has it. Not ours to restart for, but worth saying.
        if let Some(service) = row.service.filter(|service| stale && is_active(observed, *service)) {
            push_once(&mut assessment.pending, service);
        }
        return;
    }
    close(assessment, terms, row, observed, gap);
}

fn absent_setting(gap: &mut Gap, managed: &ManagedSetting, seen: &ObservedSetting, path: &'static str) {
    let (to, left_behind) = match &managed.prior {
        Prior::Absent => (Target::Removed, Truth::Unset),
        Prior::Value(value) => (Target::Restored(Truth::Is(value.clone())), Truth::Is(value.clone())),
    };
    gap.beyond_restart = true;
    gap.restart |= seen.running != Truth::NotApplicable && seen.running != left_behind;
    gap.changes.push(Change {
        component: managed.component,
        key: managed.key,
        path,
        drift: Drift::Unwanted,
        from: seen.carrier.clone(),
        to,
    });
}

/// Whether the running process has a value that no file gives it.
fn outlives_its_carrier(seen: &ObservedSetting, observed: &Observed) -> bool {
    let has_a_source =
        observed.foreign.iter().any(|source| (source.component, source.key) == (seen.component, seen.key));
    matches!(seen.running, Truth::Is(_)) && !has_a_source
}

/// Turns the gap of one component into work, or into a pending restart where a deferred restart is all that is missing.
fn close(assessment: &mut Assessment, terms: &Terms, row: &ComponentRow, observed: &Observed, gap: Gap) {
    if gap.changes.is_empty() {
        return;
    }
    if row.component == Component::MachineEnvironment {
        assessment.findings.push(Finding::MachineWide);
    }
    let service = row.service.filter(|service| gap.restart && is_active(observed, *service));
    let deferred = service == Some(Service::Docker) && terms.docker_restart == DockerRestart::Defer;
    if let Some(service) = service.filter(|_| deferred && !gap.beyond_restart) {
        push_once(&mut assessment.pending, service);
        return;
    }
    assessment.work.components.push(row.component);
    assessment.work.changes.extend(gap.changes);
    if let Some(service) = service {
        push_once(if deferred { &mut assessment.work.deferred } else { &mut assessment.work.restarts }, service);
    }
}

fn obstacle(terms: &Terms, values: &ProxyValues, row: &'static ComponentRow, observed: &Observed) -> Option<Obstacle> {
    if let Some(service) = row.service
        && observed.service(service) == Some(ServiceState::Absent)
    {
        return Some(Obstacle::NotInstalled(service));
    }
    if let Some(blocker) = blocker(row, observed) {
        return Some(blocker);
    }
    for setting in observed.carrier(row).settings {
        if let Some(path) = overriding_path(terms, values, row, *setting, observed) {
            return Some(Obstacle::Overridden { key: setting.key, path });
        }
        if let Some(truth) = unreadable(observed.setting(row.component, setting.key)) {
            return Some(Obstacle::Unreadable { key: setting.key, truth });
        }
    }
    None
}

/// Why the carrier cannot be edited.
fn blocker(row: &ComponentRow, observed: &Observed) -> Option<Obstacle> {
    let blocker = observed.blockers.iter().find(|blocker| blocker.component == row.component)?;
    Some(Obstacle::Blocked { reason: blocker.reason.clone(), path: blocker.path.clone() })
}

/// The file that wins over our carrier with another value, unless the same policy governs that file as well.
fn overriding_path(
    terms: &Terms,
    values: &ProxyValues,
    row: &ComponentRow,
    setting: Setting,
    observed: &Observed,
) -> Option<String> {
    let desired = values.value(setting.rule);
    let wins_with_another_value = |value: &Seen| !value.is(&desired, setting.key.kind());
    observed
        .foreign
        .iter()
        .filter(|source| (source.component, source.key) == (row.component, setting.key))
        .filter(|source| source.effect == ForeignEffect::Overrides && wins_with_another_value(&source.value))
        .find(|source| !is_governed(terms, observed, &source.path))
        .map(|source| source.path.clone())
}

/// Whether the same policy writes what is at `path`.
fn is_governed(terms: &Terms, observed: &Observed, path: &str) -> bool {
    let rows = observed.platform.table().components.iter();
    rows.filter(|other| terms.components.contains(&other.component) && blocker(other, observed).is_none())
        .any(|other| observed.carrier(other).path == path)
}

fn unreadable(seen: Option<&ObservedSetting>) -> Option<&'static str> {
    let Some(seen) = seen else { return Some("carrier") };
    [("carrier", &seen.carrier), ("loaded", &seen.loaded), ("running", &seen.running)]
        .into_iter()
        .find(|(_, truth)| **truth == Truth::Unknown)
        .map(|(name, _)| name)
}

fn services_down(assessment: &mut Assessment, terms: &Terms, observed: &Observed) {
    for (service, state) in &observed.services {
        let rows = observed.platform.table().components.iter();
        let governed =
            rows.filter(|row| row.service == Some(*service)).any(|row| terms.components.contains(&row.component));
        let failed = match state {
            ServiceState::Inactive | ServiceState::Due => false,
            ServiceState::Failed => true,
            ServiceState::Active | ServiceState::Absent => continue,
        };
        if governed && !assessment.work.restarts.contains(service) {
            assessment.findings.push(Finding::Down { service: *service, failed });
        }
    }
}

fn is_active(observed: &Observed, service: Service) -> bool {
    observed.service(service) == Some(ServiceState::Active)
}

fn push_once<T: PartialEq>(list: &mut Vec<T>, item: T) {
    if !list.contains(&item) {
        list.push(item);
    }
}
