//! The waves of a plan: who is changed when, before anything moves.

use super::layout::{count, paint, some_of, wrap};
use super::screen::role;
use super::words::who;
use crate::plan::{Member, Plan};
use crate::policy::{Count, OnFailure, Rollout};

/// How many instances a wave names before it counts the rest.
const NAMED: usize = 2;
/// With more waves than this, those in the middle are only counted.
const MOST_WAVES: usize = 10;

/// Appends a section for each policy that changes somebody.
pub(super) fn waves(out: &mut String, plan: &Plan, width: usize) {
    for (index, terms) in plan.policies.iter().enumerate() {
        let mut waves: Vec<Vec<&Member>> = Vec::new();
        for member in plan.groups_of(index).flat_map(|group| &group.instances) {
            waves.resize_with(waves.len().max(member.wave + 1), Vec::new);
            waves[member.wave].push(member);
        }
        waves.retain(|wave| !wave.is_empty());
        if waves.is_empty() {
            continue;
        }
        out.push_str(&paint(role::HEADING, &format!("{} of {}", count(waves.len(), "wave"), terms.name)));
        out.push('\n');
        wrap(out, "  ", &limits(&terms.rollout), 2, width);
        let hidden = if waves.len() > MOST_WAVES { MOST_WAVES - 2..waves.len() - 1 } else { 0..0 };
        for (number, wave) in waves.iter().enumerate() {
            if hidden.contains(&number) {
                if number == hidden.start {
                    let rest = &waves[hidden.clone()];
                    let most = rest.iter().map(Vec::len).max().unwrap_or_default();
                    let text = format!("{} more, of up to {}", rest.len(), count(most, "instance"));
                    wrap(out, "    ...", &[text], 9, width);
                }
                continue;
            }
            let mut ordered = wave.clone();
            ordered.sort_unstable_by(|left, right| left.id.cmp(&right.id));
            let names: Vec<String> = ordered.iter().map(|one| who(&one.id, one.name.as_deref())).collect();
            let first = format!("  {:>5}  {:>13}", number + 1, count(wave.len(), "instance"));
            wrap(out, &first, &some_of(&names, NAMED), 23, width);
        }
        out.push('\n');
    }
}

/// What holds for every wave, in words that may be broken between.
fn limits(rollout: &Rollout) -> Vec<String> {
    let mut limits = vec![
        format!("at most {} at a time;", share(rollout.max_concurrency)),
        format!("{} of a cluster, zone or group", rollout.max_unavailable),
        format!("in a wave, {} where docker restarts;", rollout.docker_max_unavailable),
    ];
    if !rollout.soak.is_zero() {
        limits.push(format!("each soaks {};", super::words::span(rollout.soak)));
    }
    if let Some(gate) = &rollout.gate {
        // It runs here, also from a saved plan, so whoever says yes sees it.
        limits.push(format!("then `{}` is asked;", gate.command.join(" ")));
    }
    if let Some(alarm) = &rollout.alarm {
        limits.push(format!("stopped by alarm {alarm};"));
    }
    limits.push(match rollout.on_failure {
        OnFailure::Halt => "on failure: halt".to_owned(),
        OnFailure::Rollback => "on failure: put back".to_owned(),
    });
    limits
}

fn share(count: Count) -> String {
    match count {
        Count::Absolute(number) => number.to_string(),
        Count::Percent(percent) => format!("{percent}% of all"),
    }
}
