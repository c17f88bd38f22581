//! A plan as text: per policy what would change on whom, then restarts and their effect, then who is left out and why,
//! last the sum.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::layout::{count, paint, some_of, wrap, wrap_words};
use super::screen::role;
use super::waves::waves;
use super::words::{self, task_effect, who};
use crate::catalog::{Component, Key, Service, ValueKind, normalise_list};
use crate::fleet::{InstanceId, Reach, Scope, Seen, Truth};
use crate::plan::{Change, Group, LeftOut, Pending, Plan, Reason, Target};

/// How many instances a group names before it counts the rest.
const NAMED: usize = 3;

/// The whole plan.
pub fn plan_text(plan: &Plan, width: usize) -> String {
    let mut out = String::new();
    for index in 0..plan.policies.len() {
        policy(&mut out, plan, index, width);
    }
    if !out.is_empty() && !out.ends_with("\n\n") {
        out.push('\n');
    }
    waves(&mut out, plan, width);
    restarts(&mut out, plan, width);
    pending(&mut out, &plan.pending, width);
    left_out(&mut out, &plan.left_out, width);
    notes(&mut out, plan, width);
    out.push_str(&sum(plan));
    out
}

fn policy(out: &mut String, plan: &Plan, index: usize, width: usize) {
    let groups: Vec<&Group> = plan.groups.iter().filter(|group| group.policy == index).collect();
    let terms = &plan.policies[index];
    let changed: usize = groups.iter().map(|group| group.instances.len()).sum();
    let pending = plan.pending.iter().filter(|pending| pending.policy == index).count();
    let mut counts = vec![format!("{changed} to change"), format!("{} in sync", plan.in_sync[index])];
    if pending > 0 {
        counts.push(format!("{pending} waiting for a restart"));
    }
    wrap_words(out, &paint(role::HEADING, terms.name.as_str()), &counts.join(", "), 2, width);
    for group in &groups {
        out.push('\n');
        let heading = format!("  {} {}", count(group.instances.len(), "instance"), group.platform);
        out.push_str(&paint(role::CHANGE, &heading));
        out.push('\n');
        let mut before = None;
        for line in change_lines(group) {
            line.write(out, before != Some(line.component), width);
            before = Some(line.component);
        }
        group_restarts(out, group, width);
        let names: Vec<String> = group.instances.iter().map(|member| who(&member.id, member.name.as_deref())).collect();
        wrap(out, "    on", &some_of(&names, NAMED), 7, width);
    }
    if !groups.is_empty() {
        out.push('\n');
    }
}

fn group_restarts(out: &mut String, group: &Group, width: usize) {
    let list = |services: &[Service]| services.iter().map(|service| service.name()).collect::<Vec<_>>().join(", ");
    if !group.work.restarts.is_empty() {
        wrap_words(out, "    restarts       ", &list(&group.work.restarts), 6, width);
    }
    if !group.work.deferred.is_empty() {
        let services = list(&group.work.deferred);
        wrap_words(out, "    no restart of  ", &format!("{services} (the policy defers it)"), 6, width);
    }
}

/// Changes of one component that read the same but for their key.
struct ChangeLine {
    component: Component,
    keys: Vec<Key>,
    drift: &'static str,
    pieces: Vec<String>,
}

impl ChangeLine {
    /// Writes the line; `first` when the line before is not of the same component.
    fn write(&self, out: &mut String, first: bool, width: usize) {
        let component = if first { self.component.name() } else { "" };
        let keys: Vec<&str> = self.keys.iter().map(|key| key.name()).collect();
        let mut pieces = vec![keys.join(", ")];
        pieces.extend_from_slice(&self.pieces);
        wrap(out, &format!("    {component:<15} {:<9}", self.drift), &pieces, 30, width);
    }
}

fn change_lines(group: &Group) -> Vec<ChangeLine> {
    let mut lines: Vec<ChangeLine> = Vec::new();
    for change in &group.work.changes {
        let pieces = change_pieces(change);
        let drift = change.drift.name();
        let same = lines
            .iter_mut()
            .find(|line| line.component == change.component && line.drift == drift && line.pieces == pieces);
        match same {
            Some(line) => line.keys.push(change.key),
            None => lines.push(ChangeLine { component: change.component, keys: vec![change.key], drift, pieces }),
        }
    }
    lines
}

