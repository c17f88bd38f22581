//! Turns what the [`Machine`] decides into calls, and what the service answers into [`Input`]s. It decides nothing itself but
//! to obey whoever stops the run.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::observe::{observe, printed};
use super::{
    Action, Adopted, Attempt, Command, CommandNumber, Event, Fate, Hope, Input, Look, Machine, Purpose, Reply, Summary,
    gate,
};
use crate::aws::{AwsError, Follower, Invocation, PublishedDocument, SendRequest, Sent, Session, Status};
use crate::catalog::Platform;
use crate::document::{self, ApplyParameters};
use crate::fleet::{InstanceId, Observation, parse_apply};
use crate::plan::{Group, Plan, Terms, Work};
use crate::policy::DockerRestart;

/// How long an instance may take to fetch an apply command, in seconds.
const DELIVERY_SECONDS: u32 = 60;
/// The most characters of a command's comment.
const MOST_COMMENT: usize = 100;
/// How often in a row the progress of commands may not be read before they are given up for lost.
const MOST_BLIND: u32 = 5;
/// How long to wait before asking the machine again when nothing is under way. It asks for a time itself, so this never is
/// what a run waits for.
const IDLE: Duration = Duration::from_secs(1);

/// What an operator asks of a run that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stop {
    /// Nothing: go on.
    Go,
    /// Send nothing more, wait for what is in flight.
    Drain,
    /// Send nothing more, and cancel what is in flight.
    Cancel,
}

/// One run: what its rollouts have in common.
#[derive(Debug)]
pub struct Run<'a> {
    /// Where.
    pub session: &'a Session,
    /// Its id, which travels in the comment of every command.
    pub id: &'a str,
    /// The digest of the plan, which travels there as well.
    pub plan_digest: &'a str,
    /// What became of commands of earlier runs that were still under way.
    pub adopted: Adopted,
    /// What the operator asks.
    pub stop: watch::Receiver<Stop>,
}

/// Carries out `plan`, policy by policy.
///
/// It always comes to a [`Summary`]: when the service fails under way, nothing more is sent, and the summary says so
/// and what is known of everybody.
pub async fn run(run: Run<'_>, plan: &Plan, report: &mut (dyn FnMut(Event) + Send)) -> Summary {
    let mut driver = Driver { run, documents: HashMap::new() };
    let mut attempts = Vec::new();
    let mut halted = Vec::new();
    for (index, terms) in plan.policies.iter().enumerate() {
        let groups: Vec<&Group> = plan.groups_of(index).collect();
        if groups.is_empty() {
            continue;
        }
        let machine = driver.policy(terms, &groups, report).await;
        halted.extend(machine.halted().map(|reason| (terms.name.to_string(), reason.to_owned())));
        let mut fates = machine.into_fates();
        for member in groups.iter().flat_map(|group| &group.instances) {
            let unknown = || (member.wave, Fate::Unknown("it was lost sight of".to_owned()));
            let (wave, fate) = fates.remove(&member.id).unwrap_or_else(unknown);
            attempts.push(Attempt { policy: index, id: member.id.clone(), name: member.name.clone(), wave, fate });
        }
    }
    let policies = plan.policies.iter().map(|terms| terms.name.to_string()).collect();
    Summary { policies, attempts, left_out: plan.left_out.clone(), halted }
}

struct Driver<'a> {
    run: Run<'a>,
    documents: HashMap<Platform, PublishedDocument>,
}

/// The rollout of one policy while it is under way.
struct Course<'a> {
    terms: &'a Terms,
    machine: Machine,
    /// What is planned on each instance.
    planned: HashMap<InstanceId, Arc<Work>>,
    /// How often in a row the progress of commands could not be read.
    blind: u32,
    begun: Instant,
    follower: Follower,
    numbers: HashMap<String, CommandNumber>,
    inbox: VecDeque<Input>,
    wake: Option<Duration>,
    /// Why no further command is sent, once that is so.
    refused: Option<String>,
    /// What the operator asked that the machine knows of.
    heeded: Stop,
    over: bool,
}

