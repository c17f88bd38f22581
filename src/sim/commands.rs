//! The life of a command: resolve targets, hand out invocations under `MaxConcurrency` and `MaxErrors`, collect what the
//! agents answer, give up at the deadline (aws-ssm-facts 2.5 and 3).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::agent::{Reply, StepResult, StepStatus};
use super::content::{Content, Values};
use super::faults::InvocationFate;
use super::fleet::Random;
use super::server::uuid;
use super::world::{Node, Time};
use crate::document::OBSERVE_DOCUMENT;
use crate::fleet::InstanceId;

/// How long agents take to pick up what is for them.
const PICKUP: Duration = Duration::from_millis(20);

/// A target of a command: all keys have to match, any value of each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// `InstanceIds`, `tag:KEY` or `tag-key`.
    pub(crate) key: String,
    /// The values.
    pub(crate) values: Vec<String>,
}

impl Target {
    /// Whether a node is meant. There are no wildcards.
    pub(crate) fn matches(&self, node: &Node) -> bool {
        let any = |fact: &str| self.values.iter().any(|value| value == fact);
        match self.key.strip_prefix("tag:") {
            Some(key) => node.tags.get(key).is_some_and(|value| any(value)),
            None if self.key == "tag-key" => node.tags.keys().any(|key| any(key)),
            None => any(node.id.as_str()) || any("*"),
        }
    }
}

/// A request that passed the checks.
#[derive(Clone, Debug)]
pub(crate) struct Submission {
    /// The document's name.
    pub(crate) document: String,
    /// The version that was asked for, as it was asked: a number, `$DEFAULT` or `$LATEST`.
    pub(crate) version: String,
    /// What to run.
    pub(crate) content: Arc<Content>,
    /// The parameters as they were sent.
    pub(crate) values: Values,
    /// `Comment`
    pub(crate) comment: String,
    /// The nodes, where they were named.
    pub(crate) instance_ids: Vec<InstanceId>,
    /// The targets, where there are any.
    pub(crate) targets: Vec<Target>,
    /// `MaxConcurrency`
    pub(crate) max_concurrency: String,
    /// `MaxErrors`
    pub(crate) max_errors: String,
    /// `TimeoutSeconds`
    pub(crate) timeout_seconds: u64,
    /// The name of the alarm that stops it.
    pub(crate) alarm: Option<String>,
}

impl Submission {
    /// Whether the document may change something on a node: every one but that which observes, named or as an ARN.
    fn changes(&self) -> bool {
        self.document.rsplit('/').next() != Some(OBSERVE_DOCUMENT)
    }
}

/// How an invocation ended: its `StatusDetails` (aws-ssm-facts 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Every step exited with 0 or was skipped.
    Success,
    /// A step failed.
    Failed,
    /// The agent stopped a step that took too long.
    ExecutionTimedOut,
    /// No final answer before the deadline.
    DeliveryTimedOut,
    /// Cancelled on request.
    Cancelled,
    /// Not sent any more because too many others failed.
    Terminated,
    /// The document does not run on such a platform.
    InvalidPlatform,
}

impl Ending {
    /// `StatusDetails`
    pub(crate) const fn details(self) -> &'static str {
        match self {
            Self::Success => "Success",
            Self::Failed => "Failed",
            Self::ExecutionTimedOut => "ExecutionTimedOut",
            Self::DeliveryTimedOut => "DeliveryTimedOut",
            Self::Cancelled => "Cancelled",
            Self::Terminated => "Terminated",
            Self::InvalidPlatform => "InvalidPlatform",
        }
    }

    /// `Status`
    pub(crate) const fn status(self) -> &'static str {
        match self {
            Self::Success => "Success",
            Self::Failed | Self::InvalidPlatform => "Failed",
            Self::ExecutionTimedOut | Self::DeliveryTimedOut => "TimedOut",
            Self::Cancelled | Self::Terminated => "Cancelled",
        }
    }

    /// Whether it counts against `MaxErrors`.
    const fn is_error(self) -> bool {
        matches!(self, Self::Failed | Self::ExecutionTimedOut)
    }
}

/// Where an invocation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Not handed out yet.
    Waiting,
    /// Handed out, on its way to the agent or waiting for it.
    Sent(Time),
    /// The agent is at it.
    Running,
    /// The agent was at it; its answer will never arrive.
    Lost,
    /// Over.
    Done(Ending),
}

