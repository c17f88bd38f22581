//! Turns what the [`Queue`] decides into calls, and what the service answers into [`Event`]s and [`Attempt`]s.

use std::collections::HashMap;

use tokio::sync::watch;

use super::observe::{observe, printed};
use super::{After, Attempt, Batch, Event, Next, Queue, Summary, Verdict};
use crate::aws::{AwsError, Follower, Invocation, PublishedDocument, SendRequest, Sent, Session, Status};
use crate::catalog::Platform;
use crate::document::{self, Action, ApplyParameters};
use crate::fleet::{InstanceId, Observation, parse_apply};
use crate::plan::{Group, Member, Plan, Terms};
use crate::policy::DockerRestart;

/// How long an instance may take to fetch an apply command, in seconds.
const DELIVERY_SECONDS: u32 = 60;

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

/// Carries out `plan`, policy by policy, and observes everybody again who was sent to.
///
/// It always comes to a [`Summary`]: when the service fails under way, nothing more is sent, and the summary says so
/// and what is known of everybody.
pub async fn run(
    session: &Session,
    plan: &Plan,
    run_id: &str,
    stop: watch::Receiver<Stop>,
    report: &mut (dyn FnMut(Event) + Send),
) -> Summary {
    let mut driver = Driver { session, run_id, stop, documents: HashMap::new(), halted: Vec::new() };
    let mut attempts = Vec::new();
    for (index, terms) in plan.policies.iter().enumerate() {
        let groups: Vec<&Group> = plan.groups.iter().filter(|group| group.policy == index).collect();
        if groups.is_empty() {
            continue;
        }
        let mut verdicts = driver.policy(terms, &groups, report).await;
        for member in groups.iter().flat_map(|group| &group.instances) {
            let verdict = verdicts.remove(&member.id).unwrap_or_else(|| silent("unknown", "it was lost sight of"));
            attempts.push(attempt(index, member, verdict));
        }
    }
    driver.look_again(plan, &mut attempts, report).await;
    Summary {
        policies: plan.policies.iter().map(|terms| terms.name.to_string()).collect(),
        attempts,
        left_out: plan.left_out.clone(),
        halted: driver.halted,
    }
}

fn attempt(policy: usize, member: &Member, verdict: Verdict) -> Attempt {
    Attempt { policy, id: member.id.clone(), name: member.name.clone(), verdict, after: After::NotAsked }
}

fn silent(status: &str, why: impl Into<String>) -> Verdict {
    Verdict::Silent { status: status.to_owned(), why: why.into() }
}

struct Driver<'a> {
    session: &'a Session,
    run_id: &'a str,
    stop: watch::Receiver<Stop>,
    documents: HashMap<Platform, PublishedDocument>,
    halted: Vec<(String, String)>,
}

/// The rollout of one policy while it is under way.
struct Course {
    queue: Queue,
    follower: Follower,
    in_flight: HashMap<String, Next>,
    verdicts: HashMap<InstanceId, Verdict>,
    /// Why nothing more is sent, once that is so.
    reason: Option<String>,
}

impl Course {
    fn halt(&mut self, reason: String) {
        self.queue.halt();
        self.reason.get_or_insert(reason);
    }
}