impl Course<'_> {
    fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    fn halt(&mut self, reason: String) {
        self.refused.get_or_insert_with(|| reason.clone());
        self.inbox.push_front(Input::Halt { reason });
    }
}

impl Driver<'_> {
    async fn policy(&mut self, terms: &Terms, groups: &[&Group], report: &mut (dyn FnMut(Event) + Send)) -> Machine {
        let machine = Machine::new(terms, groups.iter().copied(), self.run.adopted.spent(&terms.name));
        report(Event::PolicyStarted {
            policy: terms.name.to_string(),
            instances: machine.instances(),
            waves: machine.waves(),
            concurrency: machine.concurrency(),
            budgets: machine.budgets(),
        });
        let planned = groups
            .iter()
            .flat_map(|group| group.instances.iter().map(|member| (member.id.clone(), Arc::clone(&group.work))));
        let mut course = Course {
            terms,
            machine,
            planned: planned.collect(),
            blind: 0,
            begun: Instant::now(),
            follower: self.run.session.follow([]),
            numbers: HashMap::new(),
            inbox: VecDeque::from([Input::Begin]),
            wake: None,
            refused: None,
            heeded: Stop::Go,
            over: false,
        };
        loop {
            while let Some(input) = self.next_input(&mut course).await {
                let now = course.now();
                for action in course.machine.step(now, input) {
                    self.act(&mut course, action, report).await;
                }
                if course.over {
                    return course.machine;
                }
            }
            self.wait(&mut course, report).await;
        }
    }

    /// What to tell the machine next: first of all what the operator wants.
    async fn next_input(&mut self, course: &mut Course<'_>) -> Option<Input> {
        self.heed_stop(course).await;
        course.inbox.pop_front()
    }

    async fn act(&mut self, course: &mut Course<'_>, action: Action, report: &mut (dyn FnMut(Event) + Send)) {
        match action {
            Action::Send(command) => self.send(course, command, report).await,
            Action::Observe(ids) => {
                self.look(course, &ids, report).await;
            }
            Action::AskGate { wave } => {
                if let Some(gate) = &course.terms.rollout.gate {
                    let question = gate::Question { policy: &course.terms.name, run: self.run.id, wave };
                    let verdict = gate::ask(gate, &question, &mut self.run.stop).await;
                    course.inbox.push_back(Input::Gate(verdict));
                }
            }
            Action::WakeAt(at) => course.wake = Some(at),
            Action::Note(note) => report(Event::Note { policy: course.terms.name.to_string(), note }),
            Action::Finish => course.over = true,
        }
    }

    /// Tells the machine what the operator wants, and cancels what is in flight where that is it.
    async fn heed_stop(&mut self, course: &mut Course<'_>) {
        let stop = *self.run.stop.borrow_and_update();
        if stop == course.heeded {
            return;
        }
        if course.heeded == Stop::Go {
            course.halt("stopped by the operator".to_owned());
        }
        course.heeded = stop;
        if stop == Stop::Cancel {
            for sent in course.follower.open() {
                // Best effort, as the service's own promise is; what it came to is observed afterwards.
                let _ = self.run.session.cancel(sent, None).await;
            }
        }
    }

    /// Waits until there is something to tell the machine, or until the operator says something.
    async fn wait(&mut self, course: &mut Course<'_>, report: &mut (dyn FnMut(Event) + Send)) {
        if !course.machine.is_flying() {
            let until = course.wake.take();
            let pause = until.map_or(IDLE, |until| until.saturating_sub(course.now()));
            if self.unless_stopped(tokio::time::sleep(pause)).await {
                course.inbox.push_back(Input::Tick);
            } else {
                course.wake = until;
            }
            return;
        }
        let Course { follower, .. } = course;
        self.unless_stopped(follower.wait()).await;
        match course.follower.poll_once().await {
            Ok(progress) => {
                course.blind = 0;
                self.collect(course).await;
                let (wave, done, total) = course.machine.progress();
                let open: u32 = progress.commands.iter().filter(|one| !one.finished).map(|one| one.completed).sum();
                let (done, errors) = ((done + open as usize).min(total), course.machine.errors());
                let policy = course.terms.name.to_string();
                report(Event::PolicyProgress { policy, wave, done, total, errors });
            }
            // The commands go on meanwhile, and so does whoever is patient.
            Err(_) if course.blind < MOST_BLIND => course.blind += 1,
            Err(error) => {
                let why = format!("commands could not be followed: {error}");
                course.refused.get_or_insert_with(|| why.clone());
                course.inbox.push_back(Input::LostSight { why });
            }
        }
    }

    /// Whether `future` came to its end; false when the operator said something before that.
    async fn unless_stopped(&mut self, future: impl Future<Output = ()>) -> bool {
        tokio::pin!(future);
        tokio::select! {
            () = &mut future => true,
            changed = self.run.stop.changed() => {
                if changed.is_err() {
                    // Nobody is left who could stop us: only time wakes us from now on.
                    future.await;
                }
                changed.is_err()
            }
        }
    }

    async fn send(&mut self, course: &mut Course<'_>, command: Command, report: &mut (dyn FnMut(Event) + Send)) {
        let number = command.number;
        if let Some(why) = self.refusal(course).await {
            course.refused.get_or_insert_with(|| why.clone());
            course.inbox.push_back(Input::NotSent { command: number, why, doubtful: false });
            return;
        }
        let document = match self.document(command.kind.platform).await {
            Ok(document) => document,
            Err(error) => {
                let why = format!("publishing the document failed: {error}");
                course.refused.get_or_insert_with(|| why.clone());
                course.inbox.push_back(Input::NotSent { command: number, why, doubtful: false });
                return;
            }
        };
        match self.send_now(&document, course.terms, &command).await {
            Ok(sent) => {
                let rejected = sent.rejected.iter().map(|one| (one.instance.clone(), one.reason.clone())).collect();
                course.inbox.push_back(Input::Sent { command: number, rejected });
                let Some(command_id) = sent.command_id.clone() else { return };
                report(Event::CommandSent {
                    policy: course.terms.name.to_string(),
                    purpose: command.purpose,
                    platform: command.kind.platform,
                    instances: sent.accepted.len(),
                    command_id: command_id.clone(),
                });
                course.numbers.insert(command_id, number);
                course.follower.add(sent);
            }
            Err(error) => {
                let why = format!("sending failed: {error}");
                course.refused.get_or_insert_with(|| why.clone());
                course.inbox.push_back(Input::NotSent { command: number, why, doubtful: error.may_have_arrived() });
            }
        }
    }

    /// Why nothing may be sent now: asked before every single command.
    async fn refusal(&mut self, course: &Course<'_>) -> Option<String> {
        if let Some(why) = &course.refused {
            return Some(why.clone());
        }
        if *self.run.stop.borrow() != Stop::Go {
            return Some("stopped by the operator".to_owned());
        }
        match self.run.session.halts(&course.terms.name).await {
            Ok(halts) => halts.first().map(ToString::to_string),
            Err(error) => Some(format!("the stop switch could not be read: {error}")),
        }
    }

    async fn document(&mut self, platform: Platform) -> Result<PublishedDocument, AwsError> {
        if let Some(published) = self.documents.get(&platform) {
            return Ok(published.clone());
        }
        let published = self.run.session.ensure_document(&document::apply(platform)).await?;
        self.documents.insert(platform, published.clone());
        Ok(published)
    }

    async fn send_now(&self, document: &PublishedDocument, terms: &Terms, command: &Command) -> Result<Sent, AwsError> {
        let parameters = self.parameters(terms, command).to_map();
        self.run
            .session
            .send(&SendRequest {
                document,
                instances: &command.instances,
                parameters: &parameters,
                comment: &self.comment(terms, command),
                max_concurrency: at_most(command.max_concurrency),
                max_errors: at_most(command.max_errors),
                delivery_timeout_seconds: DELIVERY_SECONDS,
                // What puts things back must not be stopped by what is being put back.
                alarm: terms.rollout.alarm.as_deref().filter(|_| command.purpose == Purpose::Apply),
            })
            .await
    }

    /// Who this command belongs to, different for every command of a run: one whose answer got lost is found by it. A long
    /// policy name is cut, the document's parameters have it whole.
    fn comment(&self, terms: &Terms, command: &Command) -> String {
        let purpose = match command.purpose {
            Purpose::Apply => "apply",
            Purpose::PutBack => "put back",
        };
        let (run, plan, number) = (self.run.id, self.run.plan_digest, command.number + 1);
        let text = format!("proxyfleet run {run}, plan {plan}, {purpose} {number}, policy {}", terms.name);
        text.chars().take(MOST_COMMENT).collect()
    }

    /// What the document of one command is sent with.
    fn parameters(&self, terms: &Terms, command: &Command) -> ApplyParameters {
        let kind = &command.kind;
        ApplyParameters {
            values: terms.values.clone(),
            components: kind.components.clone(),
            docker_restart: if kind.restarts_docker { terms.docker_restart } else { DockerRestart::Defer },
            preflight: terms.preflight,
            policy: terms.name.clone(),
            run: self.run.id.to_owned(),
            action: match command.purpose {
                Purpose::Apply => document::Action::Apply,
                Purpose::PutBack => document::Action::PutBack,
            },
        }
    }

    /// Reads the results of commands that have ended.
    async fn collect(&mut self, course: &mut Course<'_>) {
        for sent in course.follower.take_finished() {
            let number = sent.command_id.as_ref().and_then(|id| course.numbers.remove(id));
            let Some(command) = number else { continue };
            let replies = match self.run.session.invocations(&sent).await {
                Ok(invocations) => {
                    let found = invocations.found.iter();
                    found.map(|invocation| (invocation.instance.clone(), reply(invocation))).collect()
                }
                Err(error) => {
                    let why = format!("its result could not be read: {error}");
                    course.halt(why.clone());
                    let silent =
                        |id: &InstanceId| (id.clone(), Reply::Silent { why: why.clone(), hope: Hope::MayStillRun });
                    sent.accepted.iter().map(silent).collect()
                }
            };
            course.inbox.push_back(Input::Ended { command, replies });
        }
    }

    /// Observes instances: only that proves anything (decision D11).
    async fn look(&mut self, course: &mut Course<'_>, ids: &[InstanceId], report: &mut (dyn FnMut(Event) + Send)) {
        let mut observing = Box::pin(observe(self.run.session, ids, self.run.id, report));
        let observations = loop {
            tokio::select! {
                observations = &mut observing => break observations,
                // Commands may be in flight meanwhile, and whoever wants them cancelled does not wait for a look.
                changed = self.run.stop.changed() => match changed {
                    Ok(()) => self.heed_stop(course).await,
                    Err(_) => break observing.await,
                },
            }
        };
        let look = |id: &InstanceId| match &observations {
            Ok(found) => {
                let observation = found.get(id).unwrap_or(&Observation::NotAsked);
                Look::of(course.terms, &course.planned[id], observation)
            }
            Err(error) => Look::Unknown(error.to_string()),
        };
        let looks: BTreeMap<InstanceId, Look> = ids.iter().map(|id| (id.clone(), look(id))).collect();
        course.inbox.push_back(Input::Observed { looks });
        if let Err(error) = observations {
            // First of all: that proxyfleet cannot look is no fault of the instances, and nothing to put anything back for.
            course.halt(format!("instances could not be observed: {error}"));
        }
    }
}

/// What one invocation proves. The report decides; the status only explains its absence.
pub(super) fn reply(invocation: &Invocation) -> Reply {
    let status = &invocation.status;
    if *status == Status::Terminated {
        return Reply::NotHandedOut;
    }
    let why = match printed(invocation).map(parse_apply) {
        Some(Ok(report)) => return Reply::Reported(report),
        Some(Err(error)) => error.to_string(),
        None => "the instance printed no report".to_owned(),
    };
    let hope = match status {
        // Somebody wanted this, or it cannot end otherwise.
        Status::Cancelled | Status::AccessDenied | Status::InvalidPlatform => Hope::Over,
        status if !status.is_final() => Hope::MayStillRun,
        _ => Hope::Retry,
    };
    Reply::Silent { why: format!("the command ended as {status}: {why}"), hope }
}

fn at_most(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