/// A command on one node.
#[derive(Clone, Debug)]
pub(crate) struct Invocation {
    /// The node.
    pub(crate) node: InstanceId,
    /// Where it is.
    pub(crate) stage: Stage,
    /// Whether somebody asked for it to be cancelled while it ran.
    pub(crate) cancelling: bool,
    /// What the agent answered.
    pub(crate) steps: Vec<StepResult>,
    /// Why the agent ran nothing.
    pub(crate) trace: String,
}

/// A command.
#[derive(Clone, Debug)]
pub(crate) struct Command {
    /// Its id, a UUID.
    pub(crate) id: String,
    /// What was asked for.
    pub(crate) submission: Submission,
    /// When it was sent.
    pub(crate) requested: Time,
    /// When everything unfinished becomes `DeliveryTimedOut`.
    pub(crate) expires: Time,
    /// When that happens already where no agent is at work: earlier than `expires` where the clock of the fleet runs fast.
    pub(crate) deadline: Time,
    /// When its invocations can be seen.
    pub(crate) visible: Time,
    /// Its nodes, in the order of the fleet; empty until the targets are resolved.
    pub(crate) invocations: Vec<Invocation>,
    /// Whether the targets are resolved.
    pub(crate) resolved: bool,
    /// Whether somebody asked for it to be cancelled.
    pub(crate) cancelled: bool,
}

/// The sums that `ListCommands` shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// `TargetCount`
    pub(crate) targets: usize,
    /// `CompletedCount`
    pub(crate) completed: usize,
    /// `ErrorCount`
    pub(crate) errors: usize,
    /// `DeliveryTimedOutCount`
    pub(crate) delivery_timed_out: usize,
}

/// A document that an agent should run now.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    /// The command.
    pub(crate) command: String,
    /// The node.
    pub(crate) node: InstanceId,
    /// What to run.
    pub(crate) content: Arc<Content>,
    /// With which parameters.
    pub(crate) values: Values,
    /// Whether the document may change something.
    pub(crate) changes: bool,
    /// What goes wrong with it.
    pub(crate) fate: InvocationFate,
}

/// What is due.
#[derive(Clone, Debug, Default)]
pub(crate) struct Due {
    /// The jobs that start now.
    pub(crate) jobs: Vec<Job>,
    /// The nodes that fall silent now, before they fetch what was for them.
    pub(crate) silent: Vec<InstanceId>,
    /// When something is due again, if nothing else happens.
    pub(crate) next: Option<Time>,
}

impl Command {
    fn count(&self, test: impl Fn(Stage) -> bool) -> usize {
        self.invocations.iter().filter(|invocation| test(invocation.stage)).count()
    }

    /// The counters.
    pub(crate) fn counts(&self) -> Counts {
        Counts {
            targets: self.invocations.len(),
            completed: self.count(|stage| matches!(stage, Stage::Done(_))),
            errors: self.count(|stage| matches!(stage, Stage::Done(ending) if ending.is_error())),
            delivery_timed_out: self.count(|stage| stage == Stage::Done(Ending::DeliveryTimedOut)),
        }
    }

    /// Whether nothing can change any more.
    pub(crate) fn is_over(&self) -> bool {
        self.resolved && self.count(|stage| !matches!(stage, Stage::Done(_))) == 0
    }

    /// `MaxErrors` as a number of nodes.
    fn max_errors(&self) -> usize {
        share(&self.submission.max_errors, self.invocations.len())
    }

    /// `Status` and `StatusDetails` (aws-ssm-facts 3.2).
    pub(crate) fn status(&self) -> (&'static str, &'static str) {
        if !self.resolved {
            return ("Pending", "Pending");
        }
        if self.invocations.is_empty() {
            return ("Success", "NoInstancesInTag");
        }
        if !self.is_over() {
            let untouched = self.count(|stage| stage != Stage::Waiting) == 0;
            return match (self.cancelled, untouched) {
                (true, _) => ("Cancelling", "Cancelling"),
                (false, true) => ("Pending", "Pending"),
                (false, false) => ("InProgress", "InProgress"),
            };
        }
        let ended = |ending: Ending| self.count(|stage| stage == Stage::Done(ending));
        let enough = self.max_errors().max(1);
        if ended(Ending::Cancelled) > 0 {
            ("Cancelled", "Cancelled")
        } else if ended(Ending::Failed) >= enough {
            ("Failed", "Failed")
        } else if ended(Ending::ExecutionTimedOut) >= enough {
            ("TimedOut", "ExecutionTimedOut")
        } else if ended(Ending::DeliveryTimedOut) >= enough {
            ("TimedOut", "DeliveryTimedOut")
        } else if ended(Ending::Success) + ended(Ending::InvalidPlatform) == self.invocations.len() {
            ("Success", "Success")
        } else {
            ("Failed", "Incomplete")
        }
    }

