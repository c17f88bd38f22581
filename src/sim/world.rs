//! The state of the embedded fleet: nodes, documents and commands.
//!
//! Nothing here reads a clock or starts anything: the time comes in as an argument, and what has to happen comes out as
//! a value, so that every rule can be tested without waiting.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use super::commands::{CommandBook, Due, Job};
use super::documents::DocumentStore;
use super::faults::{FaultCounts, Faults, RequestFate};
use super::parameters::ParameterStore;
use crate::fleet::{InstanceId, Scope};

/// A point in time: since the epoch.
pub(crate) type Time = Duration;

/// One machine of the fleet as the APIs know it.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// Its id.
    pub(crate) id: InstanceId,
    /// Its tags.
    pub(crate) tags: BTreeMap<String, String>,
    /// What EC2 knows.
    pub(crate) ec2: Ec2Record,
    /// What SSM knows; `None` where no agent ever registered.
    pub(crate) agent: Option<AgentRecord>,
    /// What is going to go wrong with it.
    pub(crate) trouble: Trouble,
}

/// What is going to go wrong with a node.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trouble {
    /// Its agent falls silent when the first command that changes something arrives.
    pub(crate) falls_silent: bool,
    /// It reboots during the next command that changes something.
    pub(crate) reboots: bool,
    /// It is rebooting: commands wait.
    pub(crate) booting: bool,
    /// How many commands it has fetched.
    pub(crate) fetched: u64,
}

/// The part of a node that EC2 describes.
#[derive(Clone, Debug)]
pub(crate) struct Ec2Record {
    /// Instances that were launched together.
    pub(crate) reservation: String,
    /// The life cycle state.
    pub(crate) state: Ec2State,
    /// The image it was launched from.
    pub(crate) image: String,
    /// Such as `m6i.large`.
    pub(crate) instance_type: &'static str,
    /// Position in the reservation.
    pub(crate) launch_index: u32,
    /// The address in its subnet.
    pub(crate) private_ip: String,
    /// The subnet.
    pub(crate) subnet: String,
    /// The network.
    pub(crate) vpc: String,
    /// The letter of the availability zone.
    pub(crate) zone: char,
    /// When it was launched.
    pub(crate) launched: Time,
    /// Whether EC2 shows `platform: windows`.
    pub(crate) windows: bool,
    /// `x86_64` or `arm64`.
    pub(crate) architecture: &'static str,
}

/// The EC2 life cycle states that the fleet uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ec2State {
    /// Up.
    Running,
    /// Down, and can be started again.
    Stopped,
    /// Gone; EC2 shows it for a while.
    Terminated,
}

impl Ec2State {
    /// The code of the API.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Running => 16,
            Self::Stopped => 80,
            Self::Terminated => 48,
        }
    }

    /// The word of the API.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Stopped => "stopped",
            Self::Terminated => "terminated",
        }
    }
}

/// The part of a node that its SSM agent reported.
#[derive(Clone, Debug)]
pub(crate) struct AgentRecord {
    /// Whether it answers now.
    pub(crate) online: bool,
    /// When it was last heard of, for one that does not answer.
    pub(crate) last_ping: Time,
    /// `AgentVersion`.
    pub(crate) version: &'static str,
    /// `PlatformType`: `Linux` or `Windows`.
    pub(crate) platform_type: &'static str,
    /// `PlatformName`.
    pub(crate) platform_name: &'static str,
    /// `PlatformVersion`.
    pub(crate) platform_version: &'static str,
    /// `ComputerName`.
    pub(crate) computer_name: String,
}

/// Agents say hello every five minutes (aws-ssm-facts 2.1).
const HEARTBEAT: Duration = Duration::from_mins(5);

impl Node {
    /// Whether a command can be addressed to the node: registered, and not gone (aws-ssm-facts 2.5).
    pub(crate) fn valid_target(&self) -> bool {
        self.agent.is_some() && self.ec2.state != Ec2State::Terminated
    }

    /// Whether a command reaches the node now.
    pub(crate) fn reachable(&self) -> bool {
        self.ec2.state == Ec2State::Running && self.agent.as_ref().is_some_and(|agent| agent.online)
    }

    /// Whether the agent takes commands now.
    pub(crate) fn fetches(&self) -> bool {
        self.reachable() && !self.trouble.booting
    }

    /// When the agent was last heard of.
    pub(crate) fn last_ping(&self, now: Time) -> Option<Time> {
        let agent = self.agent.as_ref()?;
        if !self.reachable() {
            return Some(agent.last_ping);
        }
        // Each node keeps its own beat.
        let offset =
            self.id.as_str().bytes().fold(0u64, |sum, byte| (sum * 31 + u64::from(byte)) % HEARTBEAT.as_secs());
        let since = (now.as_secs() + offset) % HEARTBEAT.as_secs();
        Some(Duration::from_secs(now.as_secs().saturating_sub(since)))
    }
}

