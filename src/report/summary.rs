//! The end of a rollout: everybody who is not what the policy wants, with the reason, and last the sum.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use super::layout::{count, paint, some_of, wrap, wrap_words};
use super::screen::role;
use super::words::{self, who};
use crate::rollout::{Outcome, Summary};

/// The summary as text.
pub fn summary_text(summary: &Summary, width: usize) -> String {
    let mut out = String::new();
    let mut by_outcome: BTreeMap<Outcome, Vec<String>> = BTreeMap::new();
    for attempt in &summary.attempts {
        by_outcome.entry(attempt.outcome()).or_default().push(who(&attempt.id, attempt.name.as_deref()));
    }
    for (outcome, instances) in &by_outcome {
        let (style, sentence) = match outcome {
            Outcome::Converged => continue,
            Outcome::Waiting(services) => {
                let services: Vec<&str> = services.iter().map(|service| service.name()).collect();
                (
                    role::ATTENTION,
                    format!("files written, restart of {} deferred by the policy", services.join(" and ")),
                )
            }
            Outcome::NotConverged { reason } => (role::BAD, reason.clone()),
            Outcome::NotStarted { reason } => (role::ATTENTION, format!("not started: {reason}")),
        };
        wrap_words(&mut out, &paint(style, &format!("{}:", count(instances.len(), "instance"))), &sentence, 4, width);
        wrap(&mut out, "    ", &some_of(instances, usize::MAX), 4, width);
    }
    for (policy, reason) in &summary.halted {
        wrap_words(&mut out, &paint(role::BAD, "Halted"), &format!("{policy}: {reason}"), 2, width);
    }
    left_out(&mut out, summary, width);
    if !out.is_empty() {
        out.push('\n');
    }
    out.push_str(&sum(summary));
    out
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

/// How many ended how.
struct Counts {
    converged: usize,
    waiting: usize,
    not_converged: usize,
    not_started: usize,
}

fn counts(summary: &Summary) -> Counts {
    let mut counts = Counts { converged: 0, waiting: 0, not_converged: 0, not_started: 0 };
    for attempt in &summary.attempts {
        *match attempt.outcome() {
            Outcome::Converged => &mut counts.converged,
            Outcome::Waiting(_) => &mut counts.waiting,
            Outcome::NotConverged { .. } => &mut counts.not_converged,
            Outcome::NotStarted { .. } => &mut counts.not_started,
        } += 1;
    }
    counts
}

fn sum(summary: &Summary) -> String {
    let counts = counts(summary);
    let left_out = left_out_instances(summary);
    let total = count(summary.attempts.len() + left_out, "instance");
    let mut sentence = format!("Apply: {} of {total} converged", counts.converged);
    for (number, what) in [
        (counts.waiting, "waiting for a restart"),
        (counts.not_converged, "not converged"),
        (counts.not_started, "not started"),
        (left_out, "left out"),
    ] {
        if number > 0 {
            let _ = write!(sentence, ", {number} {what}");
        }
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

/// The same for machines, version 1.
pub fn summary_json(summary: &Summary) -> Value {
    let attempts: Vec<Value> = summary
        .attempts
        .iter()
        .map(|attempt| {
            let (outcome, detail) = match attempt.outcome() {
                Outcome::Converged => ("converged", Value::Null),
                Outcome::Waiting(services) => {
                    ("waiting", json!(services.iter().map(|service| service.name()).collect::<Vec<_>>()))
                }
                Outcome::NotConverged { reason } => ("not-converged", json!(reason)),
                Outcome::NotStarted { reason } => ("not-started", json!(reason)),
            };
            json!({
                "id": attempt.id.as_str(),
                "name": attempt.name,
                "policy": summary.policies[attempt.policy],
                "outcome": outcome,
                "detail": detail,
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
    let counts = counts(summary);
    json!({
        "format": "proxyfleet-apply/1",
        "converged": counts.converged,
        "waiting": counts.waiting,
        "not_converged": counts.not_converged,
        "not_started": counts.not_started,
        "instances": attempts,
        "left_out": left_out,
        "halted": halted,
    })
}