    /// One invocation, where it can be seen already.
    pub(crate) fn invocation(&self, node: &str, now: Time) -> Option<&Invocation> {
        self.visible_invocations(now).iter().find(|invocation| invocation.node.as_str() == node)
    }

    /// The invocations that can be seen.
    pub(crate) fn visible_invocations(&self, now: Time) -> &[Invocation] {
        if now >= self.visible { &self.invocations } else { &[] }
    }

    fn resolve(&mut self, nodes: &[Node]) {
        let platforms = self.submission.content.platform_types();
        for node in nodes.iter().filter(|node| node.valid_target()) {
            if self.submission.targets.iter().all(|target| target.matches(node)) {
                let fits = node.agent.as_ref().is_some_and(|agent| platforms.contains(&agent.platform_type));
                let stage = if fits { Stage::Waiting } else { Stage::Done(Ending::InvalidPlatform) };
                self.invocations.push(invocation(node.id.clone(), stage));
            }
        }
        self.resolved = true;
    }

    /// Does what is due, and says which agents start now.
    fn advance<'a>(&mut self, now: Time, node: &dyn Fn(&InstanceId) -> Option<&'a Node>, due: &mut Due) {
        self.hand_out(now, node, due);
        if now >= self.deadline && self.is_stuck(node) {
            for invocation in &mut self.invocations {
                if !matches!(invocation.stage, Stage::Done(_)) {
                    invocation.stage = Stage::Done(Ending::DeliveryTimedOut);
                }
            }
        }
    }

    /// Whether only time can end the command: it waits for nodes that do not answer, and for nobody else.
    fn is_stuck<'a>(&self, node: &dyn Fn(&InstanceId) -> Option<&'a Node>) -> bool {
        !self.invocations.iter().any(|invocation| match invocation.stage {
            Stage::Running => true,
            Stage::Sent(_) => node(&invocation.node).is_some_and(Node::reachable),
            Stage::Waiting | Stage::Lost | Stage::Done(_) => false,
        })
    }

    fn hand_out<'a>(&mut self, now: Time, node: &dyn Fn(&InstanceId) -> Option<&'a Node>, due: &mut Due) {
        let changes = self.submission.changes();
        let limit = share(&self.submission.max_concurrency, self.invocations.len()).max(1);
        let stopped = self.counts().errors > self.max_errors();
        let expired = now >= self.expires;
        let mut in_flight = self.count(|stage| matches!(stage, Stage::Sent(_) | Stage::Running | Stage::Lost));
        for invocation in &mut self.invocations {
            if let Stage::Done(_) = invocation.stage {
                continue;
            }
            if expired {
                invocation.stage = Stage::Done(Ending::DeliveryTimedOut);
                continue;
            }
            if invocation.stage == Stage::Waiting && stopped {
                invocation.stage = Stage::Done(Ending::Terminated);
            } else if invocation.stage == Stage::Waiting && in_flight < limit {
                invocation.stage = Stage::Sent(now);
                in_flight += 1;
            }
            let fetching = node(&invocation.node).filter(|node| node.fetches());
            if let (Stage::Sent(since), Some(node)) = (invocation.stage, fetching)
                && now >= since + PICKUP
            {
                if node.trouble.falls_silent && changes {
                    due.silent.push(node.id.clone());
                    continue;
                }
                invocation.stage = Stage::Running;
                due.jobs.push(Job {
                    command: self.id.clone(),
                    node: invocation.node.clone(),
                    content: Arc::clone(&self.submission.content),
                    values: self.submission.values.clone(),
                    changes,
                    fate: InvocationFate::default(),
                });
            }
        }
    }

    /// When something is due next, if nothing else happens.
    fn next_due<'a>(&self, node: &dyn Fn(&InstanceId) -> Option<&'a Node>) -> Option<Time> {
        if !self.resolved {
            return Some(self.visible);
        }
        if self.is_over() {
            return None;
        }
        let pickup = self.invocations.iter().filter_map(|invocation| match invocation.stage {
            Stage::Sent(since) if node(&invocation.node).is_some_and(Node::fetches) => Some(since + PICKUP),
            _ => None,
        });
        let deadline = self.is_stuck(node).then_some(self.deadline);
        pickup.chain(deadline).chain([self.expires]).min()
    }
}