/// Everything the services know.
#[derive(Debug)]
pub(crate) struct World {
    /// Account and region.
    pub(crate) scope: Scope,
    /// Makes the ids and tokens of this server its own.
    pub(crate) seed: u64,
    /// The nodes, in the stable order of every listing.
    pub(crate) nodes: Vec<Node>,
    /// Where a node is in `nodes`.
    index: HashMap<String, usize>,
    /// The documents.
    pub(crate) documents: DocumentStore,
    /// The commands.
    pub(crate) commands: CommandBook,
    /// The parameters.
    pub(crate) parameters: ParameterStore,
    /// How often each operation was called, as `ListCommands` or `DescribeInstances`.
    pub(crate) calls: BTreeMap<String, u64>,
    /// How many of the next calls of an operation are throttled.
    pub(crate) throttles: HashMap<String, u32>,
    /// What goes wrong.
    pub(crate) faults: Faults,
    /// What has gone wrong.
    pub(crate) fault_counts: FaultCounts,
}

impl World {
    /// A world with these nodes and nothing else.
    pub(crate) fn new(
        scope: Scope,
        seed: u64,
        nodes: Vec<Node>,
        documents: DocumentStore,
        commands: CommandBook,
        faults: Faults,
    ) -> Self {
        let index = nodes.iter().enumerate().map(|(at, node)| (node.id.as_str().to_owned(), at)).collect();
        Self {
            scope,
            seed,
            nodes,
            index,
            documents,
            commands,
            parameters: ParameterStore::default(),
            calls: BTreeMap::new(),
            throttles: HashMap::new(),
            faults,
            fault_counts: FaultCounts::default(),
        }
    }

    /// One node.
    pub(crate) fn node(&self, id: &str) -> Option<&Node> {
        self.index.get(id).map(|at| &self.nodes[*at])
    }

    /// One node, to change it.
    pub(crate) fn node_mut(&mut self, id: &str) -> Option<&mut Node> {
        self.index.get(id).map(|at| &mut self.nodes[*at])
    }

    /// Lets the commands do what is due; returns the jobs that start now, and when something is due again.
    pub(crate) fn advance(&mut self, now: Time) -> (Vec<Job>, Option<Time>) {
        let (nodes, index) = (&self.nodes, &self.index);
        let Due { mut jobs, silent, next } =
            self.commands.advance(now, nodes, &|id| index.get(id.as_str()).map(|at| &nodes[*at]));
        for id in silent {
            self.fall_silent(&id, now);
        }
        for job in &mut jobs {
            self.decide(job);
        }
        (jobs, next)
    }

    fn fall_silent(&mut self, id: &InstanceId, now: Time) {
        let Some(node) = self.node_mut(id.as_str()) else { return };
        // Two commands may have been waiting for it.
        let first = std::mem::take(&mut node.trouble.falls_silent);
        if let Some(agent) = node.agent.as_mut().filter(|_| first) {
            agent.online = false;
            agent.last_ping = now;
            self.fault_counts.went_offline += 1;
        }
    }

    /// Decides what goes wrong with a job that was just fetched.
    fn decide(&mut self, job: &mut Job) {
        let (seed, faults) = (self.seed, self.faults.clone());
        let Some(node) = self.node_mut(job.node.as_str()) else { return };
        let reboots = job.changes && std::mem::take(&mut node.trouble.reboots);
        job.fate = faults.invocation(seed, job.node.as_str(), node.trouble.fetched, reboots);
        node.trouble.fetched += 1;
        self.fault_counts.slow += u64::from(job.fate.wait_seconds > 0);
    }

    /// Counts a call and says what is to happen to it.
    pub(crate) fn admit(&mut self, operation: &str) -> RequestFate {
        let calls = self.calls.entry(operation.to_owned()).or_default();
        let number = *calls;
        *calls += 1;
        if let Some(left) = self.throttles.get_mut(operation)
            && *left > 0
        {
            *left -= 1;
            return RequestFate::Throttled;
        }
        let fate = self.faults.request(self.seed, operation, number);
        let counts = &mut self.fault_counts;
        match fate {
            RequestFate::Answered => {}
            RequestFate::Throttled => counts.throttled += 1,
            RequestFate::Fails { after: false } => counts.errors_before += 1,
            RequestFate::Fails { after: true } => counts.errors_after += 1,
            RequestFate::Dropped { after: false } => counts.drops_before += 1,
            RequestFate::Dropped { after: true } => counts.drops_after += 1,
        }
        fate
    }
}