impl Driver<'_> {
    async fn policy(
        &mut self,
        terms: &Terms,
        groups: &[&Group],
        report: &mut (dyn FnMut(Event) + Send),
    ) -> HashMap<InstanceId, Verdict> {
        let total: usize = groups.iter().map(|group| group.instances.len()).sum();
        let policy = terms.name.to_string();
        let mut course = Course {
            queue: Queue::new(terms, groups.iter().copied()),
            follower: self.session.follow([]),
            in_flight: HashMap::new(),
            verdicts: HashMap::new(),
            reason: None,
        };
        report(Event::PolicyStarted {
            policy: policy.clone(),
            instances: total,
            concurrency: course.queue.concurrency(),
            max_errors: course.queue.max_errors(),
        });
        loop {
            self.heed_stop(&mut course).await;
            self.send_what_may_be_sent(terms, &mut course, report).await;
            if course.queue.is_done() {
                break;
            }
            self.pause(&mut course).await;
            match course.follower.poll_once().await {
                Ok(progress) => {
                    self.collect(&mut course).await;
                    let open: u32 = progress.commands.iter().filter(|one| !one.finished).map(|one| one.completed).sum();
                    let done = (course.verdicts.len() + open as usize).min(total);
                    let errors = course.queue.errors();
                    report(Event::PolicyProgress { policy: policy.clone(), done, total, errors });
                }
                Err(error) => {
                    give_up(&mut course, &error);
                    break;
                }
            }
        }
        self.close(terms, course, report)
    }

    /// Names everybody who was not started, and why.
    fn close(
        &mut self,
        terms: &Terms,
        course: Course,
        report: &mut (dyn FnMut(Event) + Send),
    ) -> HashMap<InstanceId, Verdict> {
        let Course { queue, mut verdicts, reason, .. } = course;
        let (errors, max_errors) = (queue.errors(), queue.max_errors());
        let halted = queue.is_halted();
        let rest = queue.into_rest();
        if halted || reason.is_some() {
            let reason = reason.unwrap_or_else(|| format!("{errors} failed, the policy allows {max_errors}"));
            let policy = terms.name.to_string();
            report(Event::Halted { policy: policy.clone(), reason: reason.clone(), not_started: rest.len() });
            for member in rest {
                verdicts.insert(member.id, Verdict::NotStarted(reason.clone()));
            }
            self.halted.push((policy, reason));
        }
        verdicts
    }

    async fn heed_stop(&mut self, course: &mut Course) {
        let stop = *self.stop.borrow_and_update();
        if stop >= Stop::Drain {
            course.halt("stopped by the operator".to_owned());
        }
        if stop == Stop::Cancel {
            for sent in course.follower.open() {
                // Best effort, as the service's own promise is; what it came to is observed afterwards.
                let _ = self.session.cancel(sent, None).await;
            }
        }
    }

    /// Waits until it is time to look, or until the operator says something.
    async fn pause(&mut self, course: &mut Course) {
        tokio::select! {
            () = course.follower.wait() => {}
            changed = self.stop.changed() => {
                if changed.is_err() {
                    // Nobody is left who could stop us: only time wakes us from now on.
                    course.follower.wait().await;
                }
            }
        }
    }

    async fn send_what_may_be_sent(
        &mut self,
        terms: &Terms,
        course: &mut Course,
        report: &mut (dyn FnMut(Event) + Send),
    ) {
        while let Some(next) = course.queue.next_command() {
            match self.send(terms, &next).await {
                Ok(sent) => {
                    for rejection in &sent.rejected {
                        let why = format!("the service does not take commands for it: {}", rejection.reason);
                        course.verdicts.insert(rejection.instance.clone(), silent("rejected", why));
                    }
                    if let Some(command_id) = &sent.command_id {
                        report(Event::CommandSent {
                            policy: terms.name.to_string(),
                            platform: next.batch.platform,
                            instances: sent.accepted.len(),
                            command_id: command_id.clone(),
                        });
                        course.in_flight.insert(command_id.clone(), next);
                        course.follower.add(sent);
                    } else {
                        course.queue.finished(&next, next.batch.instances.len());
                    }
                }
                Err(error) => {
                    let why = format!("sending failed: {error}");
                    for member in &next.batch.instances {
                        course.verdicts.insert(member.id.clone(), silent("not sent", why.clone()));
                    }
                    course.queue.finished(&next, next.batch.instances.len());
                    course.halt(why);
                }
            }
        }
    }

    async fn send(&mut self, terms: &Terms, next: &Next) -> Result<Sent, AwsError> {
        let platform = next.batch.platform;
        if !self.documents.contains_key(&platform) {
            let published = self.session.ensure_document(&document::apply(platform)).await?;
            self.documents.insert(platform, published);
        }
        let ids: Vec<InstanceId> = next.batch.instances.iter().map(|member| member.id.clone()).collect();
        let parameters = parameters(terms, &next.batch, self.run_id).to_map();
        let comment = format!("proxyfleet run {}, policy {}", self.run_id, terms.name);
        self.session
            .send(&SendRequest {
                document: &self.documents[&platform],
                instances: &ids,
                parameters: &parameters,
                comment: &comment,
                max_concurrency: at_most(next.max_concurrency),
                max_errors: at_most(next.max_errors),
                delivery_timeout_seconds: DELIVERY_SECONDS,
            })
            .await
    }

    /// Reads the results of commands that have ended.
    async fn collect(&mut self, course: &mut Course) {
        for sent in course.follower.take_finished() {
            let Some(next) = sent.command_id.as_ref().and_then(|id| course.in_flight.remove(id)) else { continue };
            let mut errors = sent.rejected.len();
            match self.session.invocations(&sent).await {
                Ok(invocations) => {
                    for invocation in &invocations.found {
                        let verdict = verdict(invocation);
                        errors += usize::from(verdict.is_error());
                        course.verdicts.insert(invocation.instance.clone(), verdict);
                    }
                    for missing in invocations.missing {
                        errors += 1;
                        course.verdicts.insert(missing, silent("unknown", "the service does not list its invocation"));
                    }
                }
                Err(error) => {
                    errors += sent.accepted.len();
                    let why = format!("its result could not be read: {error}");
                    for id in &sent.accepted {
                        course.verdicts.insert(id.clone(), silent("unknown", why.clone()));
                    }
                    course.halt(why);
                }
            }
            course.queue.finished(&next, errors);
        }
    }

    /// Observes everybody who was sent to: only that proves anything (decision D11).
    async fn look_again(&self, plan: &Plan, attempts: &mut [Attempt], report: &mut (dyn FnMut(Event) + Send)) {
        let asked = |attempt: &Attempt| !matches!(attempt.verdict, Verdict::NotStarted(_));
        let ids: Vec<InstanceId> =
            attempts.iter().filter(|attempt| asked(attempt)).map(|attempt| attempt.id.clone()).collect();
        let observations = observe(self.session, &ids, self.run_id, report).await;
        for attempt in attempts.iter_mut().filter(|attempt| asked(attempt)) {
            let terms = &plan.policies[attempt.policy];
            attempt.after = match &observations {
                Ok(observations) => After::of(terms, observations.get(&attempt.id).unwrap_or(&Observation::NotAsked)),
                Err(error) => After::Unobserved(error.to_string()),
            };
        }
    }
}