/// From and to; for lists only what is added and dropped.
fn change_pieces(change: &Change) -> Vec<String> {
    let arrow = "->".to_owned();
    match (&change.from, &change.to) {
        (Truth::Is(Seen::Value(from)), Target::Value(to)) if change.key.kind() == ValueKind::List => {
            list_difference(from, to)
        }
        (Truth::Unset, Target::Value(to)) => std::iter::once(arrow).chain(entries(to)).collect(),
        (from, Target::Value(to)) => [words::truth(from), arrow].into_iter().chain(entries(to)).collect(),
        (from, Target::Removed) => vec![words::truth(from), arrow, "removed".to_owned()],
        (from, Target::Restored(to)) => vec![words::truth(from), arrow, "put back".to_owned(), words::truth(to)],
    }
}

/// The value, to be broken after its commas where it is a list.
fn entries(value: &str) -> impl Iterator<Item = String> {
    value.split_inclusive(',').map(str::to_owned)
}

fn list_difference(from: &str, to: &str) -> Vec<String> {
    let (from, to) = (normalise_list(from), normalise_list(to));
    let entries = |list: &str| list.split(',').map(str::to_owned).filter(|entry| !entry.is_empty()).collect::<Vec<_>>();
    let (from, to) = (entries(&from), entries(&to));
    let added = to.iter().filter(|entry| !from.contains(entry)).map(|entry| format!("+{entry}"));
    let dropped = from.iter().filter(|entry| !to.contains(entry)).map(|entry| format!("-{entry}"));
    added.chain(dropped).collect()
}

fn restarts(out: &mut String, plan: &Plan, width: usize) {
    let on = |service: Service, deferred: bool| -> usize {
        let list = |group: &&Group| {
            if deferred { group.work.deferred.contains(&service) } else { group.work.restarts.contains(&service) }
        };
        plan.groups.iter().filter(list).map(|group| group.instances.len()).sum()
    };
    let mut lines: Vec<String> = Vec::new();
    for service in Service::ALL {
        match on(service, false) {
            0 => {}
            instances => {
                lines.push(format!("{service} on {}: {}", count(instances, "instance"), task_effect(service)));
            }
        }
        match on(service, true) {
            0 => {}
            instances => lines.push(format!(
                "{service} not restarted on {}: the policy defers it, the new settings count from its next start",
                count(instances, "instance")
            )),
        }
    }
    section(out, "Restarts", &lines, width);
}

fn pending(out: &mut String, pending: &[Pending], width: usize) {
    let mut by_services: BTreeMap<Vec<Service>, Vec<String>> = BTreeMap::new();
    for one in pending {
        by_services.entry(one.services.clone()).or_default().push(who(&one.id, one.name.as_deref()));
    }
    let lines: Vec<String> = by_services
        .into_iter()
        .map(|(services, who)| {
            let services: Vec<&str> = services.into_iter().map(Service::name).collect();
            let (services, instances) = (services.join(" and "), count(who.len(), "instance"));
            format!("{services} on {instances}: {}", some_of(&who, NAMED).join(" "))
        })
        .collect();
    section(out, "Waiting for a restart (files are right, the process is not)", &lines, width);
}

fn left_out(out: &mut String, left_out: &[LeftOut], width: usize) {
    let mut by_reason: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    for one in left_out {
        let name = who(&one.id, one.name.as_deref());
        let name = match &one.reason {
            Reason::Offline { last_ping: Some(seconds) } => format!("{name} (last heard {})", moment(*seconds)),
            _ => name,
        };
        by_reason.entry(words::reason(&one.reason)).or_default().push(name);
    }
    if by_reason.is_empty() {
        return;
    }
    out.push_str(&paint(role::HEADING, "Left out"));
    out.push('\n');
    for ((reason, remedy), who) in by_reason {
        let first = paint(role::ATTENTION, &format!("  {}", who.len()));
        wrap_words(out, &first, &format!("{reason}: {remedy}"), 4, width);
        wrap(out, "    ", &some_of(&who, usize::MAX), 4, width);
    }
    out.push('\n');
}

