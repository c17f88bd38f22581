//! Asking instances for their state: the first step of every run, and the proof at its end.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::aws::{AwsError, Follower, Invocation, SendRequest, Sent, Session, Status};
use crate::document;
use crate::fleet::{InstanceId, Observation, parse_observe};
use crate::rollout::Event;

/// Instances in one command.
const COMMAND_LIMIT: usize = 50;

/// How often this process has asked.
static ASKED: AtomicUsize = AtomicUsize::new(0);

/// How long an instance may take to fetch the observe command, in seconds.
const DELIVERY_SECONDS: u32 = 60;

/// Runs the observe document on `instances` and reads their reports: one command for 50 instances, whose progress is
/// followed together. Equal reports are parsed once and shared. Who did not answer is asked once more: a reply that got lost
/// says nothing of the instance, and asking does no harm.
///
/// # Errors
///
/// When the document cannot be published or commands cannot be sent or followed. An instance that does not answer is not an
/// error: its observation says why.
pub async fn observe(
    session: &Session,
    instances: &[InstanceId],
    run_id: &str,
    report: &mut (dyn FnMut(Event) + Send),
) -> Result<HashMap<InstanceId, Observation>, AwsError> {
    let mut reader = Reader::default();
    if instances.is_empty() {
        return Ok(reader.observations);
    }
    report(Event::ObservationStarted { instances: instances.len() });
    ask(session, instances, run_id, &mut reader, report).await?;
    let silent: Vec<InstanceId> = std::mem::take(&mut reader.silent).into_iter().collect();
    if !silent.is_empty() {
        ask(session, &silent, run_id, &mut reader, report).await?;
    }
    let answered = reader.observations.values().filter(|one| matches!(one, Observation::Seen(_))).count();
    report(Event::ObservationFinished { answered, total: instances.len() });
    Ok(reader.observations)
}

/// Asks `instances` once, and tells how many of all that are to answer have.
async fn ask(
    session: &Session,
    instances: &[InstanceId],
    run_id: &str,
    reader: &mut Reader,
    report: &mut (dyn FnMut(Event) + Send),
) -> Result<(), AwsError> {
    let document = session.ensure_document(&document::observe()).await?;
    let parameters = std::collections::BTreeMap::new();
    // Different each time: a command whose answer got lost is found by it, and must not be taken for an earlier one.
    let comment = format!("proxyfleet run {run_id}, observe {}", ASKED.fetch_add(1, Ordering::Relaxed) + 1);
    let mut follower = session.follow([]);
    let total = reader.observations.len().max(instances.len());
    for batch in instances.chunks(COMMAND_LIMIT) {
        let sent = session
            .send(&SendRequest {
                document: &document,
                instances: batch,
                parameters: &parameters,
                comment: &comment,
                max_concurrency: 50,
                // Reading does no harm, so that failures on some do not keep the others from answering.
                max_errors: 50,
                delivery_timeout_seconds: DELIVERY_SECONDS,
                alarm: None,
            })
            .await?;
        reader.rejected(&sent);
        follower.add(sent);
        read_finished(session, &mut follower, reader).await?;
        report(Event::ObservationProgress { done: reader.observations.len(), total });
    }
    loop {
        let progress = follower.poll_once().await?;
        read_finished(session, &mut follower, reader).await?;
        let open: u32 =
            progress.commands.iter().filter(|command| !command.finished).map(|command| command.completed).sum();
        let done = (reader.observations.len() + open as usize).min(total);
        report(Event::ObservationProgress { done, total });
        if progress.is_finished() {
            return Ok(());
        }
        follower.wait().await;
    }
}

async fn read_finished(session: &Session, follower: &mut Follower, reader: &mut Reader) -> Result<(), AwsError> {
    for sent in follower.take_finished() {
        let invocations = session.invocations(&sent).await?;
        for invocation in &invocations.found {
            reader.read(invocation);
        }
        for missing in invocations.missing {
            let why = "the service does not list its invocation".to_owned();
            reader.silent.insert(missing.clone());
            reader.observations.insert(missing, Observation::Unanswered(why));
        }
    }
    Ok(())
}

/// Turns invocations into observations.
#[derive(Default)]
struct Reader {
    observations: HashMap<InstanceId, Observation>,
    /// Those whose command was taken and from whom nothing came back.
    silent: BTreeSet<InstanceId>,
    /// What each report text means.
    known: HashMap<String, Observation>,
}

impl Reader {
    fn rejected(&mut self, sent: &Sent) {
        for rejection in &sent.rejected {
            let why = format!("the service does not take commands for it: {}", rejection.reason);
            self.observations.insert(rejection.instance.clone(), Observation::Unanswered(why));
        }
    }

    fn read(&mut self, invocation: &Invocation) {
        let observation = if let Some(text) = printed(invocation) {
            match self.known.get(text) {
                Some(known) => known.clone(),
                None => self.parse(text, &invocation.status),
            }
        } else {
            self.silent.insert(invocation.instance.clone());
            Observation::Unanswered(format!("the command ended as {}", invocation.status))
        };
        self.observations.insert(invocation.instance.clone(), observation);
    }

    fn parse(&mut self, text: &str, status: &Status) -> Observation {
        let observation = match parse_observe(text) {
            Ok(observed) => Observation::Seen(observed.into()),
            Err(error) => Observation::Unanswered(format!("{error} (the command ended as {status})")),
        };
        self.known.insert(text.to_owned(), observation.clone());
        observation
    }
}

/// What the one step that ran printed. The agent gives the steps for other systems an output as well, which says why they
/// were skipped, and lets them end as success.
pub(super) fn printed(invocation: &Invocation) -> Option<&str> {
    let printed = || invocation.steps.iter().map(|step| step.stdout.as_str()).filter(|text| !text.trim().is_empty());
    let ran = printed().find(|text| !text.starts_with(SKIPPED));
    ran.or_else(|| printed().next())
}

/// How the output of a step begins that the agent skipped.
const SKIPPED: &str = "Step execution skipped ";