fn invocation(node: InstanceId, stage: Stage) -> Invocation {
    Invocation { node, stage, cancelling: false, steps: Vec::new(), trace: String::new() }
}

/// `N` or `N%` of `total`, rounded down.
fn share(text: &str, total: usize) -> usize {
    match text.strip_suffix('%') {
        Some(percent) => total * percent.parse::<usize>().unwrap_or(0) / 100,
        None => text.parse().unwrap_or(0),
    }
}

/// All commands, the oldest first.
#[derive(Debug)]
pub(crate) struct CommandBook {
    commands: Vec<Command>,
    random: Random,
    consistency: Duration,
    clock: u32,
    /// The alarms that are in alarm.
    raised: BTreeSet<String>,
}

impl CommandBook {
    /// An empty book; `consistency` is how long new invocations are not seen, and time that nobody works in passes `clock`
    /// times faster.
    pub(crate) fn new(seed: u64, consistency: Duration, clock: u32) -> Self {
        let random = Random::new(seed ^ 0x00c0_ffee);
        Self { commands: Vec::new(), random, consistency, clock: clock.max(1), raised: BTreeSet::new() }
    }

    /// The commands, the newest first.
    pub(crate) fn newest_first(&self) -> impl Iterator<Item = &Command> {
        self.commands.iter().rev()
    }

    /// One command.
    pub(crate) fn get(&self, id: &str) -> Option<&Command> {
        self.commands.iter().find(|command| command.id == id)
    }

    fn get_mut(&mut self, id: &str) -> Option<&mut Command> {
        self.commands.iter_mut().find(|command| command.id == id)
    }

    /// Takes a command in.
    pub(crate) fn submit(&mut self, submission: Submission, now: Time) -> &Command {
        let seconds = submission.timeout_seconds + submission.content.execution_timeout(&submission.values);
        let total = Duration::from_secs(seconds);
        let resolved = submission.targets.is_empty();
        let invocations = submission.instance_ids.iter().map(|node| invocation(node.clone(), Stage::Waiting)).collect();
        self.commands.push(Command {
            id: uuid(&mut self.random),
            submission,
            requested: now,
            expires: now + total,
            deadline: now + total / self.clock,
            visible: now + self.consistency,
            invocations,
            resolved,
            cancelled: false,
        });
        self.heed_alarms();
        self.commands.last().expect("invariant: it was just pushed")
    }

    /// Puts an alarm into alarm: commands that name it are stopped, also those that come later. Which status the service gives
    /// them is UNCONFIRMED; here they are cancelled.
    pub(crate) fn raise_alarm(&mut self, name: &str) {
        self.raised.insert(name.to_owned());
        self.heed_alarms();
    }

    fn heed_alarms(&mut self) {
        let stopped =
            |command: &&Command| command.submission.alarm.as_ref().is_some_and(|name| self.raised.contains(name));
        let ids: Vec<String> = self.commands.iter().filter(stopped).map(|command| command.id.clone()).collect();
        for id in ids {
            self.cancel(&id, &[]);
        }
    }