fn notes(out: &mut String, plan: &Plan, width: usize) {
    let mut by_finding: BTreeMap<(String, String), BTreeSet<&InstanceId>> = BTreeMap::new();
    for note in &plan.notes {
        by_finding.entry(words::finding(&note.finding)).or_default().extend(&note.instances);
    }
    let lines: Vec<String> = by_finding
        .into_iter()
        .map(|((what, meaning), ids)| {
            let ids: Vec<String> = ids.into_iter().map(ToString::to_string).collect();
            format!("{what}; {meaning}: {}", some_of(&ids, NAMED).join(" "))
        })
        .collect();
    section(out, "Notes", &lines, width);
}

fn section(out: &mut String, heading: &str, lines: &[String], width: usize) {
    if lines.is_empty() {
        return;
    }
    out.push_str(&paint(role::HEADING, heading));
    out.push('\n');
    for line in lines {
        wrap_words(out, "  ", line, 4, width);
    }
    out.push('\n');
}

fn sum(plan: &Plan) -> String {
    let changed = plan.changed_instances();
    let in_sync: usize = plan.in_sync.iter().sum();
    let mut parts = vec![format!("{in_sync} in sync")];
    if !plan.pending.is_empty() {
        parts.push(format!("{} waiting for a restart", plan.pending.len()));
    }
    match left_out_wholly(plan) {
        0 => {}
        number => parts.push(format!("{number} left out")),
    }
    if plan.untargeted > 0 {
        parts.push(format!("{} without a policy", plan.untargeted));
    }
    let rest = parts.join(", ");
    if changed == 0 {
        paint(role::GOOD, &format!("Plan: nothing to change; {rest}."))
    } else {
        paint(role::CHANGE, &format!("Plan: change {}; {rest}.", count(changed, "instance")))
    }
}

/// How many instances are left out and not counted elsewhere: one that is changed but for a component is counted there.
fn left_out_wholly(plan: &Plan) -> usize {
    let changed = plan.groups.iter().flat_map(|group| &group.instances).map(|member| &member.id);
    let counted: HashSet<&InstanceId> = changed.chain(plan.pending.iter().map(|pending| &pending.id)).collect();
    let left_out: HashSet<&InstanceId> = plan.left_out.iter().map(|left_out| &left_out.id).collect();
    left_out.difference(&counted).count()
}

/// Where the run takes place, before anything happens.
pub fn scope_text(scope: &Scope) -> String {
    format!("Account {}, region {}", paint(role::HEADING, &scope.account), paint(role::HEADING, &scope.region))
}

/// A heading in a story.
pub fn chapter_text(title: &str) -> String {
    format!("\n{}", paint(role::HEADING, &format!("== {title}")))
}

/// The question before an apply.
pub fn question_text(plan: &Plan) -> String {
    let stops_tasks =
        plan.groups.iter().filter(|group| group.work.restarts.iter().any(|one| one.restart_stops_tasks()));
    let stopped: usize = stops_tasks.map(|group| group.instances.len()).sum();
    let effect =
        if stopped == 0 { "no task stops".to_owned() } else { format!("every task on {stopped} of them stops") };
    let instances = count(plan.changed_instances(), "instance");
    format!(
        "Change {instances} in account {}, region {}; {effect}. Only `yes` goes on: ",
        plan.scope.account, plan.scope.region
    )
}

/// A moment in UTC, to the minute.
pub(super) fn moment(seconds: i64) -> String {
    match jiff::Timestamp::from_second(seconds) {
        Ok(moment) => moment.strftime("%Y-%m-%d %H:%M UTC").to_string(),
        Err(_) => "at an unknown time".to_owned(),
    }
}

/// What to say of an instance's reach.
pub(super) fn reach(reach: &Reach) -> String {
    match reach {
        Reach::Online => "online".to_owned(),
        Reach::Offline { last_ping: Some(seconds) } => format!("offline, last heard {}", moment(*seconds)),
        Reach::Offline { last_ping: None } => "offline".to_owned(),
        Reach::Unregistered => "not registered with SSM".to_owned(),
        Reach::NotRunning { state } => format!("not running ({state})"),
    }
}
