//! Policies and a fleet to a [`Plan`]: who gets which policy, what differs, what would be done.
//!
//! Pure. A plan is complete and self-contained: the rollout makes no choice that is not in it, and a saved plan can be
//! carried out without the policy files.
//!
//! Not here: how a plan is carried out ([`crate::rollout`]) and how it looks ([`crate::report`]).

mod assess;
mod build;
mod resolve;
pub mod saved;
mod waves;

pub use assess::{Assessment, assess};
pub use build::build;
pub use resolve::{Conflict, Resolution, resolve};

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::catalog::{Component, Dialect, Key, Platform, ProxyValues, Service};
use crate::fleet::{InstanceId, Scope, Truth};
use crate::policy::{DockerRestart, PolicyName, Preflight, Rollout};

/// Everything that would be done, and everybody it would not be done to.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where.
    pub scope: Scope,
    /// What the policies say that take part, in the order of the policy set. Groups refer to them by index.
    pub policies: Vec<Terms>,
    /// Instances that need the same work, ordered by policy, platform and size.
    pub groups: Vec<Group>,
    /// Instances that are what their policy wants, counted per policy.
    pub in_sync: Vec<usize>,
    /// Instances on which only a restart is missing that the policy defers.
    pub pending: Vec<Pending>,
    /// Instances, or components on them, that a policy is for and that are left alone, with the reason.
    pub left_out: Vec<LeftOut>,
    /// What else is worth knowing; nothing is done about it.
    pub notes: Vec<Note>,
    /// Instances that no policy is for.
    pub untargeted: usize,
}

impl Plan {
    /// How many instances would be changed.
    pub fn changed_instances(&self) -> usize {
        self.groups.iter().map(|group| group.instances.len()).sum()
    }

    /// Keeps only these instances. The waves stay in their order, and the first has one instance of each platform again.
    pub fn keep(&mut self, kept: impl Fn(&Member) -> bool) {
        let before = self.changed_instances();
        for group in &mut self.groups {
            group.instances.retain(&kept);
        }
        self.groups.retain(|group| !group.instances.is_empty());
        if self.changed_instances() == before {
            return;
        }
        for policy in 0..self.policies.len() {
            let mut first: BTreeMap<Platform, (usize, InstanceId)> = BTreeMap::new();
            for group in self.groups.iter().filter(|group| group.policy == policy) {
                let members = group.instances.iter().map(|member| (member.wave, member.id.clone()));
                if let Some(place) = members.chain(first.get(&group.platform).cloned()).min() {
                    first.insert(group.platform, place);
                }
            }
            for group in self.groups.iter_mut().filter(|group| group.policy == policy) {
                let ahead = first.get(&group.platform).map(|(_, id)| id.clone());
                for member in &mut group.instances {
                    member.wave = if ahead.as_ref() == Some(&member.id) { 0 } else { member.wave + 1 };
                }
            }
        }
    }

    /// The groups of one policy.
    pub fn groups_of(&self, policy: usize) -> impl Iterator<Item = &Group> {
        self.groups.iter().filter(move |group| group.policy == policy)
    }
}

/// The part of a policy that a rollout needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The policy's name.
    pub name: PolicyName,
    /// The values to write; `None` takes ours away again.
    pub values: Option<ProxyValues>,
    /// The components the policy governs.
    pub components: Vec<Component>,
    /// What to do when Docker must start again.
    pub docker_restart: DockerRestart,
    /// Whether instances try the proxy first.
    pub preflight: Preflight,
    /// Limits.
    pub rollout: Rollout,
}

/// Instances that need the same work.
#[derive(Clone, Debug)]
pub struct Group {
    /// Index into [`Plan::policies`].
    pub policy: usize,
    /// What they run.
    pub platform: Platform,
    /// What would be done on each.
    pub work: Arc<Work>,
    /// Who, in the order of their ids.
    pub instances: Vec<Member>,
}

/// One instance of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its id.
    pub id: InstanceId,
    /// Its `Name` tag.
    pub name: Option<String>,
    /// Fingerprint of the report that the plan is based on.
    pub fingerprint: String,
    /// The wave of its policy's rollout in which it is changed, from 0.
    pub wave: usize,
}

/// What would be done on an instance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Work {
    /// Components with something to do, in catalogue order.
    pub components: Vec<Component>,
    /// Settings that differ.
    pub changes: Vec<Change>,
    /// Services that start again, in order.
    pub restarts: Vec<Service>,
    /// Services that would have to, but the policy defers it.
    pub deferred: Vec<Service>,
}