/// What the document of one command is sent with.
fn parameters(terms: &Terms, batch: &Batch, run_id: &str) -> ApplyParameters {
    ApplyParameters {
        values: terms.values.clone(),
        components: batch.components.clone(),
        docker_restart: if batch.restarts_docker { terms.docker_restart } else { DockerRestart::Defer },
        preflight: terms.preflight,
        policy: terms.name.clone(),
        run: run_id.to_owned(),
        action: Action::Apply,
    }
}

/// Everything in flight is out of sight: it may or may not have run.
fn give_up(course: &mut Course, error: &AwsError) {
    let why = format!("commands could not be followed: {error}");
    for (_, next) in course.in_flight.drain() {
        for member in next.batch.instances {
            course.verdicts.entry(member.id).or_insert_with(|| silent("unknown", why.clone()));
        }
    }
    course.halt(why);
}

/// What one invocation proves. The report decides; the status only explains its absence.
fn verdict(invocation: &Invocation) -> Verdict {
    if invocation.status == Status::Terminated {
        return Verdict::NotStarted("the service stopped the command because too many others failed".to_owned());
    }
    let status = invocation.status.to_string();
    match printed(invocation).map(parse_apply) {
        Some(Ok(report)) => Verdict::Reported(report),
        Some(Err(error)) => Verdict::Silent { status, why: error.to_string() },
        None => Verdict::Silent { status, why: "the instance printed no report".to_owned() },
    }
}

fn at_most(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
