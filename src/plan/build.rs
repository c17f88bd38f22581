//! Assessments of a whole fleet to a [`Plan`].

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::catalog::{Platform, Service};
use crate::fleet::{Identity, Instance, InstanceId, Observation, Observed, Reach, Scope};
use crate::plan::waves::{self, Candidate, CandidateKind, Place};
use crate::plan::{
    Assessment, Finding, Group, LeftOut, Member, Note, Pending, Plan, Reason, Resolution, Terms, Work, assess,
};
use crate::policy::{Policy, PolicySet};

/// Puts everything together. `observations` has one entry for each of `instances`, in the same order.
///
/// Each distinct pair of policy and report is assessed once, however many instances share it.
pub fn build(
    set: &PolicySet,
    scope: Scope,
    instances: &[Instance],
    resolution: &Resolution,
    observations: &[Observation],
) -> Plan {
    let policies: Vec<Terms> = set.policies.iter().map(Terms::of).collect();
    let mut draft = Draft { in_sync: vec![0; policies.len()], ..Draft::default() };
    let mut assessed: HashMap<(usize, &str), Arc<Assessment>> = HashMap::new();
    for ((instance, policy), observation) in instances.iter().zip(&resolution.policy).zip(observations) {
        let Some(policy) = *policy else {
            draft.untargeted += 1;
            continue;
        };
        let observed = match usable(instance, observation) {
            Ok(observed) => observed,
            Err(reason) => {
                draft.leave_out(policy, instance, reason);
                continue;
            }
        };
        let assessment = assessed
            .entry((policy, observed.fingerprint.as_str()))
            .or_insert_with(|| Arc::new(assess(&policies[policy], observed)));
        draft.add((policy, &policies[policy]), instance, observed, &Arc::clone(assessment));
    }
    draft.finish(scope, policies)
}

impl Terms {
    /// The part of `policy` that a rollout needs.
    pub fn of(policy: &Policy) -> Self {
        Self {
            name: policy.name.clone(),
            values: policy.state.values(),
            components: policy.components.clone(),
            docker_restart: policy.docker_restart,
            preflight: policy.preflight,
            rollout: policy.rollout.clone(),
        }
    }
}

/// The report of an instance that can be worked on, or why there is none.
fn usable<'a>(instance: &Instance, observation: &'a Observation) -> Result<&'a Arc<Observed>, Reason> {
    if let Identity::Unsupported { name, version } = &instance.identity {
        return Err(Reason::Unsupported { name: name.clone(), version: version.clone() });
    }
    match &instance.reach {
        Reach::Online => {}
        Reach::Offline { last_ping } => return Err(Reason::Offline { last_ping: *last_ping }),
        Reach::Unregistered => return Err(Reason::Unregistered),
        Reach::NotRunning { state } => return Err(Reason::NotRunning { state: state.clone() }),
    }
    match observation {
        Observation::Seen(observed) if Some(observed.platform) == instance.platform() => Ok(observed),
        Observation::Seen(observed) => Err(Reason::NotObserved {
            why: format!(
                "SSM calls it {}, the host itself says {}",
                instance.platform().map_or("unknown", Platform::name),
                observed.platform
            ),
        }),
        Observation::Unanswered(why) => Err(Reason::NotObserved { why: why.clone() }),
        Observation::NotAsked => Err(Reason::NotObserved { why: "it was not asked".to_owned() }),
    }
}