/// One setting that differs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Change {
    /// Whose setting.
    pub component: Component,
    /// Which key.
    pub key: Key,
    /// The file that has it, or the place in the registry.
    pub path: &'static str,
    /// The kind of difference.
    pub drift: Drift,
    /// What is there now: in the carrier, or in the process where only that is stale.
    pub from: Truth,
    /// What will be there.
    pub to: Target,
}

/// What a setting will be.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// This value.
    Value(Arc<str>),
    /// Gone.
    Removed,
    /// What it was before proxyfleet first wrote it.
    Restored(Truth),
}

/// The kind of a difference (design, section 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Drift {
    /// The carrier does not have the setting.
    Missing,
    /// The carrier has another value.
    Different,
    /// The carrier is right, the service manager or the running process is not.
    Stale,
    /// Ours, and the policy wants it away.
    Unwanted,
}

impl Drift {
    /// The word on screen and in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Different => "different",
            Self::Stale => "stale",
            Self::Unwanted => "unwanted",
        }
    }
}

/// An instance on which only deferred restarts are missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// Index into [`Plan::policies`].
    pub policy: usize,
    /// Who.
    pub id: InstanceId,
    /// Its `Name` tag.
    pub name: Option<String>,
    /// Which services.
    pub services: Vec<Service>,
}

/// Somebody a policy is for and who is left alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// Index into [`Plan::policies`].
    pub policy: usize,
    /// Who.
    pub id: InstanceId,
    /// Its `Name` tag.
    pub name: Option<String>,
    /// Why.
    pub reason: Reason,
}

/// Why somebody is left alone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// SSM has not heard of it for a while; seconds since the epoch of the last time.
    Offline {
        /// Last heartbeat.
        last_ping: Option<i64>,
    },
    /// EC2 runs it, SSM does not know it.
    Unregistered,
    /// EC2 says it is not running.
    NotRunning {
        /// The EC2 state.
        state: String,
    },
    /// It runs a system that proxyfleet does not manage.
    Unsupported {
        /// SSM's name.
        name: String,
        /// SSM's version.
        version: String,
    },
    /// It was asked and did not answer with a usable report.
    NotObserved {
        /// Why.
        why: String,
    },
    /// One component cannot be managed there; the others can.
    Component {
        /// Which one.
        component: Component,
        /// Why.
        obstacle: Obstacle,
    },
}

/// Why one component cannot be managed on an instance.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Obstacle {
    /// The service is not installed.
    NotInstalled(Service),
    /// Another source wins over our carrier with another value.
    Overridden {
        /// The key.
        key: Key,
        /// The file that wins.
        path: String,
    },
    /// The carrier cannot be edited.
    Blocked {
        /// The reason word of the report.
        reason: String,
        /// The file.
        path: String,
    },
    /// A truth could not be found out on the host.
    Unreadable {
        /// The key.
        key: Key,
        /// `carrier`, `loaded` or `running`.
        truth: &'static str,
    },
}

/// Something worth knowing about instances of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Index into [`Plan::policies`].
    pub policy: usize,
    /// What.
    pub finding: Finding,
    /// On whom, in the order of their ids.
    pub instances: Vec<InstanceId>,
}

/// Something worth knowing about an instance. Nothing is done about it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Finding {
    /// A service is not running. It reads its carriers when somebody starts it.
    Down {
        /// Which.
        service: Service,
        /// Whether it failed, or was stopped.
        failed: bool,
    },
    /// Written by proxyfleet for a component that the policy no longer governs.
    Orphan {
        /// The component.
        component: Component,
    },
    /// The policy wants settings away, but somebody else wrote this one, so it stays.
    NotOurs {
        /// The component.
        component: Component,
        /// The key.
        key: Key,
    },
    /// Another file sets the same variable without effect.
    Inert {
        /// The component.
        component: Component,
        /// The file.
        path: String,
    },
    /// Some readers of a carrier do not understand these entries of the bypass list.
    Lost {
        /// The component.
        component: Component,
        /// Which readers.
        dialect: Dialect,
        /// The entries, separated by commas.
        entries: String,
    },
    /// Variables of the whole machine differ. Every service on it reads them when it starts next, and nothing is restarted
    /// for them (proxy-by-os 8.4).
    MachineWide,
    /// The SSM agent finds a proxy for http and none for https. From its next start it would go without, which in a network
    /// without a route to the internet nothing can repair (proxy-by-os S18, 8.6).
    SsmAgentAtRisk {
        /// Where the proxy for http is set.
        path: String,
    },
}

#[cfg(test)]
mod tests;
