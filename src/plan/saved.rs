//! A plan as JSON: what `plan --format json` prints, `plan --out` saves and `apply --plan` reads.
//!
//! These records are separate from the plan's own types, so that those can change and the format cannot by accident.

mod rollout;

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::catalog::{Component, Dialect, Key, Platform, ProxyValues, Service};
use crate::fleet::{InstanceId, InvalidInstanceId, Scope, Seen, Truth};
use crate::plan::{
    Change, Drift, Finding, Group, LeftOut, Member, Note, Obstacle, Pending, Plan, Reason, Target, Terms, Work,
};
use crate::policy::{DockerRestart, PolicyName, Preflight};

use rollout::{RolloutRecord, rollout, rollout_record};

/// The format and its version. A reader refuses any other.
pub const FORMAT: &str = "proxyfleet-plan/2";

/// A text that is not a saved plan.
#[derive(Debug, thiserror::Error)]
pub enum SavedPlanError {
    /// Not JSON of this shape.
    #[error("not a saved plan: {0}")]
    Shape(#[from] serde_json::Error),
    /// Another format or version.
    #[error("the plan is in format `{found}`, this version reads `{FORMAT}`; make the plan again")]
    Format {
        /// What it says.
        found: String,
    },
    /// A word or value that a plan cannot hold.
    #[error("the plan holds `{text}` where {expected} is expected; make the plan again")]
    Value {
        /// What it holds.
        text: String,
        /// What it should be.
        expected: &'static str,
    },
}

impl From<InvalidInstanceId> for SavedPlanError {
    fn from(error: InvalidInstanceId) -> Self {
        Self::Value { text: error.0, expected: "an instance id" }
    }
}

/// A plan as it is saved.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedPlan {
    format: String,
    account: String,
    region: String,
    instances_to_change: usize,
    policies: Vec<PolicyRecord>,
    groups: Vec<GroupRecord>,
    pending_restarts: Vec<PendingRecord>,
    left_out: Vec<LeftOutRecord>,
    notes: Vec<NoteRecord>,
    untargeted: usize,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyRecord {
    name: String,
    proxy: Option<ProxyRecord>,
    components: Vec<String>,
    docker_restart: String,
    preflight: String,
    rollout: RolloutRecord,
    in_sync: usize,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProxyRecord {
    http: String,
    https: String,
    no_proxy: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct GroupRecord {
    policy: String,
    platform: String,
    components: Vec<String>,
    changes: Vec<ChangeRecord>,
    restarts: Vec<String>,
    deferred_restarts: Vec<String>,
    instances: Vec<MemberRecord>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ChangeRecord {
    component: String,
    key: String,
    path: String,
    drift: String,
    from: TruthRecord,
    to: TargetRecord,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum TruthRecord {
    Unset,
    Value(String),
    Digest(String),
    Malformed(String),
    NotApplicable,
    Unknown,
    Unproven,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum TargetRecord {
    Value(String),
    Removed,
    Restored(TruthRecord),
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MemberRecord {
    id: String,
    name: Option<String>,
    fingerprint: String,
    wave: usize,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PendingRecord {
    policy: String,
    id: String,
    name: Option<String>,
    services: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LeftOutRecord {
    policy: String,
    id: String,
    name: Option<String>,
    reason: ReasonRecord,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum ReasonRecord {
    Offline { last_ping: Option<i64> },
    Unregistered,
    NotRunning { state: String },
    Unsupported { name: String, version: String },
    NotObserved { why: String },
    NotInstalled { component: String, service: String },
    Overridden { component: String, key: String, path: String },
    Blocked { component: String, reason: String, path: String },
    Unreadable { component: String, key: String, truth: String },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct NoteRecord {
    policy: String,
    finding: FindingRecord,
    instances: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum FindingRecord {
    Down { service: String, failed: bool },
    Orphan { component: String },
    NotOurs { component: String, key: String },
    Inert { component: String, path: String },
    Lost { component: String, dialect: String, entries: String },
    MachineWide,
    SsmAgentAtRisk { path: String },
}

impl SavedPlan {
    /// The record of `plan`.
    pub fn of(plan: &Plan) -> Self {
        let name = |policy: usize| plan.policies[policy].name.to_string();
        Self {
            format: FORMAT.to_owned(),
            account: plan.scope.account.clone(),
            region: plan.scope.region.clone(),
            instances_to_change: plan.changed_instances(),
            policies: plan
                .policies
                .iter()
                .zip(&plan.in_sync)
                .map(|(terms, in_sync)| policy_record(terms, *in_sync))
                .collect(),
            groups: plan.groups.iter().map(|group| group_record(name(group.policy), group)).collect(),
            pending_restarts: plan
                .pending
                .iter()
                .map(|pending| PendingRecord {
                    policy: name(pending.policy),
                    id: pending.id.to_string(),
                    name: pending.name.clone(),
                    services: names(&pending.services),
                })
                .collect(),
            left_out: plan
                .left_out
                .iter()
                .map(|left_out| LeftOutRecord {
                    policy: name(left_out.policy),
                    id: left_out.id.to_string(),
                    name: left_out.name.clone(),
                    reason: reason_record(&left_out.reason),
                })
                .collect(),
            notes: plan
                .notes
                .iter()
                .map(|note| NoteRecord {
                    policy: name(note.policy),
                    finding: finding_record(&note.finding),
                    instances: names(&note.instances),
                })
                .collect(),
            untargeted: plan.untargeted,
        }
    }

    /// What identifies the plan in comments and journals: the first 12 digits of the SHA-256 of its JSON.
    pub fn digest(&self) -> String {
        let text = serde_json::to_vec(self).expect("invariant: a plan has only string keys");
        Sha256::digest(text).iter().take(6).fold(String::with_capacity(12), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    }

    /// Reads a saved plan.
    pub fn parse(text: &str) -> Result<Plan, SavedPlanError> {
        // The format is looked at first, so that another version is told by its name and not by its first strange key.
        let value: serde_json::Value = serde_json::from_str(text)?;
        let found = value.get("format").and_then(serde_json::Value::as_str).unwrap_or("none");
        if found != FORMAT {
            return Err(SavedPlanError::Format { found: found.to_owned() });
        }
        serde_json::from_value::<Self>(value)?.into_plan()
    }

    fn into_plan(self) -> Result<Plan, SavedPlanError> {
        let policies = self.policies.iter().map(terms).collect::<Result<Vec<_>, _>>()?;
        let index: HashMap<&str, usize> =
            policies.iter().enumerate().map(|(index, terms)| (terms.name.as_str(), index)).collect();
        let policy =
            |name: &str| index.get(name).copied().ok_or_else(|| unexpected(name, "the name of a policy of the plan"));
        let mut plan = Plan {
            scope: Scope { account: self.account, region: self.region },
            groups: Vec::with_capacity(self.groups.len()),
            in_sync: self.policies.iter().map(|record| record.in_sync).collect(),
            pending: Vec::with_capacity(self.pending_restarts.len()),
            left_out: Vec::with_capacity(self.left_out.len()),
            notes: Vec::with_capacity(self.notes.len()),
            untargeted: self.untargeted,
            policies: Vec::new(),
        };
        for record in self.groups {
            plan.groups.push(group(policy(&record.policy)?, record)?);
        }
        for record in self.pending_restarts {
            let services = parse_all(&record.services, service)?;
            let id = InstanceId::parse(&record.id)?;
            plan.pending.push(Pending { policy: policy(&record.policy)?, id, name: record.name, services });
        }
        for record in self.left_out {
            let reason = reason(record.reason)?;
            let id = InstanceId::parse(&record.id)?;
            plan.left_out.push(LeftOut { policy: policy(&record.policy)?, id, name: record.name, reason });
        }
        for record in self.notes {
            let instances = record.instances.iter().map(|id| InstanceId::parse(id)).collect::<Result<_, _>>()?;
            plan.notes.push(Note { policy: policy(&record.policy)?, finding: finding(record.finding)?, instances });
        }
        plan.policies = policies;
        check_members(&plan)?;
        Ok(plan)
    }
}

/// Nobody is in two places of a plan, and no wave is further than there are instances.
fn check_members(plan: &Plan) -> Result<(), SavedPlanError> {
    let total = plan.changed_instances();
    let mut seen = HashSet::with_capacity(total);
    for member in plan.groups.iter().flat_map(|group| &group.instances) {
        if !seen.insert(&member.id) {
            return Err(unexpected(member.id.as_str(), "an instance once"));
        }
        // Whoever was kept of a thinned plan may have moved one wave back.
        if member.wave > total {
            return Err(unexpected(&member.wave.to_string(), "a wave that somebody leads up to"));
        }
    }
    Ok(())
}

fn unexpected(text: &str, expected: &'static str) -> SavedPlanError {
    SavedPlanError::Value { text: text.to_owned(), expected }
}

fn names<T: ToString>(items: &[T]) -> Vec<String> {
    items.iter().map(ToString::to_string).collect()
}

fn parse_all<T>(words: &[String], parse: impl Fn(&str) -> Result<T, SavedPlanError>) -> Result<Vec<T>, SavedPlanError> {
    words.iter().map(|word| parse(word)).collect()
}

fn component(word: &str) -> Result<Component, SavedPlanError> {
    Component::from_name(word).ok_or_else(|| unexpected(word, "a component"))
}

fn key(word: &str) -> Result<Key, SavedPlanError> {
    Key::from_name(word).ok_or_else(|| unexpected(word, "a key"))
}

fn service(word: &str) -> Result<Service, SavedPlanError> {
    Service::from_name(word).ok_or_else(|| unexpected(word, "a service"))
}

fn policy_record(terms: &Terms, in_sync: usize) -> PolicyRecord {
    PolicyRecord {
        name: terms.name.to_string(),
        proxy: terms.values.as_ref().map(|values| ProxyRecord {
            http: values.http.clone(),
            https: values.https.clone(),
            no_proxy: values.bypass.clone(),
        }),
        components: names(&terms.components),
        docker_restart: terms.docker_restart.name().to_owned(),
        preflight: terms.preflight.name().to_owned(),
        rollout: rollout_record(&terms.rollout),
        in_sync,
    }
}

fn terms(record: &PolicyRecord) -> Result<Terms, SavedPlanError> {
    let values = record.proxy.as_ref().map(|proxy| {
        for (text, right, expected) in [
            (&proxy.http, crate::catalog::is_proxy_url(&proxy.http), "a proxy URL"),
            (&proxy.https, crate::catalog::is_proxy_url(&proxy.https), "a proxy URL"),
            (&proxy.no_proxy, crate::catalog::is_no_proxy(&proxy.no_proxy), "a bypass list"),
        ] {
            if !right {
                return Err(unexpected(text, expected));
            }
        }
        Ok(ProxyValues { http: proxy.http.clone(), https: proxy.https.clone(), bypass: proxy.no_proxy.clone() })
    });
    Ok(Terms {
        name: PolicyName::parse(&record.name).ok_or_else(|| unexpected(&record.name, "the name of a policy"))?,
        values: values.transpose()?,
        components: parse_all(&record.components, component)?,
        docker_restart: [DockerRestart::Allow, DockerRestart::Defer]
            .into_iter()
            .find(|choice| choice.name() == record.docker_restart)
            .ok_or_else(|| unexpected(&record.docker_restart, "`allow` or `defer`"))?,
        preflight: [Preflight::Require, Preflight::Skip]
            .into_iter()
            .find(|choice| choice.name() == record.preflight)
            .ok_or_else(|| unexpected(&record.preflight, "`require` or `skip`"))?,
        rollout: rollout(&record.rollout)?,
    })
}

fn group_record(policy: String, group: &Group) -> GroupRecord {
    GroupRecord {
        policy,
        platform: group.platform.to_string(),
        components: names(&group.work.components),
        changes: group.work.changes.iter().map(change_record).collect(),
        restarts: names(&group.work.restarts),
        deferred_restarts: names(&group.work.deferred),
        instances: group
            .instances
            .iter()
            .map(|member| MemberRecord {
                id: member.id.to_string(),
                name: member.name.clone(),
                fingerprint: member.fingerprint.clone(),
                wave: member.wave,
            })
            .collect(),
    }
}

fn group(policy: usize, record: GroupRecord) -> Result<Group, SavedPlanError> {
    let instances = record.instances.into_iter().map(|member| {
        let MemberRecord { id, name, fingerprint, wave } = member;
        Ok(Member { id: InstanceId::parse(&id)?, name, fingerprint, wave })
    });
    let platform = Platform::from_name(&record.platform).ok_or_else(|| unexpected(&record.platform, "a platform"))?;
    Ok(Group {
        policy,
        platform,
        instances: instances.collect::<Result<Vec<_>, SavedPlanError>>()?,
        work: Arc::new(Work {
            components: parse_all(&record.components, component)?,
            changes: record.changes.into_iter().map(|record| change(platform, record)).collect::<Result<_, _>>()?,
            restarts: parse_all(&record.restarts, service)?,
            deferred: parse_all(&record.deferred_restarts, service)?,
        }),
    })
}

fn change_record(change: &Change) -> ChangeRecord {
    ChangeRecord {
        component: change.component.to_string(),
        key: change.key.to_string(),
        path: change.path.to_owned(),
        drift: change.drift.name().to_owned(),
        from: truth_record(&change.from),
        to: match &change.to {
            Target::Value(value) => TargetRecord::Value(value.to_string()),
            Target::Removed => TargetRecord::Removed,
            Target::Restored(truth) => TargetRecord::Restored(truth_record(truth)),
        },
    }
}

fn change(platform: Platform, record: ChangeRecord) -> Result<Change, SavedPlanError> {
    let component = component(&record.component)?;
    let carrier = platform.component(component).and_then(|row| row.carrier_at(&record.path));
    Ok(Change {
        component,
        key: key(&record.key)?,
        path: carrier.ok_or_else(|| unexpected(&record.path, "where that component keeps its settings"))?.path,
        drift: [Drift::Missing, Drift::Different, Drift::Stale, Drift::Unwanted]
            .into_iter()
            .find(|drift| drift.name() == record.drift)
            .ok_or_else(|| unexpected(&record.drift, "a kind of drift"))?,
        from: truth(record.from),
        to: match record.to {
            TargetRecord::Value(value) => Target::Value(Arc::from(value)),
            TargetRecord::Removed => Target::Removed,
            TargetRecord::Restored(record) => Target::Restored(truth(record)),
        },
    })
}

fn truth_record(truth: &Truth) -> TruthRecord {
    match truth {
        Truth::Unset => TruthRecord::Unset,
        Truth::Is(Seen::Value(value)) => TruthRecord::Value(value.to_string()),
        Truth::Is(Seen::Digest(digest)) => TruthRecord::Digest(digest.to_string()),
        Truth::Is(Seen::Malformed(value)) => TruthRecord::Malformed(value.to_string()),
        Truth::NotApplicable => TruthRecord::NotApplicable,
        Truth::Unknown => TruthRecord::Unknown,
        Truth::Unproven => TruthRecord::Unproven,
    }
}

fn truth(record: TruthRecord) -> Truth {
    match record {
        TruthRecord::Unset => Truth::Unset,
        TruthRecord::Value(value) => Truth::Is(Seen::Value(Arc::from(value))),
        TruthRecord::Digest(digest) => Truth::Is(Seen::Digest(Arc::from(digest))),
        TruthRecord::Malformed(value) => Truth::Is(Seen::Malformed(Arc::from(value))),
        TruthRecord::NotApplicable => Truth::NotApplicable,
        TruthRecord::Unknown => Truth::Unknown,
        TruthRecord::Unproven => Truth::Unproven,
    }
}

fn reason_record(reason: &Reason) -> ReasonRecord {
    match reason {
        Reason::Offline { last_ping } => ReasonRecord::Offline { last_ping: *last_ping },
        Reason::Unregistered => ReasonRecord::Unregistered,
        Reason::NotRunning { state } => ReasonRecord::NotRunning { state: state.clone() },
        Reason::Unsupported { name, version } => {
            ReasonRecord::Unsupported { name: name.clone(), version: version.clone() }
        }
        Reason::NotObserved { why } => ReasonRecord::NotObserved { why: why.clone() },
        Reason::Component { component, obstacle } => {
            let component = component.to_string();
            match obstacle {
                Obstacle::NotInstalled(service) => {
                    ReasonRecord::NotInstalled { component, service: service.to_string() }
                }
                Obstacle::Overridden { key, path } => {
                    ReasonRecord::Overridden { component, key: key.to_string(), path: path.clone() }
                }
                Obstacle::Blocked { reason, path } => {
                    ReasonRecord::Blocked { component, reason: reason.clone(), path: path.clone() }
                }
                Obstacle::Unreadable { key, truth } => {
                    ReasonRecord::Unreadable { component, key: key.to_string(), truth: (*truth).to_owned() }
                }
            }
        }
    }
}

fn reason(record: ReasonRecord) -> Result<Reason, SavedPlanError> {
    let on = |word: &str, obstacle| Ok(Reason::Component { component: component(word)?, obstacle });
    match record {
        ReasonRecord::Offline { last_ping } => Ok(Reason::Offline { last_ping }),
        ReasonRecord::Unregistered => Ok(Reason::Unregistered),
        ReasonRecord::NotRunning { state } => Ok(Reason::NotRunning { state }),
        ReasonRecord::Unsupported { name, version } => Ok(Reason::Unsupported { name, version }),
        ReasonRecord::NotObserved { why } => Ok(Reason::NotObserved { why }),
        ReasonRecord::NotInstalled { component, service: word } => {
            on(&component, Obstacle::NotInstalled(service(&word)?))
        }
        ReasonRecord::Overridden { component, key: word, path } => {
            on(&component, Obstacle::Overridden { key: key(&word)?, path })
        }
        ReasonRecord::Blocked { component, reason, path } => on(&component, Obstacle::Blocked { reason, path }),
        ReasonRecord::Unreadable { component, key: word, truth } => {
            let truth = ["carrier", "loaded", "running"]
                .into_iter()
                .find(|known| *known == truth)
                .ok_or_else(|| unexpected(&truth, "`carrier`, `loaded` or `running`"))?;
            on(&component, Obstacle::Unreadable { key: key(&word)?, truth })
        }
    }
}

fn finding_record(finding: &Finding) -> FindingRecord {
    match finding {
        Finding::Down { service, failed } => FindingRecord::Down { service: service.to_string(), failed: *failed },
        Finding::Orphan { component } => FindingRecord::Orphan { component: component.to_string() },
        Finding::NotOurs { component, key } => {
            FindingRecord::NotOurs { component: component.to_string(), key: key.to_string() }
        }
        Finding::Inert { component, path } => {
            FindingRecord::Inert { component: component.to_string(), path: path.clone() }
        }
        Finding::Lost { component, dialect, entries } => FindingRecord::Lost {
            component: component.to_string(),
            dialect: dialect.name().to_owned(),
            entries: entries.clone(),
        },
        Finding::MachineWide => FindingRecord::MachineWide,
        Finding::SsmAgentAtRisk { path } => FindingRecord::SsmAgentAtRisk { path: path.clone() },
    }
}

fn finding(record: FindingRecord) -> Result<Finding, SavedPlanError> {
    Ok(match record {
        FindingRecord::Down { service: word, failed } => Finding::Down { service: service(&word)?, failed },
        FindingRecord::Orphan { component: word } => Finding::Orphan { component: component(&word)? },
        FindingRecord::NotOurs { component: word, key: name } => {
            Finding::NotOurs { component: component(&word)?, key: key(&name)? }
        }
        FindingRecord::Inert { component: word, path } => Finding::Inert { component: component(&word)?, path },
        FindingRecord::Lost { component: word, dialect, entries } => Finding::Lost {
            component: component(&word)?,
            dialect: Dialect::from_name(&dialect).ok_or_else(|| unexpected(&dialect, "`go`, `dotnet` or `winhttp`"))?,
            entries,
        },
        FindingRecord::MachineWide => Finding::MachineWide,
        FindingRecord::SsmAgentAtRisk { path } => Finding::SsmAgentAtRisk { path },
    })
}