#[derive(Default)]
struct Draft<'a> {
    groups: HashMap<(usize, Platform, &'a str), Vec<Member>>,
    /// How many instances that can be worked on each place has, by policy.
    sizes: HashMap<usize, HashMap<Place, usize>>,
    candidates: HashMap<usize, Vec<Candidate>>,
    works: HashMap<(usize, &'a str), Arc<Assessment>>,
    in_sync: Vec<usize>,
    pending: Vec<Pending>,
    left_out: Vec<LeftOut>,
    notes: BTreeMap<(usize, Finding), Vec<InstanceId>>,
    untargeted: usize,
}

impl<'a> Draft<'a> {
    fn leave_out(&mut self, policy: usize, instance: &Instance, reason: Reason) {
        let name = instance.name().map(str::to_owned);
        self.left_out.push(LeftOut { policy, id: instance.id.clone(), name, reason });
    }

    fn add(
        &mut self,
        (policy, terms): (usize, &Terms),
        instance: &Instance,
        observed: &'a Observed,
        assessment: &Arc<Assessment>,
    ) {
        let places = waves::places(instance, &terms.rollout);
        let sizes = self.sizes.entry(policy).or_default();
        for place in &places {
            *sizes.entry(place.clone()).or_default() += 1;
        }
        for reason in &assessment.obstacles {
            self.leave_out(policy, instance, reason.clone());
        }
        for finding in &assessment.findings {
            self.notes.entry((policy, finding.clone())).or_default().push(instance.id.clone());
        }
        let name = || instance.name().map(str::to_owned);
        if !assessment.work.components.is_empty() {
            let fingerprint = observed.fingerprint.clone();
            // The wave follows when everybody is known.
            let member = Member { id: instance.id.clone(), name: name(), fingerprint, wave: 0 };
            let restarts_docker = assessment.work.restarts.contains(&Service::Docker);
            let kind = CandidateKind { platform: observed.platform, restarts_docker, places };
            let candidate = Candidate { id: instance.id.clone(), kind };
            self.candidates.entry(policy).or_default().push(candidate);
            self.groups.entry((policy, observed.platform, &observed.fingerprint)).or_default().push(member);
            self.works.entry((policy, &observed.fingerprint)).or_insert_with(|| Arc::clone(assessment));
        } else if !assessment.pending.is_empty() {
            let services = assessment.pending.clone();
            self.pending.push(Pending { policy, id: instance.id.clone(), name: name(), services });
        } else if assessment.in_sync() {
            self.in_sync[policy] += 1;
        }
    }

    fn assign_waves(&mut self, policies: &[Terms]) {
        let mut of_policy: HashMap<usize, HashMap<InstanceId, usize>> = HashMap::new();
        for (policy, candidates) in std::mem::take(&mut self.candidates) {
            let waves = waves::assign(&policies[policy].rollout, &self.sizes[&policy], candidates);
            of_policy.insert(policy, waves);
        }
        for ((policy, ..), members) in &mut self.groups {
            for member in members {
                member.wave = of_policy[policy][&member.id];
            }
        }
    }

    fn finish(mut self, scope: Scope, policies: Vec<Terms>) -> Plan {
        self.assign_waves(&policies);
        // Reports that differ in what does not matter here lead to the same work: those instances form one group.
        let mut merged: HashMap<(usize, Platform, Arc<Work>), Vec<Member>> = HashMap::new();
        for ((policy, platform, fingerprint), members) in self.groups {
            let work = Arc::new(self.works[&(policy, fingerprint)].work.clone());
            merged.entry((policy, platform, work)).or_default().extend(members);
        }
        let mut groups: Vec<Group> = merged
            .into_iter()
            .map(|((policy, platform, work), mut instances)| {
                instances.sort_unstable_by(|left, right| left.id.cmp(&right.id));
                Group { policy, platform, work, instances }
            })
            .collect();
        groups.sort_by(|left, right| {
            let place = |group: &Group| (group.policy, group.platform, std::cmp::Reverse(group.instances.len()));
            place(left).cmp(&place(right)).then_with(|| left.instances[0].id.cmp(&right.instances[0].id))
        });
        let mut left_out = self.left_out;
        left_out.sort_by(|left, right| {
            (left.policy, &left.reason, &left.id).cmp(&(right.policy, &right.reason, &right.id))
        });
        let mut pending = self.pending;
        pending.sort_by(|left, right| (left.policy, &left.id).cmp(&(right.policy, &right.id)));
        let notes = self.notes.into_iter().map(|((policy, finding), mut instances)| {
            instances.sort_unstable();
            Note { policy, finding, instances }
        });
        Plan {
            scope,
            policies,
            groups,
            in_sync: self.in_sync,
            pending,
            left_out,
            notes: notes.collect(),
            untargeted: self.untargeted,
        }
    }
}
