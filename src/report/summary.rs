//! The end of a rollout: everybody who is not what the policy wants, with the reason, and last the sum.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anstyle::Style;
use serde_json::{Value, json};

use super::layout::{count, paint, some_of, wrap, wrap_words};
use super::screen::role;
use super::words::{self, who};
use crate::rollout::{Fate, Summary};

/// The summary as text.
pub fn summary_text(summary: &Summary, width: usize) -> String {
    let mut out = String::new();
    left_out(&mut out, summary, width);
    let mut by_fate: BTreeMap<&Fate, Vec<String>> = BTreeMap::new();
    for attempt in &summary.attempts {
        by_fate.entry(&attempt.fate).or_default().push(who(&attempt.id, attempt.name.as_deref()));
    }
    for (fate, instances) in &by_fate {
        if *fate == &Fate::CONVERGED {
            continue;
        }
        let first = format!("{} {}:", count(instances.len(), "instance"), words::fate(fate));
        wrap_words(&mut out, &paint(fate_style(fate), &first), &fate_reason(fate), 4, width);
        wrap(&mut out, "    ", &some_of(instances, usize::MAX), 4, width);
    }
    for (policy, reason) in &summary.halted {
        wrap_words(&mut out, &paint(role::BAD, "Halted"), &format!("{policy}: {reason}"), 2, width);
    }
    if !out.is_empty() {
        out.push('\n');
    }
    out.push_str(&sum(summary));
    out
}

/// What a fate looks like.
pub(super) fn fate_style(fate: &Fate) -> Style {
    match fate {
        Fate::Converged { pending } if pending.is_empty() => role::GOOD,
        Fate::Converged { .. } | Fate::NotStarted(_) | Fate::PutBack => role::ATTENTION,
        _ => role::BAD,
    }
}

fn fate_reason(fate: &Fate) -> String {
    match fate {
        Fate::Converged { pending } => {
            let services: Vec<&str> = pending.iter().map(|service| service.name()).collect();
            format!("files written, restart of {} deferred by the policy", services.join(" and "))
        }
        Fate::Refused(why) => format!("nothing was touched: {why}"),
        Fate::PutBack => "changed, and put back because the rollout failed".to_owned(),
        other => other.why().unwrap_or_default().to_owned(),
    }
}

fn left_out(out: &mut String, summary: &Summary, width: usize) {
    let mut by_reason: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for one in &summary.left_out {
        by_reason.entry(words::reason(&one.reason).0).or_default().push(who(&one.id, one.name.as_deref()));
    }
    for (reason, instances) in by_reason {
        let first = paint(role::ATTENTION, &format!("{} left out:", count(instances.len(), "instance")));
        wrap_words(out, &first, &reason, 4, width);
        wrap(out, "    ", &some_of(&instances, usize::MAX), 4, width);
    }
}

/// How many ended how, by the words on screen, the worst last.
fn counts(summary: &Summary) -> Vec<(&'static str, usize)> {
    let mut counts: Vec<(&'static str, usize)> = Vec::new();
    let mut fates: Vec<&Fate> = summary.attempts.iter().map(|attempt| &attempt.fate).collect();
    fates.sort_unstable();
    for fate in fates {
        let words = words::fate(fate);
        match counts.iter_mut().find(|(known, _)| *known == words) {
            Some((_, count)) => *count += 1,
            None => counts.push((words, 1)),
        }
    }
    counts
}

fn sum(summary: &Summary) -> String {
    let counts = counts(summary);
    let converged = words::fate(&Fate::CONVERGED);
    let of = |wanted: &str| counts.iter().find(|(words, _)| *words == wanted).map_or(0, |(_, count)| *count);
    let left_out = left_out_instances(summary);
    let total = count(summary.attempts.len() + left_out, "instance");
    let mut sentence = format!("Apply: {} of {total} converged", of(converged));
    for (words, number) in counts.iter().filter(|(words, _)| *words != converged) {
        let _ = write!(sentence, ", {number} {words}");
    }
    if left_out > 0 {
        let _ = write!(sentence, ", {left_out} left out");
    }
    sentence.push('.');
    paint(if summary.converged() { role::GOOD } else { role::BAD }, &sentence)
}

/// Instances that were left out and not attempted; one whose other components were worked on counts as attempted.
fn left_out_instances(summary: &Summary) -> usize {
    let attempted: std::collections::HashSet<_> = summary.attempts.iter().map(|attempt| &attempt.id).collect();
    let left_out: std::collections::HashSet<_> = summary.left_out.iter().map(|left_out| &left_out.id).collect();
    left_out.difference(&attempted).count()
}

/// The same for machines, version 2.
pub fn summary_json(summary: &Summary) -> Value {
    let attempts: Vec<Value> = summary
        .attempts
        .iter()
        .map(|attempt| {
            let pending = match &attempt.fate {
                Fate::Converged { pending } => pending.iter().map(|service| service.name()).collect(),
                _ => Vec::new(),
            };
            json!({
                "id": attempt.id.as_str(),
                "name": attempt.name,
                "policy": summary.policies[attempt.policy],
                "wave": attempt.wave + 1,
                "outcome": attempt.fate.word(),
                "why": attempt.fate.why(),
                "pending_restarts": pending,
            })
        })
        .collect();
    let left_out: Vec<Value> = summary
        .left_out
        .iter()
        .map(|one| {
            json!({
                "id": one.id.as_str(),
                "name": one.name,
                "policy": summary.policies[one.policy],
                "reason": words::reason(&one.reason).0,
            })
        })
        .collect();
    let halted: Vec<Value> =
        summary.halted.iter().map(|(policy, reason)| json!({ "policy": policy, "reason": reason })).collect();
    let number = |is: fn(&Fate) -> bool| summary.attempts.iter().filter(|attempt| is(&attempt.fate)).count();
    let converged = number(|fate| *fate == Fate::CONVERGED);
    let waiting = number(|fate| matches!(fate, Fate::Converged { .. })) - converged;
    let not_started = number(|fate| matches!(fate, Fate::NotStarted(_)));
    json!({
        "format": "proxyfleet-apply/2",
        "converged": converged,
        "waiting": waiting,
        "not_converged": summary.attempts.len() - converged - waiting - not_started,
        "not_started": not_started,
        "instances": attempts,
        "left_out": left_out,
        "halted": halted,
    })
}
