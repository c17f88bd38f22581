//! Asking instances for their state: the first step of every run, and the proof at its end.

use std::collections::HashMap;

use crate::aws::{AwsError, Follower, Invocation, SendRequest, Sent, Session, Status};
use crate::document;
use crate::fleet::{InstanceId, Observation, parse_observe};
use crate::rollout::Event;

/// Instances in one command.
const COMMAND_LIMIT: usize = 50;

/// How long an instance may take to fetch the observe command, in seconds.
const DELIVERY_SECONDS: u32 = 60;

/// Runs the observe document on `instances` and reads their reports: one command for 50 instances, whose progress is
/// followed together. Equal reports are parsed once and shared.
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
    let document = session.ensure_document(&document::observe()).await?;
    let parameters = std::collections::BTreeMap::new();
    let comment = format!("proxyfleet run {run_id}, observe");
    let mut follower = session.follow([]);
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
            })
            .await?;
        reader.rejected(&sent);
        follower.add(sent);
        read_finished(session, &mut follower, &mut reader).await?;
        report(Event::ObservationProgress { done: reader.observations.len(), total: instances.len() });
    }
    loop {
        let progress = follower.poll_once().await?;
        read_finished(session, &mut follower, &mut reader).await?;
        let open: u32 =
            progress.commands.iter().filter(|command| !command.finished).map(|command| command.completed).sum();
        let done = (reader.observations.len() + open as usize).min(instances.len());
        report(Event::ObservationProgress { done, total: instances.len() });
        if progress.is_finished() {
            break;
        }
        follower.wait().await;
    }
    let answered = reader.observations.values().filter(|one| matches!(one, Observation::Seen(_))).count();
    report(Event::ObservationFinished { answered, total: instances.len() });
    Ok(reader.observations)
}

async fn read_finished(session: &Session, follower: &mut Follower, reader: &mut Reader) -> Result<(), AwsError> {
    for sent in follower.take_finished() {
        let invocations = session.invocations(&sent).await?;
        for invocation in &invocations.found {
            reader.read(invocation);
        }
        for missing in invocations.missing {
            let why = "the service does not list its invocation".to_owned();
            reader.observations.insert(missing, Observation::Unanswered(why));
        }
    }
    Ok(())
}

/// Turns invocations into observations.
#[derive(Default)]
struct Reader {
    observations: HashMap<InstanceId, Observation>,
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
        let observation = match printed(invocation) {
            Some(text) => match self.known.get(text) {
                Some(known) => known.clone(),
                None => self.parse(text, &invocation.status),
            },
            None => Observation::Unanswered(format!("the command ended as {}", invocation.status)),
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