    /// Does what is due and returns what others have to do, and when to come again.
    pub(crate) fn advance<'a>(
        &mut self,
        now: Time,
        nodes: &'a [Node],
        node: &dyn Fn(&InstanceId) -> Option<&'a Node>,
    ) -> Due {
        let mut due = Due::default();
        for command in self.commands.iter_mut().filter(|command| !command.is_over()) {
            if !command.resolved && now >= command.visible {
                command.resolve(nodes);
            }
            command.advance(now, node, &mut due);
            due.next = [due.next, command.next_due(node)].into_iter().flatten().min();
        }
        due
    }

    /// Takes an agent's answer. One that comes too late changes nothing.
    pub(crate) fn finish(&mut self, command: &str, node: &InstanceId, reply: Reply) {
        let Some(invocation) = self.running(command, node) else { return };
        invocation.stage = Stage::Done(match reply.status {
            StepStatus::Success | StepStatus::Skipped => Ending::Success,
            StepStatus::Failed => Ending::Failed,
            StepStatus::TimedOut => Ending::ExecutionTimedOut,
            StepStatus::Cancelled => Ending::Cancelled,
        });
        invocation.steps = reply.steps;
        invocation.trace = reply.trace;
    }

    /// Notes that an agent's answer will never arrive.
    pub(crate) fn lose(&mut self, command: &str, node: &InstanceId) {
        if let Some(invocation) = self.running(command, node) {
            invocation.stage = Stage::Lost;
        }
    }

    fn running(&mut self, command: &str, node: &InstanceId) -> Option<&mut Invocation> {
        let invocations = &mut self.get_mut(command)?.invocations;
        invocations.iter_mut().find(|invocation| invocation.node == *node && invocation.stage == Stage::Running)
    }

    /// Cancels what has not started. What runs is only marked: whether it stops is up to the agent, which here lets the
    /// script end, and then the result counts (best effort, aws-ssm-facts 2.9).
    pub(crate) fn cancel(&mut self, command: &str, nodes: &[InstanceId]) {
        let Some(command) = self.get_mut(command) else { return };
        for invocation in &mut command.invocations {
            if !nodes.is_empty() && !nodes.contains(&invocation.node) {
                continue;
            }
            match invocation.stage {
                Stage::Waiting | Stage::Sent(_) => invocation.stage = Stage::Done(Ending::Cancelled),
                Stage::Running | Stage::Lost => invocation.cancelling = true,
                Stage::Done(_) => continue,
            }
            command.cancelled = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Arc;
    use std::time::Duration;

    use super::{CommandBook, Ending, Job, PICKUP, Stage, Submission, Target};
    use crate::fleet::InstanceId;
    use crate::sim::agent::{Reply, StepStatus};
    use crate::sim::content::{Content, Values};
    use crate::sim::fleet::{Kind, generate};
    use crate::sim::world::{Node, Time};

    const NOW: Time = Duration::from_hours(500_000);
    const LATER: Time = Duration::from_secs(1_800_000_001);

    struct Case {
        book: CommandBook,
        nodes: Vec<Node>,
    }

    impl Case {
        fn new(nodes: Vec<Node>) -> Self {
            Self { book: CommandBook::new(1, Duration::from_millis(500), 1), nodes }
        }

        fn submit(&mut self, submission: Submission) -> String {
            self.book.submit(submission, NOW).id.clone()
        }

        fn advance(&mut self, now: Time) -> Vec<Job> {
            let index: HashMap<&InstanceId, &Node> = self.nodes.iter().map(|node| (&node.id, node)).collect();
            self.book.advance(now, &self.nodes, &|id| index.get(id).copied()).jobs
        }

        fn finish(&mut self, job: &Job, status: StepStatus) {
            self.book.finish(&job.command, &job.node, Reply { status, steps: Vec::new(), trace: String::new() });
        }

        fn status(&self, id: &str) -> &'static str {
            self.book.get(id).map_or("no such command", |command| command.status().1)
        }

        fn endings(&self, id: &str, wanted: Ending) -> usize {
            let invocations = self.book.get(id).map(|command| command.invocations.as_slice()).unwrap_or_default();
            invocations.iter().filter(|invocation| invocation.stage == Stage::Done(wanted)).count()
        }

        /// Runs to the end; each agent answers with what `answer` says for its number.
        fn run(&mut self, answer: impl Fn(usize) -> StepStatus) -> usize {
            let (mut now, mut answered, mut most) = (LATER, 0, 0);
            loop {
                self.advance(now);
                let jobs = self.advance(now + PICKUP);
                most = most.max(jobs.len());
                if jobs.is_empty() {
                    return most;
                }
                for job in jobs {
                    self.finish(&job, answer(answered));
                    answered += 1;
                }
                now += PICKUP;
            }
        }
    }

    fn online(count: usize) -> Vec<Node> {
        let members = generate(count * 2, 0, 3, "eu-central-1", NOW);
        members
            .into_iter()
            .filter(|member| matches!(member.kind, Kind::Managed(_)))
            .map(|member| member.node)
            .take(count)
            .collect()
    }

    fn submission(nodes: &[Node], max_concurrency: &str, max_errors: &str) -> Submission {
        let content = r#"{"schemaVersion":"2.2","mainSteps":[{"action":"aws:runShellScript","name":"main","inputs":{"timeoutSeconds":"60","runCommand":["true"]}}]}"#;
        Submission {
            document: "Sample".to_owned(),
            version: "1".to_owned(),
            content: Arc::new(Content::parse(content, "JSON").expect("a valid document")),
            values: Values::new(),
            comment: String::new(),
            instance_ids: nodes.iter().map(|node| node.id.clone()).collect(),
            targets: Vec::new(),
            max_concurrency: max_concurrency.to_owned(),
            max_errors: max_errors.to_owned(),
            timeout_seconds: 30,
            alarm: None,
        }
    }

    fn targeting(key: &str, values: &[&str]) -> Submission {
        let target = Target { key: key.to_owned(), values: values.iter().map(|value| (*value).to_owned()).collect() };
        Submission { targets: vec![target], ..submission(&[], "50", "0") }
    }

    #[test]
    fn a_command_goes_its_way() {
        let nodes = online(3);
        let mut case = Case::new(nodes.clone());
        let id = case.submit(submission(&nodes, "50", "0"));
        assert_eq!(case.status(&id), "Pending");
        assert!(case.advance(NOW).is_empty(), "agents need a moment");
        assert_eq!(case.status(&id), "InProgress");
        let jobs = case.advance(NOW + PICKUP);
        assert_eq!(jobs.len(), 3);
        assert!(case.book.get(&id).is_some_and(|command| command.visible_invocations(NOW + PICKUP).is_empty()));
        for job in &jobs {
            case.finish(job, StepStatus::Success);
            case.finish(job, StepStatus::Failed);
        }
        assert_eq!(
            (case.status(&id), case.endings(&id, Ending::Success)),
            ("Success", 3),
            "the second answer changes nothing"
        );
        assert!(case.book.get(&id).is_some_and(|command| command.visible_invocations(LATER).len() == 3));
    }

    #[test]
    fn concurrency_is_limited() {
        for (limit, expected) in [("1", 1), ("3", 3), ("50%", 5), ("1%", 1), ("50", 10)] {
            let nodes = online(10);
            let mut case = Case::new(nodes.clone());
            let id = case.submit(submission(&nodes, limit, "0"));
            assert_eq!(case.run(|_| StepStatus::Success), expected, "{limit}");
            assert_eq!(case.status(&id), "Success");
        }
    }

    #[test]
    fn too_many_errors_stop_the_rest() {
        for (max_errors, failed, terminated) in [("0", 1, 9), ("2", 3, 7), ("20%", 3, 7), ("10", 10, 0)] {
            let nodes = online(10);
            let mut case = Case::new(nodes.clone());
            let id = case.submit(submission(&nodes, "1", max_errors));
            case.run(|_| StepStatus::Failed);
            let found = (case.endings(&id, Ending::Failed), case.endings(&id, Ending::Terminated), case.status(&id));
            assert_eq!(found, (failed, terminated, "Failed"), "{max_errors}");
        }
    }

    #[test]
    fn fewer_failures_than_allowed_are_incomplete() {
        let nodes = online(10);
        let mut case = Case::new(nodes.clone());
        let id = case.submit(submission(&nodes, "10", "5"));
        case.run(|number| if number < 4 { StepStatus::Failed } else { StepStatus::Success });
        assert_eq!((case.status(&id), case.endings(&id, Ending::Failed)), ("Incomplete", 4));
    }

    #[test]
    fn a_silent_node_is_waited_for_until_the_deadline() {
        let mut nodes = online(2);
        nodes[1].agent.as_mut().expect("a registered node").online = false;
        let mut case = Case::new(nodes.clone());
        let id = case.submit(submission(&nodes, "50", "0"));
        case.run(|_| StepStatus::Success);
        assert_eq!(case.status(&id), "InProgress");
        case.advance(NOW + Duration::from_secs(89));
        assert_eq!(case.status(&id), "InProgress");
        case.advance(NOW + Duration::from_secs(90));
        assert_eq!((case.status(&id), case.endings(&id, Ending::DeliveryTimedOut)), ("DeliveryTimedOut", 1));
    }

    #[test]
    fn a_fast_clock_hurries_nobody_who_works() {
        let nodes = online(4);
        let mut case = Case::new(nodes.clone());
        case.book = CommandBook::new(1, Duration::from_millis(500), 90);
        let id = case.submit(submission(&nodes, "2", "0"));
        case.advance(NOW);
        let jobs = case.advance(NOW + PICKUP);
        case.book.lose(&jobs[0].command, &jobs[0].node);
        // 90 seconds pass in one, but the other agent is at work, and then the third.
        assert!(case.advance(NOW + Duration::from_secs(30)).is_empty());
        case.finish(&jobs[1], StepStatus::Success);
        case.advance(NOW + Duration::from_secs(31));
        let jobs = case.advance(NOW + Duration::from_secs(32));
        case.book.lose(&jobs[0].command, &jobs[0].node);
        case.finish(&jobs[0], StepStatus::Success);
        // Both places are taken by nodes that never answer.
        case.advance(NOW + Duration::from_secs(33));
        assert_eq!((case.endings(&id, Ending::DeliveryTimedOut), case.status(&id)), (3, "DeliveryTimedOut"));
        assert!(case.book.get(&id).is_some_and(|command| command.expires == NOW + Duration::from_secs(90)));
    }

    #[test]
    fn a_node_falls_silent_at_its_first_change() {
        let mut nodes = online(1);
        nodes[0].trouble.falls_silent = true;
        let mut case = Case::new(nodes.clone());
        case.submit(Submission { document: "ProxyFleet-Observe".to_owned(), ..submission(&nodes, "50", "0") });
        case.submit(submission(&nodes, "50", "0"));
        case.advance(NOW);
        let due = case.book.advance(NOW + PICKUP, &nodes, &|_| nodes.first());
        assert_eq!((due.jobs.len(), due.silent), (1, vec![nodes[0].id.clone()]));
    }

    #[test]
    fn a_node_that_comes_back_is_served() {
        let mut nodes = online(1);
        nodes[0].agent.as_mut().expect("a registered node").online = false;
        let mut case = Case::new(nodes.clone());
        let id = case.submit(submission(&nodes, "50", "0"));
        assert_eq!(case.run(|_| StepStatus::Success), 0);
        case.nodes[0].agent.as_mut().expect("a registered node").online = true;
        case.run(|_| StepStatus::Success);
        assert_eq!(case.status(&id), "Success");
    }

    #[test]
    fn targets_are_resolved_by_the_service() {
        let nodes: Vec<Node> = generate(60, 0, 5, "eu-central-1", NOW).into_iter().map(|member| member.node).collect();
        let expected = nodes
            .iter()
            .filter(|node| {
                node.valid_target()
                    && node.tags["Environment"] == "production"
                    && node.agent.as_ref().is_some_and(|agent| agent.platform_type == "Linux")
            })
            .count();
        let mut case = Case::new(nodes);
        let id = case.submit(targeting("tag:Environment", &["production", "nowhere"]));
        case.advance(NOW);
        assert_eq!(
            (case.status(&id), case.book.get(&id).map(|command| command.counts().targets)),
            ("Pending", Some(0))
        );
        case.advance(LATER);
        let counts = case.book.get(&id).map(super::Command::counts).unwrap_or_default();
        assert_eq!(counts.targets - case.endings(&id, Ending::InvalidPlatform), expected);
        let none = case.submit(targeting("tag:Environment", &["prod*"]));
        case.advance(LATER);
        assert_eq!(case.status(&none), "NoInstancesInTag");
    }

    #[test]
    fn what_has_not_started_is_cancelled() {
        let nodes = online(4);
        let mut case = Case::new(nodes.clone());
        let id = case.submit(submission(&nodes, "1", "0"));
        case.advance(NOW);
        let jobs = case.advance(NOW + PICKUP);
        case.book.cancel(&id, &[nodes[3].id.clone()]);
        assert_eq!(case.endings(&id, Ending::Cancelled), 1);
        case.book.cancel(&id, &[]);
        assert_eq!((case.endings(&id, Ending::Cancelled), case.status(&id)), (3, "Cancelling"));
        case.finish(&jobs[0], StepStatus::Success);
        assert_eq!((case.endings(&id, Ending::Success), case.status(&id)), (1, "Cancelled"));
    }
}
