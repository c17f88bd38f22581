//! Which policy is for which instance.

use std::collections::{BTreeSet, HashMap};

use crate::fleet::{Identity, Instance, InstanceId};
use crate::policy::{Policy, PolicySet};

/// For each instance, in the order given, the index of the policy that is for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolution {
    /// One entry an instance.
    pub policy: Vec<Option<usize>>,
}

/// Two policies of equal priority that are for the same instances.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// Index of the one that comes first in the set.
    pub first: usize,
    /// Index of the other.
    pub second: usize,
    /// The instances, in the order given.
    pub instances: Vec<InstanceId>,
}

/// Finds the policy of each instance: of those that match, the one with the highest priority, whole.
///
/// Instances whose system is not supported or not known match by their tags alone, so that a plan can name them. Work is
/// done once for each distinct set of those tags that any policy looks at, so that 100,000 instances under 100
/// policies cost little more than reading their tags.
///
/// # Errors
/// All pairs of policies of equal priority that are for one instance.
pub fn resolve(set: &PolicySet, instances: &[Instance]) -> Result<Resolution, Vec<Conflict>> {
    let keys = tag_keys(set);
    let mut known: HashMap<(Vec<Option<&str>>, &Identity), Outcome> = HashMap::new();
    let mut conflicts: HashMap<(usize, usize), Vec<InstanceId>> = HashMap::new();
    let mut policy = Vec::with_capacity(instances.len());
    for instance in instances {
        let tags: Vec<Option<&str>> = keys.iter().map(|key| instance.tags.get(*key).map(String::as_str)).collect();
        let outcome = *known.entry((tags, &instance.identity)).or_insert_with(|| choose(&set.policies, instance));
        policy.push(match outcome {
            Outcome::Nobody => None,
            Outcome::One(index) => Some(index),
            Outcome::Two(first, second) => {
                conflicts.entry((first, second)).or_default().push(instance.id.clone());
                None
            }
        });
    }
    if conflicts.is_empty() {
        return Ok(Resolution { policy });
    }
    let mut conflicts: Vec<Conflict> =
        conflicts.into_iter().map(|((first, second), instances)| Conflict { first, second, instances }).collect();
    conflicts.sort_by_key(|conflict| (conflict.first, conflict.second));
    Err(conflicts)
}

#[derive(Clone, Copy)]
enum Outcome {
    Nobody,
    One(usize),
    Two(usize, usize),
}

/// Every tag key that some policy looks at.
fn tag_keys(set: &PolicySet) -> Vec<&str> {
    let keys: BTreeSet<&str> = set
        .policies
        .iter()
        .flat_map(|policy| policy.targets.tags.0.keys().chain(policy.targets.exclude.0.keys()))
        .map(String::as_str)
        .collect();
    keys.into_iter().collect()
}

fn choose(policies: &[Policy], instance: &Instance) -> Outcome {
    let mut outcome = Outcome::Nobody;
    let mut best = i64::MIN;
    for (index, policy) in policies.iter().enumerate() {
        let for_platform = instance.platform().is_none_or(|platform| policy.targets.platforms.contains(&platform));
        if !for_platform || !policy.targets.matches_tags(&instance.tags) {
            continue;
        }
        outcome = match outcome {
            Outcome::One(first) if policy.priority == best => Outcome::Two(first, index),
            Outcome::Two(..) if policy.priority == best => outcome,
            Outcome::One(_) | Outcome::Two(..) if policy.priority < best => outcome,
            _ => Outcome::One(index),
        };
        best = best.max(policy.priority);
    }
    outcome
}
